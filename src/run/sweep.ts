/**
 * @file The sweep: many variants of a few runs, in waves that fit the memory they are given (`wave.ts` runs one).
 */

import type { Model } from "../model/model.ts";
import { contextCache } from "./batch.ts";
import type { Reading } from "./read.ts";
import type { SweepInput, SweepOptions, SweepRun } from "./variant.ts";
import { runWave } from "./wave.ts";

const DEFAULT_STATE_BYTES = 512 * 2 ** 20;

/** Evaluates all variants. */
export async function sweep(model: Model, input: SweepInput, options: SweepOptions): Promise<void> {
  const { stateBytes = DEFAULT_STATE_BYTES } = options;
  const perPosition = model.architecture.dModel * (model.backend.precision === "float32" ? 4 : 8);
  const contexts = contextCache(model.architecture, model.backend.allocate);
  const own = new Map<number, Reading>();
  requirePositions(input.runs);
  let done = 0;
  for (const wave of waves(input, stateBytes / perPosition)) {
    await runWave(model, { input, options, contexts, own, wave, done });
    done += wave.length;
  }
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

/** Splits the variants, in order, so that the positions held at once stay below the limit (at least one variant each). */
function* waves({ runs, count, variant }: SweepInput, maxPositions: number): Generator<number[]> {
  let wave: number[] = [];
  let held = 0;
  for (let index = 0; index < count; index++) {
    // Input and output of a block are alive at once.
    const size = 2 * (runs[variant(index).run]?.ids.length ?? 0);
    if (wave.length > 0 && held + size > maxPositions) {
      yield wave;
      wave = [];
      held = 0;
    }
    wave.push(index);
    held += size;
  }
  yield wave;
}
