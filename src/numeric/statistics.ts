/** @file Means, bootstrap intervals and correlations over pairs, in float64. */
import { random } from "../core/random.ts";

/** Anything that holds numbers by index. */
type Values = ArrayLike<number>;

/** Bootstrap resamples: the 2.5 % quantile then rests on 50 draws, a standard error of 0.35 percentage points. */
export const DEFAULT_RESAMPLES = 2000;

/** An estimate with its two-sided interval; `low` and `high` are NaN where there are too few values for one. */
export interface Interval {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
}

/** Which values each resample draws: `indices` is [resample, draw], row-major, each entry in [0, count). */
export interface Resamples {
  readonly count: number;
  readonly indices: Int32Array;
}

/** Arithmetic mean; NaN of nothing. */
export function mean(values: Values): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** Standard error of the mean, s/√n with s² = Σ(x − x̄)²/(n − 1); NaN of fewer than two values. */
export function standardError(values: Values): number {
  const count = values.length;
  if (count < 2) return NaN;
  const centre = mean(values);
  let squares = 0;
  for (let i = 0; i < count; i++) squares += (values[i] - centre) ** 2;
  return Math.sqrt(squares / (count - 1) / count);
}

/**
 * Draws resamples of `count` pairs with replacement. Draw once and use for every cell of a sweep: the cells then
 * share their resamples, so that differences between cells are not blurred by independent draws.
 */
export function drawResamples(
  count: number,
  options: { readonly seed: number; readonly resamples?: number },
): Resamples {
  const source = random(options.seed);
  const indices = new Int32Array(count * (options.resamples ?? DEFAULT_RESAMPLES));
  for (let i = 0; i < indices.length; i++) indices[i] = source.integer(count);
  return { count, indices };
}

/**
 * Percentile bootstrap interval of the mean (Efron & Tibshirani 1993, section 13.3).
 * `level` is the coverage, 0.95 unless given. One value carries no information on spread: its interval is NaN.
 */
export function bootstrapMean(values: Values, resamples: Resamples, level = 0.95): Interval {
  return interval(mean(values), resampledMeans(values, resamples), { level, count: values.length });
}

/**
 * Percentile bootstrap interval of mean(numerators) / mean(denominators). Both are resampled together, by pair:
 * a normalised score's numerator and denominator come from the same prompt and rise and fall together.
 */
export function bootstrapRatio(
  ratio: { readonly numerators: Values; readonly denominators: Values },
  resamples: Resamples,
  level = 0.95,
): Interval {
  const ratios = resampledMeans(ratio.numerators, resamples);
  const below = resampledMeans(ratio.denominators, resamples);
  for (let i = 0; i < ratios.length; i++) ratios[i] /= below[i];
  const estimate = mean(ratio.numerators) / mean(ratio.denominators);
  return interval(estimate, ratios, { level, count: ratio.numerators.length });
}

/**
 * Quantile of sorted values, by linear interpolation between order statistics (type 7 of Hyndman & Fan 1996, the
 * default of R and NumPy).
 */
export function quantile(sorted: Values, probability: number): number {
  if (sorted.length === 0) return NaN;
  const place = probability * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** Pearson's correlation; NaN where either side is constant or has fewer than two values. */
export function pearson(x: Values, y: Values): number {
  requireSameLength(x, y);
  const centreX = mean(x);
  const centreY = mean(y);
  let products = 0;
  let squaresX = 0;
  let squaresY = 0;
  for (let i = 0; i < x.length; i++) {
    const deviationX = x[i] - centreX;
    const deviationY = y[i] - centreY;
    products += deviationX * deviationY;
    squaresX += deviationX * deviationX;
    squaresY += deviationY * deviationY;
  }
  if (squaresX === 0 || squaresY === 0) return NaN;
  // Rounding may carry the quotient a last digit past ±1.
  return Math.max(-1, Math.min(1, products / (Math.sqrt(squaresX) * Math.sqrt(squaresY))));
}

/** Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank. */
export function spearman(x: Values, y: Values): number {
  requireSameLength(x, y);
  return pearson(ranks(x), ranks(y));
}

/** Ranks from 1; equal values share the mean of the ranks they take up. */
export function ranks(values: Values): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a] - values[b]);
  const ranked = new Float64Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let i = start; i < end; i++) ranked[order[i]] = (start + 1 + end) / 2;
    start = end;
  }
  return ranked;
}

/** [resample]: the mean of the values each resample draws. */
function resampledMeans(values: Values, { count, indices }: Resamples): Float64Array {
  if (values.length !== count)
    throw new RangeError(`resamples of ${count} pairs used on ${values.length} values`);
  const means = new Float64Array(count === 0 ? 0 : indices.length / count);
  for (let resample = 0; resample < means.length; resample++) {
    let sum = 0;
    for (let i = resample * count; i < (resample + 1) * count; i++) sum += values[indices[i]];
    means[resample] = sum / count;
  }
  return means;
}

/** Sorts the resampled statistics in place and cuts off both tails. */
function interval(
  estimate: number,
  resampled: Float64Array,
  { level, count }: { readonly level: number; readonly count: number },
): Interval {
  if (count < 2) return { estimate, low: NaN, high: NaN };
  resampled.sort();
  const tail = (1 - level) / 2;
  return { estimate, low: quantile(resampled, tail), high: quantile(resampled, 1 - tail) };
}

function requireSameLength(x: Values, y: Values): void {
  if (x.length !== y.length) throw new RangeError(`correlation of ${x.length} values with ${y.length}`);
}

/**
 * Wilson's score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22:209): `successes` of `count`.
 * It stays within [0, 1], and has a width even where all or none succeed. `z` is the normal quantile: 1.96 for 95 %.
 */
export function wilson(successes: number, count: number, z: number = 1.959963984540054): Interval {
  const estimate = successes / count;
  const scale = 1 + (z * z) / count;
  const centre = (estimate + (z * z) / (2 * count)) / scale;
  const half = (z / scale) * Math.sqrt((estimate * (1 - estimate)) / count + (z * z) / (4 * count * count));
  return { estimate, low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}
