/**
 * @file The plain path: whole forward passes, every position of every layer, edits where they fall. Nothing is
 * shared or skipped, so this is what the sweep is verified against.
 */

import { type Fault, refuse } from "../core/errors.ts";
import {
  type Check,
  listOf,
  nested,
  type OptionChecks,
  oneOf,
  optionFaults,
  required,
  sequences as sequencesCheck,
  such,
  whole,
} from "../core/options.ts";
import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { range } from "../numeric/cells.ts";
import { batchEdits, placeOf } from "./apply.ts";
import type { Batch } from "./batch.ts";
import { batchOf, contextCache, flatPositions } from "./batch.ts";
import { runBlock } from "./block.ts";
import type { Edit } from "./edit.ts";
import { editsCheck, requireLayers } from "./edit.ts";
import { embed } from "./ends.ts";
import type { SiteName } from "./site.ts";
import { SITE_NAMES, siteShape } from "./site.ts";
import { withLayer } from "./with-layer.ts";

/** A site of some layers; all layers if none are named. */
export interface Capture {
  readonly site: SiteName;
  readonly layers?: readonly number[];
}

export interface ForwardOptions {
  readonly capture?: readonly Capture[];
  /** Edits of each sequence; a value of kind `run` is looked up in `runs`. */
  readonly edits?: readonly (readonly Edit[])[];
  /** Captured runs that edits take values from. */
  readonly runs?: readonly Cache[];
  /** Last layer to run (exclusive). */
  readonly stopAfter?: number;
}

/** Captured values of one sequence. */
export interface Cache {
  /** The sequence's token ids. */
  readonly ids: readonly number[];
  /** Value of a captured site, with the axes that {@link siteShape} gives; an unknown one is an error. */
  get(site: SiteName, layer: number): Tensor<FloatArray>;
  has(site: SiteName, layer: number): boolean;
}

/** Runs that edits take values from. */
export const cachesCheck: Check<readonly Cache[]> = listOf(
  such("a captured run", (given) => typeof given === "object" && given !== null && "get" in given),
  "captured runs, as forward returns them in caches",
);

const forwardChecks: OptionChecks<ForwardOptions> = {
  capture: listOf(
    nested<Capture>({ site: required(oneOf(SITE_NAMES)), layers: listOf(whole(0), "layers") }),
    'sites such as { site: "z" }',
  ),
  edits: listOf(editsCheck, "lists of edits, one for each sequence"),
  runs: cachesCheck,
  stopAfter: whole(0),
};

export interface Forward {
  /** One cache for each sequence. */
  readonly caches: readonly Cache[];
  /** Final residual stream (resid_post of the last layer) of each sequence [pos, d]. */
  readonly residuals: readonly FloatArray[];
}

