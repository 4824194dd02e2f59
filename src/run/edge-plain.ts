/**
 * @file One edge the plain way, by whole forward passes: what the source writes, what the target's slot becomes of it,
 * and the edit of the base run that patches the edge. What edges of a sweep are verified against.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { EdgeGraph, EdgeSource } from "../model/edge-graph.ts";
import { edgeAt } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import { subtractInto } from "../numeric/differences.ts";
import type { EdgeRuns } from "./edge-sources.ts";
import type { Edit, EditValue, Where } from "./edit.ts";
import { forward } from "./forward.ts";
import type { SiteName } from "./site.ts";
import { siteShape } from "./site.ts";

/** The edit of the base run that patches the edge: of what a head's slot holds, or of what an MLP or the logits read. */
export async function plainEdge(
  model: Model,
  runs: EdgeRuns,
  { graph, edge }: { readonly graph: EdgeGraph; readonly edge: number },
): Promise<Edit> {
  const { architecture, definition } = model;
  const { source, target } = edgeAt(graph, edge);
  const [from, to] = [graph.sources[source], graph.targets[target]];
  if (from === undefined || to === undefined) throw new RangeError(`edge ${edge}`);
  const given = (site: SiteName, data: FloatArray): EditValue => ({
    kind: "given",
    shape: siteShape(site, architecture, runs.base.length),
    data,
  });
  const difference = given("resid_pre", await written(model, runs, from));
  if (to.kind === "logits") {
    const layer = definition.blocks.length - 1;
    return { site: "resid_post", layer, where: {}, action: "add", value: difference };
  }
  const { layer } = to;
  if (to.kind === "mlp") return { site: "mlp_in", layer, where: {}, action: "add", value: difference };
  const [site, where] = slotSite(to);
  const { caches } = await forward(model, [runs.base], {
    edits: [[{ site: `${to.slot}_in`, layer, where: {}, action: "add", value: difference }]],
    capture: [{ site, layers: [layer] }],
    stopAfter: layer + 1,
  });
  const value = given(site, caches[0]?.get(site, layer).data as FloatArray);
  return { site, layer, where, action: "replace", value };
}

/** What holds a slot of one head, or of one that several share, and which part of it. */
function slotSite(
  target:
    | { readonly kind: "head"; readonly head: number; readonly slot: "q" | "k" | "v" }
    | { readonly kind: "kv"; readonly kvHead: number; readonly slot: "k" | "v" },
): [SiteName, Where] {
  if (target.kind === "kv") return [target.slot, { kv_head: [target.kvHead] }];
  const site = target.slot === "q" ? "q" : (`${target.slot}_heads` as const);
  return [site, { head: [target.head] }];
}

/** [T, d] what a source writes in the other run less what it writes in base. */
async function written(model: Model, { base, other }: EdgeRuns, source: EdgeSource): Promise<FloatArray> {
  const [site, layer]: [SiteName, number] =
    source.kind === "input"
      ? ["resid_pre", 0]
      : [source.kind === "head" ? "attn_out" : "mlp_out", source.layer];
  const stopAfter = layer + 1;
  const layers = [layer];
  const replaced: Edit[] =
    source.kind === "head"
      ? [
          {
            site: "z",
            layer,
            where: { head: [source.head] },
            action: "replace",
            value: { kind: "run", run: 0 },
          },
        ]
      : [];
  const { caches: others } = await forward(model, [other], {
    capture: [...new Set<SiteName>(["z", site])]
      .filter((name) => model.definition.blocks[layer]?.sites.has(name))
      .map((name) => ({ site: name, layers })),
    stopAfter,
  });
  const { caches } = await forward(model, [base, source.kind === "head" ? base : other], {
    capture: [{ site, layers }],
    edits: [[], replaced],
    runs: others,
    stopAfter,
  });
  const difference = caches[1]?.get(site, layer).data as FloatArray;
  subtractInto(difference, caches[0]?.get(site, layer).data as FloatArray);
  return difference;
}
