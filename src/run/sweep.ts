/**
 * @file The sweep: many variants of a few runs, in the waves of a plan (`plan.ts`), each computed by `wave.ts`. Waves
 * that an earlier, interrupted sweep has kept are not computed again.
 */

import type { Model } from "../model/model.ts";
import type { ContextCache } from "./batch.ts";
import { contextCache } from "./batch.ts";
import type { EditValue } from "./edit.ts";
import { type PlannedWave, planSweep, type SweepPlan, total } from "./plan.ts";
import type { Reading } from "./read.ts";
import type { SweepInput, SweepOptions, SweepRun, Variant } from "./variant.ts";
import { runWave } from "./wave.ts";

/** The readings of runs by themselves. */
export type RunReadings = ReadonlyMap<number, Reading>;

/** Keeps finished waves. What it keeps of the variants' readings is its own affair. */
export interface WaveKeeper {
  /** The readings of the wave's new runs, if the wave was kept; asked for the waves in order, up to the first that was not. */
  restore(wave: PlannedWave, index: number): Promise<RunReadings | undefined>;
  /** Called after the wave's last reading. */
  keep(wave: PlannedWave, readings: RunReadings): Promise<void>;
}

export interface WholeSweepOptions extends SweepOptions {
  /** Made by {@link planSweep} for the same model and input; made here if absent. */
  readonly plan?: SweepPlan | undefined;
  readonly keeper?: WaveKeeper | undefined;
  /** Called before a wave that is not kept: works out values of its variants that are too many to have all at once. */
  readonly prepare?: ((wave: PlannedWave) => Promise<void>) | undefined;
}

/** Evaluates all variants. */
export async function sweep(model: Model, input: SweepInput, options: WholeSweepOptions): Promise<void> {
  const { keeper, onReading, onRun, onProgress } = options;
  const plan = options.plan ?? planSweep(model, input, options);
  const contexts = contextCache(model.architecture, model.backend.allocate);
  const own = new Map<number, Reading>();
  requirePositions(input.runs);
  const learn = (readings: RunReadings): void => {
    for (const [run, reading] of readings) {
      own.set(run, reading);
      onRun?.(run, reading);
    }
  };

  let done = 0;
  let isKept = keeper !== undefined;
  for (const [index, wave] of plan.waves.entries()) {
    const kept = isKept ? await keeper?.restore(wave, index) : undefined;
    if (kept === undefined) {
      if (index === 0 || isKept) onProgress?.(done, plan.flops);
      isKept = false;
      const before = done;
      await options.prepare?.(wave);
      const readings = await computeWave(model, wave, {
        plan,
        input,
        contexts,
        own,
        options: { ...options, onProgress: (flops) => onProgress?.(before + flops, plan.flops) },
      });
      await keeper?.keep(wave, readings);
    } else learn(kept);
    done += total(wave.flops);
  }
  onProgress?.(plan.flops, plan.flops);
  for (let index = 0; index < input.count; index++) {
    if (plan.isUnchanged(index)) onReading(index, own.get(input.variant(index).run) ?? [], true);
  }
}

interface WaveContext {
  readonly plan: SweepPlan;
  readonly input: SweepInput;
  readonly contexts: ContextCache;
  /** Readings of the runs of this wave and earlier ones; grows. */
  readonly own: Map<number, Reading>;
  /** `onProgress` takes the wave's FLOPs done. */
  readonly options: SweepOptions;
}

/** Computes a wave as a sweep of its own: of its variants and of the runs that they need. */
async function computeWave(
  model: Model,
  wave: PlannedWave,
  { plan, input, contexts, own, options }: WaveContext,
): Promise<RunReadings> {
  const variants: number[] = [];
  for (let index = wave.first; index < wave.end; index++) if (!plan.isUnchanged(index)) variants.push(index);
  const local = new Map(wave.runs.map((run, index) => [run, index]));
  const globalOf = (index: number): number => wave.runs[index] ?? -1;
  const part: SweepInput = {
    runs: wave.runs.map((run) => input.runs[run] as SweepRun),
    count: variants.length,
    variant: (index) => renumbered(input.variant(variants[index] ?? -1), local),
  };
  const known = wave.runs.flatMap((run, index): [number, Reading][] => {
    const reading = own.get(run);
    return reading === undefined ? [] : [[index, reading]];
  });
  const found = new Map<number, Reading>();
  await runWave(model, {
    input: part,
    contexts,
    own: new Map(known),
    onLayer: (done) => options.onProgress?.(flopsDone(wave, done), total(wave.flops)),
    options: {
      ...options,
      onRun(run, reading) {
        const copied = lastingReading(reading);
        found.set(globalOf(run), copied);
        own.set(globalOf(run), copied);
        options.onRun?.(globalOf(run), copied);
      },
      capture: options.capture && {
        ...options.capture,
        wants: (index) => options.capture?.wants(variants[index] ?? -1) ?? false,
        onValues: ({ rows, ...found }) =>
          options.capture?.onValues({
            ...found,
            rows: rows.map((row) => ({ ...row, index: variants[row.index] ?? -1, run: globalOf(row.run) })),
          }),
      },
      onReading: (index, reading, exact) => options.onReading(variants[index] ?? -1, reading, exact),
    },
  });
  return found;
}

/** FLOPs of a wave's first layers. */
function flopsDone({ flops }: PlannedWave, layers: number): number {
  return flops.subarray(0, layers).reduce((sum, value) => sum + value, 0);
}

/** A variant in terms of other numbers of the same runs. */
function renumbered({ run, edits }: Variant, numbers: ReadonlyMap<number, number>): Variant {
  const numberOf = (old: number): number => numbers.get(old) ?? -1;
  return {
    run: numberOf(run),
    edits: edits.map((edit) => {
      const { value } = edit;
      return value.kind === "run"
        ? { ...edit, value: { ...value, run: numberOf(value.run) } satisfies EditValue }
        : edit;
    }),
  };
}

/** A reading that stays valid: all logits of a position are only lent. */
export function lastingReading(reading: Reading): Reading {
  return reading.map((position) => ({
    ...position,
    ...(position.logits && { logits: position.logits.slice() }),
  }));
}

/** A position beyond its run would be read from the next run in the batch. */
function requirePositions(runs: readonly SweepRun[]): void {
  for (const [index, { ids, read }] of runs.entries()) {
    const outside = read.find(({ position }) => !(position >= 0 && position < ids.length));
    if (outside !== undefined) {
      throw new RangeError(`run ${index} has ${ids.length} positions; position ${outside.position} is read`);
    }
  }
}
