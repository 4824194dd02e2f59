/**
 * @file Gradients through a whole model: of any scalar of the logits, by any site of any layer, for many sequences at
 * once.
 *
 * The backward pass goes from block to block. Of the forward pass it needs one residual stream a layer; what else of a
 * block it needs is kept where memory allows, or computed again.
 */

import { refuse } from "../core/errors.ts";
import { bytes, listOf, type OptionChecks, optionFaults, required, such } from "../core/options.ts";
import type { FloatArray, Tensor } from "../core/tensor.ts";
import { sizeOf } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { batchEdits, placeOf } from "./apply.ts";
import { blockGradients } from "./backward.ts";
import type { Batch } from "./batch.ts";
import { batchOf } from "./batch.ts";
import type { BatchEdit, Layer, SiteValue } from "./block.ts";
import { type Edit, editsCheck } from "./edit.ts";
import type { GradientRun } from "./end-gradients.ts";
import { endGradients } from "./end-gradients.ts";
import { type Cache, cachesCheck } from "./forward.ts";
import { gradientFaults } from "./gradient-faults.ts";
import { blockNumbers, tokensWithin } from "./pass-memory.ts";
import type { SiteName } from "./site.ts";
import { siteShape } from "./site.ts";
import type { Trajectory } from "./trajectory.ts";
import { trajectory } from "./trajectory.ts";

export interface GradientOptions {
  readonly sites: readonly SiteName[];
  /** All layers if none are named. */
  readonly layers?: readonly number[];
  /** Edits of each sequence. Gradients by an edited site are those by its value after the edit; new values count as constants. */
  readonly edits?: readonly (readonly Edit[])[];
  /** Captured runs that edits take values from. */
  readonly runs?: readonly Cache[];
  /** Bytes for forward values; beyond them blocks are computed again on the way back. */
  readonly keepBytes?: number;
}

const gradientChecks: OptionChecks<GradientOptions> = {
  // Which of them there are, the model tells, together with what is wrong with the sequences.
  sites: required(
    listOf(
      such("a site", (given) => typeof given === "string"),
      "sites",
    ),
  ),
  layers: listOf(
    such("a layer", (given) => typeof given === "number"),
    "layers",
  ),
  edits: listOf(editsCheck, "lists of edits, one for each sequence"),
  runs: cachesCheck,
  keepBytes: bytes,
};

/** Gradients of one sequence's scalar. */
export interface Gradients {
  readonly value: number;
  /** ∂ value / ∂ site, with the axes that {@link siteShape} gives. */
  get(site: SiteName, layer: number): Tensor<FloatArray>;
}

/**
 * Gradients of each sequence's scalar by the sites. Costs one forward and one backward pass.
 * @throws InputError with every site, layer, token and position that the model or a sequence does not have.
 */
export async function gradients(
  model: Model,
  sequences: readonly GradientRun[],
  options: GradientOptions,
): Promise<Gradients[]> {
  const { architecture, definition } = model;
  refuse(optionFaults(options, gradientChecks));
  refuse(gradientFaults(model, sequences, options));
  if (sequences.length === 0) return [];
  const order = [...sequences.keys()].sort(
    (a, b) => (sequences[a]?.ids.length ?? 0) - (sequences[b]?.ids.length ?? 0),
  );
  const sorted = order.map((index) => sequences[index] as GradientRun);
  const edits = order.map((index) => options.edits?.[index] ?? []);
  const layers = new Set(options.layers ?? definition.blocks.keys());
  const path = await trajectory(
    model,
    sorted.map(({ ids }) => ids),
    { ...options, sites: [], edits },
  );
  const { values, gradient } = await endGradients(model, sorted, path);
  const found = sequences.map(() => new Map<string, Tensor<FloatArray>>());
  await backward(model, path, {
    gradient,
    edits,
    ...(options.runs === undefined ? {} : { runs: options.runs }),
    sites: options.sites,
    lowest: Math.min(...layers),
    onLayer({ layer: { index, program }, streams: [whole] }) {
      if (!layers.has(index)) return;
      for (const site of options.sites) {
        if (whole === undefined || !program.sites.has(site)) continue;
        for (const [row, sequence] of order.entries()) {
          const { target, offset, size } = whole.place(site, row);
          const shape = siteShape(site, architecture, sorted[row]?.ids.length ?? 0);
          found[sequence]?.set(`${index}.${site}`, { shape, data: target.slice(offset, offset + size) });
        }
      }
    },
  });
  return sequences.map((_, sequence) => ({
    value: values[order.indexOf(sequence)] ?? Number.NaN,
    get(site, layer) {
      const gradient = found[sequence]?.get(`${layer}.${site}`);
      if (gradient === undefined)
        throw new Error(`the gradient by ${site} of layer ${layer} was not asked for`);
      return gradient;
    },
  }));
}

