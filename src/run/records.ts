/** @file What is kept of a finished wave, so that a sweep that was cut short goes on behind it. */

import { milliseconds } from "../core/clock.ts";
import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { bytesOf } from "./pass-memory.ts";
import type { PlannedWave, SweepPlan } from "./plan.ts";
import type { Reading, ReadPosition } from "./read.ts";
import type { RunReadings, WaveKeeper } from "./sweep.ts";
import type { SweepInput } from "./variant.ts";

/** A list of records that outlives the process. They are read in order, then written behind those that were read. */
export interface RecordLog {
  /** The next record, if it is there, whole and of this many bytes; if not, nothing behind it counts any more. */
  next(bytes: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
  append(record: Uint8Array): Promise<void>;
}

/** Results of a sweep, one number a variant. */
export interface Measured {
  /** What the caller made of each variant's reading; it sets those of a wave before the wave is kept. */
  readonly values: Float64Array;
  /** Variants of the wave under way that turned out to read as their run does. */
  unchanged: number;
}

export interface Keeper extends WaveKeeper {
  /** Waves found in the log. */
  readonly found: () => number;
  /** Seconds that those took when they were computed. */
  readonly seconds: () => number;
}

type KeptModel = Pick<Model, "architecture"> & {
  readonly backend: Pick<Model["backend"], "precision" | "allocate">;
};

/**
 * Keeps waves in a log. A record is the wave's seconds, its count of unchanged variants, one number for each of its
 * variants, and what its new runs read: as many bytes as the plan says, in this machine's order.
 */
export function waveKeeper(
  model: KeptModel,
  input: SweepInput,
  { log, plan, measured }: { readonly log: RecordLog; readonly plan: SweepPlan; readonly measured: Measured },
): Keeper {
  let [found, seconds] = [0, 0];
  let begun = milliseconds();
  let unchangedBefore = 0;
  const variantsOf = function* ({ first, end }: PlannedWave): Generator<number> {
    for (let index = first; index < end; index++) if (!plan.isUnchanged(index)) yield index;
  };
  return {
    found: () => found,
    seconds: () => seconds,
    async restore(wave) {
      const shape = shapeOf(model, input, wave);
      const record = await log.next(8 * shape.numbers + shape.logitBytes);
      begun = milliseconds();
      if (record === undefined) return undefined;
      const numbers = new Float64Array(record.buffer, 0, shape.numbers);
      seconds += numbers[0] ?? 0;
      measured.unchanged += numbers[1] ?? 0;
      unchangedBefore = measured.unchanged;
      let at = 2;
      for (const index of variantsOf(wave)) measured.values[index] = numbers[at++] ?? Number.NaN;
      found += 1;
      return readingsIn(model, input, {
        wave,
        numbers: numbers.subarray(at),
        logits: record.subarray(8 * shape.numbers),
      });
    },
    async keep(wave, readings) {
      const { numbers: count, logitBytes } = shapeOf(model, input, wave);
      const record = new Uint8Array(8 * count + logitBytes);
      const numbers = new Float64Array(record.buffer, 0, count);
      const now = milliseconds();
      numbers[0] = (now - begun) / 1000;
      numbers[1] = measured.unchanged - unchangedBefore;
      begun = now;
      unchangedBefore = measured.unchanged;
      let at = 2;
      for (const index of variantsOf(wave)) numbers[at++] = measured.values[index] ?? Number.NaN;
      let logitsAt = 8 * count;
      for (const run of wave.newRuns) {
        for (const { columns, logsumexp, logits } of readings.get(run) ?? []) {
          numbers.set(columns, at);
          at += columns.length;
          if (logsumexp !== undefined) numbers[at++] = logsumexp;
          if (logits === undefined) continue;
          record.set(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength), logitsAt);
          logitsAt += logits.byteLength;
        }
      }
      await log.append(record);
    },
  };
}

/** How many numbers, and bytes of logits behind them, a wave's record holds. */
function shapeOf(
  model: KeptModel,
  { runs }: SweepInput,
  { variants, newRuns }: PlannedWave,
): { readonly numbers: number; readonly logitBytes: number } {
  const { architecture } = model;
  let numbers = 2 + variants;
  let logitBytes = 0;
  for (const { readout } of newRuns.flatMap((run) => runs[run]?.read ?? [])) {
    numbers += (readout.columns?.length ?? 0) + (readout.logsumexp ? 1 : 0);
    if (readout.logits) logitBytes += bytesOf(model, architecture.vocabulary);
  }
  return { numbers, logitBytes };
}

function readingsIn(
  { architecture, backend }: KeptModel,
  { runs }: SweepInput,
  kept: { readonly wave: PlannedWave; readonly numbers: Float64Array; readonly logits: Uint8Array },
): RunReadings {
  let [at, logitsAt] = [0, 0];
  const logitsOf = (): FloatArray => {
    const logits = backend.allocate(architecture.vocabulary);
    const bytes = new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength);
    bytes.set(kept.logits.subarray(logitsAt, logitsAt + bytes.length));
    logitsAt += bytes.length;
    return logits;
  };
  const readings = new Map<number, Reading>();
  for (const run of kept.wave.newRuns) {
    const reading = (runs[run]?.read ?? []).map(({ readout }): ReadPosition => {
      const width = readout.columns?.length ?? 0;
      const columns = kept.numbers.slice(at, at + width);
      at += width;
      return {
        columns,
        ...(readout.logsumexp && { logsumexp: kept.numbers[at++] ?? Number.NaN }),
        ...(readout.logits && { logits: logitsOf() }),
      };
    });
    readings.set(run, reading);
  }
  return readings;
}
