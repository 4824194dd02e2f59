/** @file What is recomputed for every bootstrap resample of a comparison: means of rows, outlying cells, peaks. */
import { mean, quantile } from "./statistics.ts";

/** Mean of the picked rows of data [row, width], cell by cell; a NaN is a value that the row does not have. */
export function meanOfRows(data: Float64Array, width: number, picks: ArrayLike<number>): Float64Array {
  const out = new Float64Array(width);
  for (let cell = 0; cell < width; cell++) {
    let sum = 0;
    let count = 0;
    for (let i = 0; i < picks.length; i++) {
      const value = data[picks[i] * width + cell];
      if (Number.isNaN(value)) continue;
      sum += value;
      count++;
    }
    out[cell] = count === 0 ? NaN : sum / count;
  }
  return out;
}

/**
 * 1 or −1 for cells further than `deviations` standard deviations (n − 1) above or below the mean over all cells, else 0.
 * Cells that are all alike, to rounding, have none.
 */
export function outlying(values: Float64Array, deviations: number): Int8Array {
  const present = values.filter((value) => !Number.isNaN(value));
  const centre = mean(present);
  const spread = Math.sqrt(
    present.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (present.length - 1),
  );
  const found = new Int8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    if (Math.abs(values[i] - centre) > deviations * spread) found[i] = values[i] > centre ? 1 : -1;
  }
  return found;
}

/** Mean of each column of rows [row, width], over the rows that have it. */
export function columnMeans(rows: Float64Array, width: number): Float64Array {
  return meanOfRows(
    rows,
    width,
    Int32Array.from({ length: rows.length / width }, (_, row) => row),
  );
}

/** Index of the largest value; −1 where there is none. */
export function largestAt(values: ArrayLike<number>): number {
  let best = -1;
  for (let i = 0; i < values.length; i++) if (values[i] > (best < 0 ? -Infinity : values[best])) best = i;
  return best;
}

/** The middle 95 % of resampled values; NaN where fewer than half are defined. */
export function middle(resampled: readonly number[]): { readonly low: number; readonly high: number } {
  const sorted = resampled.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  if (sorted.length * 2 < resampled.length || sorted.length === 0) return { low: NaN, high: NaN };
  return { low: quantile(sorted, 0.025), high: quantile(sorted, 0.975) };
}
