import { expect, test } from "vitest";
import { random } from "../core/random.ts";
import { dot } from "./projection.ts";
import { cutToRank, principalDirections } from "./svd.ts";

const normals = (count: number, seed: number): Float64Array => {
  const { normal } = random(seed);
  return Float64Array.from({ length: count }, normal);
};
const most = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);

test("rows along two axes have the lengths of their columns as singular values", () => {
  // Mean 0 by itself: (±3, 0, ±1) in all combinations.
  const rows = [3, 0, 1, 3, 0, -1, -3, 0, 1, -3, 0, -1];
  const { values, vectors, centre } = principalDirections(rows, 3);
  expect([...values]).toEqual([6, 2, 0]);
  expect([...centre]).toEqual([0, 0, 0]);
  expect([...vectors].map(Math.abs)).toEqual([1, 0, 0, 0, 0, 1, 0, 1, 0]);
});

test("the corners of a regular tetrahedron take three directions of the same size, wherever it lies", () => {
  const corners = [
    [1, 1, 1],
    [1, -1, -1],
    [-1, 1, -1],
    [-1, -1, 1],
  ];
  const width = 7;
  const frame = principalDirections(normals(20 * width, 3), width).vectors; // any orthonormal one
  const rows = corners.flatMap((corner) =>
    Array.from({ length: width }, (_, i) =>
      corner.reduce((sum, value, axis) => sum + value * (frame[axis * width + i] ?? 0), 5),
    ),
  );
  const found = principalDirections(rows, width);
  expect([...found.values].map((value) => Math.round(1e9 * value) / 1e9)).toEqual([2, 2, 2, 0, 0, 0, 0]);
  expect(most(cutToRank(found, rows, 3).map((value, i) => value - (rows[i] ?? 0)))).toBeLessThan(1e-12);
  expect(most(cutToRank(found, rows, 2).map((value, i) => value - (rows[i] ?? 0)))).toBeGreaterThan(0.1);
});

test.each([
  { count: 40, width: 9 },
  { count: 5, width: 12 },
  { count: 1, width: 4 },
])("of $count random rows of $width numbers", ({ count, width }) => {
  const rows = normals(count * width, count);
  const found = principalDirections(rows, width);
  const { values, vectors, centre } = found;
  // Orthonormal.
  for (let i = 0; i < width; i++) {
    for (let j = 0; j < width; j++) {
      const product = dot(
        vectors.subarray(i * width, (i + 1) * width),
        vectors.subarray(j * width, (j + 1) * width),
      );
      expect(product).toBeCloseTo(Number(i === j), 12);
    }
  }
  // The whole basis leaves every row as it is.
  expect(most(cutToRank(found, rows, width).map((value, i) => value - (rows[i] ?? 0)))).toBeLessThan(1e-12);
  // Descending, no more than the centred rows' rank; each is the length of the rows along its direction.
  for (let i = 1; i < width; i++) expect(values[i]).toBeLessThanOrEqual((values[i - 1] ?? 0) + 1e-12);
  for (let i = Math.min(count - 1, width); i < width; i++) expect(values[i]).toBeLessThan(1e-12);
  const along = (k: number): number => {
    let squares = 0;
    for (let row = 0; row < count; row++) {
      const centred = Float64Array.from(centre, (middle, i) => (rows[row * width + i] ?? 0) - middle);
      squares += dot(centred, vectors.subarray(k * width, (k + 1) * width)) ** 2;
    }
    return Math.sqrt(squares);
  };
  for (let k = 0; k < width; k++) expect(along(k)).toBeCloseTo(values[k] ?? Number.NaN, 10);
  // What a cut leaves out is what the values left out say (Eckart & Young 1936).
  const rank = Math.min(2, width);
  const cut = cutToRank(found, rows, rank);
  const lost = rows.reduce((sum, value, i) => sum + (value - (cut[i] ?? 0)) ** 2, 0);
  expect(lost).toBeCloseTo(
    values.slice(rank).reduce((sum, value) => sum + value ** 2, 0),
    9,
  );
});
