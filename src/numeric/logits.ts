/** @file Stable functions of one row of logits, in float64 whatever the precision of the logits. */
import type { FloatArray } from "../core/tensor.ts";

/** A position in a row of logits and the value found there. */
export interface RankedLogit {
  readonly index: number;
  readonly value: number;
}

/** log Σ exp(logits), in nats. Shifted by the maximum, so that neither end of the range overflows; −∞ for an empty row. */
export function logSumExp(logits: FloatArray): number {
  const largest = maximum(logits);
  // All −∞ (or nothing): the sum is 0. +∞ or NaN: the shift would turn the answer into NaN where it is ∞.
  if (!Number.isFinite(largest)) return largest;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - largest);
  return largest + Math.log(sum);
}

/** Probabilities [vocab] that sum to 1. */
export function softmax(logits: FloatArray): Float64Array {
  const total = logSumExp(logits);
  const probabilities = new Float64Array(logits.length);
  for (let i = 0; i < logits.length; i++) probabilities[i] = Math.exp(logits[i] - total);
  return probabilities;
}

/**
 * KL(P ‖ Q) in nats, where P = softmax(`logits`) and Q = softmax(`otherLogits`), both [vocab].
 *
 * Summed as p·(e^−t − 1 + t) with t = log p − log q. The extra terms sum to Σ(q − p) = 0, and every summand is
 * then at least 0, so that near-equal distributions give a small positive number rather than the rounding of a
 * sum whose terms cancel.
 */
export function klDivergence(logits: FloatArray, otherLogits: FloatArray): number {
  if (logits.length !== otherLogits.length) {
    throw new RangeError(`KL of ${logits.length} logits and ${otherLogits.length} logits`);
  }
  const total = logSumExp(logits);
  const otherTotal = logSumExp(otherLogits);
  let divergence = 0;
  for (let i = 0; i < logits.length; i++) {
    const logRatio = logits[i] - total - (otherLogits[i] - otherTotal);
    const probability = Math.exp(logits[i] - total);
    // 0·log 0 = 0; what is left of the summand is q.
    if (probability === 0) divergence += Math.exp(otherLogits[i] - otherTotal);
    else divergence += probability * expMinusOneMinus(-logRatio);
  }
  return divergence;
}

/** ∂ KL(P ‖ Q) / ∂ logits, for P = softmax(`logits`): p·(log p − log q − KL), [vocab]. */
export function klGradientOfFirst(logits: FloatArray, otherLogits: FloatArray): Float64Array {
  const divergence = klDivergence(logits, otherLogits);
  const shift = logSumExp(logits) - logSumExp(otherLogits) + divergence;
  const gradient = softmax(logits);
  for (let i = 0; i < gradient.length; i++) gradient[i] *= logits[i] - otherLogits[i] - shift;
  return gradient;
}

/** ∂ KL(P ‖ Q) / ∂ otherLogits, for Q = softmax(`otherLogits`): q − p, [vocab]. */
export function klGradientOfSecond(logits: FloatArray, otherLogits: FloatArray): Float64Array {
  const gradient = softmax(otherLogits);
  const probabilities = softmax(logits);
  for (let i = 0; i < gradient.length; i++) gradient[i] -= probabilities[i];
  return gradient;
}

/** The `count` largest logits, largest first; equal logits in order of their index. */
export function topLogits(logits: FloatArray, count: number): RankedLogit[] {
  const top: RankedLogit[] = [];
  for (let index = 0; index < logits.length; index++) {
    const value = logits[index];
    if (top.length === count && (count === 0 || !(value > top[count - 1].value))) continue;
    let place = top.length;
    while (place > 0 && value > top[place - 1].value) place--;
    top.splice(place, 0, { index, value });
    if (top.length > count) top.pop();
  }
  return top;
}

/** How many logits are larger than that of `index`, and 1: the rank of the most probable is 1. */
export function rankOf(logits: FloatArray, index: number): number {
  let rank = 1;
  for (let i = 0; i < logits.length; i++) if (logits[i] > logits[index]) rank += 1;
  return rank;
}

/** e^x − 1 − x, at least 0. Near 0 the subtraction loses every digit, hence the Taylor series there. */
function expMinusOneMinus(x: number): number {
  // At |x| = 1e-2 the first term left out, x⁷/5040, is 4e-14 of the first kept, x²/2.
  if (Math.abs(x) < 1e-2) return x * x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x / 720))));
  return Math.expm1(x) - x;
}

function maximum(values: FloatArray): number {
  let largest = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) return NaN;
    if (values[i] > largest) largest = values[i];
  }
  return largest;
}
