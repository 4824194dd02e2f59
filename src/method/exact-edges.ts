/**
 * @file Exact edge patching: every edge between two nodes is patched in turn, and the metric of that run is what
 * whole forward passes would give. Estimates of edges (EAP and its kin) stand in for these numbers.
 *
 * An edge carries what its source writes in the source run into one input of the base run; all other inputs of the
 * target are as in the base run, and everything behind the target is computed.
 * Source: Goldowsky-Dill et al. 2023, "Localizing model behavior with path patching"; Mueller et al. 2025 (MIB), whose
 * tables have it as exact edge patching.
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, gather, refuse } from "../core/errors.ts";
import { flag, type OptionChecks, oneOf, optionFaults, seed, texts, whole } from "../core/options.ts";
import { random } from "../core/random.ts";
import { evaluateMetric, metrics } from "../metric/metric.ts";
import type { Direction } from "../metric/normalise.ts";
import { baselineWarnings, directionNames } from "../metric/normalise.ts";
import type { MetricName, MetricPlan } from "../metric/plan.ts";
import { defaultMetric, metricNames, metricPlans } from "../metric/plan.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import { edgeGraph, edgeName, edgeNames } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Json } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { plainEdge } from "../run/edge-plain.ts";
import type { EdgeRuns } from "../run/edge-sources.ts";
import type { EdgeVariants } from "../run/edge-variants.ts";
import { edgeVariants } from "../run/edge-variants.ts";
import type { Edit } from "../run/edit.ts";
import { planSweep } from "../run/plan.ts";
import type { Reading } from "../run/read.ts";
import { lastingReading } from "../run/sweep.ts";
import type { SweepRun } from "../run/variant.ts";
import { meanOver } from "./mean-over.ts";
import type { MeasuredVariants, SweepWork } from "./measure.ts";
import {
  cleanRun,
  corruptRun,
  measure,
  measuredAgainst,
  pairRuns,
  planAttributes,
  requireAgreement,
  sweepWorkChecks,
  workOf,
} from "./measure.ts";
import { pairFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";
import { DEFAULT_VERIFIED, plainReading } from "./verify.ts";

export interface ExactEdgesOptions extends SweepWork {
  /** Names of edges, `a0.h1->m3`, `input->a1.h0<q>`, …; all of them if absent. */
  readonly edges?: readonly string[] | undefined;
  /** One slot for keys and values that query heads share. Default false: every query head has its own. */
  readonly groupKv?: boolean | undefined;
  /** `noise` (default): edges of the clean run carry corrupt values; `denoise`: those of the corrupt run clean ones. */
  readonly direction?: Direction | undefined;
  /** `logit_diff` where the pairs have a foil, else `logprob`. */
  readonly metric?: MetricName | undefined;
  /** Every pair's own scores, with dim `pair`. */
  readonly perPair?: boolean | undefined;
  /** Random edges computed again by whole forward passes. Default 4. */
  readonly verify?: number | undefined;
  /** Of intervals and verification. Default 0. */
  readonly seed?: number | undefined;
}

export const exactEdgesChecks: OptionChecks<ExactEdgesOptions> = {
  edges: texts,
  groupKv: flag,
  direction: oneOf(directionNames),
  metric: oneOf(metricNames),
  perPair: flag,
  verify: whole(0),
  seed,
  ...sweepWorkChecks,
};

/**
 * Patches edges one at a time.
 *
 * @returns a dataset with dim `edge` and `score`: by how much the metric drops when the edge carries the corrupt value
 * in the clean run (noise), or rises when it carries the clean value in the corrupt run (denoise), mean over pairs;
 * with several pairs `score_ci_low` and `score_ci_high` (95 % bootstrap interval).
 * @throws InputError naming every unknown edge, and pairs that the metric is not defined on.
 */
