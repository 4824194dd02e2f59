/**
 * @file Attention of circuits' runs. A head whose inputs differ from those of its neighbours is projected by itself,
 * with the projection of all; every query head has keys and values of its own.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Slot } from "../model/edge-graph.ts";
import { addInto, subtractInto, takePart } from "../numeric/differences.ts";
import { batchOf } from "./batch.ts";
import type { Layer, SiteValue } from "./block.ts";
import { runBlock } from "./block.ts";
import type { Pass } from "./circuit-pass.ts";
import { addOutside, tiled } from "./circuit-pass.ts";
import type { SiteName } from "./site.ts";

/** Attention of a layer; returns what it adds to the stream [circuit, position, d]. */
export async function passAttention(pass: Pass, layer: Layer): Promise<FloatArray> {
  const { batch, circuits, positions } = pass;
  const { heads } = layer.model.architecture;
  const known = new Map<SiteName, SiteValue>([["rot_q", await slotValues(pass, layer, "q")]]);
  for (const slot of ["k", "v"] as const) {
    known.set(`${slot}_heads`, [
      wholeSequences(pass, layer, { slot, own: await slotValues(pass, layer, slot) }),
    ]);
  }
  const hasNorm = layer.program.sites.has("attn_raw");
  const mixed = await runBlock(layer, { batch, known, want: ["z"] });
  const z = mixed.get("z") as FloatArray;
  const found = await runBlock(layer, {
    batch,
    known: new Map([["z", z]]),
    want: ["attn_out", ...(hasNorm ? (["attn_raw"] as const) : [])],
  });
  const written = found.get("attn_out") as FloatArray;
  const change = tiled(pass, "z", layer.index);
  subtractInto(change, z);
  const { dModel } = layer.model.architecture;
  const projected = await runBlock(layer, { batch, known: new Map([["z", change]]), want: ["result"] });
  const results = projected.get("result") as FloatArray;
  // [circuit, position, H, d] to [circuit, H, position, d].
  const size = positions.length * dModel;
  const differences = layer.model.backend.allocate(results.length);
  for (const row of circuits.keys()) {
    const own = results.subarray(row * heads * size, (row + 1) * heads * size);
    for (let head = 0; head < heads; head++) {
      const from = (row * heads + head) * size;
      takePart(own, { index: head, count: heads, width: dModel }, differences.subarray(from, from + size));
    }
  }
  const first = pass.sourceOf.get(`head ${layer.index}`) ?? 0;
  const raw = found.get("attn_raw") as FloatArray | undefined;
  await addOutside(pass, {
    first,
    count: heads,
    differences,
    ...(raw === undefined
      ? {}
      : {
          through: (sums, row) =>
            throughNorm(pass, layer, { raw: raw.subarray(row * size, (row + 1) * size), sums }),
        }),
  });
  return written;
}

/** A slot of all heads, each from its own stream: [circuit, position, H, dh]. */
async function slotValues(pass: Pass, layer: Layer, slot: Slot): Promise<FloatArray> {
  const { circuits, positions, length, graph } = pass;
  const { backend, architecture } = layer.model;
  const { heads, kvHeads, dHead, dModel } = architecture;
  const size = positions.length * dModel;
  const streams = backend.allocate(circuits.length * heads * size);
  for (let head = 0; head < heads; head++) {
    const shared = graph.groupKv && slot !== "q";
    const name = shared ? `kv ${Math.floor((head * kvHeads) / heads)}` : `${head}`;
    const read = pass.read(pass.targetOf.get(`${slot} ${layer.index} ${name}`) ?? -1);
    for (const row of circuits.keys()) {
      streams.set(read.subarray(row * size, (row + 1) * size), (row * heads + head) * size);
    }
  }
  const rows = Array.from({ length: circuits.length * heads }, () => ({ positions, length }));
  const site = slot === "q" ? "rot_q" : slot === "k" ? "rot_k" : "v";
  const found = await runBlock(layer, {
    batch: batchOf(rows),
    known: new Map([["resid_pre", streams]]),
    want: [site],
  });
  const projected = found.get(site) as FloatArray;
  const count = slot === "q" ? heads : kvHeads;
  const out = backend.allocate(circuits.length * positions.length * heads * dHead);
  for (const row of circuits.keys()) {
    for (let head = 0; head < heads; head++) {
      const own = Math.floor((head * count) / heads);
      for (let at = 0; at < positions.length; at++) {
        const from = (((row * heads + head) * positions.length + at) * count + own) * dHead;
        const to = ((row * positions.length + at) * heads + head) * dHead;
        out.set(projected.subarray(from, from + dHead), to);
      }
    }
  }
  return out;
}

/** Keys or values of every position, a copy for every query head: those of the base run before the first difference. */
function wholeSequences(
  { base, circuits, positions, length }: Pass,
  layer: Layer,
  { slot, own }: { readonly slot: "k" | "v"; readonly own: FloatArray },
): FloatArray {
  const { backend, architecture } = layer.model;
  const { heads, kvHeads, dHead } = architecture;
  const before = base.get(slot === "k" ? "rot_k" : "v", layer.index).data;
  const out = backend.allocate(circuits.length * length * heads * dHead);
  const first = positions[0] ?? 0;
  const size = positions.length * heads * dHead;
  for (const row of circuits.keys()) {
    const start = row * length * heads * dHead;
    for (let position = 0; position < first; position++) {
      for (let head = 0; head < heads; head++) {
        const from = (position * kvHeads + Math.floor((head * kvHeads) / heads)) * dHead;
        out.set(before.subarray(from, from + dHead), start + (position * heads + head) * dHead);
      }
    }
    out.set(own.subarray(row * size, (row + 1) * size), start + first * heads * dHead);
  }
  return out;
}

/**
 * What sums of heads' differences [sum, position, d] change of what one circuit's attention adds to the stream, behind
 * its norm: N(raw + sum) − N(raw), as the EAP-IG tools have it.
 */
async function throughNorm(
  { positions, length }: Pass,
  layer: Layer,
  { raw, sums }: { readonly raw: FloatArray; readonly sums: FloatArray },
): Promise<FloatArray> {
  const size = raw.length;
  const count = sums.length / size;
  const rows = layer.model.backend.allocate(sums.length + size);
  rows.set(sums);
  for (let row = 0; row <= count; row++) addInto(rows.subarray(row * size, (row + 1) * size), raw);
  const found = await runBlock(layer, {
    batch: batchOf(Array.from({ length: count + 1 }, () => ({ positions, length }))),
    known: new Map([["attn_raw", rows]]),
    want: ["attn_out"],
  });
  const outputs = found.get("attn_out") as FloatArray;
  const own = outputs.subarray(sums.length);
  const changes = outputs.slice(0, sums.length);
  for (let row = 0; row < count; row++) subtractInto(changes.subarray(row * size, (row + 1) * size), own);
  return changes;
}
