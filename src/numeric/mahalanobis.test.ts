/** @file Distances against explicit inverses and closed forms. */
import { describe, expect, test } from "vitest";
import { random } from "../core/random.ts";
import { distances, entropies, fitCloud } from "./mahalanobis.ts";

const WIDTH = 4;

/** States of unequal spread, two of their dimensions correlated. */
function draw(count: number, seed: number): Float64Array {
  const source = random(seed);
  const rows = Array.from({ length: count }, () => {
    const shared = source.normal();
    return [3 * source.normal() + 1, shared, shared + 0.1 * source.normal(), 0.2 * source.normal()];
  });
  return Float64Array.from(rows.flat());
}

const row = (states: Float64Array, at: number): number[] => [
  ...states.subarray(at * WIDTH, (at + 1) * WIDTH),
];

/** x of A x = b, by Gaussian elimination. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const work = matrix.map((line, i) => [...line, right[i] ?? 0]);
  for (let at = 0; at < work.length; at++) {
    for (let below = 0; below < work.length; below++) {
      if (below === at) continue;
      const ratio = (work[below]?.[at] ?? 0) / (work[at]?.[at] ?? 0);
      work[below] = (work[below] ?? []).map((value, i) => value - ratio * (work[at]?.[i] ?? 0));
    }
  }
  return work.map((line, at) => (line.at(-1) ?? 0) / (line[at] ?? 0));
}

/** Covariance, shrinkage and distances as the definitions have them, with matrices of d × d. */
function byDefinition(states: Float64Array, others: Float64Array) {
  const count = states.length / WIDTH;
  const centre = Array.from({ length: WIDTH }, (_, i) => {
    let sum = 0;
    for (let at = 0; at < count; at++) sum += row(states, at)[i] ?? 0;
    return sum / count;
  });
  const centred = Array.from({ length: count }, (_, at) =>
    row(states, at).map((value, i) => value - (centre[i] ?? 0)),
  );
  const outer = (x: readonly number[]) => x.map((a) => x.map((b) => a * b));
  const combine = (matrices: readonly number[][][], weight: number) =>
    centre.map((_, i) =>
      centre.map((__, j) => matrices.reduce((sum, matrix) => sum + weight * (matrix[i]?.[j] ?? 0), 0)),
    );
  const norm = (a: readonly number[][], b: readonly number[][]) =>
    a.reduce((sum, line, i) => sum + line.reduce((all, x, j) => all + (x - (b[i]?.[j] ?? 0)) ** 2, 0), 0);
  const sample = combine(centred.map(outer), 1 / count);
  const variance = sample.reduce((sum, line, i) => sum + (line[i] ?? 0), 0) / WIDTH;
  const identity = centre.map((_, i) => centre.map((__, j) => (i === j ? variance : 0)));
  const delta = norm(sample, identity);
  const beta = centred.reduce((sum, x) => sum + norm(outer(x), sample), 0) / count ** 2;
  const shrinkage = Math.min(beta, delta) / delta;
  const shrunk = combine([sample], 1 - shrinkage).map((line, i) =>
    line.map((value, j) => value + shrinkage * (identity[i]?.[j] ?? 0)),
  );
  const found = Array.from({ length: others.length / WIDTH }, (_, at) => {
    const moved = row(others, at).map((value, i) => value - (centre[i] ?? 0));
    return Math.sqrt(solve(shrunk, moved).reduce((sum, value, i) => sum + value * (moved[i] ?? 0), 0));
  });
  return { shrinkage, variance, found };
}

describe("a cloud", () => {
  test.each([3, 4, 12, 200])("of %i states has the distances that explicit inverses give", (count) => {
    const [states, others] = [draw(count, count), draw(6, 99)];
    const cloud = fitCloud(states, WIDTH);
    const wanted = byDefinition(states, others);
    expect(cloud.shrinkage).toBeCloseTo(wanted.shrinkage, 10);
    expect(cloud.variance).toBeCloseTo(wanted.variance, 12);
    for (const [at, distance] of distances(cloud, others).entries())
      expect(distance).toBeCloseTo(wanted.found[at] ?? Number.NaN, 8);
  });

  test("in one dimension: |x − x̄| over the standard deviation", () => {
    const cloud = fitCloud(Float64Array.from([1, 3, 5, 7]), 1);
    expect([...distances(cloud, Float64Array.from([4, 4 + Math.sqrt(5), -1]))]).toEqual([
      0,
      expect.closeTo(1, 12),
      expect.closeTo(Math.sqrt(5), 12),
    ]);
  });

  test("as wide in every direction has Euclidean distances over that width", () => {
    const cloud = fitCloud(Float64Array.from([1, 0, -1, 0, 0, 1, 0, -1]), 2);
    expect(cloud.shrinkage).toBe(1);
    expect(distances(cloud, Float64Array.from([3, 4]))[0]).toBeCloseTo(5 / Math.sqrt(0.5), 12);
  });

  test("moves and scales with its states", () => {
    const [states, others] = [draw(9, 1), draw(3, 2)];
    const plain = distances(fitCloud(states, WIDTH), others);
    const moved = distances(
      fitCloud(
        states.map((value) => 7 * value + 100),
        WIDTH,
      ),
      others.map((value) => 7 * value + 100),
    );
    for (const [at, distance] of moved.entries()) expect(distance).toBeCloseTo(plain[at] ?? Number.NaN, 8);
  });

  test("needs spread", () => {
    expect(() => fitCloud(Float64Array.from([1, 2, 1, 2]), 2)).toThrow("a cloud of 2 states without spread");
  });
});

test("entropies: 0 of certainty, log n of n equal shares", () => {
  const found = entropies(Float64Array.from([1, 0, 0, 0, 0.25, 0.25, 0.25, 0.25]), 4);
  expect(found[0]).toBe(0);
  expect(found[1]).toBeCloseTo(Math.log(4), 14);
});
