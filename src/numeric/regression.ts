/** @file Straight lines through points, with intervals by resampling points. */
import type { Interval, Resamples } from "./statistics.ts";
import { mean, pearson, quantile } from "./statistics.ts";

/** Least squares of y on x. */
export interface Line {
  readonly slope: number;
  readonly intercept: number;
  /** Share of the variance of y that the line explains. */
  readonly r2: number;
}

/** Ordinary least squares; NaN throughout where x does not vary. */
export function fitLine(x: ArrayLike<number>, y: ArrayLike<number>): Line {
  const [centreX, centreY] = [mean(x), mean(y)];
  let [products, squares] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    products += (x[i] - centreX) * (y[i] - centreY);
    squares += (x[i] - centreX) ** 2;
  }
  const slope = squares === 0 ? NaN : products / squares;
  return { slope, intercept: centreY - slope * centreX, r2: pearson(x, y) ** 2 };
}

/** Fewest points of which a resampled statistic says anything. */
const MIN_POINTS = 3;

/**
 * Percentile bootstrap interval of a statistic of points (x, y), drawn together (Efron & Tibshirani 1993, section 9.5).
 * Resamples of which the statistic is not defined are left out; NaN for fewer than three points.
 */
export function bootstrapOf(
  points: { readonly x: ArrayLike<number>; readonly y: ArrayLike<number> },
  resamples: Resamples,
  statistic: (x: Float64Array, y: Float64Array) => number,
): Interval {
  const { count, indices } = resamples;
  const estimate = statistic(Float64Array.from(points.x), Float64Array.from(points.y));
  if (count < MIN_POINTS) return { estimate, low: NaN, high: NaN };
  const [x, y] = [new Float64Array(count), new Float64Array(count)];
  const found: number[] = [];
  for (let start = 0; start < indices.length; start += count) {
    for (let i = 0; i < count; i++) {
      x[i] = points.x[indices[start + i]];
      y[i] = points.y[indices[start + i]];
    }
    const value = statistic(x, y);
    if (!Number.isNaN(value)) found.push(value);
  }
  found.sort((a, b) => a - b);
  return { estimate, low: quantile(found, 0.025), high: quantile(found, 0.975) };
}
