/** @file The metric of circuits: of runs in which every edge outside a circuit carries the other run's value. */

import { evaluateMetric } from "../metric/metric.ts";
import type { Direction } from "../metric/normalise.ts";
import type { MetricName, MetricPlan } from "../metric/plan.ts";
import { metricPlans } from "../metric/plan.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { CircuitMask } from "../run/circuit-pass.ts";
import { runCircuits } from "../run/circuit-run.ts";
import type { Reading } from "../run/read.ts";
import { readRows } from "../run/read.ts";
import { lastingReading } from "../run/sweep.ts";
import type { SweepRun } from "../run/variant.ts";
import { pairRuns } from "./measure.ts";

export interface CircuitValuesOptions {
  readonly graph: EdgeGraph;
  readonly circuits: readonly CircuitMask[];
  readonly metric: MetricName;
  /** `noise` (default): outside the circuit edges carry corrupt values; `denoise`: clean ones, in the corrupt run. */
  readonly direction?: Direction | undefined;
  readonly stateBytes?: number | undefined;
  /** Runs of circuits done, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

export interface CircuitValues {
  /** [pair, circuit] */
  readonly values: Float64Array;
  /** Metric of the run whose edges a circuit keeps: that of the circuit of all edges; by pair. */
  readonly whole: Float64Array;
  /** Metric of the other run: that of the circuit without edges; by pair. */
  readonly empty: Float64Array;
}

/**
 * Runs circuits on pairs. A circuit's faithfulness is (value − empty) / (whole − empty).
 * @throws InputError for pairs that the metric is not defined on.
 */
export async function circuitValues(
  model: Model,
  pairs: readonly Pair[],
  options: CircuitValuesOptions,
): Promise<CircuitValues> {
  const { graph, circuits, metric, direction = "noise", stateBytes, signal, onProgress } = options;
  const plans = metricPlans(pairs, metric);
  const found: CircuitValues = {
    values: new Float64Array(pairs.length * circuits.length),
    whole: new Float64Array(pairs.length),
    empty: new Float64Array(pairs.length),
  };
  const none = new Uint8Array(graph.size);
  const all = none.slice().fill(1);
  for (const [pair, plan] of plans.entries()) {
    const [clean, corrupt] = pairRuns(pairs.slice(pair, pair + 1), [plan]) as [SweepRun, SweepRun];
    const [base, other] = direction === "noise" ? [clean, corrupt] : [corrupt, clean];
    const residuals = await runCircuits(
      model,
      { base: base.ids, other: other.ids },
      { graph, circuits: [all, none, ...circuits], stateBytes, signal },
    );
    const isClean = (row: number): boolean => row === (direction === "noise" ? 0 : 1);
    const metrics = await metricsOf(model, { plan, read: base.read, residuals, isClean });
    found.whole.set(metrics.subarray(0, 1), pair);
    found.empty.set(metrics.subarray(1, 2), pair);
    found.values.set(metrics.subarray(2), pair * circuits.length);
    onProgress?.((pair + 1) * circuits.length, pairs.length * circuits.length);
  }
  return found;
}

/** The metric of final residual streams [T, d], one of which is that of the clean run. */
async function metricsOf(
  model: Model,
  {
    plan,
    read,
    residuals,
    isClean,
  }: {
    readonly plan: MetricPlan;
    readonly read: SweepRun["read"];
    readonly residuals: readonly (Float32Array | Float64Array)[];
    readonly isClean: (row: number) => boolean;
  },
): Promise<Float64Array> {
  const width = model.architecture.dModel;
  const rows = residuals.map((residual, row) => {
    const [first] = read;
    // Positions that are read are neighbours.
    const from = (first?.position ?? 0) * width;
    return { row, residual: residual.subarray(from, from + read.length * width) };
  });
  // Distances are from the clean run, which so has to be read first.
  rows.sort((a, b) => Number(isClean(b.row)) - Number(isClean(a.row)));
  const metrics = new Float64Array(rows.length);
  let clean: Reading | undefined;
  await readRows(model, rows, {
    reads: () => read,
    onReading({ row }, reading) {
      clean ??= lastingReading(reading);
      metrics[row] = evaluateMetric(plan, reading, clean);
    },
  });
  return metrics;
}
