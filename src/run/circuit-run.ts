/**
 * @file Runs of a circuit: edges outside it carry what their sources write in another run, all others what they write
 * in this one. Every target reads a stream of its own,
 * resid + Σ over sources outside (source in the other run − source in this run),
 * where "this run" is the one under way, whose earlier parts have read such streams themselves. One pass a circuit;
 * several go through the layers together.
 *
 * Source: Hanna et al. 2024, "Have faith in faithfulness", and its code (hannamw/EAP-IG), which also says what to do
 * where a norm stands behind attention.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import { addInto, subtractInto } from "../numeric/differences.ts";
import { contextCache } from "./batch.ts";
import type { Layer } from "./block.ts";
import { runBlock } from "./block.ts";
import { passAttention } from "./circuit-attention.ts";
import type { CircuitMask, Pass } from "./circuit-pass.ts";
import { addOutside, openPass, tiled } from "./circuit-pass.ts";
import type { EdgeRuns } from "./edge-sources.ts";
import { differingFrom } from "./edge-sources.ts";
import type { Cache } from "./forward.ts";
import { forward } from "./forward.ts";
import { bytesOf } from "./pass-memory.ts";
import type { SiteName } from "./site.ts";
import { withLayer } from "./with-layer.ts";

export interface CircuitOptions {
  readonly graph: EdgeGraph;
  readonly circuits: readonly CircuitMask[];
  /** Bytes for what the targets of circuits under way read. */
  readonly stateBytes?: number | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

const DEFAULT_STATE_BYTES = 512 * 2 ** 20;

const BASE_SITES: readonly SiteName[] = ["rot_k", "v"];
const OTHER_SITES: readonly SiteName[] = ["z", "mlp_out"];

/** What the final norm reads [T, d] when all but a circuit carries the other run's values, for each circuit. */
export async function runCircuits(
  model: Model,
  runs: EdgeRuns,
  { graph, circuits, stateBytes, signal }: CircuitOptions,
): Promise<FloatArray[]> {
  const { definition, architecture, backend } = model;
  const layersWith = (site: SiteName): number[] =>
    [...definition.blocks.keys()].filter((layer) => definition.blocks[layer]?.sites.has(site));
  const { caches, residuals } = await forward(model, [runs.base, runs.other], {
    capture: [
      { site: "resid_pre", layers: [0] },
      ...[...BASE_SITES, ...OTHER_SITES].map((site) => ({ site, layers: layersWith(site) })),
    ],
  });
  const [base, other] = caches as [Cache, Cache];
  const final = residuals[0] as FloatArray;
  const positions = differingFrom(runs, architecture.causal);
  if (positions.length === 0) return circuits.map(() => final.slice());

  const size = positions.length * architecture.dModel;
  const bytes = bytesOf(model, graph.targets.length * size);
  const together = Math.max(1, Math.floor((stateBytes ?? model.stateBytes ?? DEFAULT_STATE_BYTES) / bytes));
  const contexts = contextCache(architecture, backend.allocate);
  const found: FloatArray[] = [];
  for (let start = 0; start < circuits.length; start += together) {
    const some = circuits.slice(start, start + together);
    const pass = openPass(model, { graph, circuits: some, base, other, positions });
    await enterInput(pass);
    for (const index of definition.blocks.keys()) {
      if (signal?.aborted) throw new Error("cancelled");
      await withLayer(model, { index, contexts }, (layer) => passLayer(pass, layer));
    }
    const read = pass.read(graph.targets.length - 1);
    for (const row of some.keys()) {
      const whole = final.slice();
      whole.set(read.subarray(row * size, (row + 1) * size), (positions[0] ?? 0) * architecture.dModel);
      found.push(whole);
    }
  }
  return found;
}

/** The embedding's edges. */
async function enterInput(pass: Pass): Promise<void> {
  const difference = tiled(pass, "resid_pre", 0);
  subtractInto(difference, pass.residual);
  await addOutside(pass, { first: pass.sourceOf.get("input") ?? 0, count: 1, differences: difference });
}

async function passLayer(pass: Pass, layer: Layer): Promise<void> {
  const { graph, residual } = pass;
  const { sites } = layer.program;
  const { index } = layer;
  const outputs: FloatArray[] = [];
  if (sites.has("q_in")) outputs.push(await passAttention(pass, layer));
  const target = pass.targetOf.get(`mlp ${index}`);
  if (target !== undefined) {
    const firstHead = pass.sourceOf.get(`head ${index}`);
    // A sequential block's MLP reads what its attention wrote.
    if (firstHead !== undefined && (graph.reads[target] ?? 0) > firstHead) {
      for (const output of outputs.splice(0)) addInto(residual, output);
    }
    const found = await runBlock(layer, {
      batch: pass.batch,
      known: new Map([["mlp_in", pass.read(target)]]),
      want: ["mlp_out"],
    });
    const written = found.get("mlp_out") as FloatArray;
    const difference = tiled(pass, "mlp_out", index);
    subtractInto(difference, written);
    outputs.push(written);
    await addOutside(pass, {
      first: pass.sourceOf.get(`mlp ${index}`) ?? 0,
      count: 1,
      differences: difference,
    });
  }
  for (const output of outputs) addInto(residual, output);
}
