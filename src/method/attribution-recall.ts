/**
 * @file What finding the true top cells costs: each estimator's order held against the exact effects of all cells.
 *
 * Cost of verified recall as in Kramár et al. 2024 (AtP*), section 4: passes of the estimator, and exact patches in
 * its order until the true top k are all among them.
 */

import { milliseconds } from "../core/clock.ts";
import { refuse } from "../core/errors.ts";
import { type OptionChecks, optionFaults, seed, whole } from "../core/options.ts";
import { metrics } from "../metric/metric.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { drawResamples, mean } from "../numeric/statistics.ts";
import type { Dataset, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { AttributionSetup, EstimateOptions, Estimator } from "./attribution.ts";
import { estimate, estimateChecks, prepareAttribution } from "./attribution.ts";
import { memoryWarnings } from "./attribution-estimate.ts";
import type { CellPlace } from "./attribution-exact.ts";
import { exactEffects } from "./attribution-exact.ts";
import type { SharesOptions, Sizes } from "./attribution-shares.ts";
import { cellsOf, meanSizes, order, shares } from "./attribution-shares.ts";
import { pairFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";

export interface RecallOptions extends EstimateOptions {
  /**
   * How many of the truly largest cells are looked for, and the budget of exact patches for `recall`. Default 20; a quarter
   * of the cells where there are fewer than twice as many.
   */
  readonly top?: number | undefined;
  /** Of intervals. Default 0. */
  readonly seed?: number | undefined;
}

const recallChecks: OptionChecks<RecallOptions> = { ...estimateChecks, top: whole(1), seed };

const DEFAULT_TOP = 20;
/** Of fewer cells than this many times the top, a random order finds over half of it. */
const LEAST_TIMES = 2;
/** Of so few cells this share is looked for instead. */
const SMALL_TOP = 1 / 4;
const RESAMPLES = 1000;

const ESTIMATORS: readonly { readonly name: string; readonly estimator: Estimator }[] = [
  { name: "AtP", estimator: { kind: "atp" } },
  { name: "AtP+QK", estimator: { kind: "atp-star", gradDrop: false } },
  { name: "AtP+GradDrop", estimator: { kind: "atp-star", qkFix: false } },
  { name: "AtP*", estimator: { kind: "atp-star" } },
  { name: "IG", estimator: { kind: "ig" } },
];
const BASELINES = ["random", "exhaustive", "oracle"] as const;

/**
 * Computes all cells exactly and by every estimator.
 *
 * @returns a dataset with `cost` [estimator, top], passes a pair until the true top k are verified (a backward pass
 * counts as two forwards); `recall` [estimator], the share of the true top cells among as many of the largest
 * estimates, with its bootstrap interval over pairs; `recall_gain`, its difference from AtP's, with its interval;
 * `budget_recall` and `budget_recall_gain`, the same where all spend as many passes in all (`attrs.budget`: what the
 * dearest estimator takes to verify that many cells), so that a cheap estimate is followed by more patches
 * (`attrs.patches`); with several sites, `<site>_recall` and so on, among each site's own cells (`attrs.site_tops`: how
 * many there are and how many of them are looked for); and `overhead`, cost over that of an oracle, averaged geometrically
 * with weight 1/k. Of a random order shares are what is expected.
 */
export async function attributionRecall(
  model: Model,
  pairs: readonly Pair[],
  options: RecallOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, recallChecks), ...pairFaults(pairs)]);
  const { seed = 0 } = options;
  const setup = await prepareAttribution(model, pairs, options);
  const places = setup.cells.flatMap(({ grid: { size } }, grid) =>
    Array.from({ length: size }, (_, cell): CellPlace => ({ grid, cell })),
  );
  const asked = options.top ?? DEFAULT_TOP;
  const top = topOf(asked, places.length);
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
    const estimates = await estimate(model, setup, { ...options, estimator, onProgress: undefined });
    const [clean, corrupt] =
      setup.direction === "denoise" ? [estimates.source, estimates.base] : [estimates.base, estimates.source];
    Object.assign(baselines, { clean: mean(clean), corrupt: mean(corrupt) });
    const scores = sideBySide(setup, estimates.score, places.length);
    const spent = (estimates.passes.forwards + 2 * estimates.passes.backwards) / pairs.length;
    passes.push(spent);
    costs.push(verifiedCosts(order(meanSizes(scores)), truth, top).map((patches) => patches + spent));
    scored.push(scores);
  }
  const count = places.length;
  const rows = ESTIMATORS.length + BASELINES.length;
  const found = shares(scored, exact, { top, drawn, passes, rows, name: "" });
  const ks = Array.from({ length: top }, (_, k) => k + 1);
  // The largest of k places drawn without order from N is k(N + 1)/(k + 1) on average.
  costs.push(ks.map((k) => (k * (count + 1)) / (k + 1)));
  costs.push(ks.map(() => count));
  costs.push(ks);
  const names = [...ESTIMATORS.map(({ name }) => name), ...BASELINES];
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
      top_asked: asked,
      site_tops: Object.fromEntries(
        setup.cells.map(({ grid: { name, size } }) => [name, { cells: size, top: topOf(asked, size) }]),
      ),
      passes: Object.fromEntries(ESTIMATORS.map(({ name }, i) => [name, passes[i] ?? 0])),
      budget: found.budget,
      patches: Object.fromEntries(ESTIMATORS.map(({ name }, i) => [name, found.patches[i] ?? 0])),
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
      ...holding(found.variables),
      ...bySite(setup, { scored, exact, top: asked, drawn, passes, rows }),
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

