/** @file Edges patched by whole forward passes, every step spelled out as an edit. */

import type { FloatArray } from "../../src/core/tensor.ts";
import type { EdgeGraph } from "../../src/model/edge-graph.ts";
import { edgeAt } from "../../src/model/edge-graph.ts";
import type { Model } from "../../src/model/model.ts";
import type { Edit, EditValue } from "../../src/run/edit.ts";
import { unembed } from "../../src/run/ends.ts";
import type { Cache } from "../../src/run/forward.ts";
import { forward } from "../../src/run/forward.ts";
import type { SiteName } from "../../src/run/site.ts";
import { siteShape } from "../../src/run/site.ts";

/** Logits at the last position of `base` with each of the edges, by itself, carrying what it carries in `other`. */
export async function patchedByHand(
  model: Model,
  { base, other }: { readonly base: readonly number[]; readonly other: readonly number[] },
  { graph, edges }: { readonly graph: EdgeGraph; readonly edges: readonly number[] },
): Promise<readonly Float64Array[]> {
  const { architecture, definition } = model;
  const { heads, kvHeads } = architecture;
  const layers = definition.blocks.length;
  const given = (site: SiteName, data: ArrayLike<number>): EditValue => ({
    kind: "given",
    shape: siteShape(site, architecture, base.length),
    data,
  });
  const pass = (edits: readonly (readonly Edit[])[], sites: readonly SiteName[]) =>
    forward(
      model,
      edits.map(() => base),
      { edits, capture: sites.map((site) => ({ site })) },
    );

  const ends = await forward(model, [base, other], {
    capture: (["resid_pre", "z", "attn_out", "mlp_out"] as const).map((site) => ({ site })),
  });
  const [own, others] = ends.caches as [Cache, Cache];
  const minus = (a: FloatArray, b: FloatArray): FloatArray => a.map((value, i) => value - (b[i] ?? 0));

  const differences: FloatArray[] = [];
  for (const source of graph.sources) {
    if (source.kind === "head") {
      const { layer, head } = source;
      const value = given("z", others.get("z", layer).data);
      const replaced = await pass(
        [[{ site: "z", layer, where: { head: [head] }, action: "replace", value }]],
        ["attn_out"],
      );
      differences.push(
        minus(replaced.caches[0].get("attn_out", layer).data, own.get("attn_out", layer).data),
      );
    } else {
      const [site, layer] =
        source.kind === "input" ? (["resid_pre", 0] as const) : (["mlp_out", source.layer] as const);
      differences.push(minus(others.get(site, layer).data, own.get(site, layer).data));
    }
  }

  const ways = edges.map((edge) => {
    const { source, target } = edgeAt(graph, edge);
    return { to: graph.targets[target], difference: differences[source] };
  });
  const read = await pass(
    ways.map(({ to, difference }): Edit[] => {
      if (to.kind === "logits" || to.kind === "mlp") return [];
      const site = `${to.slot}_in` as const;
      return [{ site, layer: to.layer, where: {}, action: "add", value: given(site, difference) }];
    }),
    ["z"],
  );
  const done = await pass(
    ways.map(({ to, difference }, index): Edit[] => {
      if (to.kind === "logits") {
        const site = "resid_post";
        return [{ site, layer: layers - 1, where: {}, action: "add", value: given(site, difference) }];
      }
      const { layer } = to;
      if (to.kind === "mlp") {
        return [{ site: "mlp_in", layer, where: {}, action: "add", value: given("mlp_in", difference) }];
      }
      const size = heads / kvHeads;
      const head =
        to.kind === "head" ? [to.head] : Array.from({ length: size }, (_, i) => to.kvHead * size + i);
      const value = given("z", read.caches[index].get("z", layer).data);
      return [{ site: "z", layer, where: { head }, action: "replace", value }];
    }),
    [],
  );
  const width = architecture.dModel;
  const logits: Float64Array[] = [];
  for (const residual of done.residuals) {
    const found = await unembed(model, residual.slice(-width), { logits: true });
    logits.push(Float64Array.from(found.logits ?? []));
  }
  return logits;
}
