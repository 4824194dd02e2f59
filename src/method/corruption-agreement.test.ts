/** @file What units say together: sizes, order, shared detections. */
import { describe, expect, test } from "vitest";
import { compare } from "./corruption-agreement.ts";

describe("agreement", () => {
  const CELLS = 12;
  const rows = (units: number, of: (unit: number, cell: number) => number) => ({
    data: Float64Array.from({ length: units * CELLS }, (_, i) => of(Math.floor(i / CELLS), i % CELLS)),
    gaps: new Float64Array(units).fill(1),
  });
  const base = rows(6, (unit, cell) => (cell === 4 ? 5 : cell / 10) + 0.01 * unit);

  test("the same effects three times as large, of a gap three times as large: other size, same order and shares", () => {
    const larger = { data: base.data.map((value) => 3 * value), gaps: base.gaps.map((gap) => 3 * gap) };
    const { findings, agreement } = compare([base, larger], { cells: CELLS, reference: 0, seed: 1 });
    expect(agreement[0]?.[1]).toEqual({ value: 1, low: 1, high: 1 });
    expect(findings[1]?.peakRatio.value).toBeCloseTo(3, 12);
    expect(findings[1]?.peakRatio.low).toBeCloseTo(3, 12);
    expect(findings[1]?.peakShareRatio.high).toBeCloseTo(1, 12);
    expect([...(findings[1]?.detected ?? [])]).toEqual([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    expect(findings[1]?.sharedDetections).toBe(1);
    expect(findings[1]?.detectedShare[4]).toBe(1);
  });

  test("the reverse order has the correlation −1; a cell below the mean is detected with its sign, and is not shared", () => {
    const reverse = { data: base.data.map((value) => -value), gaps: base.gaps };
    const { findings, agreement } = compare([base, reverse], { cells: CELLS, reference: 0, seed: 1 });
    expect(agreement[1]?.[0]?.value).toBe(-1);
    expect(findings[1]?.detected[4]).toBe(-1);
    expect(findings[1]?.sharedDetections).toBe(0);
  });

  test("one cell in one pair of six: its mean has an interval, what one unit says has none", () => {
    const some = rows(6, (unit, cell) => (cell === 2 && unit === 0 ? 6 : 0));
    const single = rows(1, (_, cell) => cell);
    const { findings, agreement } = compare([some, single], { cells: CELLS, reference: 1, seed: 1 });
    expect(findings[0]?.effect[2]).toBe(1);
    expect(findings[0]?.effectLow[2]).toBe(0);
    expect(findings[0]?.effectHigh[2]).toBeGreaterThanOrEqual(2);
    // The pair with the effect is in a resample of six with probability 1 − (5/6)⁶ = 0.665.
    expect(Math.abs((findings[0]?.detectedShare[2] ?? 0) - 0.665)).toBeLessThan(0.07);
    expect(findings[1]?.effectLow[2]).toBeNaN();
    expect(findings[1]?.peakShare).toEqual({ value: 11, low: Number.NaN, high: Number.NaN });
    expect(agreement[1]?.[1]).toEqual({ value: 1, low: Number.NaN, high: Number.NaN });
  });
});
