/** @file Whole-tensor changes, on row-major float32. */

const TILE = 32; // 32 × 32 float32 are 4 KiB read and 4 KiB written: both stay in the first-level cache

/** Transposes [rows, columns] to [columns, rows], written to `out`. */
export function transpose(values: Float32Array, rows: number, out: Float32Array): void {
  const columns = values.length / rows;
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
}

/** Adds a constant to each element in place, rounded to float32. */
export function addConstant(values: Float32Array, constant: number): void {
  for (let i = 0; i < values.length; i++) values[i] += constant;
}
