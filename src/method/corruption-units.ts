/** @file What intervals of a comparison are over: pairs where there are several, else the samples of the one. */

import { meanOfRows } from "../numeric/resampled.ts";

export interface Units {
  readonly over: "pairs" | "samples";
  /** Pairs, a pair and its reverse counted once. */
  readonly pairs: number;
  /** [unit, cell] of one corruption, from what each pair's sample has; a NaN is a value that it does not have. */
  rows(corruption: number, size: number, of: (pair: number, sample: number) => Float64Array): Float64Array;
}

/**
 * @param samples [corruption]
 * @param groups [unit]: the pair, with its reverse where both are there, as indices of pairs
 */
export function unitsOver(samples: readonly number[], groups: readonly (readonly number[])[]): Units {
  const single = groups.length === 1;
  return {
    over: single ? "samples" : "pairs",
    pairs: groups.length,
    rows(corruption, size, of) {
      const count = samples[corruption] ?? 0;
      const draws = Array.from({ length: count }, (_, sample) => sample);
      const members = single
        ? draws.map((sample) => (groups[0] ?? []).map((pair) => ({ pair, sample })))
        : groups.map((group) => group.flatMap((pair) => draws.map((sample) => ({ pair, sample }))));
      const out = new Float64Array(members.length * size);
      for (const [unit, list] of members.entries()) {
        const all = new Float64Array(list.length * size);
        for (const [row, { pair, sample }] of list.entries()) all.set(of(pair, sample), row * size);
        out.set(meanOfRows(all, size, [...list.keys()]), unit * size);
      }
      return out;
    },
  };
}
