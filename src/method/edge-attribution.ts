/**
 * @file Edge attribution: what every edge between two nodes does for the metric, estimated for all at once, the
 * largest computed exactly.
 *
 * EAP: Syed et al. 2023, "Attribution patching outperforms automated circuit discovery"; with integrated gradients:
 * Hanna et al. 2024, "Have faith in faithfulness"; clean-corrupted and activations: as in the EAP-IG and MIB tools.
 */

import { milliseconds } from "../core/clock.ts";
import type { Fault } from "../core/errors.ts";
import { gather, refuse } from "../core/errors.ts";
import {
  bytes,
  callback,
  flag,
  type OptionChecks,
  oneOf,
  optionFaults,
  seed,
  signal,
  texts,
  whole,
} from "../core/options.ts";
import { metrics } from "../metric/metric.ts";
import type { Direction } from "../metric/normalise.ts";
import { baselineWarnings, directionNames } from "../metric/normalise.ts";
import type { MetricName } from "../metric/plan.ts";
import { defaultMetric, metricNames, metricPlans } from "../metric/plan.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import { edgeGraph, edgeName } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { bootstrapMean, drawResamples, mean } from "../numeric/statistics.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { agreement, agreementWarnings } from "./agreement.ts";
import { attributionRuns } from "./attribution-runs.ts";
import { baselineAttributes } from "./baselines.ts";
import { rankedEdges } from "./edge-pruning.ts";
import type { EdgeEstimator } from "./edge-scores.ts";
import { edgeEstimatorCheck, edgeMemoryWarnings, edgeScores } from "./edge-scores.ts";
import { chosenEdges, exactEdges } from "./exact-edges.ts";
import { pairFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";

export interface EdgeAttributionOptions {
  /** Default `eap`. */
  readonly estimator?: EdgeEstimator | undefined;
  /** Names of the edges that the result has, `a0.h1->m3`, `input->a1.h0<q>`, …; all of them if absent. */
  readonly edges?: readonly string[] | undefined;
  /** One slot for keys and values that query heads share. Default false: every query head has its own. */
  readonly groupKv?: boolean | undefined;
  /** `noise` (default): gradients of the clean run, edges that carry corrupt values; `denoise` the other way round. */
  readonly direction?: Direction | undefined;
  /** `logit_diff` where the pairs have a foil, else `logprob`. */
  readonly metric?: MetricName | undefined;
  readonly perPair?: boolean | undefined;
  /** Edges with the largest estimates that are computed exactly. Default 20. */
  readonly verifyTop?: number | undefined;
  /** Of intervals. Default 0. */
  readonly seed?: number | undefined;
  /** Bytes for forward values of one pass; beyond them blocks are computed again on the way back. */
  readonly keepBytes?: number | undefined;
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

export const edgeAttributionChecks: OptionChecks<EdgeAttributionOptions> = {
  estimator: edgeEstimatorCheck,
  edges: texts,
  groupKv: flag,
  direction: oneOf(directionNames),
  metric: oneOf(metricNames),
  perPair: flag,
  verifyTop: whole(0),
  seed,
  keepBytes: bytes,
  stateBytes: bytes,
  onProgress: callback,
  signal,
};

/** Edges with the largest estimates that are patched exactly. */
export const DEFAULT_VERIFIED_EDGES = 20;
/** Default number of steps of integrated gradients: Hanna et al. use 5. */
export const DEFAULT_EDGE_STEPS = 5;

/**
 * Estimates of all edges.
 *
 * @returns a dataset with dim `edge` and `score`: by how much the metric drops, to first order, when the edge carries
 * the corrupt value in the clean run (noise), or rises when it carries the clean value in the corrupt run (denoise);
 * positive means that the edge helps. Mean over pairs, with `score_ci_low` and `score_ci_high` (95 % bootstrap
 * interval over pairs; of the largest edges where there are too many for all); `score_exact` where it was verified.
 * Attributes tell the passes spent and how estimates and exact values agree.
 * @throws InputError naming every fault of options, edges and pairs, and KL at the clean run, whose gradient is 0.
 */
export async function edgeAttribution(
  model: Model,
  pairs: readonly Pair[],
  options: EdgeAttributionOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, edgeAttributionChecks), ...pairFaults(pairs)]);
  const { estimator = { kind: "eap" }, direction = "noise", metric = defaultMetric(pairs) } = options;
  const { seed = 0, verifyTop = DEFAULT_VERIFIED_EDGES, groupKv } = options;
  const graph = edgeGraph(model.definition, { groupKv });
  const faults = flatFaults({ estimator, direction, metric });
  const edges = chosenEdges(graph, options.edges, faults);
  const plans = gather(faults, () => metricPlans(pairs, metric)) ?? [];
  refuse(faults);

  const runs = await attributionRuns(model, pairs, { plans, direction });
  const { scores, passes, ...values } = await edgeScores(model, runs, {
    graph,
    estimator,
    base: direction === "noise" ? "clean" : "corrupt",
    keepBytes: options.keepBytes,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  const estimated = (milliseconds() - started) / 1000;
  const chosen = { graph, edges, scores, pairs: pairs.length };
  const means = Float64Array.from(edges, (edge) => mean(column(chosen, edge)));
  const byEdge = new Map(Array.from(edges, (edge, index) => [edge, index] as const));
  const ranked = rankedEdges(graph, (edge) => Math.abs(means[byEdge.get(edge) ?? -1] ?? Number.NaN));
  const top = ranked.slice(0, verifyTop);
  const exact = await exactScores(model, pairs, { top, graph, metric, direction, seed, options });
  const compared = {
    estimates: top.map((edge) => means[byEdge.get(edge) ?? -1] ?? Number.NaN),
    exact: [...exact.values()],
  };
  const seconds = (milliseconds() - started) / 1000;

  const { unit } = metrics[metric];
  const [clean, corrupt] =
    direction === "noise" ? [values.base, values.source] : [values.source, values.base];
  const baselines = Array.from(clean, (value, i) => ({ clean: value, corrupt: corrupt[i] ?? Number.NaN }));
  const intervals = intervalsOf(chosen, { ranked, seed });
  const perPair = options.perPair ?? false;
  const attrs: Record<string, Json> = {
    method: "edge-attribution",
    metric,
    unit,
    direction,
    ...baselineAttributes({ clean, corrupt }, { seed }),
    estimator: { ...estimator },
    forwards: passes.forwards,
    backwards: passes.backwards,
    edges: edges.length,
    sources: graph.sources.length,
    verified: top.length,
    ...agreement(compared),
    ...intervals?.attrs,
    warnings: [
      ...baselineWarnings(pairs, baselines, metric),
      ...edgeMemoryWarnings(model, runs),
      ...agreementWarnings(compared, "--method exact patches every edge"),
    ],
    options: {
      edges: options.edges === undefined ? "all" : [...options.edges],
      group_kv: graph.groupKv,
      seed,
    },
    ...(await provenance(model, pairs)),
    seconds_estimate: estimated,
    seconds,
  };
  const along = { dims: ["edge"], attrs: { unit } };
  const dataVars: Record<string, Variable> = {
    score: {
      dims: ["edge"],
      data: means,
      attrs: { unit, quantity: "estimate", long_name: "estimated drop of the metric without the edge" },
    },
  };
  for (const side of intervals === undefined ? [] : (["low", "high"] as const)) {
    const attrs = { unit, long_name: `95 % bootstrap interval over pairs, ${side}` };
    dataVars[`score_ci_${side}`] = { ...along, data: intervals?.[side] ?? new Float64Array(0), attrs };
  }
  if (top.length > 0) {
    const data = Float64Array.from(edges, (edge) => exact.get(edge) ?? Number.NaN);
    const attrs = { unit, long_name: "exact drop of the metric, where verified" };
    dataVars.score_exact = { ...along, data, attrs };
  }
  if (perPair) {
    const data = new Float64Array(pairs.length * edges.length);
    for (const [index, edge] of edges.entries())
      for (const [pair, score] of column(chosen, edge).entries()) data[pair * edges.length + index] = score;
    dataVars.score_per_pair = { dims: ["pair", "edge"], data, attrs: { unit, detail: true } };
  }
  return dataset({
    attrs,
    dims: { edge: edges.length, ...(perPair ? { pair: pairs.length } : {}) },
    coords: {
      edge: { dims: ["edge"], data: Array.from(edges, (edge) => edgeName(graph, edge)), attrs: {} },
      ...(perPair ? { pair: { dims: ["pair"], data: pairs.map(({ id }) => id), attrs: {} } } : {}),
    },
    dataVars,
  });
}

/** A metric that nothing can be estimated of, as its gradient at the clean run is 0. */
function flatFaults({
  estimator,
  direction,
  metric,
}: {
  readonly estimator: EdgeEstimator;
  readonly direction: Direction;
  readonly metric: MetricName;
}): Fault[] {
  const isFlat = direction === "noise" && (metric === "kl" || metric === "kl_reverse");
  if (estimator.kind !== "eap" || !isFlat) return [];
  return [
    {
      where: "--metric",
      found: `${metric} with --method eap`,
      wanted: "a metric whose gradient at the clean run is not 0",
      fix: "A divergence from the clean run is least there: use --method eap-ig, or logit_diff.",
    },
  ];
}

interface Scored {
  readonly graph: EdgeGraph;
  readonly edges: Int32Array;
  /** [pair, edge] */
  readonly scores: Float64Array;
  readonly pairs: number;
}

/** One edge's score on every pair. */
function column({ graph, scores, pairs }: Scored, edge: number): Float64Array {
  return Float64Array.from({ length: pairs }, (_, pair) => scores[pair * graph.size + edge] ?? Number.NaN);
}

/** Exact scores of some edges, in their order. */
async function exactScores(
  model: Model,
  pairs: readonly Pair[],
  how: {
    readonly top: readonly number[];
    readonly graph: EdgeGraph;
    readonly metric: MetricName;
    readonly direction: Direction;
    readonly seed: number;
    readonly options: EdgeAttributionOptions;
  },
): Promise<ReadonlyMap<number, number>> {
  const { top, graph, metric, direction, seed, options } = how;
  if (top.length === 0) return new Map();
  const { dataVars } = await exactEdges(model, pairs, {
    edges: top.map((edge) => edgeName(graph, edge)),
    groupKv: graph.groupKv,
    metric,
    direction,
    verify: 0,
    seed,
    stateBytes: options.stateBytes,
    signal: options.signal,
  });
  const found = dataVars.score?.data ?? [];
  return new Map(top.map((edge, index) => [edge, Number(found[index])] as const));
}

/** Draws of all intervals together: a second or two of work. */
const MAX_DRAWS = 4e8;
/** Enough for a 95 % interval; fewer leave mostly noise. */
const RESAMPLES = 500;

/** Intervals of the largest edges, as many as can be afforded; NaN elsewhere. None of a single pair. */
function intervalsOf(
  scored: Scored,
  { ranked, seed }: { readonly ranked: readonly number[]; readonly seed: number },
):
  | { readonly low: Float64Array; readonly high: Float64Array; readonly attrs: Record<string, Json> }
  | undefined {
  const { edges, pairs } = scored;
  if (pairs < 2) return undefined;
  const count = Math.min(edges.length, Math.floor(MAX_DRAWS / (RESAMPLES * pairs)));
  const drawn = drawResamples(pairs, { seed, resamples: RESAMPLES });
  const low = new Float64Array(edges.length).fill(Number.NaN);
  const high = low.slice();
  const index = new Map(Array.from(edges, (edge, i) => [edge, i] as const));
  for (const edge of ranked.slice(0, count)) {
    const found = bootstrapMean(column(scored, edge), drawn);
    const at = index.get(edge) ?? 0;
    low[at] = found.low;
    high[at] = found.high;
  }
  return { low, high, attrs: { interval: 0.95, bootstrap_resamples: RESAMPLES, intervals: count } };
}
