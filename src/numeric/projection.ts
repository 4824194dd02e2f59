/** @file Products of rows with vectors, in float64 whatever the precision of the rows. */
import type { FloatArray } from "../core/tensor.ts";

/** rows [n, d] · direction [d] → [n]. */
export function projectRows(rows: FloatArray, direction: Float64Array): Float64Array {
  const width = direction.length;
  const out = new Float64Array(rows.length / width);
  for (let row = 0; row < out.length; row++) {
    let sum = 0;
    for (let i = 0, at = row * width; i < width; i++, at++) sum += rows[at] * direction[i];
    out[row] = sum;
  }
  return out;
}

/** rows [n, d] less the row `origin` [d] from each, in float64. */
export function subtractRow(rows: FloatArray, origin: ArrayLike<number>): Float64Array {
  const out = new Float64Array(rows.length);
  const width = origin.length;
  for (let i = 0; i < out.length; i++) out[i] = rows[i] - origin[i % width];
  return out;
}

/** Mean of rows [n, d] → [d]. */
export function meanRow(rows: FloatArray, width: number): Float64Array {
  const sum = new Float64Array(width);
  for (let at = 0; at < rows.length; at += width) for (let i = 0; i < width; i++) sum[i] += rows[at + i];
  const count = rows.length / width;
  for (let i = 0; i < width; i++) sum[i] /= count;
  return sum;
}

/** target += factor · row, elementwise over the target. */
export function addScaled(target: Float64Array, row: ArrayLike<number>, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i] += factor * row[i];
}

/** Σ a·b. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Mean over rows of the cosine between the rows of a and b, both [n, d]. */
export function meanCosine(a: FloatArray, b: FloatArray, width: number): number {
  let sum = 0;
  for (let at = 0; at < a.length; at += width) {
    let product = 0;
    let squaresA = 0;
    let squaresB = 0;
    for (let i = at; i < at + width; i++) {
      product += a[i] * b[i];
      squaresA += a[i] * a[i];
      squaresB += b[i] * b[i];
    }
    sum += product / Math.sqrt(squaresA * squaresB);
  }
  return sum / (a.length / width);
}