export async function exactEdges(
  model: Model,
  pairs: readonly Pair[],
  options: ExactEdgesOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  const setup = prepare(model, pairs, options);
  const { variants, runs, plans, metric, edges, graph } = setup;
  const plan = planSweep(model, { runs, ...variants }, options);
  const planned = milliseconds();
  await options.onPlan?.(plan);
  const made = await provenance(model, pairs);
  const asked = attributesOf(options, setup);
  const kept = await options.keep?.(workOf({ asked, made, runs, plan }));
  if (kept?.kind === "finished") return kept.result;
  const begun = milliseconds(); // hashing weights and opening records is none of the work
  const found = await measure(model, {
    ...options,
    plans,
    input: { runs, ...variants },
    plan,
    pairOf: (index) => variants.place(index).pair,
    prepare: variants.prepare,
    log: kept?.log,
  });
  const checked = await verify(model, setup, { found, options });
  const seconds = found.earlierSeconds + (planned - started + milliseconds() - begun) / 1000;
  const means = meanOver(scoresByPair(setup, found), {
    unit: metrics[metric].unit,
    quantity: "effect",
    perSample: options.perPair ?? false,
    seed: options.seed ?? 0,
    over: "pairs",
  });
  const baselines = Array.from(found.clean, (clean, i) => ({
    clean,
    corrupt: found.corrupt[i] ?? Number.NaN,
  }));
  return dataset({
    attrs: {
      ...asked,
      baseline_clean: mean(found.clean),
      baseline_corrupt: mean(found.corrupt),
      edges: edges.length,
      edges_unchanged: found.unchanged,
      plan: planAttributes(plan),
      ...checked,
      ...means.attrs,
      warnings: [...baselineWarnings(pairs, baselines, metric)],
      ...made,
      seconds,
    },
    dims: { ...means.dims, edge: edges.length },
    coords: {
      ...means.coords(pairs),
      edge: { dims: ["edge"], data: Array.from(edges, (edge) => edgeName(graph, edge)), attrs: {} },
    },
    dataVars: means.dataVars,
  });
}

/** Attributes that say what was asked. */
function attributesOf(options: ExactEdgesOptions, { metric, direction, graph }: Setup): Record<string, Json> {
  return {
    method: "exact-edges",
    metric,
    unit: metrics[metric].unit,
    direction,
    options: {
      edges: options.edges === undefined ? "all" : [...options.edges],
      group_kv: graph.groupKv,
      seed: options.seed ?? 0,
    },
  };
}

/** Everything that is decided before anything runs. */
interface Setup {
  readonly pairs: readonly Pair[];
  readonly plans: readonly MetricPlan[];
  readonly metric: MetricName;
  readonly direction: Direction;
  readonly graph: EdgeGraph;
  /** Numbers of the edges patched. */
  readonly edges: Int32Array;
  /** Clean and corrupt run of each pair. */
  readonly runs: readonly SweepRun[];
  readonly edgeRuns: readonly EdgeRuns[];
  readonly variants: EdgeVariants;
}

function prepare(model: Model, pairs: readonly Pair[], options: ExactEdgesOptions): Setup {
  refuse([...optionFaults(options, exactEdgesChecks), ...pairFaults(pairs)]);
  const { metric = defaultMetric(pairs), direction = "noise", groupKv } = options;
  const faults: Fault[] = [];
  const graph = edgeGraph(model.definition, { groupKv });
  const edges = chosenEdges(graph, options.edges, faults);
  const plans = gather(faults, () => metricPlans(pairs, metric)) ?? [];
  refuse(faults);
  const runs = pairRuns(pairs, plans);
  const edgeRuns = pairs.map((_, pair): EdgeRuns => {
    const [base, other] = [baseRun(pair, direction), sourceRun(pair, direction)];
    return { base: runs[base]?.ids ?? [], other: runs[other]?.ids ?? [] };
  });
  const variants = edgeVariants(model, {
    graph,
    edges,
    pairs: edgeRuns,
    baseRun: (pair) => baseRun(pair, direction),
    beside: (pair) => measuredAgainst(plans[pair] as MetricPlan, pair),
  });
  return { pairs, plans, metric, direction, graph, edges, runs, edgeRuns, variants };
}