/** Where there are several sites: shares among each site's own cells, which the others' do not crowd out. */
function bySite(
  { cells }: AttributionSetup,
  {
    scored,
    exact,
    top,
    ...how
  }: Omit<SharesOptions, "name"> & { readonly scored: readonly Sizes[]; readonly exact: Sizes },
): Record<string, Variable> {
  if (cells.length < 2) return {};
  let start = 0;
  return Object.fromEntries(
    cells.flatMap(({ grid: { name, size } }) => {
      const own = (sizes: Sizes): Sizes => cellsOf(sizes, start, size);
      const { variables } = shares(scored.map(own), own(exact), {
        ...how,
        top: topOf(top, size),
        name: `${name}_`,
      });
      start += size;
      return Object.entries(holding(variables));
    }),
  );
}

/** How many of so many cells are looked for. */
function topOf(asked: number, cells: number): number {
  return cells < LEAST_TIMES * asked ? Math.max(1, Math.floor(SMALL_TOP * cells)) : asked;
}

/**
 * The same with intervals that hold their estimates. Resampled pairs repeat, which moves cells across the step of rank k
 * mostly one way, so that all resampled shares may lie to one side of the share itself. A wider interval covers no less.
 */
export function holding(variables: Readonly<Record<string, Variable>>): Record<string, Variable> {
  return Object.fromEntries(
    Object.entries(variables).map(([name, variable]) => {
      const [, about = name, side] = /^(.*)_ci_(low|high)$/.exec(name) ?? [];
      if (side === undefined) return [name, variable];
      const values = variables[about]?.data ?? [];
      const further = side === "low" ? Math.min : Math.max;
      // An estimate without an interval keeps none: NaN stays NaN.
      const data = Float64Array.from(Array.from(variable.data, Number), (end, at) =>
        further(end, Number(values[at])),
      );
      return [name, { ...variable, data }];
    }),
  );
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

/** For k = 1 … top: patches in the order given until the first k of the truth are all done. */
export function verifiedCosts(found: readonly number[], truth: readonly number[], top: number): number[] {
  const rank = new Map(found.map((cell, index) => [cell, index + 1]));
  let worst = 0;
  return truth.slice(0, top).map((cell) => {
    worst = Math.max(worst, rank.get(cell) ?? Number.POSITIVE_INFINITY);
    return worst;
  });
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