/** Runs sequences of any lengths together; no padding is involved, so none can change a result. */
export async function forward(
  model: Model,
  sequences: readonly (readonly number[])[],
  options: ForwardOptions = {},
): Promise<Forward> {
  refuse([...optionFaults(options, forwardChecks), ...sequencesCheck(sequences, "sequences")]);
  const { architecture, definition, backend } = model;
  const { capture = [], edits = [], runs = [], stopAfter = definition.blocks.length } = options;
  if (sequences.length === 0) return { caches: [], residuals: [] };
  refuse(absentFaults(model, sequences, options));
  requireLayers(edits.flat(), definition.blocks.length);
  const order = sequences
    .map((_, index) => index)
    .sort((a, b) => length(sequences, a) - length(sequences, b));
  const batch = batchOf(
    order.map((index) => ({ positions: range(length(sequences, index)), length: length(sequences, index) })),
  );
  const contexts = contextCache(architecture, backend.allocate);
  const values = sequences.map(() => new Map<string, FloatArray>());

  let residual = await embed(model, flatIds(sequences, order, batch), flatPositions(batch));
  for (let index = 0; index < stopAfter; index++) {
    const captured = capture
      .filter(({ layers }) => layers === undefined || layers.includes(index))
      .map(({ site }) => site);
    await withLayer(model, { index, contexts }, async (layer) => {
      if (index + 1 < stopAfter) model.weights.prefetch(index + 1);
      const found = await runBlock(layer, {
        batch,
        known: new Map([["resid_pre", residual]]),
        edits: batchEdits(
          order.map((sequence) => (edits[sequence] ?? []).filter((edit) => edit.layer === index)),
          { architecture, batch, runValue: ({ site }, run) => cached(runs, run, { site, layer: index }) },
        ),
        want: [...new Set<SiteName>([...captured, "resid_post"])],
      });
      for (const site of captured) {
        for (const [row, sequence] of order.entries()) {
          const value = found.get(site);
          if (value === undefined) continue;
          const { target, offset, size } = placeOf(value, { architecture, batch, row, site });
          values[sequence]?.set(`${index}.${site}`, target.slice(offset, offset + size));
        }
      }
      residual = found.get("resid_post") as FloatArray;
    });
  }

  const width = architecture.dModel;
  const residuals = new Array<FloatArray>(sequences.length);
  for (const [row, sequence] of order.entries()) {
    const from = (batch.offsets[row] ?? 0) * width;
    residuals[sequence] = residual.slice(from, from + length(sequences, sequence) * width);
  }
  const caches = sequences.map((ids, sequence) => makeCache(model, ids, values[sequence] ?? new Map()));
  return { caches, residuals };
}

/** Sequences without a token, layers that the model does not have, and edits of sequences that are not there. */
function absentFaults(
  { definition }: Model,
  sequences: readonly (readonly number[])[],
  { capture = [], edits = [], stopAfter = 0 }: ForwardOptions,
): Fault[] {
  const layers = definition.blocks.length;
  const faults = sequences.flatMap(({ length }, index): Fault[] =>
    length > 0 ? [] : [{ where: `sequences[${index}]`, found: "no token", wanted: "at least one" }],
  );
  for (const [index, { layers: named = [] }] of capture.entries()) {
    const outside = named.filter((layer) => layer >= layers);
    if (outside.length === 0) continue;
    const where = `options.capture[${index}].layers`;
    faults.push({ where, found: outside.join(", "), wanted: `0 to ${layers - 1}` });
  }
  if (stopAfter > layers)
    faults.push({ where: "options.stopAfter", found: String(stopAfter), wanted: `at most ${layers} layers` });
  if (edits.length > sequences.length) {
    const wanted = `one list for each sequence, of which there are ${sequences.length}`;
    faults.push({ where: "options.edits", found: `${edits.length} lists`, wanted });
  }
  return faults;
}

function makeCache(model: Model, ids: readonly number[], values: ReadonlyMap<string, FloatArray>): Cache {
  return {
    ids,
    has: (site, layer) => values.has(`${layer}.${site}`),
    get(site, layer) {
      const data = values.get(`${layer}.${site}`);
      if (data === undefined) throw new Error(`${site} of layer ${layer} was not captured`);
      return { data, shape: siteShape(site, model.architecture, ids.length) };
    },
  };
}

function cached(
  runs: readonly Cache[],
  run: number,
  { site, layer }: { readonly site: SiteName; readonly layer: number },
): Tensor<FloatArray> {
  const cache = runs[run];
  if (cache === undefined) throw new RangeError(`run ${run} of ${runs.length}`);
  return cache.get(site, layer);
}

const length = (sequences: readonly (readonly number[])[], index: number): number =>
  sequences[index]?.length ?? 0;

/** Token ids of all rows, in the batch's order. */
export function flatIds(
  sequences: readonly (readonly number[])[],
  order: readonly number[],
  batch: Batch,
): Int32Array {
  const ids = new Int32Array(batch.tokens);
  for (const [row, sequence] of order.entries()) ids.set(sequences[sequence] ?? [], batch.offsets[row]);
  return ids;
}