/** Numbers of the named edges, each once; all if none are named. */
export function chosenEdges(
  graph: EdgeGraph,
  names: readonly string[] | undefined,
  faults: Fault[],
): Int32Array {
  if (names === undefined) return Int32Array.from({ length: graph.size }, (_, edge) => edge);
  const known = edgeNames(graph);
  if (names.length === 0) faults.push({ where: "edges", found: "none", wanted: "at least one edge" });
  const found = names.flatMap((name, index) => {
    const edge = gather(faults, () => known.parse(name, `edges, ${index + 1}`));
    return edge === undefined ? [] : [edge];
  });
  return Int32Array.from(new Set(found));
}

const baseRun = (pair: number, direction: Direction): number =>
  direction === "denoise" ? corruptRun(pair) : cleanRun(pair);
const sourceRun = (pair: number, direction: Direction): number =>
  direction === "denoise" ? cleanRun(pair) : corruptRun(pair);

/** The scores of each pair, in the order of the edges. */
function scoresByPair(
  { variants, direction, edges, pairs }: Setup,
  { clean, corrupt, values }: MeasuredVariants,
): { readonly score: { readonly dims: readonly string[]; readonly data: Float64Array } }[] {
  const samples = pairs.map(() => ({ score: { dims: ["edge"], data: new Float64Array(edges.length) } }));
  for (const [index, value] of values.entries()) {
    const { pair, edge } = variants.place(index);
    const score = direction === "noise" ? (clean[pair] ?? 0) - value : value - (corrupt[pair] ?? 0);
    samples[pair]?.score.data.set([score], edge);
  }
  return samples;
}

/** Computes random edges again the plain way; a difference beyond rounding fails the run. */
async function verify(
  model: Model,
  setup: Setup,
  { found, options }: { readonly found: MeasuredVariants; readonly options: ExactEdgesOptions },
): Promise<Record<string, Json>> {
  const { variants, plans, runs, graph, edges, edgeRuns, direction } = setup;
  const wanted = Math.min(options.verify ?? DEFAULT_VERIFIED, variants.count);
  const source = random((options.seed ?? 0) + 1);
  const chosen = new Set<number>();
  while (chosen.size < wanted) chosen.add(source.integer(variants.count));

  let [worst, floor] = [0, 0];
  const cleanOf = new Map<number, Reading>();
  for (const index of chosen) {
    const { pair, edge } = variants.place(index);
    const plan = plans[pair] as MetricPlan;
    const read = <T>(run: number, edits: readonly Edit[], use: (reading: Reading) => T): Promise<T> =>
      plainReading(model, { runs }, { variant: { run, edits }, use });
    const base = baseRun(pair, direction);
    let clean = cleanOf.get(pair);
    if (clean === undefined) {
      clean = await read(cleanRun(pair), [], lastingReading);
      cleanOf.set(pair, clean);
      const reference: Reading = clean;
      const own = await read(base, [], (reading) => evaluateMetric(plan, reading, reference));
      const swept = (direction === "denoise" ? found.corrupt : found.clean)[pair] ?? 0;
      floor = Math.max(floor, Math.abs(own - swept));
    }
    const reference: Reading = clean;
    const edit = await plainEdge(model, edgeRuns[pair] as EdgeRuns, { graph, edge: edges[edge] ?? -1 });
    const value = await read(base, [edit], (reading) => evaluateMetric(plan, reading, reference));
    worst = Math.max(worst, Math.abs(value - (found.values[index] ?? 0)));
  }
  requireAgreement(worst, found);
  return { verify_cells: wanted, verify_max_abs_diff: worst, noise_floor: floor };
}
