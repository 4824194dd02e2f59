/** @file What parts of a block cost, in FLOPs (a multiply-add is two); norms, activations and softmax are not counted. */

import type { Model } from "../model/model.ts";
import { attentionFlopsPerCell, linearFlopsPerToken } from "../program/cost.ts";
import { downstream } from "../program/cut.ts";
import type { AnyNode, Program, Value } from "../program/program.ts";
import { valueOfSite } from "../program/program.ts";
import type { SiteName } from "./site.ts";

/** What is computed again, after an edit, of one block. */
export interface PartCost {
  /** Products with weights on the way to keys and values, per token: they are needed of every position. */
  readonly keysValues: number;
  /** All other products with weights, per token. */
  readonly rest: number;
  /** Attention, per query and key. */
  readonly perKey: number;
}

export interface BlockCost {
  readonly whole: PartCost;
  /** What follows the sites when they are edited together. */
  after(sites: readonly SiteName[]): PartCost;
}

const KEYS_VALUES = ["rot_k", "v"];

/** Costs of each block of a model; equal blocks share them. */
export function blockCosts({
  definition,
  architecture,
}: Pick<Model, "definition" | "architecture">): readonly BlockCost[] {
  const perCell = attentionFlopsPerCell(architecture);
  const known = new Map<Program, BlockCost>();
  return definition.blocks.map((block) => {
    const found = known.get(block) ?? blockCost(block, perCell);
    known.set(block, found);
    return found;
  });
}

function blockCost(block: Program, perCell: number): BlockCost {
  const needed = upstream(block, ["resid_post"]);
  const forKeys = upstream(block, KEYS_VALUES);
  const part = (nodes: readonly AnyNode[], perKey: number): PartCost => {
    const flops = (of: readonly AnyNode[]): number => linearFlopsPerToken({ ...block, nodes: of });
    return {
      keysValues: flops(nodes.filter(({ out }) => forKeys.has(out))),
      rest: flops(nodes.filter(({ out }) => !forKeys.has(out))),
      perKey,
    };
  };
  const known = new Map<string, PartCost>();
  return {
    whole: part(
      block.nodes.filter(({ out }) => needed.has(out)),
      perCell,
    ),
    after(sites) {
      const key = sites.join();
      let found = known.get(key);
      if (found === undefined) {
        const changed = downstream(block, sites);
        const again = block.nodes.filter(
          ({ out, args }) => needed.has(out) && args.some((arg) => changed.has(arg)),
        );
        const made = new Set(again.map(({ out }) => out));
        // Scores are one half of attention, mixing values the other.
        const halves = ["scores", "z"].filter((site) => made.has(valueOfSite(block, site)));
        found = part(again, (perCell / 2) * halves.length);
        known.set(key, found);
      }
      return found;
    },
  };
}

/** Everything that the sites are computed from, their own values included. */
function upstream(program: Program, sites: readonly string[]): ReadonlySet<Value> {
  const needed = new Set(sites.map((site) => valueOfSite(program, site)));
  for (const { out, args } of [...program.nodes].reverse()) {
    if (needed.has(out)) for (const arg of args) needed.add(arg);
  }
  return needed;
}
