/**
 * @file One edge patched by brute force: what a source writes is changed on its way into one input alone. Whole
 * forward passes, one edge at a time; the oracle of everything that estimates or computes edges.
 */

import type { FloatArray } from "../../src/core/tensor.ts";
import type { EdgeSource, EdgeTarget } from "../../src/model/edge-graph.ts";
import type { Model } from "../../src/model/model.ts";
import { runBlock } from "../../src/run/block.ts";
import type { Edit } from "../../src/run/edit.ts";
import type { GradientRun } from "../../src/run/end-gradients.ts";
import { endGradients } from "../../src/run/end-gradients.ts";
import type { Cache } from "../../src/run/forward.ts";
import { forward } from "../../src/run/forward.ts";
import type { SiteName } from "../../src/run/site.ts";
import { trajectory } from "../../src/run/trajectory.ts";

const SITES: readonly SiteName[] = ["z", "result", "mlp_out", "attn_raw", "attn_out", "v", "rot_q", "rot_k"];

/** Two unedited runs and what is needed to patch edges between them. */
export interface EdgeRuns {
  readonly model: Model;
  readonly base: GradientRun;
  readonly caches: readonly [base: Cache, source: Cache];
}

export async function edgeRuns(
  model: Model,
  { base, source }: { readonly base: GradientRun; readonly source: readonly number[] },
): Promise<EdgeRuns> {
  const capture = SITES.flatMap((site) => {
    const layers = [...model.definition.blocks.keys()].filter((layer) =>
      model.definition.blocks[layer]?.sites.has(site),
    );
    return layers.length === 0 ? [] : [{ site, layers }];
  });
  const { caches } = await forward(model, [base.ids, source], {
    capture: [{ site: "resid_pre", layers: [0] }, ...capture],
  });
  const [one, other] = caches;
  if (one === undefined || other === undefined) throw new Error("two runs wanted");
  return { model, base, caches: [one, other] };
}

/** The metric when `share` of the edge's difference (1: all of it) is added on the way from source to target alone. */
export async function withEdge(
  runs: EdgeRuns,
  edge: { readonly from: EdgeSource; readonly to: EdgeTarget },
  share = 1,
): Promise<number> {
  const { model, base } = runs;
  const change = await written(runs, edge.from, share);
  const edits = await enteringEdits(runs, edge.to, change);
  const path = await trajectory(model, [base.ids], { edits: [edits] });
  const { values } = await endGradients(model, [base], path, { valuesOnly: true });
  return values[0] ?? Number.NaN;
}

/** What a source adds to the residual stream more than in the base run [pos, d]. */
async function written(
  { model, base, caches }: EdgeRuns,
  source: EdgeSource,
  share: number,
): Promise<FloatArray> {
  const [own, other] = caches;
  const difference = (site: SiteName, layer: number): FloatArray => {
    const [a, b] = [own.get(site, layer).data, other.get(site, layer).data];
    return a.map((x, i) => share * ((b[i] ?? 0) - x));
  };
  if (source.kind === "input") return difference("resid_pre", 0);
  if (source.kind === "mlp") return difference("mlp_out", source.layer);
  const { heads, dModel } = model.architecture;
  const results = difference("result", source.layer);
  const change = new Float64Array(base.ids.length * dModel).map((_, i) => {
    const [pos, d] = [Math.floor(i / dModel), i % dModel];
    return results[(pos * heads + source.head) * dModel + d] ?? 0;
  });
  if (!own.has("attn_raw", source.layer)) return change;
  // A norm follows: what the head adds is the difference between what comes out of it.
  const raw = own.get("attn_raw", source.layer).data.map((x, i) => x + (change[i] ?? 0));
  const path = await trajectory(model, [base.ids]);
  const found = await path.at(source.layer, (layer) =>
    runBlock(layer, { batch: path.batch, known: new Map([["attn_raw", raw]]), want: ["attn_out"] }),
  );
  const before = own.get("attn_out", source.layer).data;
  return (found.get("attn_out") as FloatArray).map((x, i) => x - (before[i] ?? 0));
}

/** Edits that put a change of the residual stream into one target and nowhere else. */
async function enteringEdits(
  { model, base }: EdgeRuns,
  target: EdgeTarget,
  change: FloatArray,
): Promise<Edit[]> {
  const value = { kind: "given" as const, shape: [base.ids.length, model.architecture.dModel], data: change };
  const add = (site: SiteName, layer: number): Edit => ({ site, layer, where: {}, action: "add", value });
  switch (target.kind) {
    case "logits":
      return [add("resid_post", model.definition.blocks.length - 1)];
    case "mlp":
      return [add("mlp_in", target.layer)];
    default: {
      const { layer, slot } = target;
      const site = ({ q: "queries", k: "k_heads", v: "v_heads" } as const)[slot];
      const input = ({ q: "q_in", k: "k_in", v: "v_in" } as const)[slot];
      const { caches } = await forward(model, [base.ids], {
        edits: [[add(input, layer)]],
        capture: [{ site, layers: [layer] }],
      });
      const changed = caches[0]?.get(site, layer);
      if (changed === undefined) throw new Error(`${site} was not captured`);
      const times = model.architecture.heads / model.architecture.kvHeads;
      const head =
        target.kind === "head"
          ? [target.head]
          : Array.from({ length: times }, (_, i) => target.kvHead * times + i);
      return [{ site, layer, where: { head }, action: "replace", value: { kind: "given", ...changed } }];
    }
  }
}
