/**
 * @file What heads put out when one of the things that they read the residual stream for, queries, keys or values,
 * reads it with a source's difference added, and all else stays as in the base run.
 *
 * A product makes the queries (keys, values) of all heads, so that one row serves the edges from a source to every
 * head of the layer: a head's output depends on no other head's.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Slot } from "../model/edge-graph.ts";
import { range } from "../numeric/cells.ts";
import { addInto } from "../numeric/differences.ts";
import { batchOf } from "./batch.ts";
import type { Layer } from "./block.ts";
import { runBlock } from "./block.ts";
import type { EdgeRun } from "./edge-sources.ts";
import type { SiteName } from "./site.ts";

/** Tokens that go through the projections together. */
const BATCH_TOKENS = 1024;

const SITE_OF: { readonly [S in Slot]: "rot_q" | "rot_k" | "v" } = { q: "rot_q", k: "rot_k", v: "v" };
const SLOTS: readonly Slot[] = ["q", "k", "v"];

/** z [T, H, dh] with one slot of all heads changed; only valid at the positions of the run. */
export type SlotOutputs = { readonly [S in Slot]: FloatArray };

/** Heads' outputs for each of the sources. */
export async function slotOutputs(
  layer: Layer,
  run: EdgeRun,
  sources: readonly number[],
): Promise<ReadonlyMap<number, SlotOutputs>> {
  const found = new Map<number, SlotOutputs>();
  const together = Math.max(1, Math.floor(BATCH_TOKENS / Math.max(1, run.positions.length)));
  for (let start = 0; start < sources.length; start += together) {
    const some = sources.slice(start, start + together);
    for (const [source, outputs] of await outputsOf(layer, run, some)) found.set(source, outputs);
  }
  return found;
}

async function outputsOf(
  layer: Layer,
  { base, differences, positions, length }: EdgeRun,
  sources: readonly number[],
): Promise<ReadonlyMap<number, SlotOutputs>> {
  const { backend, architecture } = layer.model;
  const first = positions[0] ?? 0;
  const batch = batchOf(sources.map(() => ({ positions, length })));
  /** The base run's value at the positions, once for each source. */
  const tiled = (site: SiteName): FloatArray => {
    const { data } = base.get(site, layer.index);
    const own = data.subarray((first * data.length) / length);
    const rows = backend.allocate(own.length * sources.length);
    for (const row of sources.keys()) rows.set(own, row * own.length);
    return rows;
  };
  const residual = tiled("resid_pre");
  const size = residual.length / sources.length;
  for (const [row, source] of sources.entries()) {
    addInto(residual.subarray(row * size, (row + 1) * size), differences[source]?.values ?? []);
  }
  const changed = await runBlock(layer, {
    batch,
    known: new Map([["resid_pre", residual]]),
    want: Object.values(SITE_OF),
  });

  const width = architecture.heads * architecture.dHead;
  const outputs = sources.map((): Partial<Record<Slot, FloatArray>> => ({}));
  for (const slot of SLOTS) {
    const read = await runBlock(layer, {
      batch,
      known: new Map(
        Object.values(SITE_OF).map((site) => [
          site,
          site === SITE_OF[slot] ? (changed.get(site) as FloatArray) : tiled(site),
        ]),
      ),
      past: {
        values: { rot_k: base.get("rot_k", layer.index).data, v: base.get("v", layer.index).data },
        firstToken: () => 0,
      },
      want: ["z"],
    });
    const z = read.get("z") as FloatArray;
    for (const [row, output] of outputs.entries()) {
      const from = row * positions.length * width;
      const whole = backend.allocate(length * width);
      whole.set(z.subarray(from, from + positions.length * width), first * width);
      output[slot] = whole;
    }
  }
  return new Map(sources.map((source, row) => [source, outputs[row] as SlotOutputs]));
}

/** Positions whose heads' outputs can differ if a slot's input differs at some: all that see a key or value. */
export function reached(
  changed: readonly number[],
  { slot, length, causal }: { readonly slot: Slot; readonly length: number; readonly causal: boolean },
): readonly number[] {
  const [first] = changed;
  if (slot === "q" || first === undefined) return changed;
  return [...(causal ? range(length - first, first) : range(length))];
}
