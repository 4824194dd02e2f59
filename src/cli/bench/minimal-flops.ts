/**
 * @file The least work that exact patching of some cells needs: what cannot have changed is not counted, nor what is
 * not read. The sweep's speed is held against this, not against what it happens to compute.
 */
import type { Model } from "../../model/model.ts";
import type { Pair } from "../../model/pair.ts";
import { attentionFlopsPerCell, linearFlopsPerToken } from "../../program/cost.ts";
import { cut } from "../../program/cut.ts";
import type { CellLabels, RowKind } from "./rows.ts";
import { KINDS } from "./rows.ts";

/** Work of a block's parts for one token, in FLOPs. */
interface BlockCost {
  /** All products with weights. */
  readonly whole: number;
  /** From the site of the row to the end of the block. */
  readonly fromSite: number;
  /** Products that make keys and values. */
  readonly keysValues: number;
}

/** Sites from which the rest of a block is computed once the row's site is known. */
const GIVEN: { readonly [K in RowKind]: readonly string[] } = {
  resid_pre: ["resid_pre"],
  heads: ["resid_pre", "z"],
  "heads-by-pos": ["resid_pre", "z"],
  neurons: ["resid_mid", "mlp_post"],
  pattern: ["resid_pre", "pattern", "v"],
};

/**
 * FLOPs (multiply-adds counted as two) of both unedited runs and of every cell that can differ from its base run, on
 * a causal model: from its layer on, the positions from its first changed one on; in the last layer only keys, values
 * and the last position. Norms, activations and the two logits read are not counted.
 */
export function minimalFlops(
  model: Pick<Model, "definition" | "architecture">,
  pairs: readonly Pair[],
  { kind, cells }: { readonly kind: RowKind; readonly cells: readonly CellLabels[] },
): number {
  const { by, site } = KINDS[kind];
  const costs = model.definition.blocks.map((block): BlockCost => {
    const flops = (given: readonly string[], want: readonly string[]): number =>
      linearFlopsPerToken(cut(block, { given, want }));
    return {
      whole: linearFlopsPerToken(block),
      fromSite: flops(GIVEN[kind], ["resid_post"]),
      keysValues: flops(["resid_pre"], ["k", "v"]),
    };
  });
  const perKey = attentionFlopsPerCell(model.architecture);
  const label = (cell: CellLabels, dim: (typeof by)[number]): number | undefined => cell[by.indexOf(dim)];

  let flops = 0;
  for (const { clean, differing } of pairs) {
    const length = clean.ids.length;
    const [firstDiffering = length] = differing;
    flops += 2 * runFlops(costs, { layer: 0, start: 0, length, perKey });
    const known = new Map<string, number>();
    for (const cell of cells) {
      const layer = label(cell, "layer") ?? 0;
      const asked = label(cell, "pos") ?? label(cell, "dst");
      const start = Math.max(asked ?? 0, firstDiffering);
      // Before the first differing token both runs are equal; so they are below the first block but at those tokens.
      if (asked !== undefined && asked < firstDiffering) continue;
      if (site === "resid_pre" && layer === 0 && asked !== undefined && !differing.includes(asked)) continue;
      if (kind === "pattern" && (label(cell, "src") ?? 0) > start) continue;
      const key = `${layer}.${start}`;
      let found = known.get(key);
      if (found === undefined) {
        const last = layer === costs.length - 1;
        const positions = asked === undefined ? length - start : 1;
        const reached = last ? (start + positions === length ? 1 : 0) : positions;
        found =
          site === "resid_pre"
            ? runFlops(costs, { layer, start, length, perKey })
            : reached * (costs[layer]?.fromSite ?? 0) +
              runFlops(costs, { layer: layer + 1, start, length, perKey });
        known.set(key, found);
      }
      flops += found;
    }
  }
  return flops;
}

/** The blocks from `layer` on over positions from `start` on, of which the last is read. */
function runFlops(
  costs: readonly BlockCost[],
  options: {
    readonly layer: number;
    readonly start: number;
    readonly length: number;
    readonly perKey: number;
  },
): number {
  const { layer, start, length, perKey } = options;
  const tokens = length - start;
  // A query at position i sees i + 1 keys.
  const keysSeen = (length * (length + 1) - start * (start + 1)) / 2;
  return costs.slice(layer).reduce((sum, cost, index) => {
    const last = layer + index === costs.length - 1;
    return last
      ? sum + (tokens - 1) * cost.keysValues + cost.whole + length * perKey
      : sum + tokens * cost.whole + keysSeen * perKey;
  }, 0);
}
