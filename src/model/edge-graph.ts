/**
 * @file The edges of a model: which node's output enters which input through the residual stream.
 *
 * A source writes to the stream: the token embedding, a head, an MLP. A target reads it: the query, key or value of a
 * head, an MLP, the final norm. There is an edge wherever the source is added before the target reads. Biases and
 * learned positions belong to no node: they are the same in every run.
 *
 * Sources stand in the order in which they write, so the edges into a target are those from the first sources up to
 * some number, and an edge is a number: the target's first edge plus the source.
 * Names are those of the EAP-IG and MIB tools (Hanna et al. 2024; Mueller et al. 2025): `a3.h4->m5`, `input->a0.h1<q>`.
 */

import { inputError } from "../core/errors.ts";
import { excerpt } from "../core/excerpt.ts";
import { downstream } from "../program/cut.ts";
import type { Program } from "../program/program.ts";
import { valueOfSite } from "../program/program.ts";
import type { Definition } from "./architecture.ts";

/** What a head reads the residual stream for. */
export type Slot = "q" | "k" | "v";

/** A node that writes to the residual stream. */
export type EdgeSource =
  | { readonly kind: "input" }
  | { readonly kind: "head"; readonly layer: number; readonly head: number }
  | { readonly kind: "mlp"; readonly layer: number };

/** An input that reads the residual stream. */
export type EdgeTarget =
  /** Under grouped-query attention every query head reads its keys and values by itself. */
  | { readonly kind: "head"; readonly layer: number; readonly head: number; readonly slot: Slot }
  /** Keys or values that a group of query heads shares: only in graphs with `groupKv`. */
  | { readonly kind: "kv"; readonly layer: number; readonly kvHead: number; readonly slot: "k" | "v" }
  | { readonly kind: "mlp"; readonly layer: number }
  | { readonly kind: "logits" };

export interface EdgeGraph {
  /** In the order in which they write: input, then heads and MLP of each layer. */
  readonly sources: readonly EdgeSource[];
  /** In the order in which they read: all queries, all keys, all values, then the MLP of each layer; the logits. */
  readonly targets: readonly EdgeTarget[];
  /** How many sources, from the first on, a target reads. */
  readonly reads: Int32Array;
  /** Number of a target's first edge; edge `first[target] + source` is the one from that source. */
  readonly first: Int32Array;
  /** Number of edges. */
  readonly size: number;
  /** Whether query heads that share keys and values have one slot for them together. */
  readonly groupKv: boolean;
}

/** An edge of a graph, by numbers of its source and target. */
export interface Edge {
  readonly source: number;
  readonly target: number;
}

/** The edge graph of a model, from its definition alone. */
export function edgeGraph(
  { architecture, blocks }: Pick<Definition, "architecture" | "blocks">,
  options: { readonly groupKv?: boolean | undefined } = {},
): EdgeGraph {
  const { heads, kvHeads } = architecture;
  const groupKv = options.groupKv ?? false;
  const sources: EdgeSource[] = [{ kind: "input" }];
  const targets: EdgeTarget[] = [];
  const reads: number[] = [];
  const read = (target: EdgeTarget, from: number): void => {
    targets.push(target);
    reads.push(from);
  };
  for (const [layer, block] of blocks.entries()) {
    const before = sources.length;
    if (block.sites.has("q_in")) {
      for (let head = 0; head < heads; head++) read({ kind: "head", layer, head, slot: "q" }, before);
      for (const slot of ["k", "v"] as const) {
        if (groupKv)
          for (let kvHead = 0; kvHead < kvHeads; kvHead++) read({ kind: "kv", layer, kvHead, slot }, before);
        else for (let head = 0; head < heads; head++) read({ kind: "head", layer, head, slot }, before);
      }
      for (let head = 0; head < heads; head++) sources.push({ kind: "head", layer, head });
    }
    if (block.sites.has("mlp_in")) {
      read({ kind: "mlp", layer }, mlpReadsAttention(block) ? sources.length : before);
      sources.push({ kind: "mlp", layer });
    }
  }
  read({ kind: "logits" }, sources.length);

  const first = new Int32Array(targets.length);
  let size = 0;
  for (const [target, count] of reads.entries()) {
    first[target] = size;
    size += count;
  }
  return { sources, targets, reads: Int32Array.from(reads), first, size, groupKv };
}

