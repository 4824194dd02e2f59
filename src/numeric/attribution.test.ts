import fc from "fast-check";
import { expect, test } from "vitest";
import { addFirstOrder, scoreEffects } from "./attribution.ts";
import { softmax } from "./kernels.ts";

/** Σ_j (softmax of the scores with one changed − softmax)_j g_j, written out. */
function bySoftmax(scores: Float64Array, changes: Float64Array, gradients: Float64Array): Float64Array {
  const before = softmax(scores, scores.length);
  return Float64Array.from(scores, (_, t) => {
    const after = softmax(scores.with(t, scores[t] + changes[t]), scores.length);
    return after.reduce((sum, p, j) => sum + (p - before[j]) * gradients[j], 0);
  });
}

const numbers = (length: number, size: number) =>
  fc
    .array(fc.double({ min: -size, max: size, noNaN: true }), { minLength: length, maxLength: length })
    .map((values) => Float64Array.from(values));

test("effects of single scores are those of whole softmaxes, also where one has all the weight", () => {
  const sample = fc
    .tuple(fc.integer({ min: 1, max: 7 }), fc.constantFrom(1, 10, 100, 1000))
    .chain(([length, size]) => fc.tuple(numbers(length, size), numbers(length, size), numbers(length, 3)));
  fc.assert(
    fc.property(sample, ([scores, changes, gradients]) => {
      const wanted = bySoftmax(scores, changes, gradients);
      scoreEffects(scores, changes, gradients).forEach((found, t) => {
        expect(Math.abs(found - wanted[t])).toBeLessThan(1e-11);
      });
    }),
    { numRuns: 2000 },
  );
});

test("a small change has the effect p δ (g − ḡ), the derivative's", () => {
  const scores = Float64Array.of(0.3, -1, 2);
  const gradients = Float64Array.of(1, -2, 0.5);
  const p = softmax(scores, 3);
  const mean = p.reduce((sum, weight, j) => sum + weight * gradients[j], 0);
  const change = 1e-9;
  scoreEffects(scores, Float64Array.of(change, change, change), gradients).forEach((found, t) => {
    expect(found / change).toBeCloseTo(p[t] * (gradients[t] - mean), 7);
  });
});

test("a saturated entry that is taken away has the whole effect of the one behind it", () => {
  // exp(−800) is no number of float64 beside 1, yet it is all that is left.
  const effects = scoreEffects(
    Float64Array.of(800, 0, -5),
    Float64Array.of(-2000, 0, 0),
    Float64Array.of(1, 4, 0),
  );
  expect(effects[0]).toBeCloseTo((4 * 1) / (1 + Math.exp(-5)) - 1, 12);
});

test("elements go to the cells that their indices say, and to none where an index is in none", () => {
  const place = (values: number[]) => ({ target: Float64Array.from(values), offset: 1 });
  const cells = new Float64Array(4);
  // Axes [2, 3]: rows 0 and 1 to cells 0 and 2, columns to 1, none, 0.
  addFirstOrder(
    cells,
    {
      base: place([9, 0, 0, 0, 0, 0, 0]),
      source: place([9, 1, 2, 3, 4, 5, 6]),
      gradient: place([9, 10, 10, 10, 1, 1, 1]),
    },
    [
      [0, 2],
      [1, -1, 0],
    ],
  );
  expect([...cells]).toEqual([30, 10, 6, 4]);
});
