/** @file Taking parts of a tensor. */

import type { Tensor } from "../core/tensor.ts";
import { sizeOf } from "../core/tensor.ts";

/** From every `period` entries along `axis`, the `length` that begin at `offset`; a copy. */
export function takeEvery(
  whole: Tensor<Float32Array>,
  take: { readonly axis: 0 | 1; readonly offset: number; readonly length: number; readonly period: number },
): Float32Array {
  const { axis, offset, length, period } = take;
  const extent = whole.shape[axis];
  const inner = axis === 0 ? (whole.shape[1] ?? 1) : 1;
  const outer = axis === 0 ? 1 : whole.shape[0];
  const out = new Float32Array((whole.data.length / period) * length);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (let start = offset; start < extent; start += period) {
      const from = (o * extent + start) * inner;
      out.set(whole.data.subarray(from, from + length * inner), at);
      at += length * inner;
    }
  }
  return out;
}

/** Rows of a tensor, copied. */
export function takeRows(whole: Tensor<Float32Array>, rows: readonly number[]): Tensor<Float32Array> {
  const rest = whole.shape.slice(1);
  const width = sizeOf(rest);
  const data = new Float32Array(rows.length * width);
  for (const [to, row] of rows.entries()) {
    data.set(whole.data.subarray(row * width, (row + 1) * width), to * width);
  }
  return { shape: [rows.length, ...rest], data };
}
