/** @file Moving the rows of a matrix about, and other whole-tensor changes of layout, on row-major float32. */

/** Row r of the result is row `sourceOf(r)` of `values`; a row holds `width` elements. */
export function permuteRows(
  values: Float32Array,
  width: number,
  sourceOf: (row: number) => number,
): Float32Array<ArrayBuffer> {
  const out = new Float32Array(values.length);
  const rows = values.length / width;
  for (let row = 0; row < rows; row++) {
    const source = sourceOf(row) * width;
    out.set(values.subarray(source, source + width), row * width);
  }
  return out;
}

const TILE = 32; // 32 × 32 float32 are 4 KiB read and 4 KiB written: both stay in the first-level cache

/** Transposes [rows, columns] to [columns, rows]. */
export function transpose(values: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(values.length);
  for (let top = 0; top < rows; top += TILE) {
    const bottom = Math.min(top + TILE, rows);
    for (let left = 0; left < columns; left += TILE) {
      const right = Math.min(left + TILE, columns);
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) {
          out[column * rows + row] = values[row * columns + column];
        }
      }
    }
  }
  return out;
}

/** Adds a constant to each element in place, rounded to float32. */
export function addConstant(values: Float32Array, constant: number): void {
  for (let i = 0; i < values.length; i++) values[i] += constant;
}
