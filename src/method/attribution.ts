/**
 * @file Attribution patching that checks itself: estimates of what patching every cell would do, the largest of them
 * computed exactly, and a bound on what the others can hide.
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, gather, refuse } from "../core/errors.ts";
import {
  between,
  bytes,
  type Check,
  flag,
  nested,
  type OptionChecks,
  oneKindOf,
  oneOf,
  optionFaults,
  seed,
  texts,
  whole,
} from "../core/options.ts";
import { metrics } from "../metric/metric.ts";
import type { Direction } from "../metric/normalise.ts";
import { baselineWarnings, directionNames } from "../metric/normalise.ts";
import type { MetricName, MetricPlan } from "../metric/plan.ts";
import { defaultMetric, metricNames, metricPlans } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Json } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { MAX_DRAWS } from "./ablation.ts";
import { agreement, agreementWarnings } from "./agreement.ts";
import type { LayerCells } from "./attribution-cells.ts";
import type { AttributionPair, Estimates } from "./attribution-estimate.ts";
import { estimateEffects, memoryWarnings } from "./attribution-estimate.ts";
import type { CellPlace, ExactPair, SweepHow } from "./attribution-exact.ts";
import { exactEffects, subsetBound, sweepHowChecks } from "./attribution-exact.ts";
import { checkedCells } from "./attribution-faults.ts";
import type { IntegratedOver, StepRule } from "./attribution-gradients.ts";
import { integratedOver, integrateEffects, MAX_STEPS, stepRules } from "./attribution-gradients.ts";
import { attributionRuns } from "./attribution-runs.ts";
import { estimateVariables } from "./attribution-variables.ts";
import { baselineAttributes } from "./baselines.ts";
import type { Chosen, GridOptions } from "./grid.ts";
import { chosenChecks, lengthsOf } from "./grid.ts";
import { bootstrapOf } from "./intervals.ts";
import { pairFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";
import { coordsOf, dimsOf } from "./summary.ts";

/** How effects are estimated. */
export type Estimator =
  | { readonly kind: "atp" }
  /** Each of the two corrections can be left out. */
  | {
      readonly kind: "atp-star";
      readonly qkFix?: boolean | undefined;
      readonly gradDrop?: boolean | undefined;
    }
  | {
      readonly kind: "ig";
      readonly over?: IntegratedOver | undefined;
      readonly steps?: number | undefined;
      readonly rule?: StepRule | undefined;
    };

const estimatorCheck: Check<Estimator> = oneKindOf<Estimator>({
  atp: {},
  "atp-star": { qkFix: flag, gradDrop: flag },
  ig: { over: oneOf(integratedOver), steps: whole(1, MAX_STEPS), rule: oneOf(stepRules) },
});

/** What estimates are of, and how they are computed. */
export interface EstimateOptions extends SweepHow {
  /** Sites of the cells; queries, keys, values and outputs of heads unless named. */
  readonly sites?: readonly string[] | undefined;
  /** What tells cells apart; layer and head unless named. A layer has to be among them. */
  readonly by?: readonly string[] | undefined;
  readonly choose?: Chosen | undefined;
  readonly ungroup?: boolean | undefined;
  /** `denoise` (default): gradients of the corrupt run, effects of clean values; `noise` the other way round. */
  readonly direction?: Direction | undefined;
  readonly metric?: MetricName | undefined;
  /** Bytes for forward values of one pass; beyond them blocks are computed again on the way back. */
  readonly keepBytes?: number | undefined;
}

export const estimateChecks: OptionChecks<EstimateOptions> = {
  sites: texts,
  by: texts,
  choose: nested(chosenChecks),
  ungroup: flag,
  direction: oneOf(directionNames),
  metric: oneOf(metricNames),
  keepBytes: bytes,
  ...sweepHowChecks,
};

export interface AttributionOptions extends EstimateOptions {
  /** Default `atp`. */
  readonly estimator?: Estimator | undefined;
  readonly perPair?: boolean | undefined;
  /** Cells with the largest estimates that are computed exactly. Default 20. */
  readonly verifyTop?: number | undefined;
  /** Random subsets of the other cells that are patched together, to bound what they hide. Default 64; 0 for no bound. */
  readonly samples?: number | undefined;
  /** Of the bound. Default 0.95. */
  readonly confidence?: number | undefined;
  readonly seed?: number | undefined;
}

const attributionChecks: OptionChecks<AttributionOptions> = {
  ...estimateChecks,
  estimator: estimatorCheck,
  perPair: flag,
  verifyTop: whole(0),
  samples: whole(0, MAX_DRAWS),
  confidence: between(0.5, 1),
  seed,
};

