/**
 * @file One wave of a sweep: variants that go through the layers together, layer by layer, nothing computed twice.
 *
 * The unedited runs ("companions") go through the layers together with the variants. At the layer of its first
 * effective edit a variant branches off the companion it is a variant of: it starts at the edited site, holds only
 * the positions that can differ from there on, and reads the keys and values of all others from its companion. A
 * variant whose edits change nothing, bit for bit, is never run. Weights are read once per wave however many
 * variants there are; in the last layer only the positions that are read are computed.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { range } from "../numeric/cells.ts";
import type { Batch, ContextCache } from "./batch.ts";
import { batchOf, flatPositions, rowsOf } from "./batch.ts";
import type { Branch, Pending } from "./branch.ts";
import type { Edit } from "./edit.ts";
import { requireLayers } from "./edit.ts";
import { addOffset, embed } from "./ends.ts";
import { flatIds } from "./forward.ts";
import type { WaveState } from "./layer.ts";
import { runLayer } from "./layer.ts";
import type { Reading } from "./read.ts";
import { readRows } from "./read.ts";
import { SITE_NAMES } from "./site.ts";
import type { SweepInput, SweepOptions } from "./variant.ts";
import { withLayer } from "./with-layer.ts";

export interface Wave {
  /** The wave's variants, and the runs that they need. */
  readonly input: SweepInput;
  readonly options: Omit<SweepOptions, "onProgress">;
  readonly contexts: ContextCache;
  /** Readings of runs that an earlier wave has read; those of the others are added. */
  readonly own: Map<number, Reading>;
  /** Called behind every layer, with the number of those that are done. */
  readonly onLayer: (done: number) => void;
}

const byOrder = (a: Edit, b: Edit): number =>
  a.layer - b.layer || SITE_NAMES.indexOf(a.site) - SITE_NAMES.indexOf(b.site);

const DEFAULT_BATCH_TOKENS = 1024;

/** Runs one wave. */
export async function runWave(model: Model, { input, options, contexts, own, onLayer }: Wave): Promise<void> {
  const layers = model.definition.blocks.length;
  const variants = Array.from({ length: input.count }, (_, index): Pending => {
    const { run, edits } = input.variant(index);
    requireLayers(edits, layers);
    return { index, run, edits: [...edits].sort(byOrder) };
  });
  const { batch, rowOf } = companionBatch(input);
  const residual = await embed(
    model,
    flatIds(
      input.runs.map(({ ids }) => ids),
      [...rowOf.keys()],
      batch,
    ),
    flatPositions(batch),
  );
  for (const [run, row] of rowOf) addOffset(residual, batch.offsets[row] ?? 0, input.runs[run]?.offset);
  const { batchTokens = DEFAULT_BATCH_TOKENS } = options;
  let state: WaveState = { pending: variants, branches: [], residual };

  for (let index = 0; index < layers; index++) {
    if (options.signal?.aborted) throw new Error("cancelled");
    await withLayer(model, { index, contexts }, async (layer) => {
      if (index + 1 < layers) model.weights.prefetch(index + 1);
      // Before the layer is released: what went through it is garbage by then.
      state = await runLayer(layer, state, {
        batch,
        rowOf,
        batchTokens,
        runs: input.runs,
        capture: options.capture,
      });
    });
    onLayer(index + 1);
  }

  await readAll(model, { ...state, input, options, own, batch, rowOf });
}

/** The unedited runs, those of a length side by side. */
function companionBatch({ runs }: SweepInput): {
  readonly batch: Batch;
  readonly rowOf: ReadonlyMap<number, number>;
} {
  const length = (run: number): number => runs[run]?.ids.length ?? 0;
  const order = [...runs.keys()].sort((a, b) => length(a) - length(b) || a - b);
  const batch = batchOf(order.map((run) => ({ positions: range(length(run)), length: length(run) })));
  return { batch, rowOf: new Map(order.map((run, row) => [run, row])) };
}

interface ReadAll {
  readonly input: SweepInput;
  readonly options: Wave["options"];
  readonly own: Map<number, Reading>;
  readonly batch: Batch;
  readonly rowOf: ReadonlyMap<number, number>;
  /** Final residual stream of the companions. */
  readonly residual: FloatArray;
  readonly branches: readonly Branch[];
}

/**
 * Reads the companions that no earlier wave has read, then the branches, then gives every variant that never branched
 * its companion's reading: the first one, so that its effect is 0 to the last bit in later waves too.
 */
async function readAll(
  model: Model,
  { input, options, own, batch, rowOf, residual, branches }: ReadAll,
): Promise<void> {
  const width = model.architecture.dModel;
  const companionRow = (run: number, positions: ArrayLike<number>): FloatArray => {
    const start = batch.offsets[rowOf.get(run) ?? -1] ?? 0;
    const rows = Array.from(positions, (position) => start + position);
    return rowsOf(residual, { tokens: rows, of: batch.tokens, allocate: model.backend.allocate });
  };
  const positionsOf = (run: number): number[] => input.runs[run]?.read.map(({ position }) => position) ?? [];

  const unread = [...rowOf.keys()].filter((run) => !own.has(run));
  const runs = unread.map((run) => ({ run, residual: companionRow(run, positionsOf(run)) }));
  await readRows(model, runs, {
    reads: ({ run }) => input.runs[run]?.read ?? [],
    onReading: ({ run }, reading) => {
      own.set(run, reading);
      options.onRun?.(run, reading);
    },
  });

  const active = branches.filter(({ positions }) => positions.length > 0);
  const rows = active.map((branch) => {
    const positions = positionsOf(branch.run);
    // A position that is read but not held is as in the companion.
    const whole = companionRow(branch.run, positions);
    const held = branch.state.get("resid_post") as FloatArray;
    for (const [to, position] of positions.entries()) {
      const from = branch.positions.indexOf(position);
      if (from >= 0) whole.set(held.subarray(from * width, (from + 1) * width), to * width);
    }
    return { run: branch.run, index: branch.index, residual: whole };
  });
  const seen = new Set<number>();
  await readRows(model, rows, {
    reads: ({ run }) => input.runs[run]?.read ?? [],
    onReading: ({ index }, reading) => {
      seen.add(index);
      options.onReading(index, reading, false);
    },
  });
  for (let index = 0; index < input.count; index++) {
    if (!seen.has(index)) options.onReading(index, own.get(input.variant(index).run) ?? [], true);
  }
}
