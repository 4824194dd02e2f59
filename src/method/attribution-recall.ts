/**
 * @file What finding the true top cells costs: each estimator's order held against the exact effects of all cells.
 *
 * Cost of verified recall as in Kramár et al. 2024 (AtP*), section 4: passes of the estimator, and exact patches in
 * its order until the true top k are all among them.
 */

import { milliseconds } from "../core/clock.ts";
import { inputError } from "../core/errors.ts";
import { metrics } from "../metric/metric.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Resamples } from "../numeric/statistics.ts";
import { drawResamples, mean, quantile } from "../numeric/statistics.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { AttributionOptions, AttributionSetup, Estimator } from "./attribution.ts";
import { estimate, prepareAttribution } from "./attribution.ts";
import { memoryWarnings } from "./attribution-estimate.ts";
import type { CellPlace } from "./attribution-exact.ts";
import { exactEffects } from "./attribution-exact.ts";
import { provenance } from "./provenance.ts";

export type RecallOptions = Omit<AttributionOptions, "estimator" | "verifyTop" | "samples" | "confidence"> & {
  /** How many of the truly largest cells are looked for, and the budget of exact patches for `recall`. Default 20. */
  readonly top?: number | undefined;
};

const DEFAULT_TOP = 20;
const RESAMPLES = 1000;

const ESTIMATORS: readonly { readonly name: string; readonly estimator: Estimator }[] = [
  { name: "AtP", estimator: { kind: "atp" } },
  { name: "AtP+QK", estimator: { kind: "atp-star", gradDrop: false } },
  { name: "AtP+GradDrop", estimator: { kind: "atp-star", qkFix: false } },
  { name: "AtP*", estimator: { kind: "atp-star" } },
  { name: "IG", estimator: { kind: "ig" } },
];
const BASELINES = ["random", "exhaustive", "oracle"] as const;

/** [pair, cell] sizes of all grids' cells, side by side. */
interface Sizes {
  readonly cells: number;
  readonly values: Float64Array;
}

/**
 * Computes all cells exactly and by every estimator.
 *
 * @returns a dataset with `cost` [estimator, top], passes a pair until the true top k are verified (a backward pass
 * counts as two forwards); `recall` [estimator], the share of the true top cells among as many of the largest
 * estimates, with its bootstrap interval over pairs; `recall_gain`, its difference from AtP's, with its interval;
 * `budget_recall` and `budget_recall_gain`, the same where all spend as many passes in all (`attrs.budget`: what the
 * dearest estimator takes to verify that many cells), so that a cheap estimate is followed by more patches
 * (`attrs.patches`); and `overhead`, cost over that of an oracle, averaged geometrically with weight 1/k. Of a random
 * order shares are what is expected.
 */
