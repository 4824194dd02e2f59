import { expect, test } from "vitest";
import type { Architecture } from "../model/architecture.ts";
import { batchOf, contextCache, type Group } from "./batch.ts";

const architecture: Architecture = {
  name: "Seeded",
  layers: [{}, { window: 3 }],
  dModel: 4,
  heads: 1,
  kvHeads: 1,
  dHead: 4,
  dMlp: 4,
  vocabulary: 8,
  maxPositions: 4096,
  causal: true,
};

/** One row of the positions from `first` on. */
function suffix(first: number, length: number): Group {
  const positions = Int32Array.from({ length: length - first }, (_, index) => first + index);
  const [group] = batchOf([{ positions, length }]).groups;
  if (group === undefined) throw new Error("no group");
  return group;
}

test("masks hide what comes later and what lies outside the window, each made once", () => {
  const contexts = contextCache(architecture, (size) => new Float64Array(size));
  const visible = (kind: number): string[] => {
    const mask = contexts.mask(architecture.layers[kind] ?? {}, suffix(2, 5));
    expect(contexts.mask(architecture.layers[kind] ?? {}, suffix(2, 5))).toBe(mask);
    return [0, 1, 2].map((row) =>
      [...mask.subarray(5 * row, 5 * row + 5)].map((value) => (value === 0 ? "x" : ".")).join(""),
    );
  };
  expect(visible(0)).toEqual(["xxx..", "xxxx.", "xxxxx"]);
  expect(visible(1)).toEqual(["xxx..", ".xxx.", "..xxx"]);
});

test("of the masks of all suffixes of a long prompt no more are kept than a bound, the last ones asked for", () => {
  const length = 600;
  const contexts = contextCache(architecture, (size) => new Float32Array(size));
  const ask = (first: number) => contexts.mask({}, suffix(first, length));
  const whole = ask(0);
  const asked = Array.from({ length: 60 }, (_, first) => {
    expect(ask(0)).toBe(whole); // asked for all the time
    return ask(first + 1);
  });
  const isKept = asked.toReversed().map((mask, index) => ask(asked.length - index) === mask);
  const kept = isKept.indexOf(false);
  const bytes = asked.slice(-kept).reduce((sum, mask) => sum + mask.byteLength, whole.byteLength);
  expect(kept).toBeGreaterThan(4);
  expect(bytes).toBeLessThanOrEqual(2 ** 24);
});
