/** @file What is done to the layers of a model: deleted, alone or together, taken from the final stream, put in another order. */

import type { Edit } from "../run/edit.ts";
import type { Cache } from "../run/forward.ts";

/** What is done to the layers of every text. */
export interface RedundancyPlan {
  readonly layers: number;
  readonly blocks: readonly number[];
  readonly orders: readonly Order[];
}

/** Layers in another order, and the variable and cell that the run stands for. */
export interface Order {
  readonly name: "swap" | "repeat" | "reverse_middle";
  readonly cell: number;
  readonly order: readonly number[];
}

/** Every layer exchanged with the next, every layer twice, the middle backwards. */
export function ordersOf(
  layers: number,
  { first, last }: { readonly first: number; readonly last: number },
): Order[] {
  const all = [...Array(layers).keys()];
  const before = all.slice(0, first);
  return [
    ...all
      .slice(0, -1)
      .map((cell): Order => ({ name: "swap", cell, order: all.with(cell, cell + 1).with(cell + 1, cell) })),
    ...all.map(
      (cell): Order => ({ name: "repeat", cell, order: [...all.slice(0, cell + 1), ...all.slice(cell)] }),
    ),
    {
      name: "reverse_middle",
      cell: 0,
      order: [...before, ...all.slice(first, last + 1).reverse(), ...all.slice(last + 1)],
    },
  ];
}

/** An edited run of the sweep: which variable and cell, and how it is edited on one text. */
export interface Cut {
  readonly name: "delete" | "direct" | "delete_block";
  readonly cell: number;
  readonly edits: (text: number) => Edit[];
}

const nothing = (site: "attn_out" | "mlp_out", layer: number): Edit => ({
  site,
  layer,
  where: {},
  action: "replace",
  value: { kind: "fill", value: 0 },
});

/** A layer whose attention and MLP add nothing hands its input on. */
const deletion = (layer: number): Edit[] => [nothing("attn_out", layer), nothing("mlp_out", layer)];

/** Deletions and direct effects. @param caches `attn_out` and `mlp_out` of every text */
export function cutsOf(plan: RedundancyPlan, caches: readonly Cache[]): Cut[] {
  const { layers, blocks } = plan;
  const all = [...Array(layers).keys()];
  return [
    ...all.map((layer): Cut => ({ name: "delete", cell: layer, edits: () => deletion(layer) })),
    ...all.map(
      (layer): Cut => ({
        name: "direct",
        cell: layer,
        edits: (text) => [withoutOutput(caches[text] as Cache, { layer, last: layers - 1 })],
      }),
    ),
    ...blocks.flatMap((length, at) =>
      all.slice(0, layers - length + 1).map(
        (first): Cut => ({
          name: "delete_block",
          cell: at * layers + first,
          edits: () => all.slice(first, first + length).flatMap(deletion),
        }),
      ),
    ),
  ];
}

/** The final stream less what one layer added to it; the final norm works on what is left. */
function withoutOutput(
  cache: Cache,
  { layer, last }: { readonly layer: number; readonly last: number },
): Edit {
  const attention = cache.get("attn_out", layer);
  const mlp = cache.get("mlp_out", layer).data;
  const data = Float64Array.from(attention.data, (value, i) => -(value + (mlp[i] ?? 0)));
  const value = { kind: "given", shape: attention.shape, data } as const;
  return { site: "resid_post", layer: last, where: {}, action: "add", value };
}
