/**
 * @file Intervals of statistics that a bootstrap gets wrong: ranks of means, and the largest of them.
 *
 * A resample has some units twice and others not at all, and is noisier than the data. Noise takes a rank correlation
 * towards 0 and a largest value upwards, so that resampled values lie to one side: often all of them beside the estimate
 * itself, which has gone the same way from the truth. Leaving units out one by one repeats none.
 */

import { mean } from "./statistics.ts";
import { studentQuantile } from "./welch.ts";

/** A number with a 95 % interval; the ends are NaN where there is none. */
export interface Ranged {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/**
 * Groups that units are left out in. More would cost units times groups and narrow nothing: Student's t of 199 degrees of
 * freedom is 1.97, of infinitely many 1.96.
 */
const MAX_GROUPS = 200;

/**
 * For each group of units the units that stay where it is left out; a group is one unit where there are no more than
 * {@link MAX_GROUPS}, else every so manieth (Kott 2001, "The delete-a-group jackknife", J. Official Statistics 17:521).
 */
export function leftOut(units: number): Int32Array[] {
  const groups = Math.min(units, MAX_GROUPS);
  const all = Int32Array.from({ length: units }, (_, unit) => unit);
  return Array.from({ length: groups }, (_, group) => all.filter((unit) => unit % groups !== group));
}

/**
 * The estimate ± Student's t times the jackknife's standard error (Tukey 1958, Ann. Math. Stat. 29:614; Efron &
 * Tibshirani 1993, chapter 11), cut off where the statistic ends: it always holds the estimate. The variance errs upwards
 * on average, whatever symmetric statistic it is of (Efron & Stein 1981, Ann. Stat. 9:586).
 *
 * @param without for each sample that varies by itself, the statistic without each of its groups; variances add up. The
 * degrees of freedom are those of the smallest. Without any, or where a value is undefined, there is no interval.
 */
export function jackknife(
  value: number,
  without: readonly (readonly number[])[],
  [least, most]: readonly [number, number] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
): Ranged {
  const groups = Math.min(...without.map(({ length }) => length));
  let variance = 0;
  for (const values of without) {
    const centre = mean(values);
    const squares = values.reduce((sum, one) => sum + (one - centre) ** 2, 0);
    variance += (squares * (values.length - 1)) / values.length;
  }
  if (without.length === 0 || groups < 2 || !Number.isFinite(variance) || Number.isNaN(value))
    return { value, low: Number.NaN, high: Number.NaN };
  const half = variance === 0 ? 0 : quantileOf(groups - 1) * Math.sqrt(variance);
  // Rounding may carry an estimate past the end itself.
  return {
    value,
    low: Math.min(value, Math.max(least, value - half)),
    high: Math.max(value, Math.min(most, value + half)),
  };
}

const quantiles = new Map<number, number>();

/** Student's t of the middle 95 %. */
function quantileOf(freedom: number): number {
  const known = quantiles.get(freedom) ?? studentQuantile(0.975, freedom);
  quantiles.set(freedom, known);
  return known;
}
