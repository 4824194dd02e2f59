/**
 * @file From scores of edges to a circuit: the largest, or those that grow from the logits down, without what hangs
 * loose (Hanna et al. 2024, section 3.3).
 */

import type { EdgeGraph, EdgeTarget } from "../model/edge-graph.ts";
import { edgeAt } from "../model/edge-graph.ts";

/** How edges are chosen: the largest anywhere, or from the logits down those whose target is in the circuit already. */
export type Selection = "top-n" | "greedy";

export interface SelectOptions {
  readonly by: Selection;
  /** Edges of the circuit before loose ends are removed. */
  readonly size: number;
  /** By signed score instead of by its size: edges that help before edges that hurt. */
  readonly signed?: boolean | undefined;
}

/** Edges in a circuit, one byte an edge. */
export type EdgeMask = Uint8Array;

/** The circuit of at most `size` edges, without loose ends. Edges without a score (NaN) are never chosen. */
export function selectEdges(graph: EdgeGraph, scores: ArrayLike<number>, options: SelectOptions): EdgeMask {
  const rank = (edge: number): number => {
    const score = scores[edge] ?? Number.NaN;
    return options.signed ? score : Math.abs(score);
  };
  const chosen =
    options.by === "top-n" ? largest(graph, rank, options.size) : grown(graph, rank, options.size);
  return withoutLooseEnds(graph, chosen);
}

/** All edges that have a score, the largest first; the first of equals is the one with the lowest number. */
export function rankedEdges(graph: EdgeGraph, rank: (edge: number) => number): number[] {
  const scored = Array.from({ length: graph.size }, (_, edge) => edge).filter(
    (edge) => !Number.isNaN(rank(edge)),
  );
  return scored.sort((a, b) => rank(b) - rank(a) || a - b);
}

function largest(graph: EdgeGraph, rank: (edge: number) => number, size: number): EdgeMask {
  const mask = new Uint8Array(graph.size);
  for (const edge of rankedEdges(graph, rank).slice(0, size)) mask[edge] = 1;
  return mask;
}

/**
 * Repeatedly the largest edge whose target is in the circuit; its source, and all that it reads, then are as well.
 * One walk down the ranking finds the best candidate; a node that joins puts its own edges up for choice.
 */
function grown(graph: EdgeGraph, rank: (edge: number) => number, size: number): EdgeMask {
  const mask = new Uint8Array(graph.size);
  const inputs = inputsOf(graph);
  const place = new Int32Array(graph.size).fill(-1);
  const ranking = rankedEdges(graph, rank);
  for (const [index, edge] of ranking.entries()) place[edge] = index;
  const open = new PlaceQueue();
  const offered = new Uint8Array(graph.targets.length);
  const offer = (target: number): void => {
    if (offered[target] === 1) return;
    offered[target] = 1;
    const first = graph.first[target] ?? 0;
    for (let edge = first; edge < first + (graph.reads[target] ?? 0); edge++)
      if ((place[edge] ?? -1) >= 0) open.push(place[edge] ?? 0);
  };
  offer(graph.targets.length - 1);
  for (let count = 0; count < size; count++) {
    const next = open.pop();
    if (next === undefined) break;
    const edge = ranking[next] ?? 0;
    mask[edge] = 1;
    for (const target of inputs[edgeAt(graph, edge).source] ?? []) offer(target);
  }
  return mask;
}

/** A binary heap of places in a ranking, the smallest first. */
class PlaceQueue {
  readonly #heap: number[] = [];

  push(place: number): void {
    const heap = this.#heap;
    let at = heap.push(place) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((heap[parent] ?? 0) <= (heap[at] ?? 0)) break;
      this.#swap(parent, at);
      at = parent;
    }
  }

  pop(): number | undefined {
    const heap = this.#heap;
    const [top] = heap;
    const last = heap.pop();
    if (heap.length === 0 || last === undefined) return top;
    heap[0] = last;
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      let least = at;
      if (left < heap.length && (heap[left] ?? 0) < (heap[least] ?? 0)) least = left;
      if (right < heap.length && (heap[right] ?? 0) < (heap[least] ?? 0)) least = right;
      if (least === at) return top;
      this.#swap(least, at);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a] ?? 0, this.#heap[b] ?? 0];
    this.#heap[a] = other;
    this.#heap[b] = one;
  }
}

/**
 * Repeatedly drops the edges of nodes that nothing in the circuit reads, and of nodes that read nothing in it; the
 * input reads nothing, and nothing reads the logits.
 */
