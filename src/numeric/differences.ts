/** @file Differences of two runs' values, row by row. */

import type { FloatArray } from "../core/tensor.ts";

/** to −= minus, in place. */
export function subtractInto(to: FloatArray, minus: ArrayLike<number>): void {
  for (let i = 0; i < to.length; i++) to[i] -= minus[i];
}

/** to += plus, in place. */
export function addInto(to: FloatArray, plus: ArrayLike<number>): void {
  for (let i = 0; i < to.length; i++) to[i] += plus[i];
}

/** Rows of [row, width] with an element that is not 0, ascending. */
export function rowsNotZero(values: FloatArray, width: number): number[] {
  const found: number[] = [];
  for (let row = 0; row * width < values.length; row++) {
    let i = row * width;
    const end = i + width;
    while (i < end && values[i] === 0) i++;
    if (i < end) found.push(row);
  }
  return found;
}

/** One of the `count` parts of each row: [row, count, width] to [row, width]; a copy in `out`. */
export function takePart(
  values: FloatArray,
  part: { readonly index: number; readonly count: number; readonly width: number },
  out: FloatArray,
): void {
  const { index, count, width } = part;
  for (let row = 0; row * width < out.length; row++) {
    const from = (row * count + index) * width;
    out.set(values.subarray(from, from + width), row * width);
  }
}
