/** @file Shares of the truly largest cells that estimates find, with intervals over pairs. */

import type { Resamples } from "../numeric/statistics.ts";
import { quantile } from "../numeric/statistics.ts";
import type { Json, Variable } from "../result/result.ts";

/** [pair, cell] sizes of all grids' cells, side by side. */
export interface Sizes {
  readonly cells: number;
  readonly values: Float64Array;
}

/** Some neighbouring cells of all pairs. */
export function cellsOf({ cells, values }: Sizes, from: number, count: number): Sizes {
  const pairs = values.length / cells;
  const some = new Float64Array(pairs * count);
  for (let pair = 0; pair < pairs; pair++)
    some.set(values.subarray(pair * cells + from, pair * cells + from + count), pair * count);
  return { cells: count, values: some };
}

/** Means over the pairs listed; over all of them where none are. */
export function meanSizes({ cells, values }: Sizes, pairs?: ArrayLike<number>): Float64Array {
  const chosen = pairs ?? Array.from({ length: values.length / cells }, (_, pair) => pair);
  const sums = new Float64Array(cells);
  for (let i = 0; i < chosen.length; i++) {
    for (let cell = 0; cell < cells; cell++)
      sums[cell] = (sums[cell] ?? 0) + (values[(chosen[i] ?? 0) * cells + cell] ?? 0);
  }
  return sums;
}

/** Cells, the largest first. */
export function order(sizes: Float64Array): number[] {
  return [...sizes.keys()].sort((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0));
}

export interface SharesOptions {
  readonly top: number;
  /** Pairs of each resample; undefined where there is one pair. */
  readonly drawn: Resamples | undefined;
  /** Of each estimator, a pair. */
  readonly passes: readonly number[];
  /** Rows of the variables: the estimators, a random order, and rows that stay empty. */
  readonly rows: number;
  /** In front of the variables' names. */
  readonly name: string;
}

/**
 * Shares of the true top cells for equally many patches, `recall`, and for equally many passes in all,
 * `budget_recall`: at one budget, an estimator that costs less leaves more for exact patches.
 */
export function shares(
  scored: readonly Sizes[],
  exact: Sizes,
  { top, drawn, passes, rows, name }: SharesOptions,
): {
  readonly budget: number;
  readonly patches: readonly number[];
  readonly variables: Record<string, Variable>;
} {
  const budget = Math.max(...passes) + top;
  const patches = passes.map((spent) => Math.min(exact.cells, Math.floor(budget - spent)));
  const [equalPatches = [], equalPasses = []] = sharesOf(scored, exact, {
    top,
    drawn,
    patched: [scored.map(() => top), patches],
  });
  const random = (patched: number): number => Math.min(1, patched / exact.cells);
  return {
    budget,
    patches,
    variables: {
      ...recallVariables(`${name}recall`, equalPatches, {
        rows,
        random: random(top),
        of: `share of the true top ${top} among the ${top} largest estimates`,
      }),
      ...recallVariables(`${name}budget_recall`, equalPasses, {
        rows,
        random: random(budget),
        of: `share of the true top ${top} found for ${budget} passes a pair in all`,
      }),
    },
  };
}

/** Share of the true top cells that were found. */
interface Recall {
  readonly value: number;
  /** In each resample of pairs, of whose own true top cells it is the share. */
  readonly resampled: readonly number[];
}

/** For each list of numbers of patches, one an estimator: the estimators' shares. */
function sharesOf(
  scored: readonly Sizes[],
  exact: Sizes,
  {
    top,
    drawn,
    patched,
  }: {
    readonly top: number;
    readonly drawn: Resamples | undefined;
    readonly patched: readonly (readonly number[])[];
  },
): Recall[][] {
  const at = (pairs?: ArrayLike<number>): number[][] => {
    const truth = order(meanSizes(exact, pairs)).slice(0, top);
    const ranks = scored.map(
      (scores) => new Map(order(meanSizes(scores, pairs)).map((cell, rank) => [cell, rank])),
    );
    return patched.map((counts) =>
      ranks.map(
        (rank, i) => truth.filter((cell) => (rank.get(cell) ?? exact.cells) < (counts[i] ?? 0)).length / top,
      ),
    );
  };
  const whole = at();
  const resampled: number[][][] = [];
  if (drawn !== undefined) {
    for (let from = 0; from < drawn.indices.length; from += drawn.count)
      resampled.push(at(drawn.indices.subarray(from, from + drawn.count)));
  }
  return whole.map((values, list) =>
    values.map((value, i) => ({ value, resampled: resampled.map((draw) => draw[list]?.[i] ?? Number.NaN) })),
  );
}

/** Shares and what they are above the first estimator's, with 95 % intervals; of the last rows only random has one. */
function recallVariables(
  name: string,
  recalls: readonly Recall[],
  { rows, random, of }: { readonly rows: number; readonly random: number; readonly of: string },
): Record<string, Variable> {
  const [first] = recalls;
  const over = (data: readonly number[], attrs: Record<string, Json> = {}): Variable => ({
    dims: ["estimator"],
    data: Float64Array.from({ length: rows }, (_, i) => data[i] ?? Number.NaN),
    attrs: { detail: true, unit: "1", ...attrs },
  });
  const interval = (values: (recall: Recall) => readonly number[], probability: number): number[] =>
    recalls.map((recall) => quantile(Float64Array.from(values(recall)).sort(), probability));
  const gains = (recall: Recall): number[] =>
    recall.resampled.map((value, i) => value - (first?.resampled[i] ?? 0));
  const shares = ({ resampled }: Recall): readonly number[] => resampled;
  return {
    [name]: over([...recalls.map(({ value }) => value), random], { long_name: of }),
    [`${name}_ci_low`]: over(interval(shares, 0.025)),
    [`${name}_ci_high`]: over(interval(shares, 0.975)),
    [`${name}_gain`]: over(
      recalls.map(({ value }) => value - (first?.value ?? 0)),
      { long_name: `${of}, minus that of AtP` },
    ),
    [`${name}_gain_ci_low`]: over(interval(gains, 0.025)),
    [`${name}_gain_ci_high`]: over(interval(gains, 0.975)),
  };
}
