import { expect, test } from "vitest";
import { splitMemory } from "./memory.ts";

const SIZES = { processBytes: 110e6, layerBytes: 14e6 };

test("program, weights and state add up to the budget, whatever it is", () => {
  for (let budget = 290e6; budget < 40e9; budget *= 1.13) {
    const { weightBytes, stateBytes } = splitMemory(budget, SIZES);
    expect(110e6 + 135e6 + weightBytes + stateBytes).toBeCloseTo(budget, 0);
    expect(weightBytes).toBeGreaterThanOrEqual(2 * 14e6);
    expect(stateBytes).toBeGreaterThanOrEqual(8e6);
    expect(stateBytes).toBeLessThanOrEqual(512 * 2 ** 20);
  }
});

test("the state is the same whatever the process takes, so that a sweep resumes with the same waves", () => {
  const states = [90e6, 105e6, 120e6].map(
    (processBytes) => splitMemory(300e6, { ...SIZES, processBytes }).stateBytes,
  );
  expect(new Set(states)).toEqual(new Set([300e6 / 32]));
});

test("a budget that cannot hold two layers beside the program is refused with what it would take", () => {
  expect(() => splitMemory(256e6, SIZES)).toThrow(
    "memory: found 256 MB; wanted at least 281 MB: 245 MB for the program itself, 28 MB for two layers, " +
      "8 MB for what runs through them. Give it more, or leave it out.",
  );
});
