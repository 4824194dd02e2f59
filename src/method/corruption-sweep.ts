/**
 * @file The sweep of a corruption comparison: every cell of every pair restored in every corrupted run, each read under
 * several metrics at once.
 */

import { inputError } from "../core/errors.ts";
import { random } from "../core/random.ts";
import type { FloatArray } from "../core/tensor.ts";
import { evaluateMetric, metrics } from "../metric/metric.ts";
import type { MetricPlan } from "../metric/plan.ts";
import { metricPlans } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { softmax } from "../numeric/logits.ts";
import { dot } from "../numeric/projection.ts";
import type { Json } from "../result/result.ts";
import type { Reading } from "../run/read.ts";
import { lastingReading, sweep } from "../run/sweep.ts";
import type { SweepRun, Variant } from "../run/variant.ts";
import type { Layout } from "./corruption-cells.ts";
import type { Corrupted } from "./corruption-kinds.ts";
import { plainReading, requireRounding } from "./verify.ts";

export const comparedMetrics = ["prob", "logit_diff", "kl", "logprob"] as const;
export type ComparedMetric = (typeof comparedMetrics)[number];

/** What a pair is read for, and the clean run's share in it. */
interface PairReader {
  readonly read: SweepRun["read"];
  /** [metric]; `clean` is the clean run's reading. */
  evaluate(reading: Reading, clean: CleanReading): number[];
}

/** The clean run's reading, with its distribution where KL is asked for. */
interface CleanReading {
  readonly reading: Reading;
  readonly probabilities: Float64Array | undefined;
}

/** Values of the restored runs, before anything is averaged over pairs. */
export interface ComparedValues {
  /** [metric][pair] */
  readonly clean: readonly Float64Array[];
  /** [pair][corruption][sample] → [metric]: the corrupted run itself. */
  readonly corrupted: readonly (readonly (readonly number[])[][])[];
  /** [pair][corruption][sample][grid] → [metric, cell]; NaN where the pair has no such tokens. */
  readonly restored: readonly (readonly (readonly (readonly Float64Array[])[])[])[];
  /** [pair][corruption][grid] → [cell]: distance of the last stream of the first sample's restored runs. */
  readonly distances: readonly (readonly (readonly Float64Array[])[])[];
  readonly cells: number;
  readonly unchanged: number;
  readonly verified: Readonly<Record<string, Json>>;
}