export function withoutLooseEnds(graph: EdgeGraph, mask: EdgeMask): EdgeMask {
  const kept = mask.slice();
  const inputs = inputsOf(graph);
  const nodes = graph.sources.map((source, index) => ({ index, isInput: source.kind === "input" }));
  for (;;) {
    const [reads, isRead] = uses(graph, kept);
    const loose = new Set(
      nodes
        .filter(({ index, isInput }) => {
          const hasInput = isInput || (inputs[index] ?? []).some((target) => reads[target] === 1);
          return !(hasInput && isRead[index] === 1);
        })
        .map(({ index }) => index),
    );
    let dropped = false;
    for (let edge = 0; edge < graph.size; edge++) {
      if (kept[edge] !== 1) continue;
      const { source, target } = edgeAt(graph, edge);
      const readers = nodesOf(graph, graph.targets[target]);
      const lost = readers.length > 0 && readers.every((node) => loose.has(node));
      if (!loose.has(source) && !lost) continue;
      kept[edge] = 0;
      dropped = true;
    }
    if (!dropped) return kept;
  }
}

/** Nodes of a circuit, one byte a source: those that read something in it and are read. */
export function nodesIn(graph: EdgeGraph, mask: EdgeMask): Uint8Array {
  const [reads, isRead] = uses(graph, mask);
  const inputs = inputsOf(graph);
  return Uint8Array.from(graph.sources, (source, index) => {
    const hasInput = source.kind === "input" || (inputs[index] ?? []).some((target) => reads[target] === 1);
    return hasInput && isRead[index] === 1 ? 1 : 0;
  });
}

/** Which targets have an edge in the mask, and which sources. */
function uses(graph: EdgeGraph, mask: EdgeMask): [reads: Uint8Array, isRead: Uint8Array] {
  const reads = new Uint8Array(graph.targets.length);
  const isRead = new Uint8Array(graph.sources.length);
  for (let edge = 0; edge < graph.size; edge++) {
    if (mask[edge] !== 1) continue;
    const { source, target } = edgeAt(graph, edge);
    reads[target] = 1;
    isRead[source] = 1;
  }
  return [reads, isRead];
}

const nodeTables = new WeakMap<
  EdgeGraph,
  { readonly inputs: number[][]; readonly nodes: Map<string, number[]> }
>();

/** For every source, the targets that it reads the stream by. */
function inputsOf(graph: EdgeGraph): readonly (readonly number[])[] {
  return tableOf(graph).inputs;
}

/** The nodes that read by a target: a head, all heads that share keys, an MLP; none for the logits. */
function nodesOf(graph: EdgeGraph, target: EdgeTarget | undefined): readonly number[] {
  return target === undefined ? [] : (tableOf(graph).nodes.get(keyOf(target)) ?? []);
}

function tableOf(graph: EdgeGraph): { readonly inputs: number[][]; readonly nodes: Map<string, number[]> } {
  const known = nodeTables.get(graph);
  if (known !== undefined) return known;
  const nodes = new Map<string, number[]>();
  const join = (key: string, index: number): void => {
    nodes.set(key, [...(nodes.get(key) ?? []), index]);
  };
  for (const [index, source] of graph.sources.entries()) {
    if (source.kind === "mlp") join(`mlp ${source.layer}`, index);
    if (source.kind !== "head") continue;
    const { layer, head } = source;
    join(`head ${layer} ${head}`, index);
    join(`kv ${layer} ${Math.floor(head / headsPerGroup(graph))}`, index);
  }
  const inputs: number[][] = graph.sources.map(() => []);
  for (const [number, target] of graph.targets.entries())
    for (const node of nodes.get(keyOf(target)) ?? []) inputs[node]?.push(number);
  const table = { inputs, nodes };
  nodeTables.set(graph, table);
  return table;
}

function keyOf(target: EdgeTarget): string {
  switch (target.kind) {
    case "head":
      return `head ${target.layer} ${target.head}`;
    case "kv":
      return `kv ${target.layer} ${target.kvHead}`;
    case "mlp":
      return `mlp ${target.layer}`;
    case "logits":
      return "logits";
  }
}

/** Query heads that share keys and values, as the graph's slots tell. */
function headsPerGroup({ targets, sources }: EdgeGraph): number {
  const heads = sources.filter((source) => source.kind === "head" && source.layer === 0).length;
  const groups = targets.filter(
    (target) => target.kind === "kv" && target.layer === 0 && target.slot === "k",
  ).length;
  return groups === 0 ? 1 : heads / groups;
}
