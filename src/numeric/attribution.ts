/** @file Loops of attribution patching: sums of first-order effects over cells, and the effects of queries and keys behind the softmax. */

import type { Numbers } from "./kernels.ts";

/** Which cell each index along an axis belongs to: the part it adds to the cell's number, or −1 where it is in none. */
export type CellPart = ArrayLike<number>;

/** A row's value of some site, in a larger array. */
export interface Place {
  readonly target: Numbers;
  readonly offset: number;
}

/** cells[c] += Σ (source − base)·gradient over the elements of cell c; `axes` has the parts of every axis, in order. */
export function addFirstOrder(
  cells: Float64Array,
  values: { readonly base: Place; readonly source: Place; readonly gradient: Place },
  axes: readonly CellPart[],
): void {
  const { base, source, gradient } = values;
  walk(axes, (index, cell) => {
    const change = source.target[source.offset + index] - base.target[base.offset + index];
    cells[cell] += change * gradient.target[gradient.offset + index];
  });
}

/** cells[c] += Σ of the effects in cell c. */
export function addEffects(cells: Float64Array, effects: Float64Array, axes: readonly CellPart[]): void {
  walk(axes, (index, cell) => {
    cells[cell] += effects[index];
  });
}

function walk(axes: readonly CellPart[], visit: (index: number, cell: number) => void): void {
  const go = (axis: number, index: number, cell: number): void => {
    const parts = axes[axis];
    const last = axis === axes.length - 1;
    for (let i = 0; i < parts.length; i++) {
      if (parts[i] < 0) continue;
      if (last) visit(index * parts.length + i, cell + parts[i]);
      else go(axis + 1, index * parts.length + i, cell + parts[i]);
    }
  };
  if (axes.length > 0) go(0, 0, 0);
}

/** Cells of attention of one row: `places` hold [head, dst, src]. */
export interface AttentionCells {
  readonly heads: number;
  readonly length: number;
}

/**
 * Effect of patching the query at each position, linear only behind the softmax (AtP*, eq. 9):
 * Σ_j (p'_ij − p_ij)·g_ij, with p' the pattern of the patched query. [pos, head]
 */
export function queryEffects(
  pattern: { readonly base: Place; readonly patched: Place; readonly gradient: Place },
  { heads, length }: AttentionCells,
): Float64Array {
  const effects = new Float64Array(length * heads);
  const { base, patched, gradient } = pattern;
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < length; i++) {
      const row = (h * length + i) * length;
      let sum = 0;
      for (let j = 0; j < length; j++) {
        const change = patched.target[patched.offset + row + j] - base.target[base.offset + row + j];
        sum += change * gradient.target[gradient.offset + row + j];
      }
      effects[i * heads + h] = sum;
    }
  }
  return effects;
}

/**
 * Effect of patching the key at each position, linear only behind the softmax (AtP*, eq. 10): over all queries, the
 * change of the pattern's row when only the score with that key changes. [pos, head]
 */
export function keyEffects(
  cells: {
    /** Scores of the run's own queries and keys, and of its queries with patched keys; masked cells count by `mask`. */
    readonly base: Place;
    readonly patched: Place;
    readonly gradient: Place;
    /** [dst, src], additive. */
    readonly mask: Numbers;
  },
  { heads, length }: AttentionCells,
): Float64Array {
  const effects = new Float64Array(length * heads);
  const { base, patched, gradient, mask } = cells;
  const [scores, gradients, changes] = [0, 0, 0].map(() => new Float64Array(length));
  const visible = new Int32Array(length);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < length; i++) {
      const row = (h * length + i) * length;
      let count = 0;
      for (let j = 0; j < length; j++) {
        if (mask[i * length + j] !== 0) continue;
        scores[count] = base.target[base.offset + row + j];
        changes[count] = patched.target[patched.offset + row + j] - scores[count];
        gradients[count] = gradient.target[gradient.offset + row + j];
        visible[count] = j;
        count++;
      }
      const found = scoreEffects(scores.subarray(0, count), changes, gradients);
      for (let n = 0; n < count; n++) effects[visible[n] * heads + h] += found[n];
    }
  }
  return effects;
}

/**
 * For each entry t of a softmax's input, Σ_j Δp_j g_j when only that entry changes, by changes[t], in O(T) for all
 * together. With p the softmax, r = 1 − p_t and m the mean of g over the other entries, weighted by p:
 * Δp_t = p r (e^δ − 1) / (r + p e^δ), and the sum is Δp_t (g_t − m).
 *
 * Stable for any scores: where one entry has nearly all the weight, the others are summed without it.
 */
export function scoreEffects(scores: Float64Array, changes: Numbers, gradients: Numbers): Float64Array {
  const count = scores.length;
  const effects = new Float64Array(count);
  if (count < 2) return effects; // the softmax of one number is 1 whatever the number
  let top = 0;
  for (let j = 1; j < count; j++) if (scores[j] > scores[top]) top = j;
  let total = 0;
  let weighted = 0;
  for (let j = 0; j < count; j++) {
    const weight = Math.exp(scores[j] - scores[top]);
    total += weight;
    weighted += weight * gradients[j];
  }
  const logTotal = scores[top] + Math.log(total);
  // All but the largest, by themselves: its own weight would swallow theirs.
  let second = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < count; j++) if (j !== top) second = Math.max(second, scores[j]);
  let others = 0;
  let othersWeighted = 0;
  for (let j = 0; j < count; j++) {
    if (j === top) continue;
    const weight = Math.exp(scores[j] - second);
    others += weight;
    othersWeighted += weight * gradients[j];
  }
  for (let t = 0; t < count; t++) {
    const p = Math.exp(scores[t] - logTotal);
    // log Σ exp of the other scores, and their mean gradient; for all but the largest, the others hold half or more.
    const rest = t === top ? second + Math.log(others) : logTotal + Math.log1p(-p);
    const mean = t === top ? othersWeighted / others : (weighted / total - p * gradients[t]) / (1 - p);
    effects[t] = probabilityChange(scores[t] - rest, changes[t]) * (gradients[t] - mean);
  }
  return effects;
}

/** σ(x + δ) − σ(x), without cancellation for small δ. */
function probabilityChange(logOdds: number, change: number): number {
  const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
  if (Math.abs(change) > 1) return sigmoid(logOdds + change) - sigmoid(logOdds);
  // p r (e^δ − 1) / (r + p e^δ)
  const p = sigmoid(logOdds);
  const r = sigmoid(-logOdds);
  return (p * r * Math.expm1(change)) / (r + p * Math.exp(change));
}
