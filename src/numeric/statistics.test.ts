/** @file Closed forms of the statistics, and the coverage of the bootstrap on a seeded simulation. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { random } from "../core/random.ts";
import {
  bootstrapMean,
  bootstrapRatio,
  drawResamples,
  mean,
  pearson,
  quantile,
  ranks,
  spearman,
  standardError,
  wilson,
} from "./statistics.ts";

test("mean and standard error of 1 … 5: 3 and √(2.5/5)", () => {
  expect(mean([1, 2, 3, 4, 5])).toBe(3);
  expect(standardError([1, 2, 3, 4, 5])).toBeCloseTo(Math.sqrt(0.5), 15);
  expect(standardError([1])).toBeNaN();
});

test("quantiles interpolate as NumPy's do", () => {
  expect(quantile([1, 2, 3, 4], 0.4)).toBeCloseTo(2.2, 15);
  expect([0, 0.5, 1].map((p) => quantile([1, 2, 3, 4], p))).toEqual([1, 2.5, 4]);
});

describe("correlation", () => {
  const values = fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 3, maxLength: 12 });

  test("of a line is ±1; of a constant undefined", () => {
    fc.assert(
      fc.property(values, (x) => {
        fc.pre(new Set(x).size > 1);
        expect(
          pearson(
            x,
            x.map((v) => 3 * v - 2),
          ),
        ).toBeCloseTo(1, 12);
        expect(
          pearson(
            x,
            x.map((v) => -v),
          ),
        ).toBeCloseTo(-1, 12);
        expect(
          pearson(
            x,
            x.map(() => 4),
          ),
        ).toBeNaN();
      }),
    );
  });

  test("Spearman's ignores any increasing map, Pearson's does not", () => {
    const x = [1, 2, 3, 4, 5];
    const y = x.map((v) => Math.exp(3 * v));
    expect(spearman(x, y)).toBeCloseTo(1, 14);
    expect(pearson(x, y)).toBeLessThan(0.8);
  });

  test("Spearman's without ties is 1 − 6Σd²/(n(n² − 1))", () => {
    expect(spearman([10, 20, 30, 40, 50], [2, 1, 4, 3, 5])).toBeCloseTo(1 - (6 * 4) / (5 * 24), 14);
  });

  test("ties share their mean rank", () => {
    expect([...ranks([7, 1, 7, 3, 7])]).toEqual([4, 1, 4, 2, 4]);
  });
});

describe("bootstrap", () => {
  /**
   * Coverage of the 95 % interval over simulated data sets. The percentile interval of n values falls short of its
   * level by O(1/n): its half width is 1.96·√((n − 1)/n) standard errors where Student's t asks for t(n − 1). At
   * n = 40 that is 1.935 against 2.023, a true coverage of 94.0 %. The bounds are that ± 4 binomial standard errors.
   */
  function expectCoverage(covers: (draw: number) => boolean): void {
    const trials = 600;
    let covered = 0;
    for (let draw = 0; draw < trials; draw++) if (covers(draw)) covered++;
    const slack = 4 * Math.sqrt((0.94 * 0.06) / trials);
    expect(covered / trials).toBeGreaterThan(0.94 - slack);
    expect(covered / trials).toBeLessThan(0.94 + slack);
  }

  test("interval of the mean covers the true mean at its level", () => {
    const source = random(11);
    expectCoverage((draw) => {
      const values = Float64Array.from({ length: 40 }, () => 2 + 3 * source.normal());
      const { low, high } = bootstrapMean(values, drawResamples(40, { seed: draw, resamples: 400 }));
      return low <= 2 && 2 <= high;
    });
  });

  test("interval of the ratio of means covers the true ratio, pairs resampled together", () => {
    const source = random(12);
    expectCoverage((draw) => {
      const denominators = Float64Array.from({ length: 40 }, () => 10 + 4 * source.normal());
      const numerators = denominators.map((value) => 0.7 * value + 0.5 * source.normal());
      const { low, high } = bootstrapRatio(
        { numerators, denominators },
        drawResamples(40, { seed: draw, resamples: 400 }),
      );
      return low <= 0.7 && 0.7 <= high;
    });
  });

  test("a numerator proportional to its denominator has an interval of width 0", () => {
    const denominators = [1, 5, 2, 9];
    const numerators = denominators.map((value) => value / 2);
    expect(bootstrapRatio({ numerators, denominators }, drawResamples(4, { seed: 1 }))).toEqual({
      estimate: 0.5,
      low: 0.5,
      high: 0.5,
    });
  });

  test("same seed, same interval; another seed, another", () => {
    const values = [0.3, 1.9, -0.4, 2.2, 0.8];
    const at = (seed: number) => bootstrapMean(values, drawResamples(5, { seed }));
    expect(at(3)).toEqual(at(3));
    expect(drawResamples(5, { seed: 3 }).indices).not.toEqual(drawResamples(5, { seed: 4 }).indices);
  });

  test("one pair has an estimate and no interval", () => {
    expect(bootstrapMean([4.5], drawResamples(1, { seed: 0 }))).toEqual({
      estimate: 4.5,
      low: NaN,
      high: NaN,
    });
  });

  test("refuses resamples drawn for another number of pairs", () => {
    expect(() => bootstrapMean([1, 2, 3], drawResamples(2, { seed: 0 }))).toThrow(
      "resamples of 2 pairs used on 3 values",
    );
  });
});

describe("wilson", () => {
  // Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
  test.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])("%i of %i: %f to %f, as published", (successes, count, low, high) => {
    const found = wilson(successes, count);
    expect(found.estimate).toBe(successes / count);
    expect(found.low).toBeCloseTo(low, 4);
    expect(found.high).toBeCloseTo(high, 4);
  });

  test("failures mirror successes", () => {
    const { low, high } = wilson(7, 40);
    const mirrored = wilson(33, 40);
    expect([mirrored.low, mirrored.high]).toEqual([
      expect.closeTo(1 - high, 12),
      expect.closeTo(1 - low, 12),
    ]);
  });
});