export interface ComparedSweep {
  readonly pairs: readonly Pair[];
  readonly layout: Layout;
  readonly corrupted: Corrupted;
  readonly metrics: readonly ComparedMetric[];
  /** [pair]: distance of a last stream [d] from natural ones; none where there is no reference. */
  readonly distanceOf: readonly (((stream: FloatArray) => number) | undefined)[];
  /** [pair][corruption]: that of the first sample's run, which restored runs have where nothing changes. */
  readonly ownDistance: readonly (readonly number[])[];
  readonly verify: number;
  readonly seed: number;
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

/** Where a variant stands. */
interface Place {
  readonly pair: number;
  readonly corruption: number;
  readonly sample: number;
  /** Index into the pair's cells. */
  readonly index: number;
}

/** Restores everything. */
export async function sweepCorruptions(model: Model, asked: ComparedSweep): Promise<ComparedValues> {
  const { pairs, layout, corrupted, distanceOf } = asked;
  const readers = readersOf(pairs, asked.metrics);
  const runs: SweepRun[] = [];
  /** [pair][corruption]: index of the first sample's run. */
  const first: number[][] = [];
  const cleanRuns: number[] = [];
  for (const [index, { clean }] of pairs.entries()) {
    const read = readers[index]?.read ?? [];
    cleanRuns.push(runs.length);
    runs.push({ ids: clean.ids, read });
    first.push(
      (corrupted.runs[index] ?? []).map((samples) => {
        const from = runs.length;
        for (const { ids, offset } of samples) runs.push({ ids, read, ...(offset && { offset }) });
        return from;
      }),
    );
  }
  const { count, place } = placesOf(layout, corrupted);
  const variant = (index: number): Variant => {
    const at = place(index);
    const clean = cleanRuns[at.pair] ?? 0;
    return {
      run: (first[at.pair]?.[at.corruption] ?? 0) + at.sample,
      edits: layout.cells[at.pair]?.[at.index]?.edits(clean) ?? [],
    };
  };

  const many = asked.metrics.length;
  const values = new Float64Array(count * many);
  const streams = new Float64Array(count).fill(Number.NaN);
  const own: number[][] = [];
  const cleans: CleanReading[] = [];
  const cleanOf = new Map(cleanRuns.map((run, pair) => [run, pair]));
  const pairOf = runs.map((_, run) => cleanRuns.findLastIndex((clean) => clean <= run));
  let unchanged = 0;
  const last = model.architecture.layers.length - 1;
  const width = model.architecture.dModel;
  await sweep(
    model,
    { runs, count, variant },
    {
      ...(asked.stateBytes === undefined ? {} : { stateBytes: asked.stateBytes }),
      ...(asked.onProgress === undefined ? {} : { onProgress: asked.onProgress }),
      ...(asked.signal === undefined ? {} : { signal: asked.signal }),
      capture: {
        sites: ["resid_post"],
        wants: (index) => {
          const { pair, sample } = place(index);
          return sample === 0 && distanceOf[pair] !== undefined;
        },
        onValues({ layer, rows, values: found }) {
          const stream = found.get("resid_post");
          if (layer !== last || stream === undefined) return;
          for (const { index, positions, firstToken } of rows) {
            const at = firstToken + positions.length - 1;
            const state = stream.subarray(at * width, (at + 1) * width);
            streams[index] = distanceOf[place(index).pair]?.(state) ?? Number.NaN;
          }
        },
      },
      onRun(run, reading) {
        const pair = cleanOf.get(run);
        if (pair !== undefined) cleans[pair] = cleanReading(reading, asked.metrics);
        own[run] = evaluateAt(readers, cleans, { pair: pairOf[run] ?? 0, reading });
      },
      onReading(index, reading, exact) {
        const { pair, corruption } = place(index);
        if (!exact) return values.set(evaluateAt(readers, cleans, { pair, reading }), index * many);
        values.set(own[variant(index).run] ?? [], index * many);
        streams[index] = asked.ownDistance[pair]?.[corruption] ?? Number.NaN;
        unchanged += 1;
      },
    },
  );
  const verified = await verify(model, asked, {
    runs,
    variant,
    place,
    count,
    cleanRuns,
    readers,
    values,
    own,
  });
  return {
    clean: asked.metrics.map((_, metric) =>
      Float64Array.from(cleanRuns, (run) => own[run]?.[metric] ?? Number.NaN),
    ),
    corrupted: first.map((starts, pair) =>
      starts.map((start, corruption) =>
        (corrupted.runs[pair]?.[corruption] ?? []).map((_, sample) => own[start + sample] ?? []),
      ),
    ),
    ...gather(asked, { values, streams }),
    cells: count,
    unchanged,
    verified,
  };
}

function evaluateAt(
  readers: readonly PairReader[],
  cleans: readonly CleanReading[],
  { pair, reading }: { readonly pair: number; readonly reading: Reading },
): number[] {
  const clean = cleans[pair];
  if (clean === undefined) throw new Error("a corrupted run was read before its pair's clean run");
  return readers[pair]?.evaluate(reading, clean) ?? [];
}

function cleanReading(reading: Reading, names: readonly ComparedMetric[]): CleanReading {
  const logits = reading[0]?.logits;
  const probabilities = names.includes("kl") && logits !== undefined ? softmax(logits) : undefined;
  return { reading, probabilities };
}

/** One reading after the prompt serves all metrics. @throws InputError where a metric is not defined on a pair. */
function readersOf(pairs: readonly Pair[], names: readonly ComparedMetric[]): PairReader[] {
  const plans = names.map((name) => metricPlans(pairs, name));
  return pairs.map((pair, index) => {
    const own = plans.map((list) => list[index] as MetricPlan);
    if (own.some(({ appended }) => appended.length > 0)) {
      throw inputError(`${pair.where}, answer`, "several tokens", "answers of one token");
    }
    const needs = own.map(({ positions }) => positions[0]);
    const columns = [...new Set(needs.flatMap((need) => need?.columns ?? []))];
    const logsumexp = names.includes("kl") || needs.some((need) => need?.logsumexp);
    const readout = { columns, logsumexp, logits: names.includes("kl") };
    return {
      read: [{ position: pair.clean.ids.length - 1, readout }],
      evaluate(reading, clean) {
        const [at] = reading;
        return names.map((name, metric) => {
          if (name === "kl") return klOf(reading, clean);
          const plan = own[metric] as MetricPlan;
          const part = (needs[metric]?.columns ?? []).map(
            (id) => at?.columns[columns.indexOf(id)] ?? Number.NaN,
          );
          const row = [{ columns: part, logsumexp: at?.logsumexp }];
          return evaluateMetric(plan, row, row);
        });
      },
    };
  });
}

/**
 * KL(clean ‖ edited run) as the difference of two cross-entropies, lse − Σ p ℓ each: a hundredth of the work of the sum
 * over log-ratios, exactly 0 where the runs are the same bit for bit, and otherwise good to rounding of the logits.
 */
function klOf([at]: Reading, { reading: [own], probabilities }: CleanReading): number {
  if (at?.logits === undefined || own?.logits === undefined || probabilities === undefined) return Number.NaN;
  const entropyOf = (of: Reading[number]): number =>
    (of.logsumexp ?? Number.NaN) - dot(probabilities, of.logits ?? new Float64Array(0));
  return entropyOf(at) - entropyOf(own);
}

function placesOf(
  { cells }: Layout,
  { runs }: Corrupted,
): { readonly count: number; readonly place: (index: number) => Place } {
  // Every pair has as many samples of a corruption as any other.
  const samples = (runs[0] ?? []).map((list) => list.length);
  const order = samples.flatMap((count, corruption) =>
    Array.from({ length: count }, (_, sample) => ({ corruption, sample })),
  );
  const starts: number[] = [];
  let count = 0;
  for (const list of cells) {
    starts.push(count);
    count += list.length * order.length;
  }
  return {
    count,
    place(index) {
      const pair = starts.findLastIndex((start) => start <= index);
      const within = index - (starts[pair] ?? 0);
      const each = cells[pair]?.length ?? 1;
      const at = order[Math.floor(within / each)] ?? { corruption: 0, sample: 0 };
      return { pair, ...at, index: within % each };
    },
  };
}

/** From variants to cells. */
function gather(
  { pairs, layout, corrupted, metrics: names }: ComparedSweep,
  { values, streams }: { readonly values: Float64Array; readonly streams: Float64Array },
): Pick<ComparedValues, "restored" | "distances"> {
  const many = names.length;
  const none = (width: number): Float64Array[] =>
    layout.grids.map(({ size }) => new Float64Array(size * width).fill(Number.NaN));
  let at = 0;
  const restored: Float64Array[][][][] = [];
  const distances: Float64Array[][][] = [];
  for (const pair of pairs.keys()) {
    const runs = corrupted.runs[pair] ?? [];
    const far = runs.map(() => none(1));
    restored.push(
      runs.map((samples, corruption) =>
        samples.map((_, sample) => {
          const found = none(many);
          for (const { grid, cell } of layout.cells[pair] ?? []) {
            const size = layout.grids[grid]?.size ?? 0;
            for (let metric = 0; metric < many; metric++)
              found[grid]?.set([values[at * many + metric] ?? Number.NaN], metric * size + cell);
            if (sample === 0) far[corruption]?.[grid]?.set([streams[at] ?? Number.NaN], cell);
            at += 1;
          }
          return found;
        }),
      ),
    );
    distances.push(far);
  }
  return { restored, distances };
}

interface Verification {
  readonly runs: readonly SweepRun[];
  readonly variant: (index: number) => Variant;
  readonly place: (index: number) => Place;
  readonly count: number;
  readonly cleanRuns: readonly number[];
  readonly readers: readonly PairReader[];
  readonly values: Float64Array;
  readonly own: readonly (readonly number[])[];
}

/** Computes random cells again the plain way; a difference beyond rounding fails the run. */
async function verify(model: Model, asked: ComparedSweep, how: Verification): Promise<Record<string, Json>> {
  const { runs, variant, place, count, cleanRuns, readers, values, own } = how;
  const wanted = Math.min(asked.verify, count);
  const source = random(asked.seed + 1);
  const chosen = new Set<number>();
  while (chosen.size < wanted) chosen.add(source.integer(count));
  const many = asked.metrics.length;
  const worst = asked.metrics.map(() => 0);
  for (const index of chosen) {
    const { pair } = place(index);
    const run = cleanRuns[pair] ?? 0;
    const clean = await plainReading(
      model,
      { runs },
      {
        variant: { run, edits: [] },
        use: (reading) => cleanReading(lastingReading(reading), asked.metrics),
      },
    );
    const again = await plainReading(
      model,
      { runs },
      {
        variant: variant(index),
        use: (reading) => readers[pair]?.evaluate(reading, clean) ?? [],
      },
    );
    for (let metric = 0; metric < many; metric++) {
      const off = Math.abs((again[metric] ?? Number.NaN) - (values[index * many + metric] ?? Number.NaN));
      worst[metric] = Math.max(worst[metric] ?? 0, off);
    }
  }
  for (const [metric, name] of asked.metrics.entries()) {
    const all = own.map((list) => list[metric] ?? 0);
    const scale = Math.max(...all) - Math.min(...all);
    requireRounding(worst[metric] ?? 0, { scale, what: `${name} of a cell` });
  }
  return {
    verify_cells: wanted,
    verify_max_abs_diff: worst[0] ?? 0,
    verify_max_abs_diff_by_metric: Object.fromEntries(asked.metrics.map((name, i) => [name, worst[i] ?? 0])),
  };
}

/** 1 where more of a metric is more of the clean behaviour, else −1. */
export function signOf(name: ComparedMetric): 1 | -1 {
  return metrics[name].higherIsClean ? 1 : -1;
}
