/**
 * @file A forward pass that can be gone back over: what each layer's backward pass needs is kept where memory
 * allows, and computed again from the layer's residual stream where it does not.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { range } from "../numeric/cells.ts";
import { batchEdits } from "./apply.ts";
import { BACKWARD_VALUES } from "./backward.ts";
import type { Batch } from "./batch.ts";
import { batchOf, contextCache, flatPositions } from "./batch.ts";
import type { BatchEdit, Layer, SiteValue } from "./block.ts";
import { runBlock } from "./block.ts";
import type { Edit } from "./edit.ts";
import { requireLayers } from "./edit.ts";
import { embed } from "./ends.ts";
import type { Cache } from "./forward.ts";
import { flatIds } from "./forward.ts";
import { bytesOf } from "./pass-memory.ts";
import type { SiteName } from "./site.ts";
import { axisSize, SITES } from "./site.ts";
import { withLayer } from "./with-layer.ts";

export interface TrajectoryOptions {
  /** Sites wanted of every layer besides those that a backward pass starts from. */
  readonly sites?: readonly SiteName[];
  /** Edits of each sequence; a value of kind `run` is looked up in `runs`. */
  readonly edits?: readonly (readonly Edit[])[];
  readonly runs?: readonly Cache[];
  /** Bytes for the values of all layers; beyond them only residual streams are kept. Default: 512 MiB, or what the model's budget leaves for states. */
  readonly keepBytes?: number;
}

export interface Trajectory {
  readonly batch: Batch;
  /** Final residual stream [token, d]. */
  readonly final: FloatArray;
  /** Whether values were kept, so that going back computes nothing twice. */
  readonly kept: boolean;
  /**
   * Calls `use` with a layer, opened for as long, and its values after its edits: resid_pre, rot_q, rot_k, v, z, edited
   * sites, and those asked for.
   */
  at<T>(
    index: number,
    use: (layer: Layer, values: ReadonlyMap<SiteName, SiteValue>) => Promise<T>,
  ): Promise<T>;
  /** The values alone: weights are read only where the values were not kept. */
  values(index: number): Promise<ReadonlyMap<SiteName, SiteValue>>;
}

const DEFAULT_KEEP_BYTES = 512 * 2 ** 20;
/** Costly to compute again, and read by the backward pass of the MLP. */
const COSTLY: readonly SiteName[] = ["mlp_gate", "mlp_pre"];

/** Runs sequences in the order given; neighbours of one length share their attention. */
export async function trajectory(
  model: Model,
  sequences: readonly (readonly number[])[],
  options: TrajectoryOptions = {},
): Promise<Trajectory> {
  const { architecture, definition, backend } = model;
  const {
    sites = [],
    edits = [],
    runs = [],
    keepBytes = Math.min(DEFAULT_KEEP_BYTES, model.stateBytes ?? Infinity),
  } = options;
  requireLayers(edits.flat(), definition.blocks.length);
  const batch = batchOf(sequences.map(({ length }) => ({ positions: range(length), length })));
  const contexts = contextCache(architecture, backend.allocate);

  const editsAt = (index: number): BatchEdit[] =>
    batchEdits(
      sequences.map((_, row) => (edits[row] ?? []).filter((edit) => edit.layer === index)),
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
  const valuesOf = ({ program, index }: Layer, extra: readonly SiteName[]): SiteName[] => {
    const edited = edits.flatMap((list) =>
      list.filter((edit) => edit.layer === index).map(({ site }) => site),
    );
    return [...new Set([...BACKWARD_VALUES, ...edited, ...sites, ...extra])].filter((site) =>
      program.sites.has(site),
    );
  };

  const perToken = [...new Set([...BACKWARD_VALUES, ...sites, ...COSTLY])].reduce(
    (sum, site) => sum + widthOf(model, site, Math.max(0, ...sequences.map(({ length }) => length))),
    0,
  );
  const bytes = bytesOf(model, perToken * batch.tokens * definition.blocks.length);
  const kept = bytes <= keepBytes;

  const layers: ReadonlyMap<SiteName, SiteValue>[] = [];
  let residual = await embed(model, flatIds(sequences, [...sequences.keys()], batch), flatPositions(batch));
  for (let index = 0; index < definition.blocks.length; index++) {
    await withLayer(model, { index, contexts }, async (layer) => {
      if (index + 1 < definition.blocks.length) model.weights.prefetch(index + 1);
      const found = await runBlock(layer, {
        batch,
        known: new Map([["resid_pre", residual]]),
        edits: editsAt(index),
        want: [...(kept ? valuesOf(layer, COSTLY) : []), "resid_post"],
      });
      layers.push(kept ? found : new Map([["resid_pre", residual]]));
      residual = found.get("resid_post") as FloatArray;
    });
  }

  const valuesAt = async (layer: Layer): Promise<ReadonlyMap<SiteName, SiteValue>> => {
    const known = layers[layer.index] ?? new Map();
    if (kept) return known;
    return runBlock(layer, { batch, known, edits: editsAt(layer.index), want: valuesOf(layer, COSTLY) });
  };
  return {
    batch,
    final: residual,
    kept,
    at(index, use) {
      return withLayer(model, { index, contexts }, async (layer) => {
        if (index > 0) model.weights.prefetch(index - 1);
        return use(layer, await valuesAt(layer));
      });
    },
    async values(index) {
      const found = kept ? layers[index] : undefined;
      return found ?? withLayer(model, { index, contexts }, valuesAt);
    },
  };
}

/** Numbers a token of a site's value. */
function widthOf(model: Model, site: SiteName, length: number): number {
  return SITES[site].axes
    .slice(SITES[site].axes[0] === "head" ? 0 : 1)
    .reduce((size, axis) => size * (axis === "dst" ? 1 : axisSize(axis, model.architecture, length)), 1);
}
