/**
 * @file Gradients through a whole model: of any scalar of the logits, by any site of any layer, for many sequences at
 * once.
 *
 * The backward pass goes from block to block. Of the forward pass it needs one residual stream a layer; what else of a
 * block it needs is kept where memory allows, or computed again.
 */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { batchEdits, placeOf } from "./apply.ts";
import { blockGradients } from "./backward.ts";
import type { Batch } from "./batch.ts";
import type { BatchEdit, SiteValue } from "./block.ts";
import type { Edit } from "./edit.ts";
import type { GradientRun } from "./end-gradients.ts";
import { endGradients } from "./end-gradients.ts";
import type { Cache } from "./forward.ts";
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

/** Gradients of one sequence's scalar. */
export interface Gradients {
  readonly value: number;
  /** ∂ value / ∂ site, with the axes that {@link siteShape} gives. */
  get(site: SiteName, layer: number): Tensor<FloatArray>;
}

/** Gradients of each sequence's scalar by the sites. Costs one forward and one backward pass. */
export async function gradients(
  model: Model,
  sequences: readonly GradientRun[],
  options: GradientOptions,
): Promise<Gradients[]> {
  const { architecture, definition } = model;
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
    async onLayer({ index, gradients: ofLayer }) {
      if (!layers.has(index)) return;
      for (const [site, value] of ofLayer) {
        for (const [row, sequence] of order.entries()) {
          const { target, offset, size } = placeOf(value, { architecture, batch: path.batch, row, site });
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
  readonly index: number;
  /** Values of the forward pass, of the trajectory's whole batch. */
  readonly values: ReadonlyMap<SiteName, SiteValue>;
  /** By the sites asked for. */
  readonly gradients: ReadonlyMap<SiteName, SiteValue>;
}

export interface BackwardOptions {
  /** By the final residual stream [token, d]. */
  readonly gradient: FloatArray;
  readonly edits?: readonly (readonly Edit[])[];
  readonly runs?: readonly Cache[];
  readonly sites: readonly SiteName[];
  /** Last layer to go back to. */
  readonly lowest: number;
  readonly onLayer: (found: LayerGradients) => Promise<void>;
}

/** Goes back over a trajectory, layer by layer. */
async function backward(model: Model, path: Trajectory, options: BackwardOptions): Promise<void> {
  const { sites, lowest, onLayer } = options;
  let { gradient } = options;
  for (let index = model.definition.blocks.length - 1; index >= lowest; index--) {
    const { layer, values } = await path.at(index);
    const present = sites.filter((site) => layer.program.sites.has(site));
    const found = await blockGradients(layer, {
      batch: path.batch,
      values,
      gradients: new Map([["resid_post", gradient]]),
      edits: adjointEdits(model, path.batch, { ...options, index }),
      want: [...new Set<SiteName>([...present, ...(index > lowest ? (["resid_pre"] as const) : [])])],
    });
    await onLayer({
      index,
      values,
      gradients: new Map(present.map((site) => [site, found.get(site) as SiteValue])),
    });
    gradient = found.get("resid_pre") as FloatArray;
  }
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
