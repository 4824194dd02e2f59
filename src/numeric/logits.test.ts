/** @file Laws and closed forms of the functions of a row of logits. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  klDivergence,
  klGradientOfFirst,
  klGradientOfSecond,
  logSumExp,
  softmax,
  topLogits,
} from "./logits.ts";

const row = (length: number) =>
  fc
    .array(fc.double({ min: -50, max: 50, noNaN: true }), { minLength: length, maxLength: length })
    .map((values) => Float64Array.from(values));
const rows = fc.integer({ min: 1, max: 20 }).chain((length) => fc.tuple(row(length), row(length)));

describe("logSumExp", () => {
  test("of n equal logits c is c + log n, far outside the range of exp too", () => {
    for (const level of [-1e6, -3, 0, 800, 1e6]) {
      expect(logSumExp(new Float64Array(7).fill(level))).toBe(level + Math.log(7));
    }
  });

  test("keeps infinities and NaN", () => {
    expect(logSumExp(new Float64Array(0))).toBe(-Infinity);
    expect(logSumExp(Float64Array.of(-Infinity, -Infinity))).toBe(-Infinity);
    expect(logSumExp(Float64Array.of(-Infinity, 2))).toBe(2);
    expect(logSumExp(Float64Array.of(1, Infinity))).toBe(Infinity);
    expect(logSumExp(Float64Array.of(1, NaN))).toBeNaN();
  });
});

test("softmax sums to 1 and its log differences are the logit differences", () => {
  fc.assert(
    fc.property(rows, ([logits]) => {
      const probabilities = softmax(logits);
      expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
      for (let i = 1; i < logits.length; i++) {
        expect(Math.log(probabilities[i]) - Math.log(probabilities[0])).toBeCloseTo(logits[i] - logits[0], 9);
      }
    }),
  );
});

describe("klDivergence", () => {
  test("of two coins is p log(p/q) + (1 − p) log((1 − p)/(1 − q))", () => {
    const coin = (p: number) => Float64Array.of(Math.log(p), Math.log(1 - p));
    const expected = 0.3 * Math.log(0.3 / 0.8) + 0.7 * Math.log(0.7 / 0.2);
    expect(klDivergence(coin(0.3), coin(0.8))).toBeCloseTo(expected, 14);
  });

  test("is at least 0, and equals the sum over p log(p/q)", () => {
    fc.assert(
      fc.property(rows, ([logits, others]) => {
        const divergence = klDivergence(logits, others);
        const p = softmax(logits);
        const total = logSumExp(logits) - logSumExp(others);
        let plain = 0;
        for (let i = 0; i < p.length; i++) plain += p[i] * (logits[i] - others[i] - total);
        expect(divergence).toBeGreaterThanOrEqual(0);
        expect(divergence).toBeCloseTo(plain, 9);
      }),
    );
  });

  test("is exactly 0 for equal logits, and positive where distributions differ", () => {
    fc.assert(
      fc.property(rows, fc.double({ min: 1e-6, max: 5, noNaN: true }), ([logits], step) => {
        expect(klDivergence(logits, logits.slice())).toBe(0);
        if (logits.length < 2) return;
        const moved = logits.slice();
        moved[logits.indexOf(Math.max(...logits))] -= step;
        expect(klDivergence(logits, moved)).toBeGreaterThan(0);
      }),
    );
  });

  test("keeps its digits where the distributions almost agree: ½ p(1 − p) ε² for two classes", () => {
    // The plain sum of p log(p/q) returns 0 or noise of 1e-17 here.
    const step = 1e-7;
    const expected = 0.5 * 0.25 * step * step;
    const divergence = klDivergence(Float64Array.of(0, 0), Float64Array.of(step, 0));
    expect(Math.abs(divergence / expected - 1)).toBeLessThan(1e-6);
  });

  test("is infinite where Q rules out what P allows, finite the other way round", () => {
    const open = Float64Array.of(0, 0);
    const closed = Float64Array.of(0, -Infinity);
    expect(klDivergence(open, closed)).toBe(Infinity);
    expect(klDivergence(closed, open)).toBeCloseTo(Math.log(2), 14);
  });
});

test("topLogits agrees with a full stable sort", () => {
  const smallIntegers = fc
    .array(fc.integer({ min: -4, max: 4 }), { maxLength: 30 })
    .map((values) => Float32Array.from(values));
  fc.assert(
    fc.property(smallIntegers, fc.integer({ min: 0, max: 12 }), (logits, count) => {
      const sorted = Array.from(logits, (value, index) => ({ index, value })).sort(
        (a, b) => b.value - a.value,
      );
      expect(topLogits(logits, count)).toEqual(sorted.slice(0, count));
    }),
  );
});

test("KL gradients in either argument agree with central differences", () => {
  const moderate = fc
    .array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 5, maxLength: 5 })
    .map((values) => Float64Array.from(values));
  fc.assert(
    fc.property(moderate, moderate, (logits, others) => {
      const ofFirst = klGradientOfFirst(logits, others);
      const ofSecond = klGradientOfSecond(logits, others);
      for (let i = 0; i < 5; i++) {
        const slope = (along: (by: number) => number) => (along(1e-5) - along(-1e-5)) / 2e-5;
        const first = slope((by) => klDivergence(logits.with(i, logits[i] + by), others));
        const second = slope((by) => klDivergence(logits, others.with(i, others[i] + by)));
        expect(ofFirst[i]).toBeCloseTo(first, 7);
        expect(ofSecond[i]).toBeCloseTo(second, 7);
      }
    }),
  );
});
