import { describe, expect, test } from "vitest";
import type { RopeScaling } from "./rope.ts";
import { inverseFrequencies, rotaryTables } from "./rope.ts";

const rotary = (scaling: RopeScaling, dims = 8) => ({ theta: 10_000, dims, style: "half" as const, scaling });
const exact = (scaling: RopeScaling) => [...inverseFrequencies(rotary(scaling), "float64")];

describe("inverse frequencies", () => {
  test("fall from 1 by equal factors to just above 1/θ", () => {
    for (const [i, value] of exact({ kind: "none" }).entries()) expect(value).toBeCloseTo(10 ** -i, 15);
  });

  test("linear scaling and per-frequency factors divide them", () => {
    expect(exact({ kind: "linear", factor: 4 })).toEqual(exact({ kind: "none" }).map((value) => value / 4));
    expect(exact({ kind: "factors", factors: [1, 2, 4, 8] })).toEqual(
      exact({ kind: "none" }).map((value, i) => value / 2 ** i),
    );
  });

  test("llama3 keeps short wavelengths, divides long ones, and blends continuously between", () => {
    const llama3 = (originalPositions: number) =>
      exact({ kind: "llama3", factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalPositions });
    // Wavelengths 2π·10^i = 6, 63, 628, 6283 against limits 300/4 and 300.
    const [a, b, c, d] = exact({ kind: "none" });
    expect(llama3(300)).toEqual([a, b, c / 8, d / 8]);
    // 2π·10 positions exactly at either limit: the blend meets what lies beyond.
    const wavelength = 20 * Math.PI;
    expect(llama3(4 * wavelength)[1]).toBeCloseTo(0.1, 14);
    expect(llama3(wavelength)[1]).toBeCloseTo(0.1 / 8, 14);
    // Half way in turns: (2.5 − 1) / (4 − 1).
    expect(llama3(2.5 * wavelength)[1]).toBeCloseTo(0.5 * 0.1 + 0.5 * (0.1 / 8), 14);
  });

  test("in float32 every step is rounded", () => {
    const single = inverseFrequencies(rotary({ kind: "linear", factor: 3 }), "float32");
    expect([...single]).toEqual([...Float32Array.from(single)]);
    expect(single[1]).not.toBe(exact({ kind: "linear", factor: 3 })[1]);
  });
});

test("tables hold cos and sin of position × frequency, rounded as the arrays that hold them", () => {
  const position = 8191;
  const at = (allocate: (size: number) => Float32Array | Float64Array) =>
    rotaryTables(rotary({ kind: "none" }, 6), [3, position], allocate);
  const double = at((size) => new Float64Array(size));
  const frequencies = inverseFrequencies(rotary({ kind: "none" }, 6), "float64");
  for (const [i, frequency] of frequencies.entries()) {
    expect(double.cos[3 + i]).toBe(Math.cos(position * frequency));
    expect(double.sin[i]).toBe(Math.sin(3 * frequency));
  }
  // PyTorch's float32 angle of position 8191 and frequency fround(θ^(−1/3)), which is 380.19…, has steps of 3e-5.
  const angle = Math.fround(position * Math.fround(1 / Math.fround(10_000 ** Math.fround(2 / 6))));
  expect(at((size) => new Float32Array(size)).cos[4]).toBe(Math.fround(Math.cos(angle)));
  expect(Math.abs(angle - position * frequencies[1])).toBeGreaterThan(1e-6);
});
