/** @file The numbers of causal tracing: every state restored in one sweep, and some computed again the plain way. */

import { random } from "../core/random.ts";
import { evaluateMetric } from "../metric/metric.ts";
import type { MetricPlan } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import { mean } from "../numeric/statistics.ts";
import type { Json } from "../result/result.ts";
import type { Reading } from "../run/read.ts";
import { lastingReading, sweep } from "../run/sweep.ts";
import type { SweepInput } from "../run/variant.ts";
import type { TracingOptions, TracingSetup } from "./tracing-setup.ts";
import { DEFAULT_VERIFIED, plainReading, requireRounding } from "./verify.ts";

/** The metric of every run. */
export interface Traced {
  /** [fact] */
  readonly clean: Float64Array;
  /** [fact][sample] */
  readonly noised: readonly Float64Array[];
  /** [fact][site] → [layer, pos, sample] */
  readonly values: readonly (readonly Float64Array[])[];
  readonly exact: number;
}

/** Runs the sweep. */
export async function trace(model: Model, setup: TracingSetup, options: TracingOptions): Promise<Traced> {
  const { known, plans, sites, samples, runs } = setup;
  const layers = model.architecture.layers.length;
  const own = new Map<number, Reading>();
  const values = known.map(({ clean }) =>
    sites.map(() => new Float64Array(layers * clean.ids.length * samples)),
  );
  let exact = 0;
  const metricOf = (fact: number, reading: Reading): number => {
    const clean = own.get(fact * (samples + 1));
    if (clean === undefined) throw new Error("a variant was read before its fact's clean run");
    return evaluateMetric(plans[fact] as MetricPlan, reading, clean);
  };
  await sweep(
    model,
    { runs, count: setup.count, variant: setup.variant },
    {
      ...(options.stateBytes === undefined ? {} : { stateBytes: options.stateBytes }),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onRun: (run, reading) => own.set(run, reading),
      onReading(index, reading, unchanged) {
        const { fact, site, layer, pos, sample } = setup.place(index);
        const length = known[fact]?.clean.ids.length ?? 0;
        const target = values[fact]?.[site];
        target?.set([metricOf(fact, reading)], (layer * length + pos) * samples + sample);
        if (unchanged) exact += 1;
      },
    },
  );
  const read = (fact: number, run: number): number =>
    metricOf(fact, own.get(fact * (samples + 1) + run) ?? []);
  return {
    clean: Float64Array.from(known, (_, fact) => read(fact, 0)),
    noised: known.map((_, fact) =>
      Float64Array.from({ length: samples }, (__, sample) => read(fact, 1 + sample)),
    ),
    values,
    exact,
  };
}

/** Computes random cells again the plain way; a difference beyond rounding fails the run. */
export async function verifyTraced(
  model: Model,
  setup: TracingSetup,
  { found, options }: { readonly found: Traced; readonly options: TracingOptions },
): Promise<Record<string, Json>> {
  const { samples, plans, runs, count } = setup;
  const wanted = Math.min(options.verify ?? DEFAULT_VERIFIED, count);
  const source = random((options.seed ?? 0) + 1);
  const chosen = new Set<number>();
  while (chosen.size < wanted) chosen.add(source.integer(count));
  const input: Pick<SweepInput, "runs"> = { runs };
  let worst = 0;
  for (const index of chosen) {
    const { fact, site, layer, pos, sample } = setup.place(index);
    const plan = plans[fact] as MetricPlan;
    const clean = await plainReading(model, input, {
      variant: { run: fact * (samples + 1), edits: [] },
      use: lastingReading,
    });
    const value = await plainReading(model, input, {
      variant: setup.variant(index),
      use: (reading) => evaluateMetric(plan, reading, clean),
    });
    const length = setup.known[fact]?.clean.ids.length ?? 0;
    const swept = found.values[fact]?.[site]?.[(layer * length + pos) * samples + sample] ?? Number.NaN;
    worst = Math.max(worst, Math.abs(value - swept));
  }
  const gaps = found.clean.map((clean, fact) => Math.abs(clean - mean(found.noised[fact] ?? [])));
  requireRounding(worst, { scale: Math.max(...gaps) });
  return { verify_cells: wanted, verify_max_abs_diff: worst };
}
