import { expect, test } from "vitest";
import { random } from "../core/random.ts";
import { studentDistribution, studentQuantile, upperBound } from "./welch.ts";

test("Student's distribution has the closed forms of 1 and 2 degrees of freedom", () => {
  for (const t of [0, 0.3, 1, 2.5, 40]) {
    expect(studentDistribution(t, 1)).toBeCloseTo(0.5 + Math.atan(t) / Math.PI, 12);
    expect(studentDistribution(t, 2)).toBeCloseTo(0.5 + t / (2 * Math.sqrt(2 + t * t)), 12);
  }
});

test.each([
  // Abramowitz & Stegun, table 26.10, and the normal limit.
  [0.95, 10, 1.812],
  [0.975, 4, 2.776],
  [0.99, 30, 2.457],
  [0.975, 1e7, 1.95996],
])("the quantile of %d with %d degrees of freedom", (probability, freedom, wanted) => {
  expect(studentQuantile(probability, freedom)).toBeCloseTo(wanted, 3);
});

test("the bound covers a difference of means as often as it says", () => {
  const { normal } = random(4);
  const draw = (count: number, centre: number, spread: number) =>
    Float64Array.from({ length: count }, () => centre + spread * normal());
  let covered = 0;
  const trials = 2000;
  for (let trial = 0; trial < trials; trial++) {
    if (upperBound(draw(12, 1.5, 1), draw(20, 0, 3), 0.9) >= 1.5) covered++;
  }
  expect(covered / trials).toBeGreaterThan(0.9 - 3 * Math.sqrt((0.9 * 0.1) / trials));
  expect(covered / trials).toBeLessThan(0.93);
});

test("too few values bound nothing, equal values are exact", () => {
  expect(upperBound([1], [2, 3], 0.9)).toBe(Number.POSITIVE_INFINITY);
  expect(upperBound([2, 2], [5, 5], 0.9)).toBe(3);
});
