import { expect, test } from "vitest";
import { growthExponent, maxDifference, spread } from "./statistics.ts";

test("the median of an even number of values lies half-way between the middle two", () => {
  expect(spread([4, 1, 10, 2])).toEqual({ median: 3, min: 1, max: 10 });
  expect(spread([5, 3, 4])).toEqual({ median: 4, min: 3, max: 5 });
});

test("a power law's exponent is found, whatever its factor", () => {
  for (const power of [0.5, 1, 2]) {
    const points = [3, 10, 40].map((size) => ({ size, value: 7 * size ** power }));
    expect(growthExponent(points)).toBeCloseTo(power, 12);
  }
});

test("a value that is not a number or not there is no agreement", () => {
  expect(maxDifference([[1, 2]], [[1.25, 2]])).toBe(0.25);
  expect(maxDifference([[1, Number.NaN]], [[1, 2]])).toBeNaN();
  expect(maxDifference([[1]], [[1, 2]])).toBeNaN();
  expect(maxDifference([[Number.NaN, 1]], [[5, 9]])).toBeNaN();
});
