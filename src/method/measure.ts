/** @file The metric of every variant of a sweep over prompt pairs, with what is kept for a run that is taken up again. */

import { bytes, callback, type OptionChecks, signal } from "../core/options.ts";
import { evaluateMetric } from "../metric/metric.ts";
import type { MetricPlan } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Dataset, Json } from "../result/result.ts";
import type { PlannedWave, SweepPlan } from "../run/plan.ts";
import type { Reading } from "../run/read.ts";
import { type Measured, type RecordLog, waveKeeper } from "../run/records.ts";
import { sweep } from "../run/sweep.ts";
import type { SweepInput, SweepRun } from "../run/variant.ts";
import { requireRounding } from "./verify.ts";

/** Run of a pair's clean prompt, in a sweep that has {@link pairRuns} first. */
export const cleanRun = (pair: number): number => 2 * pair;
/** Run of its corrupt prompt. */
export const corruptRun = (pair: number): number => 2 * pair + 1;

/** Clean and corrupt run of each pair, in that order, with what its metric reads. */
export function pairRuns(pairs: readonly Pair[], plans: readonly MetricPlan[]): SweepRun[] {
  return pairs.flatMap(({ clean, corrupt }, i) => {
    const plan = plans[i] as MetricPlan;
    const read = plan.positions.map(({ pos, columns, logsumexp, fullLogits }) => ({
      position: pos,
      readout: { columns, logsumexp, logits: fullLogits },
    }));
    return [clean, corrupt].map(({ ids }) => ({ ids: [...ids, ...plan.appended], read }));
  });
}

/** Runs that a pair's variants are measured against: the clean one, where the metric is a distance from it. */
export function measuredAgainst({ positions }: MetricPlan, pair: number): readonly number[] {
  return positions.some(({ fullLogits }) => fullLogits) ? [cleanRun(pair)] : [];
}

/** What is there of a piece of work: its result, or records of it to go on from. */
export type Kept =
  | { readonly kind: "finished"; readonly result: Dataset }
  | { readonly kind: "records"; readonly log: RecordLog };

/** How a method's sweep is bounded, followed, kept and stopped. */
export interface SweepWork {
  /** Bytes for the state of variants under way. */
  readonly stateBytes?: number | undefined;
  /** Called with what is about to be done, before anything runs. */
  readonly onPlan?: ((plan: SweepPlan) => Promise<void> | void) | undefined;
  /** Opens what earlier runs of the same work have kept; `work` tells works apart, by all that the numbers follow from. */
  readonly keep?: ((work: string) => Promise<Kept>) | undefined;
  /** Called if waves were kept. */
  readonly onResume?: ((kept: number, waves: number) => void) | undefined;
  /** FLOPs done, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

export const sweepWorkChecks: OptionChecks<SweepWork> = {
  stateBytes: bytes,
  onPlan: callback,
  keep: callback,
  onResume: callback,
  onProgress: callback,
  signal,
};

/** A planned sweep, and how it is followed. */
export interface Measurement extends Pick<SweepWork, "onResume" | "onProgress" | "signal"> {
  /** By pair. */
  readonly plans: readonly MetricPlan[];
  /** Its first runs are {@link pairRuns}; its variants name the runs that they are {@link measuredAgainst}. */
  readonly input: SweepInput;
  readonly plan: SweepPlan;
  readonly pairOf: (variant: number) => number;
  readonly prepare?: ((wave: PlannedWave) => Promise<void>) | undefined;
  readonly log?: RecordLog | undefined;
}

export interface MeasuredVariants {
  /** Metric of the unedited runs, by pair. */
  readonly clean: Float64Array;
  readonly corrupt: Float64Array;
  /** By variant. */
  readonly values: Float64Array;
  /** Variants that read as their run does, to the last bit. */
  readonly unchanged: number;
  /** Seconds that waves kept by earlier runs took. */
  readonly earlierSeconds: number;
}

/** Runs the sweep. */
export async function measure(model: Model, how: Measurement): Promise<MeasuredVariants> {
  const { plans, input, plan, pairOf, log } = how;
  const readings = new Map<number, Reading>();
  const metricOf = (pair: number, reading: Reading): number =>
    evaluateMetric(plans[pair] as MetricPlan, reading, readings.get(cleanRun(pair)) ?? reading);
  const ofRuns = new Map<number, number>();
  const metricOfRun = (run: number): number => {
    let found = ofRuns.get(run);
    if (found === undefined) {
      found = metricOf(Math.floor(run / 2), readings.get(run) ?? []);
      ofRuns.set(run, found);
    }
    return found;
  };

  const measured: Measured = { values: new Float64Array(input.count), unchanged: 0 };
  const keeper = log === undefined ? undefined : waveKeeper(model, input, { log, plan, measured });
  let isRestoring = keeper !== undefined;
  await sweep(model, input, {
    ...(how.signal === undefined ? {} : { signal: how.signal }),
    plan,
    keeper,
    prepare: how.prepare,
    onProgress(done, total) {
      const kept = isRestoring ? (keeper?.found() ?? 0) : 0;
      isRestoring = false;
      if (kept > 0) how.onResume?.(kept, plan.waves.length);
      how.onProgress?.(done, total);
    },
    onRun(run, reading) {
      if (run < 2 * plans.length) readings.set(run, reading);
    },
    onReading(index, reading, unchanged) {
      measured.values[index] = unchanged
        ? metricOfRun(input.variant(index).run)
        : metricOf(pairOf(index), reading);
      if (unchanged) measured.unchanged += 1;
    },
  });
  return {
    clean: Float64Array.from(plans, (_, pair) => metricOfRun(cleanRun(pair))),
    corrupt: Float64Array.from(plans, (_, pair) => metricOfRun(corruptRun(pair))),
    values: measured.values,
    unchanged: measured.unchanged,
    earlierSeconds: keeper?.seconds() ?? 0,
  };
}

/** The work that was planned; a guess of seconds is no part of it, as a result does not depend on the machine. */
export function planAttributes({ variants, unchanged, waves, flops, stateBytes }: SweepPlan): Json {
  return { variants, unchanged, waves: waves.length, flops, state_bytes: stateBytes };
}

/** All that the numbers follow from, as text: equal works have equal records. */
export function workOf(parts: {
  /** What was asked. */
  readonly asked: Record<string, Json>;
  /** See {@link provenance}. */
  readonly made: Record<string, Json>;
  readonly runs: readonly SweepRun[];
  readonly plan: SweepPlan;
}): string {
  const { asked, made, runs, plan } = parts;
  const { prompts, model, software } = made;
  return JSON.stringify({
    ...asked,
    prompts,
    model,
    software,
    runs: runs.map(({ ids, read }) => [ids, read]),
    waves: plan.waves.map(({ end, variants, newRuns }) => [end, variants, newRuns]),
  });
}

/** Fails where values of whole forward passes differ from the sweep's by more than rounding. */
export function requireAgreement(
  worst: number,
  { clean, corrupt }: Pick<MeasuredVariants, "clean" | "corrupt">,
): void {
  const gaps = Array.from(clean, (value, pair) => Math.abs(value - (corrupt[pair] ?? 0)));
  requireRounding(worst, { scale: Math.max(...gaps) });
}