export async function attributionRecall(
  model: Model,
  pairs: readonly Pair[],
  options: RecallOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  const { seed = 0 } = options;
  if (options.top !== undefined && !(Number.isSafeInteger(options.top) && options.top >= 1))
    throw inputError("--verify-top", String(options.top), "a whole number of at least 1");
  const setup = await prepareAttribution(model, pairs, options);
  const places = setup.cells.flatMap(({ grid: { size } }, grid) =>
    Array.from({ length: size }, (_, cell): CellPlace => ({ grid, cell })),
  );
  const top = Math.min(options.top ?? DEFAULT_TOP, places.length);
  const exact: Sizes = {
    cells: places.length,
    values: (await exactEffects(model, setup.exact, { ...options, cells: setup.cells, places })).map(
      Math.abs,
    ),
  };
  const drawn = pairs.length > 1 ? drawResamples(pairs.length, { seed, resamples: RESAMPLES }) : undefined;
  const truth = order(meanSizes(exact));
  const costs: number[][] = [];
  const scored: Sizes[] = [];
  const passes: number[] = [];
  const baselines: { clean: number; corrupt: number } = { clean: Number.NaN, corrupt: Number.NaN };
  for (const { estimator } of ESTIMATORS) {
    const found = await estimate(model, setup, { ...options, estimator, onProgress: undefined });
    const [clean, corrupt] =
      setup.direction === "denoise" ? [found.source, found.base] : [found.base, found.source];
    Object.assign(baselines, { clean: mean(clean), corrupt: mean(corrupt) });
    const scores = sideBySide(setup, found.score, places.length);
    const spent = (found.passes.forwards + 2 * found.passes.backwards) / pairs.length;
    passes.push(spent);
    costs.push(verifiedCosts(order(meanSizes(scores)), truth, top).map((patches) => patches + spent));
    scored.push(scores);
  }
  const count = places.length;
  // At one budget for all, an estimator that costs less leaves more for exact patches.
  const budget = Math.max(...passes) + top;
  const patches = passes.map((spent) => Math.min(count, Math.floor(budget - spent)));
  const shares = sharesOf(scored, exact, { top, drawn, patched: [scored.map(() => top), patches] });
  const ks = Array.from({ length: top }, (_, k) => k + 1);
  // The largest of k places drawn without order from N is k(N + 1)/(k + 1) on average.
  costs.push(ks.map((k) => (k * (count + 1)) / (k + 1)));
  costs.push(ks.map(() => count));
  costs.push(ks);
  const names = [...ESTIMATORS.map(({ name }) => name), ...BASELINES];
  const [equalPatches = [], equalPasses = []] = shares;
  const drawnAtRandom = (patched: number): number => Math.min(1, patched / count);
  return dataset({
    attrs: {
      method: "attribution-recall",
      question: `How many exact patches does each estimator need for the true top ${top} of ${count} cells?`,
      metric: setup.metric,
      unit: metrics[setup.metric].unit,
      direction: setup.direction,
      baseline_clean: baselines.clean,
      baseline_corrupt: baselines.corrupt,
      cells: count * pairs.length,
      top,
      passes: Object.fromEntries(ESTIMATORS.map(({ name }, i) => [name, passes[i] ?? 0])),
      budget,
      patches: Object.fromEntries(ESTIMATORS.map(({ name }, i) => [name, patches[i] ?? 0])),
      interval: 0.95,
      warnings: memoryWarnings(model, setup.runs, { streams: 1 }),
      options: {
        sites: setup.cells.map(({ site }) => site),
        by: [...(setup.cells[0]?.grid.dims ?? [])],
        seed,
      },
      ...(await provenance(model, pairs)),
      seconds: (milliseconds() - started) / 1000,
    },
    dims: { estimator: names.length, top },
    coords: {
      estimator: { dims: ["estimator"], data: names, attrs: {} },
      top: { dims: ["top"], data: ks, attrs: {} },
    },
    dataVars: {
      cost: {
        dims: ["estimator", "top"],
        data: Float64Array.from(costs.flat()),
        attrs: {
          unit: "forward passes a pair",
          quantity: "cost",
          long_name: "passes until the true top k are verified",
        },
      },
      ...recallVariables("recall", equalPatches, {
        rows: names.length,
        random: drawnAtRandom(top),
        of: `share of the true top ${top} among the ${top} largest estimates`,
      }),
      ...recallVariables("budget_recall", equalPasses, {
        rows: names.length,
        random: drawnAtRandom(budget),
        of: `share of the true top ${top} found for ${budget} passes a pair in all`,
      }),
      overhead: {
        dims: ["estimator"],
        data: Float64Array.from(costs, overhead),
        attrs: {
          detail: true,
          unit: "1",
          long_name: "cost over an oracle's, geometric mean with weights 1/k",
        },
      },
    },
  });
}

function sideBySide(
  { cells, pairs }: AttributionSetup,
  grids: readonly Float64Array[],
  count: number,
): Sizes {
  const values = new Float64Array(count * pairs.length);
  let start = 0;
  for (const [
    grid,
    {
      grid: { size },
    },
  ] of cells.entries()) {
    for (const pair of pairs.keys()) {
      values.set(grids[grid]?.subarray(pair * size, (pair + 1) * size) ?? [], pair * count + start);
    }
    start += size;
  }
  return { cells: count, values };
}

/** Means over the pairs listed; over all of them where none are. */
function meanSizes({ cells, values }: Sizes, pairs?: ArrayLike<number>): Float64Array {
  const chosen = pairs ?? Array.from({ length: values.length / cells }, (_, pair) => pair);
  const sums = new Float64Array(cells);
  for (let i = 0; i < chosen.length; i++) {
    for (let cell = 0; cell < cells; cell++)
      sums[cell] = (sums[cell] ?? 0) + (values[(chosen[i] ?? 0) * cells + cell] ?? 0);
  }
  return sums;
}

/** Cells, the largest first. */
function order(sizes: Float64Array): number[] {
  return [...sizes.keys()].sort((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0));
}

/** For k = 1 … top: patches in the order given until the first k of the truth are all done. */
export function verifiedCosts(found: readonly number[], truth: readonly number[], top: number): number[] {
  const rank = new Map(found.map((cell, index) => [cell, index + 1]));
  let worst = 0;
  return truth.slice(0, top).map((cell) => {
    worst = Math.max(worst, rank.get(cell) ?? Number.POSITIVE_INFINITY);
    return worst;
  });
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

/** exp Σ (1/k) log(cost/k) / Σ 1/k. */
function overhead(costs: readonly number[]): number {
  let [sum, weights] = [0, 0];
  for (const [index, cost] of costs.entries()) {
    sum += Math.log(cost / (index + 1)) / (index + 1);
    weights += 1 / (index + 1);
  }
  return Math.exp(sum / weights);
}
