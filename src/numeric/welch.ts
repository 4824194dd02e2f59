/** @file Student's t and Welch's comparison of two means. */

import { mean } from "./statistics.ts";

/**
 * The largest size |μ₁ − μ₂| that is not rejected at one minus the confidence: |x̄₁ − x̄₂| + t·se, with Welch's degrees
 * of freedom (Welch 1947). Infinite where either side has fewer than two values.
 */
export function upperBound(one: ArrayLike<number>, other: ArrayLike<number>, confidence: number): number {
  if (one.length < 2 || other.length < 2) return Number.POSITIVE_INFINITY;
  const [a, b] = [one, other].map((values) => variance(values) / values.length);
  const squared = a + b;
  const distance = Math.abs(mean(one) - mean(other));
  if (squared === 0) return distance;
  const freedom = squared ** 2 / (a ** 2 / (one.length - 1) + b ** 2 / (other.length - 1));
  return distance + studentQuantile(confidence, freedom) * Math.sqrt(squared);
}

function variance(values: ArrayLike<number>): number {
  const centre = mean(values);
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i] - centre) ** 2;
  return squares / (values.length - 1);
}

/** The t below which Student's distribution has the probability given, for 0.5 ≤ p < 1; by bisection, to 1e-10. */
export function studentQuantile(probability: number, freedom: number): number {
  let high = 1;
  while (studentDistribution(high, freedom) < probability) high *= 2;
  let low = 0;
  while (high - low > 1e-10 * high) {
    const middle = (low + high) / 2;
    if (studentDistribution(middle, freedom) < probability) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(T ≤ t) for t ≥ 0 (Abramowitz & Stegun 26.7.1: 1 − ½ I_x(ν/2, ½) with x = ν/(ν + t²)). */
export function studentDistribution(t: number, freedom: number): number {
  return 1 - 0.5 * incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);
}

/** Regularised incomplete beta function I_x(a, b) by its continued fraction (Abramowitz & Stegun 26.5.8), to 1e-14. */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  // The fraction converges fast on the near side of the mean.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) - logBeta(a, b)) / a;
  const tiny = 1e-300;
  let c = 1;
  let d = 1 / (1 - ((a + b) * x) / (a + 1) || tiny);
  let fraction = d;
  for (let m = 1; m < 1000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    for (const step of [even, odd]) {
      d = 1 / (1 + step * d || tiny);
      c = 1 + step / c || tiny;
      fraction *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return front * fraction;
}

function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}

/** log Γ(x) for x > 0: Stirling's series after moving x above 10 (Abramowitz & Stegun 6.1.41). */
function logGamma(x: number): number {
  let shift = 0;
  let at = x;
  while (at < 10) shift += Math.log(at++);
  const inverse = 1 / (at * at);
  const series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / at;
  return (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + series - shift;
}
