/** @file Circuits on their way through a model: what each target's stream is, and what edges outside a circuit add to it. */

import type { FloatArray } from "../core/tensor.ts";
import type { EdgeGraph, EdgeTarget } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import { addInto } from "../numeric/differences.ts";
import type { Batch } from "./batch.ts";
import { batchOf } from "./batch.ts";
import type { Cache } from "./forward.ts";
import { mixtures } from "./mixtures.ts";
import type { SiteName } from "./site.ts";

/** Edges in a circuit, one byte an edge of the graph. */
export type CircuitMask = ArrayLike<number>;

/** Circuits on their way through the layers. */
export interface Pass {
  readonly model: Model;
  readonly graph: EdgeGraph;
  readonly circuits: readonly CircuitMask[];
  readonly base: Cache;
  readonly other: Cache;
  readonly positions: Int32Array;
  readonly length: number;
  /** One row for each circuit. */
  readonly batch: Batch;
  /** The run's own stream [circuit, position, d]. */
  readonly residual: FloatArray;
  /** What edges outside the circuits add to a target's stream [circuit, position, d]; made when first added to. */
  readonly added: (FloatArray | undefined)[];
  /** A target's stream. */
  readonly read: (target: number) => FloatArray;
  readonly targetOf: ReadonlyMap<string, number>;
  readonly sourceOf: ReadonlyMap<string, number>;
}

export function openPass(
  model: Model,
  parts: Pick<Pass, "graph" | "circuits" | "base" | "other" | "positions">,
): Pass {
  const { graph, circuits, base, other, positions } = parts;
  const length = base.ids.length;
  const own = suffix(base, { site: "resid_pre", layer: 0, positions });
  const residual = model.backend.allocate(circuits.length * own.length);
  for (const row of circuits.keys()) residual.set(own, row * own.length);
  const added: (FloatArray | undefined)[] = [];
  return {
    model,
    graph,
    circuits,
    base,
    other,
    positions,
    length,
    batch: batchOf(circuits.map(() => ({ positions, length }))),
    residual,
    added,
    read(target) {
      const stream = residual.slice();
      const more = added[target];
      if (more !== undefined) addInto(stream, more);
      return stream;
    },
    targetOf: new Map(graph.targets.map((target, index) => [keyOf(target), index])),
    sourceOf: new Map(
      graph.sources.map((source, index) => [
        source.kind === "input" ? "input" : `${source.kind} ${source.layer}`,
        index - (source.kind === "head" ? source.head : 0),
      ]),
    ),
  };
}

function keyOf(target: EdgeTarget): string {
  switch (target.kind) {
    case "head":
      return `${target.slot} ${target.layer} ${target.head}`;
    case "kv":
      return `${target.slot} ${target.layer} kv ${target.kvHead}`;
    case "mlp":
      return `mlp ${target.layer}`;
    case "logits":
      return "logits";
  }
}

/** A captured value from the first of the positions on; a copy. */
function suffix(
  cache: Cache,
  {
    site,
    layer,
    positions,
  }: { readonly site: SiteName; readonly layer: number; readonly positions: Int32Array },
): FloatArray {
  const { data } = cache.get(site, layer);
  return data.slice(((positions[0] ?? 0) * data.length) / cache.ids.length);
}

/** Values of the other run, once for each circuit. */
export function tiled(pass: Pass, site: SiteName, layer: number): FloatArray {
  const own = suffix(pass.other, { site, layer, positions: pass.positions });
  const rows = pass.model.backend.allocate(pass.circuits.length * own.length);
  for (const row of pass.circuits.keys()) rows.set(own, row * own.length);
  return rows;
}

interface Written {
  /** The first of neighbouring sources, and how many. */
  readonly first: number;
  readonly count: number;
  /** What they write in the other run less what they write in this one [circuit, source, position, d]. */
  readonly differences: FloatArray;
  /** What sums of a circuit's differences become on their way into the stream, where they do not arrive as they are. */
  readonly through?: (sums: FloatArray, row: number) => Promise<FloatArray>;
}

/** Adds what sources write differently to the streams of all targets that read them by an edge outside a circuit. */
export async function addOutside(pass: Pass, { first, count, differences, through }: Written): Promise<void> {
  const { model, graph, circuits, added, positions } = pass;
  const size = positions.length * model.architecture.dModel;
  const readers = [...graph.targets.keys()].filter((target) => (graph.reads[target] ?? 0) > first);
  const outside = model.backend.allocate(readers.length * count);
  for (const [row, circuit] of circuits.entries()) {
    const targets: number[] = [];
    for (const target of readers) {
      const edge = (graph.first[target] ?? 0) + first;
      const at = targets.length * count;
      let carried = 0;
      for (let source = 0; source < count; source++) {
        const weight = circuit[edge + source] ? 0 : 1;
        outside[at + source] = weight;
        carried += weight;
      }
      if (carried > 0) targets.push(target);
    }
    if (targets.length === 0) continue;
    const weights = outside.subarray(0, targets.length * count);
    const values = differences.subarray(row * count * size, (row + 1) * count * size);
    const mixed = await mixtures(model, { weights, values, count });
    const sums = through === undefined ? mixed : await through(mixed, row);
    for (const [index, target] of targets.entries()) {
      added[target] ??= model.backend.allocate(circuits.length * size);
      const to = added[target]?.subarray(row * size, (row + 1) * size);
      if (to !== undefined) addInto(to, sums.subarray(index * size, (index + 1) * size));
    }
  }
}