/** What the backward pass has at one layer. */
export interface LayerGradients {
  readonly layer: Layer;
  /** Values of the forward pass, of the trajectory's whole batch. */
  readonly values: ReadonlyMap<SiteName, SiteValue>;
  /** One for each gradient that is followed: the whole one, and those with a block dropped above this layer. */
  readonly streams: readonly Stream[];
}

/** A gradient on its way back. */
interface Stream {
  /** The block whose contribution to the residual stream counts as a constant; absent: none. */
  readonly dropped?: number;
  /** Where the gradient of a row by a site lies. */
  place(
    site: SiteName,
    row: number,
  ): { readonly target: FloatArray; readonly offset: number; readonly size: number };
}

export interface BackwardOptions {
  /** By the final residual stream [token, d] of the rows that are gone back over: the first of the trajectory. */
  readonly gradient: FloatArray;
  readonly rows?: number;
  readonly edits?: readonly (readonly Edit[])[];
  readonly runs?: readonly Cache[];
  readonly sites: readonly SiteName[];
  /** Last layer to go back to. */
  readonly lowest: number;
  /**
   * Also follows, for every block above {@link lowest}, the gradient with that block dropped. It parts from the whole
   * gradient at its block, so that all together cost about half as many passes as there are blocks.
   */
  readonly drop?: boolean;
  readonly onLayer: (found: LayerGradients) => void | Promise<void>;
}

/** Tokens that go back together, memory allowing; several dropped gradients share one run of a block. */
const TOKENS_AT_ONCE = 1024;

/** Goes back over a trajectory, layer by layer. @returns the number of blocks gone through, over the number of blocks. */
export async function backward(model: Model, path: Trajectory, options: BackwardOptions): Promise<number> {
  const { sites, lowest, onLayer, drop = false } = options;
  const batch = options.rows === undefined ? path.batch : batchOf(path.batch.rows.slice(0, options.rows));
  let streams: { readonly dropped?: number; readonly gradient: FloatArray }[] = [
    { gradient: options.gradient },
  ];
  const longest = Math.max(0, ...batch.rows.map(({ length }) => length));
  const fitting = tokensWithin(model, blockNumbers(model, longest), TOKENS_AT_ONCE);
  const atOnce = Math.max(1, Math.floor(fitting / batch.tokens));
  const batches = new Map<number, Batch>();
  let passed = 0;
  for (let index = model.definition.blocks.length - 1; index >= lowest; index--) {
    await path.at(index, async (layer, values) => {
      const own =
        batch.tokens === path.batch.tokens ? values : firstTokens(values, batch.tokens / path.batch.tokens);
      const present = sites.filter((site) => layer.program.sites.has(site));
      const found: Stream[] = [];
      const next: typeof streams = [];
      for (let from = 0; from < streams.length; from += atOnce) {
        const some = streams.slice(from, from + atOnce);
        const stacked = batches.get(some.length) ?? batchOf(some.flatMap(() => batch.rows));
        batches.set(some.length, stacked);
        const gradients = await blockGradients(layer, {
          batch: stacked,
          values: some.length === 1 ? own : repeated(own, some.length),
          gradients: new Map([
            [
              "resid_post",
              joined(
                model,
                some.map(({ gradient }) => gradient),
              ),
            ],
          ]),
          edits: adjointEdits(model, stacked, { ...options, index }),
          want: [...new Set<SiteName>([...present, ...(index > lowest ? (["resid_pre"] as const) : [])])],
        });
        passed += some.length;
        const below = gradients.get("resid_pre") as FloatArray | undefined;
        for (const [number, { dropped }] of some.entries()) {
          const size = (below?.length ?? 0) / some.length;
          const gradient = below?.slice(number * size, (number + 1) * size) ?? below;
          if (gradient !== undefined) next.push(dropped === undefined ? { gradient } : { dropped, gradient });
          found.push({
            ...(dropped === undefined ? {} : { dropped }),
            place(site, row) {
              const value = gradients.get(site);
              if (value === undefined) throw new Error(`the gradient by ${site} was not asked for`);
              return placeOf(value, {
                architecture: model.architecture,
                batch: stacked,
                row: number * batch.rows.length + row,
                site,
              });
            },
          });
        }
      }
      const [whole] = streams;
      if (drop && whole !== undefined) {
        found.push(droppedHere(model, batch, { index, gradient: whole.gradient }));
        next.push({ dropped: index, gradient: whole.gradient });
      }
      await onLayer({ layer, values, streams: found });
      streams = next;
    });
  }
  return passed / model.definition.blocks.length;
}

