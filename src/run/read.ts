/** @file Reading many final residual streams: the union of what each needs, in chunks that bound the logits held. */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Readout } from "./ends.ts";
import { unembed } from "./ends.ts";

/** What was read at one position. */
export interface ReadPosition {
  /** Logits of the readout's columns, in its order. */
  readonly columns: Float64Array;
  readonly logsumexp?: number;
  /** Mean logit over the vocabulary. */
  readonly mean?: number;
  /** All logits; only valid until the callback returns. */
  readonly logits?: FloatArray;
}

/** One entry for each position read. */
export type Reading = readonly ReadPosition[];

/** Bytes of logits held at once. */
const LOGITS_BYTES = 64 * 2 ** 20;

interface ReadOptions<R> {
  readonly reads: (row: R) => readonly { readonly readout: Readout }[];
  readonly onReading: (row: R, reading: Reading) => void;
}

/** Reads rows, each the final residual stream [positions read, d]. */
export async function readRows<R extends { readonly residual: FloatArray }>(
  model: Model,
  rows: readonly R[],
  { reads, onReading }: ReadOptions<R>,
): Promise<void> {
  const { dModel, vocabulary } = model.architecture;
  const whole = rows.some((row) => reads(row).some(({ readout }) => readout.logits || readout.logsumexp));
  const perPosition = whole ? 8 * vocabulary : 8 * dModel;
  const limit = Math.max(1, Math.floor(LOGITS_BYTES / perPosition));
  let chunk: R[] = [];
  let held = 0;
  for (const row of rows) {
    const positions = row.residual.length / dModel;
    if (chunk.length > 0 && held + positions > limit) {
      await readChunk(model, chunk, { reads, onReading });
      chunk = [];
      held = 0;
    }
    chunk.push(row);
    held += positions;
  }
  if (chunk.length > 0) await readChunk(model, chunk, { reads, onReading });
}

async function readChunk<R extends { readonly residual: FloatArray }>(
  model: Model,
  rows: readonly R[],
  { reads, onReading }: ReadOptions<R>,
): Promise<void> {
  const { vocabulary } = model.architecture;
  const readouts = rows.flatMap((row) => reads(row).map(({ readout }) => readout));
  const columns = [...new Set(readouts.flatMap((readout) => readout.columns ?? []))];
  const columnOf = new Map(columns.map((id, index) => [id, index]));
  const residual = model.backend.allocate(rows.reduce((size, row) => size + row.residual.length, 0));
  let at = 0;
  for (const row of rows) {
    residual.set(row.residual, at);
    at += row.residual.length;
  }
  const found = await unembed(model, residual, {
    columns,
    logsumexp: readouts.some((readout) => readout.logsumexp),
    logits: readouts.some((readout) => readout.logits),
    mean: readouts.some((readout) => readout.mean),
  });

  let token = 0;
  for (const row of rows) {
    const reading = reads(row).map(({ readout }): ReadPosition => {
      const index = token++;
      const logsumexp = readout.logsumexp ? found.logsumexp?.[index] : undefined;
      const mean = readout.mean ? found.mean?.[index] : undefined;
      const logits = readout.logits
        ? found.logits?.subarray(index * vocabulary, (index + 1) * vocabulary)
        : undefined;
      return {
        columns: Float64Array.from(
          readout.columns ?? [],
          (id) => found.columns?.[index * columns.length + (columnOf.get(id) ?? -1)] ?? Number.NaN,
        ),
        ...(logsumexp === undefined ? {} : { logsumexp }),
        ...(mean === undefined ? {} : { mean }),
        ...(logits === undefined ? {} : { logits }),
      };
    });
    onReading(row, reading);
  }
}
