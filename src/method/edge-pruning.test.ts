import { describe, expect, test } from "vitest";
import { random } from "../core/random.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import { edgeAt, edgeGraph, edgeName, edgeNames, targetName } from "../model/edge-graph.ts";
import { define } from "../model/families/registry.ts";
import { nodesIn, selectEdges, withoutLooseEnds } from "./edge-pruning.ts";

const LLAMA = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 16,
  intermediate_size: 20,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_hidden_layers: 3,
  vocab_size: 31,
};
const { blocks, architecture } = define(LLAMA);
const graphs = [false, true].map((groupKv) => edgeGraph({ blocks, architecture }, { groupKv }));
const [graph] = graphs;

const named = (of: EdgeGraph, mask: Uint8Array): string[] =>
  [...mask.keys()].filter((edge) => mask[edge] === 1).map((edge) => edgeName(of, edge));
const scored = (entries: Record<string, number>): Float64Array => {
  const { parse } = edgeNames(graph);
  const scores = new Float64Array(graph.size);
  for (const [name, score] of Object.entries(entries)) scores[parse(name, "")] = score;
  return scores;
};
const maskOf = (...edges: string[]): Uint8Array => {
  const { parse } = edgeNames(graph);
  const mask = new Uint8Array(graph.size);
  for (const name of edges) mask[parse(name, "")] = 1;
  return mask;
};

const scores = scored({
  "a0.h0->a1.h1<k>": 9, // large, but nothing on the way to the logits reads a1.h1 before …
  "a1.h1->m2": -4,
  "m2->logits": 3,
  "input->a0.h0<v>": 2,
  "input->logits": 1,
  "m0->a2.h0<q>": 8, // never read
});

describe("choosing", () => {
  test("greedy: from the logits down, each edge with its target there already", () => {
    const found = (size: number): string[] =>
      named(graph, selectEdges(graph, scores, { by: "greedy", size }));
    expect(found(1)).toEqual([]); // m2 → logits, but nothing enters m2
    expect(found(4).sort()).toEqual(["a0.h0->a1.h1<k>", "a1.h1->m2", "input->a0.h0<v>", "m2->logits"].sort());
    expect(found(5)).toContain("input->logits");
    expect(found(5)).not.toContain("m0->a2.h0<q>");
  });

  test("the largest anywhere: loose ends go, and with them what they alone led to", () => {
    const found = (size: number): string[] => named(graph, selectEdges(graph, scores, { by: "top-n", size }));
    expect(found(4)).toEqual([]); // nothing enters a0.h0 yet
    expect(found(5).sort()).toEqual(["a0.h0->a1.h1<k>", "a1.h1->m2", "input->a0.h0<v>", "m2->logits"].sort());
  });

  test("by sign, what hurts comes last", () => {
    const whole = selectEdges(graph, scores, { by: "top-n", size: 6, signed: true });
    expect(named(graph, whole)).not.toContain("a1.h1->m2");
  });

  test("edges without a score are never in", () => {
    const none = new Float64Array(graph.size).fill(Number.NaN);
    for (const by of ["top-n", "greedy"] as const)
      expect(selectEdges(graph, none, { by, size: graph.size }).includes(1)).toBe(false);
  });

  test("greedy picks, at every step, the largest of all edges whose target is in", () => {
    for (const of of graphs) {
      const { normal } = random(3);
      const values = Float64Array.from({ length: of.size }, normal);
      const found = selectEdges(of, values, { by: "greedy", size: 60 });
      // The definition, step by step.
      const targets = new Set([of.targets.length - 1]);
      const mask = new Uint8Array(of.size);
      const join = (source: number): void => {
        const node = of.sources[source];
        for (const [target, to] of of.targets.entries()) {
          const isHead = node.kind === "head" && "slot" in to && to.layer === node.layer;
          const reads = isHead && (to.kind === "head" ? to.head === node.head : to.kvHead === node.head >> 1);
          if (reads || (node.kind === "mlp" && targetName(to) === `m${node.layer}`)) targets.add(target);
        }
      };
      for (let step = 0; step < 60; step++) {
        const [best] = [...mask.keys()]
          .filter((edge) => mask[edge] === 0 && targets.has(edgeAt(of, edge).target))
          .sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
        mask[best] = 1;
        join(edgeAt(of, best).source);
      }
      expect(named(of, found)).toEqual(named(of, withoutLooseEnds(of, mask)));
    }
  });
});

describe("loose ends", () => {
  test("all edges together have none", () => {
    for (const of of graphs) {
      const all = new Uint8Array(of.size).fill(1);
      expect(withoutLooseEnds(of, all)).toEqual(all);
      expect(nodesIn(of, all)).toEqual(new Uint8Array(of.sources.length).fill(1));
    }
  });

  test("a chain that does not reach the logits, or starts nowhere, goes link by link", () => {
    const whole = ["input->m0", "m0->m1", "m1->logits"];
    expect(named(graph, withoutLooseEnds(graph, maskOf(...whole))).sort()).toEqual([...whole].sort());
    for (const missing of whole) {
      const rest = whole.filter((name) => name !== missing);
      expect(named(graph, withoutLooseEnds(graph, maskOf(...rest)))).toEqual([]);
    }
  });

  test("nodes are in where something enters and something leaves", () => {
    const mask = maskOf("input->m0", "m0->m1", "m1->logits", "a0.h0->logits", "input->a0.h1<q>");
    const names = graph.sources.map((source) => (source.kind === "mlp" ? `m${source.layer}` : source.kind));
    expect(names.filter((_, index) => nodesIn(graph, mask)[index] === 1)).toEqual(["input", "m0", "m1"]);
  });
});