/** Whether the block's MLP reads what its attention wrote; in parallel blocks it does not. */
function mlpReadsAttention(block: Program): boolean {
  if (!block.sites.has("attn_out")) return false;
  return downstream(block, ["attn_out"]).has(valueOfSite(block, "mlp_in"));
}

/** Number of the edge; undefined where there is none. */
export function edgeIndex({ first, reads }: EdgeGraph, { source, target }: Edge): number | undefined {
  const count = reads[target] ?? 0;
  return source >= 0 && source < count ? (first[target] ?? 0) + source : undefined;
}

/** The edge of a number. */
export function edgeAt({ first, size }: EdgeGraph, index: number): Edge {
  if (!(Number.isInteger(index) && index >= 0 && index < size))
    throw new RangeError(`edge ${index} of ${size}`);
  let low = 0;
  let high = first.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((first[middle] ?? 0) <= index) low = middle;
    else high = middle - 1;
  }
  return { source: index - (first[low] ?? 0), target: low };
}

/** `input`, `a3.h4`, `m5`. */
export function sourceName(source: EdgeSource): string {
  switch (source.kind) {
    case "input":
      return "input";
    case "head":
      return `a${source.layer}.h${source.head}`;
    case "mlp":
      return `m${source.layer}`;
  }
}

/** `a3.h4<q>`, `a3.kv1<k>` (shared keys of a graph with `groupKv`), `m5`, `logits`. */
export function targetName(target: EdgeTarget): string {
  switch (target.kind) {
    case "head":
      return `a${target.layer}.h${target.head}<${target.slot}>`;
    case "kv":
      return `a${target.layer}.kv${target.kvHead}<${target.slot}>`;
    case "mlp":
      return `m${target.layer}`;
    case "logits":
      return "logits";
  }
}

/** `a3.h4->m5`. */
export function edgeName(graph: EdgeGraph, index: number): string {
  const { source, target } = edgeAt(graph, index);
  const [from, to] = [graph.sources[source], graph.targets[target]];
  if (from === undefined || to === undefined) throw new RangeError(`edge ${index}`);
  return `${sourceName(from)}->${targetName(to)}`;
}

/** Characters of a name that a message has room for; names of edges have up to 30. */
const MAX_SHOWN = 60;

/** Finds edges by name. */
export interface EdgeNames {
  /**
   * Number of the edge that a name means.
   * @param where what an error names as the place
   * @throws InputError where there is no such node, or the source does not write before the target reads.
   */
  parse(name: string, where: string): number;
}

/** An index of a graph's names. */
export function edgeNames(graph: EdgeGraph): EdgeNames {
  const sources = new Map(graph.sources.map((source, index) => [sourceName(source), index] as const));
  const targets = new Map(graph.targets.map((target, index) => [targetName(target), index] as const));
  return {
    parse(name, where) {
      const [from = "", to = "", ...more] = name.trim().split("->");
      const source = sources.get(from);
      const target = targets.get(to);
      if (source === undefined || target === undefined || more.length > 0) {
        const last = graph.sources.at(-1);
        const shared = graph.groupKv ? ", a1.kv0<k>" : ", a1.h0<k>";
        throw inputError(
          where,
          excerpt(name, MAX_SHOWN),
          `SOURCE->TARGET, with a source like input, a0.h0, m0 (the last is ${last === undefined ? "input" : sourceName(last)}) ` +
            `and a target like a1.h0<q>${shared}, m1, logits`,
        );
      }
      const index = edgeIndex(graph, { source, target });
      if (index === undefined)
        throw inputError(where, excerpt(name, MAX_SHOWN), `a source that writes before ${to} reads`);
      return index;
    },
  };
}