export const DEFAULT_SITES: readonly string[] = ["q", "k", "v", "z"];
export const DEFAULT_BY: readonly string[] = ["layer", "head"];
export const DEFAULT_STEPS = 5;
export const DEFAULT_VERIFIED_TOP = 20;
export const DEFAULT_SAMPLES = 64;
export const DEFAULT_CONFIDENCE = 0.95;

/** Everything that is decided before anything runs. */
export interface AttributionSetup {
  readonly pairs: readonly Pair[];
  readonly metric: MetricName;
  readonly direction: Direction;
  readonly cells: readonly LayerCells[];
  readonly runs: readonly AttributionPair[];
  readonly exact: readonly ExactPair[];
}

/**
 * The cells that attribution with these options is about, before there are pairs if need be.
 * @throws InputError with every fault of the options.
 */
export function attributionCells(
  model: Model,
  options: EstimateOptions,
  { metric, ...lengths }: Pick<GridOptions, "positions" | "shortest"> & { readonly metric: MetricName },
): LayerCells[] {
  const { direction = "denoise" } = options;
  return checkedCells(model, {
    ...options,
    metric,
    direction,
    sites: options.sites ?? DEFAULT_SITES,
    by: options.by ?? DEFAULT_BY,
    ...lengths,
  });
}

/** @throws InputError with all that is wrong: unknown sites and dims, cells without a layer, pairs that the metric is not defined on, and KL at the clean run, whose gradient is 0. */
export async function prepareAttribution(
  model: Model,
  pairs: readonly Pair[],
  options: EstimateOptions,
): Promise<AttributionSetup> {
  const { metric = defaultMetric(pairs), direction = "denoise" } = options;
  const faults: Fault[] = [];
  const plans = gather(faults, () => metricPlans(pairs, metric)) ?? [];
  const lengths = lengthsOf(pairs, plans);
  const cells = gather(faults, () => attributionCells(model, options, { metric, ...lengths })) ?? [];
  refuse(faults);
  const exact = pairs.map(({ clean, corrupt }, i): ExactPair => {
    const plan = plans[i] as MetricPlan;
    const whole = (ids: readonly number[]): readonly number[] => [...ids, ...plan.appended];
    return {
      plan,
      clean: whole(clean.ids),
      corrupt: whole(corrupt.ids),
      base: direction === "denoise" ? "corrupt" : "clean",
    };
  });
  const runs = await attributionRuns(model, pairs, { plans, direction });
  return { pairs, metric, direction, cells, runs, exact };
}

/** Effects of all cells as the options say. */
export async function estimate(
  model: Model,
  setup: AttributionSetup,
  options: Pick<AttributionOptions, "estimator" | "keepBytes" | "onProgress">,
): Promise<Estimates> {
  const { estimator = { kind: "atp" } } = options;
  const { cells, runs, direction } = setup;
  const how = { cells, keepBytes: options.keepBytes, onProgress: options.onProgress };
  if (estimator.kind === "ig") {
    const { over = "inputs", steps = DEFAULT_STEPS, rule = "midpoint" } = estimator;
    return await integrateEffects(model, runs, {
      ...how,
      over,
      steps,
      rule,
      base: direction === "denoise" ? "corrupt" : "clean",
    });
  }
  const star = estimator.kind === "atp-star";
  return await estimateEffects(model, runs, {
    ...how,
    qkFix: star && (estimator.qkFix ?? true),
    gradDrop: star && (estimator.gradDrop ?? true),
  });
}

/** Means over pairs of each cell's signed estimate and of its score, all grids one after the other. */
export interface RankedCell extends CellPlace {
  readonly signed: number;
  readonly score: number;
}

/** All cells, the largest score first. */
export function ranked({ cells, pairs }: AttributionSetup, found: Estimates): RankedCell[] {
  return cells
    .flatMap(({ grid: { size } }, grid) =>
      Array.from({ length: size }, (_, cell): RankedCell => {
        const of = (values: readonly Float64Array[]): number =>
          mean(pairs.map((_, pair) => values[grid]?.[pair * size + cell] ?? Number.NaN));
        return { grid, cell, signed: of(found.signed), score: of(found.score) };
      }),
    )
    .sort((a, b) => b.score - a.score);
}

/**
 * Attribution patching of all cells at once.
 *
 * @returns a dataset with, for each site, `<site>`, the estimated change of the metric (mean over pairs), `<site>_score`,
 * what cells are ranked by (the mean size), `<site>_exact`, the exact change where it was verified, and with several
 * pairs the 95 % intervals of both means, `<site>_ci_low`, `<site>_exact_ci_low`, …. Attributes tell the passes spent, how
 * estimates and exact values agree, and the bound on what was not verified.
 * @throws InputError as {@link prepareAttribution} does.
 */
