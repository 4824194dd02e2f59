/** @file Principal directions of rows of numbers, and rows cut down to the first few of them, in float64. */
import { dot } from "./projection.ts";

/** A cloud of rows [n, d] about its mean: x = centre + Σ component·direction. */
export interface Directions {
  readonly width: number;
  /** [d] mean of the rows. */
  readonly centre: Float64Array;
  /** [d] singular values of the centred rows, descending; 0 beyond their rank. */
  readonly values: Float64Array;
  /** [d, d] right singular vectors, one a row, orthonormal, in the order of the values. */
  readonly vectors: Float64Array;
}

/** Sweeps over all pairs of columns: convergence is quadratic, and ten are seldom needed. */
const MAX_SWEEPS = 60;
/** Columns whose cosine is below this are orthogonal but for rounding. */
const ORTHOGONAL = 1e-15;

/**
 * Singular value decomposition of the centred rows by one-sided Jacobi rotations: columns are rotated in pairs until all
 * are orthogonal; their lengths are the singular values. Small ones come out as exactly as large ones.
 * Source: Hestenes 1958, J. SIAM 6:51; Demmel & Veselić 1992, SIAM J. Matrix Anal. Appl. 13:1204.
 *
 * @param rows [n, d]
 */
export function principalDirections(rows: ArrayLike<number>, width: number): Directions {
  const count = rows.length / width;
  const centre = new Float64Array(width);
  for (let i = 0; i < rows.length; i++) centre[i % width] += rows[i] / count;
  // Column i of the rows, and of what they are multiplied by from the right: both one after the other.
  const columns = Array.from({ length: width }, (_, i) =>
    Float64Array.from({ length: count }, (_, row) => rows[row * width + i] - centre[i]),
  );
  const basis = Array.from({ length: width }, (_, i) => {
    const unit = new Float64Array(width);
    unit[i] = 1;
    return unit;
  });
  const largest = Math.max(0, ...columns.map((column) => dot(column, column)));
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    let rotated = false;
    for (let p = 0; p < width - 1; p++) {
      for (let q = p + 1; q < width; q++) {
        const [a, b, c] = [
          dot(columns[p], columns[p]),
          dot(columns[q], columns[q]),
          dot(columns[p], columns[q]),
        ];
        // Columns that are nothing but rounding would be turned for ever.
        const least = ORTHOGONAL ** 2 * largest;
        if (c === 0 || Math.abs(c) <= ORTHOGONAL * Math.sqrt(a * b) || Math.min(a, b) <= least) {
          if (a < b) swap(columns, basis, { p, q });
          continue;
        }
        rotated = true;
        const zeta = (b - a) / (2 * c);
        const tangent = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cosine = 1 / Math.sqrt(1 + tangent * tangent);
        rotate(columns[p], columns[q], { cosine, sine: cosine * tangent });
        rotate(basis[p], basis[q], { cosine, sine: cosine * tangent });
        if (dot(columns[p], columns[p]) < dot(columns[q], columns[q])) swap(columns, basis, { p, q });
      }
    }
    if (!rotated) break;
  }
  const lengths = columns.map((column) => Math.sqrt(dot(column, column)));
  const order = [...lengths.keys()].sort((i, j) => lengths[j] - lengths[i]);
  const vectors = new Float64Array(width * width);
  for (const [row, i] of order.entries()) vectors.set(basis[i], row * width);
  return { width, centre, values: Float64Array.from(order, (i) => lengths[i]), vectors };
}

/** Rows [n, d] with no more left of them than the mean and the first `rank` directions. */
export function cutToRank(
  { width, centre, vectors }: Directions,
  rows: ArrayLike<number>,
  rank: number,
): Float64Array {
  const out = new Float64Array(rows.length);
  for (let at = 0; at < rows.length; at += width) {
    for (let i = 0; i < width; i++) out[at + i] = centre[i];
    for (let k = 0; k < rank * width; k += width) {
      let component = 0;
      for (let i = 0; i < width; i++) component += (rows[at + i] - centre[i]) * vectors[k + i];
      for (let i = 0; i < width; i++) out[at + i] += component * vectors[k + i];
    }
  }
  return out;
}

function rotate(
  a: Float64Array,
  b: Float64Array,
  { cosine, sine }: { readonly cosine: number; readonly sine: number },
): void {
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i], b[i]];
    a[i] = cosine * x - sine * y;
    b[i] = sine * x + cosine * y;
  }
}

/** The longer column goes first: so ordered, the sweeps converge faster. */
function swap(
  columns: Float64Array[],
  basis: Float64Array[],
  { p, q }: { readonly p: number; readonly q: number },
): void {
  [columns[p], columns[q]] = [columns[q], columns[p]];
  [basis[p], basis[q]] = [basis[q], basis[p]];
}
