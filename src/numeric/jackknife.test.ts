/** @file The jackknife against closed forms: Student's t of a mean, two samples, groups, the ends of a range. */
import { expect, test } from "vitest";
import { random } from "../core/random.ts";
import { jackknife, leftOut } from "./jackknife.ts";
import { mean, standardError } from "./statistics.ts";
import { studentQuantile } from "./welch.ts";

const without = (values: readonly number[], of: (some: number[]) => number): number[] =>
  leftOut(values.length).map((rest) => of(Array.from(rest, (unit) => values[unit] ?? Number.NaN)));

test("of a mean it is Student's t interval, and a constant has none of width", () => {
  const values = [3, 1, 4, 1, 5, 9, 2, 6];
  const { value, low, high } = jackknife(mean(values), [without(values, mean)]);
  const half = studentQuantile(0.975, 7) * standardError(values);
  expect(value).toBe(mean(values));
  expect(low).toBeCloseTo(value - half, 12);
  expect(high).toBeCloseTo(value + half, 12);
  expect(jackknife(2, [[2, 2, 2]])).toEqual({ value: 2, low: 2, high: 2 });
});

test("samples that vary by themselves add their variances, with the freedom of the smaller", () => {
  const [one, other] = [
    [3, 1, 4, 1, 5],
    [9, 2, 6],
  ];
  const { value, high } = jackknife(mean(one) - mean(other), [
    without(one, (some) => mean(some) - mean(other)),
    without(other, (some) => mean(one) - mean(some)),
  ]);
  const error = Math.hypot(standardError(one), standardError(other));
  expect(high - value).toBeCloseTo(studentQuantile(0.975, 2) * error, 12);
});

test("it ends where the statistic does, and holds an estimate that rounding has carried further", () => {
  expect(jackknife(0.9, [[0, 0.99, 1]], [-1, 1])).toEqual({ value: 0.9, low: -1, high: 1 });
  const past = 1 + 1e-15;
  expect(jackknife(past, [[1, 0.99, 1]], [-1, 1]).high).toBe(past);
});

test("nothing varies, or is undefined for some units: no interval", () => {
  for (const sets of [[], [[1]], [[1, Number.NaN, 2]]])
    expect(jackknife(1, sets)).toEqual({ value: 1, low: Number.NaN, high: Number.NaN });
  expect(jackknife(Number.NaN, [[1, 2]]).low).toBeNaN();
});

test("many units go in 200 groups, each left out once, to nearly the same interval", () => {
  const groups = leftOut(1001);
  expect(groups.length).toBe(200);
  expect(leftOut(3).map((rest) => [...rest])).toEqual([
    [1, 2],
    [0, 2],
    [0, 1],
  ]);
  const stays = new Int32Array(1001);
  for (const rest of groups) for (const unit of rest) stays[unit] = (stays[unit] ?? 0) + 1;
  expect(new Set(stays)).toEqual(new Set([199]));
  const source = random(3);
  const values = Array.from({ length: 1001 }, () => source.normal());
  const { low, high } = jackknife(mean(values), [without(values, mean)]);
  // A standard error of 199 degrees of freedom is itself known to 1/√(2 · 199) = 5 %; three times that.
  expect(Math.abs((high - low) / (2 * 1.96 * standardError(values)) - 1)).toBeLessThan(0.15);
});