/** At the block that is dropped itself, the gradient passes along the residual stream and reaches nothing else. */
function droppedHere(
  { architecture, backend }: Model,
  batch: Batch,
  { index, gradient }: { readonly index: number; readonly gradient: FloatArray },
): Stream {
  return {
    dropped: index,
    place(site, row) {
      const { offset, size } = placeOf(gradient, { architecture, batch, row, site: "resid_post" });
      if (site === "resid_pre" || site === "resid_mid" || site === "resid_post")
        return { target: gradient, offset, size };
      const zeros = sizeOf(siteShape(site, architecture, batch.rows[row]?.length ?? 0));
      return { target: backend.allocate(zeros), offset: 0, size: zeros };
    },
  };
}

/** The part of flat values that belongs to the first rows; attention is computed again from it. */
function firstTokens(values: ReadonlyMap<SiteName, SiteValue>, share: number): Map<SiteName, SiteValue> {
  const found = new Map<SiteName, SiteValue>();
  for (const [site, value] of values) {
    if (!Array.isArray(value)) {
      const flat = value as FloatArray;
      found.set(site, flat.subarray(0, Math.round(flat.length * share)));
    }
  }
  return found;
}

function repeated(values: ReadonlyMap<SiteName, SiteValue>, times: number): Map<SiteName, SiteValue> {
  const found = new Map<SiteName, SiteValue>();
  for (const [site, value] of values) {
    if (Array.isArray(value)) continue; // computed again from what is flat
    const flat = value as FloatArray;
    const copy =
      flat instanceof Float32Array
        ? new Float32Array(times * flat.length)
        : new Float64Array(times * flat.length);
    for (let i = 0; i < times; i++) copy.set(flat, i * flat.length);
    found.set(site, copy);
  }
  return found;
}

function joined({ backend }: Model, arrays: readonly FloatArray[]): FloatArray {
  const [only] = arrays;
  if (only !== undefined && arrays.length === 1) return only;
  const whole = backend.allocate(arrays.reduce((size, array) => size + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    whole.set(array, at);
    at += array.length;
  }
  return whole;
}

/** What the edits of a layer do to gradients. */
function adjointEdits(
  { architecture }: Model,
  batch: Batch,
  { edits = [], runs = [], index }: Pick<BackwardOptions, "edits" | "runs"> & { readonly index: number },
): BatchEdit[] {
  return batchEdits(
    batch.rows.map((_, row) => (edits[row] ?? []).filter((edit) => edit.layer === index).flatMap(adjoint)),
    {
      architecture,
      batch,
      runValue({ site }, run) {
        const cache = runs[run];
        if (cache === undefined) throw new RangeError(`run ${run} of ${runs.length}`);
        return cache.get(site, index);
      },
    },
  );
}

/**
 * The edit of a gradient that stands for an edit of a value. A replaced cell takes nothing from the value before it;
 * adding changes nothing; a scaled cell is scaled.
 */
function adjoint(edit: Edit): Edit[] {
  switch (edit.action) {
    case "replace":
      return [{ ...edit, value: { kind: "fill", value: 0 } }];
    case "add":
      return [];
    case "scale":
      return [edit];
  }
}
