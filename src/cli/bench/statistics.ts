/** @file Repeats that take turns, and what is said of them. */

/** Median with the least and the greatest. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
  return { median, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

/** Exponent p of the least-squares fit of value = a · size^p: 1 is linear growth. */
export function growthExponent(points: readonly { readonly size: number; readonly value: number }[]): number {
  const x = points.map(({ size }) => Math.log(size));
  const y = points.map(({ value }) => Math.log(value));
  const mean = (list: readonly number[]): number => list.reduce((sum, value) => sum + value, 0) / list.length;
  const [centreX, centreY] = [mean(x), mean(y)];
  const above = x.reduce((sum, value, i) => sum + (value - centreX) * ((y[i] ?? 0) - centreY), 0);
  const below = x.reduce((sum, value) => sum + (value - centreX) ** 2, 0);
  return above / below;
}

/** Largest absolute difference of the cells that both have; NaN where one of them is not a number. */
export function maxDifference(
  ours: readonly (readonly number[])[],
  theirs: readonly (readonly number[])[],
): number {
  let worst = 0;
  for (const [pair, row] of theirs.entries()) {
    for (const [cell, value] of row.entries()) {
      const difference = Math.abs(value - (ours[pair]?.[cell] ?? Number.NaN));
      if (!(difference <= worst)) worst = difference;
      if (Number.isNaN(worst)) return worst;
    }
  }
  return worst;
}
