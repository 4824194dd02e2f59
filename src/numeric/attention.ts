/** @file Loops over attention patterns: how much of a row falls on chosen positions, and what a head writes from where. */
import type { FloatArray } from "../core/tensor.ts";

/** Rows of a pattern that count, each with the source positions that are looked for. */
export type TargetRows = readonly { readonly dst: number; readonly sources: readonly number[] }[];

/**
 * Mean over the rows of what share of each falls on its sources.
 * @param weights [head, dst, src], not negative; rows that sum to 0 do not count
 * @returns [head]; NaN where no row counts
 */
export function targetShares(
  weights: FloatArray,
  rows: TargetRows,
  { heads, length }: { readonly heads: number; readonly length: number },
): Float64Array {
  const shares = new Float64Array(heads);
  for (let head = 0; head < heads; head++) {
    let sum = 0;
    let counted = 0;
    for (const { dst, sources } of rows) {
      const start = (head * length + dst) * length;
      let whole = 0;
      for (let src = 0; src <= dst; src++) whole += weights[start + src];
      if (whole === 0) continue;
      let part = 0;
      for (const src of sources) part += weights[start + src];
      sum += part / whole;
      counted++;
    }
    shares[head] = counted === 0 ? Number.NaN : sum / counted;
  }
  return shares;
}

/**
 * Each entry of a pattern [head, dst, src] times the length of what its head writes from the source.
 * @param written [src, head, d]
 */
export function valueWeighted(pattern: FloatArray, written: FloatArray, heads: number): Float64Array {
  const length = Math.sqrt(pattern.length / heads);
  const width = written.length / (length * heads);
  const lengths = new Float64Array(length * heads); // [src, head]
  for (let at = 0; at < lengths.length; at++) {
    let squares = 0;
    for (let i = at * width; i < (at + 1) * width; i++) squares += written[i] * written[i];
    lengths[at] = Math.sqrt(squares);
  }
  const out = new Float64Array(pattern.length);
  for (let at = 0; at < out.length; at++) {
    const head = Math.floor(at / (length * length));
    out[at] = pattern[at] * lengths[(at % length) * heads + head];
  }
  return out;
}

/**
 * Where among all effects the own one stands: 1 if it is the largest, -1 if it is the smallest, 0 in the middle; ties
 * count half.
 */
export function standing(effects: ArrayLike<number>, own: number): number {
  let below = 0;
  for (let i = 0; i < effects.length; i++) {
    if (i === own) continue;
    below += effects[i] < effects[own] ? 1 : effects[i] === effects[own] ? 0.5 : 0;
  }
  return (2 * below) / (effects.length - 1) - 1;
}

/**
 * Mean standing of the tokens that each head reads, weighted by how much it writes from them.
 * @param weights value-weighted pattern [head, dst, src]
 * @param standings [src, head]
 * @returns [head]; NaN for a head that writes nothing
 */
export function weightedStanding(
  weights: FloatArray,
  standings: Float64Array,
  { heads, length }: { readonly heads: number; readonly length: number },
): Float64Array {
  const out = new Float64Array(heads);
  for (let head = 0; head < heads; head++) {
    let sum = 0;
    let whole = 0;
    for (let cell = 0; cell < length * length; cell++) {
      const weight = weights[head * length * length + cell];
      sum += weight * standings[(cell % length) * heads + head];
      whole += weight;
    }
    out[head] = sum / whole;
  }
  return out;
}
