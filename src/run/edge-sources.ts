/**
 * @file What every source of an edge graph writes to the residual stream in one run less what it writes in another:
 * what an edge carries when it is patched.
 *
 * Biases and learned positions are the same in both runs and drop out. Where a norm follows attention (Gemma), heads
 * add up only before it: a head's difference is that of the whole module with this head's output replaced.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { EdgeGraph, EdgeSource } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import { range } from "../numeric/cells.ts";
import { addInto, rowsNotZero, subtractInto, takePart } from "../numeric/differences.ts";
import type { ContextCache } from "./batch.ts";
import { batchOf } from "./batch.ts";
import type { Layer } from "./block.ts";
import { runBlock } from "./block.ts";
import type { Cache } from "./forward.ts";
import { forward } from "./forward.ts";
import type { SiteName } from "./site.ts";
import { withLayer } from "./with-layer.ts";

/** Two runs of one length: edges of `base` carry what their sources write in `other`. */
export interface EdgeRuns {
  readonly base: readonly number[];
  readonly other: readonly number[];
}

/** What a source writes differently. */
export interface SourceDifference {
  /** [position, d], of the positions of {@link EdgeRun}. */
  readonly values: FloatArray;
  /** Positions, in the sequence, at which it is not 0, ascending. */
  readonly changed: readonly number[];
}

/** The base run, with the differences of all sources. */
export interface EdgeRun {
  readonly length: number;
  /** Where the runs can differ: from their first different token on, where attention is causal. */
  readonly positions: Int32Array;
  /** By source of the graph. */
  readonly differences: readonly SourceDifference[];
  /** resid_pre, rot_q, rot_k and v of every layer. */
  readonly base: Cache;
}

/** Positions at which a causal model's runs can differ; all of them if it looks ahead. */
export function differingFrom({ base, other }: EdgeRuns, causal: boolean): Int32Array {
  const first = base.findIndex((id, position) => id !== other[position]);
  if (first === -1) return new Int32Array(0);
  return causal ? range(base.length - first, first) : range(base.length);
}

const BASE_SITES: readonly SiteName[] = ["resid_pre", "rot_q", "rot_k", "v"];
const WRITTEN: readonly SiteName[] = ["z", "attn_raw", "mlp_out"];

/** Runs both, and takes their sources apart. */
export async function edgeRun(
  model: Model,
  runs: EdgeRuns,
  { graph, contexts }: { readonly graph: EdgeGraph; readonly contexts: ContextCache },
): Promise<EdgeRun> {
  const { definition, architecture, backend } = model;
  const { dModel } = architecture;
  const positions = differingFrom(runs, architecture.causal);
  const layersWith = (site: SiteName): number[] =>
    [...definition.blocks.keys()].filter((layer) => definition.blocks[layer]?.sites.has(site));
  const { caches } = await forward(model, [runs.base, runs.other], {
    capture: [...BASE_SITES, ...WRITTEN].map((site) => ({ site, layers: layersWith(site) })),
  });
  const [base, other] = caches as [Cache, Cache];
  const between = (site: SiteName, layer: number): FloatArray => {
    const values = atPositions(other, { site, layer, positions });
    subtractInto(values, atPositions(base, { site, layer, positions }));
    return values;
  };
  const written = (values: FloatArray): SourceDifference => ({
    values,
    changed: rowsNotZero(values, dModel).map((row) => positions[row] ?? 0),
  });

  const ofHeads = new Map<number, readonly SourceDifference[]>();
  for (const index of positions.length === 0 ? [] : layersWith("z")) {
    const z = between("z", index);
    const found = await withLayer(model, { index, contexts }, (layer) =>
      headDifferences(layer, { z, base, positions, length: runs.base.length }),
    );
    ofHeads.set(index, found.map(written));
  }
  const nothing = written(backend.allocate(0));
  const differenceOf = (source: EdgeSource): SourceDifference => {
    switch (source.kind) {
      case "input":
        return written(between("resid_pre", 0));
      case "head":
        return ofHeads.get(source.layer)?.[source.head] ?? nothing;
      case "mlp":
        return written(between("mlp_out", source.layer));
    }
  };
  const differences = graph.sources.map((source) =>
    positions.length === 0 ? nothing : differenceOf(source),
  );
  return { length: runs.base.length, positions, differences, base };
}

/** Values of a captured site at some positions; a copy. */
function atPositions(
  cache: Cache,
  {
    site,
    layer,
    positions,
  }: { readonly site: SiteName; readonly layer: number; readonly positions: Int32Array },
): FloatArray {
  const { data } = cache.get(site, layer);
  const width = data.length / cache.ids.length;
  // From the first position on there is no gap.
  return data.slice((positions[0] ?? 0) * width);
}

/** [position, d] for each head, from the difference of z [position, H, dh]. */
async function headDifferences(
  layer: Layer,
  {
    z,
    base,
    positions,
    length,
  }: {
    readonly z: FloatArray;
    readonly base: Cache;
    readonly positions: Int32Array;
    readonly length: number;
  },
): Promise<FloatArray[]> {
  const { architecture, backend } = layer.model;
  const { heads, dModel } = architecture;
  // The projection of each head's output has no bias: that of a difference is the difference.
  const found = await runBlock(layer, {
    batch: batchOf([{ positions, length }]),
    known: new Map([["z", z]]),
    want: ["result"],
  });
  const results = found.get("result") as FloatArray;
  const size = positions.length * dModel;
  const parts = Array.from({ length: heads }, (_, index): FloatArray => {
    const part = backend.allocate(size);
    takePart(results, { index, count: heads, width: dModel }, part);
    return part;
  });
  if (!layer.program.sites.has("attn_raw")) return parts;

  const raw = atPositions(base, { site: "attn_raw", layer: layer.index, positions });
  const rows = backend.allocate((heads + 1) * size);
  for (let row = 0; row <= heads; row++) {
    const place = rows.subarray(row * size, (row + 1) * size);
    place.set(raw);
    if (row < heads) addInto(place, parts[row] as FloatArray);
  }
  const normed = await runBlock(layer, {
    batch: batchOf(Array.from({ length: heads + 1 }, () => ({ positions, length }))),
    known: new Map([["attn_raw", rows]]),
    want: ["attn_out"],
  });
  const outputs = normed.get("attn_out") as FloatArray;
  const own = outputs.subarray(heads * size);
  return parts.map((part, head) => {
    const difference = outputs.slice(head * size, (head + 1) * size);
    subtractInto(difference, own);
    // The engine may round equal rows of a batch differently: what enters equal, leaves equal.
    const changed = new Set(rowsNotZero(part, dModel));
    for (let row = 0; row < positions.length; row++) {
      if (!changed.has(row)) difference.fill(0, row * dModel, (row + 1) * dModel);
    }
    return difference;
  });
}