export async function attribution(
  model: Model,
  pairs: readonly Pair[],
  options: AttributionOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, attributionChecks), ...pairFaults(pairs)]);
  const {
    estimator = { kind: "atp" },
    seed = 0,
    verifyTop = DEFAULT_VERIFIED_TOP,
    samples = DEFAULT_SAMPLES,
  } = options;
  const setup = await prepareAttribution(model, pairs, options);
  const found = await estimate(model, setup, options);
  const estimated = (milliseconds() - started) / 1000;
  const order = ranked(setup, found);
  const top = order.slice(0, verifyTop);
  const how = { stateBytes: options.stateBytes, signal: options.signal };
  const values = await exactEffects(model, setup.exact, { ...how, cells: setup.cells, places: top });
  const exactByPair = top.map((_, index) =>
    pairs.map((__, pair) => values[pair * top.length + index] ?? Number.NaN),
  );
  const compared = { estimates: top.map(({ signed }) => signed), exact: exactByPair.map(mean) };
  const rest = order.slice(top.length);
  const bound =
    samples > 0 && rest.length > 0
      ? await subsetBound(model, setup.exact, {
          ...how,
          cells: setup.cells,
          places: rest,
          samples,
          confidence: options.confidence ?? DEFAULT_CONFIDENCE,
          seed,
        })
      : undefined;
  const seconds = (milliseconds() - started) / 1000;

  const [clean, corrupt] =
    setup.direction === "denoise" ? [found.source, found.base] : [found.base, found.source];
  const baselines = Array.from(clean, (value, i) => ({ clean: value, corrupt: corrupt[i] ?? Number.NaN }));
  const { unit } = metrics[setup.metric];
  const attrs: Record<string, Json> = {
    method: "attribution-patching",
    metric: setup.metric,
    unit,
    direction: setup.direction,
    ...baselineAttributes({ clean, corrupt }, { seed }),
    estimator: { ...named(estimator) },
    forwards: found.passes.forwards,
    backwards: found.passes.backwards,
    cells: order.length * pairs.length,
    verified: top.length,
    ...agreement(compared),
    ...(bound === undefined
      ? {}
      : { hidden: { ...bound, bound: Number.isFinite(bound.bound) ? bound.bound : null } }),
    warnings: [
      ...baselineWarnings(pairs, baselines, setup.metric),
      ...memoryWarnings(model, setup.runs, { streams: follows(estimator) ? 1 : 0 }),
      ...agreementWarnings(compared, INSTEAD[estimator.kind]),
    ],
    options: {
      sites: [...(options.sites ?? DEFAULT_SITES)],
      by: [...(options.by ?? DEFAULT_BY)],
      choose: Object.fromEntries(
        Object.entries(options.choose ?? {}).map(([dim, labels]) => [dim, [...(labels ?? [])]]),
      ),
      ungroup: options.ungroup ?? false,
      seed,
    },
    ...(await provenance(model, pairs)),
    seconds_estimate: estimated,
    seconds,
  };
  const summary = { pairs, grids: setup.cells.map(({ grid }) => grid), clean, corrupt, values: [] };
  const perPair = options.perPair ?? false;
  const intervals = summary.grids.reduce((sum, { size }) => sum + size, 0);
  const bootstrap = bootstrapOf(intervals, { count: pairs.length, seed });
  return dataset({
    attrs: { ...attrs, ...bootstrap?.attrs },
    dims: dimsOf(summary.grids, perPair ? pairs.length : undefined),
    coords: coordsOf(summary, { perPair, metric: setup.metric }),
    dataVars: estimateVariables(setup, found, { top, exactByPair, unit, bootstrap, perPair }),
  });
}

/** Whether there are streams beside those of one pass: dropped gradients, or runs on the way between the two. */
function follows(estimator: Estimator): boolean {
  return estimator.kind === "ig" || (estimator.kind === "atp-star" && (estimator.gradDrop ?? true));
}

/** The estimator with its defaults written out. */
function named(estimator: Estimator): Record<string, Json> {
  switch (estimator.kind) {
    case "atp":
      return { kind: "atp" };
    case "atp-star":
      return { kind: "atp-star", qk_fix: estimator.qkFix ?? true, grad_drop: estimator.gradDrop ?? true };
    case "ig": {
      const { over = "inputs", steps = DEFAULT_STEPS, rule = "midpoint" } = estimator;
      return { kind: "ig", over, steps, rule };
    }
  }
}

/** What to do where estimates cannot be gone by. */
const INSTEAD: Readonly<Record<Estimator["kind"], string>> = {
  atp: "try --method ig, or patch",
  "atp-star": "try --method ig, or patch",
  ig: "try more --steps, or patch",
};
