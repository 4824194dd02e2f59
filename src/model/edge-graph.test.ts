import { describe, expect, test } from "vitest";
import { InputError } from "../core/errors.ts";
import { edgeAt, edgeGraph, edgeIndex, edgeName, edgeNames, sourceName, targetName } from "./edge-graph.ts";
import { define } from "./families/registry.ts";

const GPT2 = { architectures: ["GPT2LMHeadModel"], n_embd: 768, n_head: 12, n_layer: 12, vocab_size: 50257 };
const PYTHIA = {
  architectures: ["GPTNeoXForCausalLM"],
  hidden_size: 768,
  intermediate_size: 3072,
  num_attention_heads: 12,
  num_hidden_layers: 12,
  vocab_size: 50304,
};
const PYTHIA_410M = {
  ...PYTHIA,
  hidden_size: 1024,
  intermediate_size: 4096,
  num_attention_heads: 16,
  num_hidden_layers: 24,
};
const QWEN = {
  architectures: ["Qwen2ForCausalLM"],
  hidden_size: 896,
  intermediate_size: 4864,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  num_hidden_layers: 24,
  vocab_size: 151936,
};
const LLAMA = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 2048,
  intermediate_size: 8192,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  num_hidden_layers: 16,
  vocab_size: 128256,
};
const TINY_GEMMA2 = {
  architectures: ["Gemma2ForCausalLM"],
  hidden_size: 16,
  intermediate_size: 20,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  query_pre_attn_scalar: 8,
  num_hidden_layers: 3,
  vocab_size: 31,
};

describe("edges of published shapes, as circuits.md section 4.2 and MIB count them", () => {
  test.each([
    ["GPT-2 small", GPT2, 32_491],
    ["Pythia-160m", PYTHIA, 32_347],
    ["Pythia-410m", PYTHIA_410M, 231_493],
    ["Qwen2.5-0.5B", QWEN, 179_749],
    ["Llama-3.2-1B", LLAMA, 386_713],
  ])("%s", (_, config, count) => {
    expect(edgeGraph(define(config)).size).toBe(count);
  });

  test("a NeoX block with its parts one after the other counts like GPT-2", () => {
    expect(edgeGraph(define({ ...PYTHIA, use_parallel_residual: false })).size).toBe(32_491);
  });

  test("grouped keys and values: one slot for each key/value head", () => {
    // Sources before layer l: 1 + 33 l. Each of 32 + 8 + 8 slots reads them; the MLP the heads of its layer as well.
    const before = Array.from({ length: 16 }, (_, layer) => 1 + 33 * layer);
    const expected = before.reduce((sum, sources) => sum + 48 * sources + sources + 32, 0) + 1 + 33 * 16;
    expect(edgeGraph(define(LLAMA), { groupKv: true }).size).toBe(expected);
  });
});

/** Every edge of a small graph by the definition: written before it is read, by places in the block. */
function edgesByDefinition(layers: number, heads: number, parallel: boolean): Set<string> {
  const sources: [string, number][] = [["input", -1]];
  const targets: [string, number][] = [["logits", 3 * layers]];
  for (let layer = 0; layer < layers; layer++) {
    const mlpReads = parallel ? 3 * layer : 3 * layer + 1;
    for (let head = 0; head < heads; head++) {
      sources.push([`a${layer}.h${head}`, 3 * layer + 0.5]);
      for (const slot of "qkv") targets.push([`a${layer}.h${head}<${slot}>`, 3 * layer]);
    }
    sources.push([`m${layer}`, 3 * layer + 2]);
    targets.push([`m${layer}`, mlpReads]);
  }
  return new Set(
    sources.flatMap(([from, written]) =>
      targets.filter(([, read]) => written < read).map(([to]) => `${from}->${to}`),
    ),
  );
}

describe("which edges there are", () => {
  test.each([
    ["sequential blocks", { ...GPT2, n_layer: 3, n_head: 2 }, 2, false],
    ["parallel blocks", { ...PYTHIA, num_hidden_layers: 3, num_attention_heads: 2 }, 2, true],
    ["grouped heads, each with its own slots, and post-norms", TINY_GEMMA2, 4, false],
  ] as const)("%s", (_, config, heads, parallel) => {
    const graph = edgeGraph(define(config));
    const names = Array.from({ length: graph.size }, (_, index) => edgeName(graph, index));
    expect(new Set(names)).toEqual(edgesByDefinition(3, heads, parallel));
    expect(new Set(names).size).toBe(graph.size);
  });

  test("numbers, ends and names of an edge lead to one another", () => {
    for (const groupKv of [false, true]) {
      const graph = edgeGraph(define(TINY_GEMMA2), { groupKv });
      const names = edgeNames(graph);
      for (let index = 0; index < graph.size; index++) {
        expect(edgeIndex(graph, edgeAt(graph, index))).toBe(index);
        expect(names.parse(edgeName(graph, index), "here")).toBe(index);
      }
    }
  });

  test("shared keys are named by their key/value head", () => {
    const { targets, sources } = edgeGraph(define(TINY_GEMMA2), { groupKv: true });
    expect(targets.slice(0, 9).map(targetName)).toEqual([
      ...["a0.h0<q>", "a0.h1<q>", "a0.h2<q>", "a0.h3<q>"],
      ...["a0.kv0<k>", "a0.kv1<k>", "a0.kv0<v>", "a0.kv1<v>", "m0"],
    ]);
    expect(sources.slice(0, 7).map(sourceName)).toEqual([
      "input",
      "a0.h0",
      "a0.h1",
      "a0.h2",
      "a0.h3",
      "m0",
      "a1.h0",
    ]);
  });
});

describe("names that mean no edge", () => {
  const names = edgeNames(edgeGraph(define(TINY_GEMMA2)));
  const complaint = (name: string): string => {
    try {
      return `edge ${names.parse(name, "edges.txt:3")}`;
    } catch (error) {
      if (error instanceof InputError) return error.message;
      throw error;
    }
  };

  test("unknown nodes, and text that is no edge", () => {
    for (const name of ["a0.h4->m1", "m0->a1.h0", "m0", "", "m0->m1->m2", "logits->m1"]) {
      expect(complaint(name)).toBe(
        `edges.txt:3: found ${JSON.stringify(name)}; wanted SOURCE->TARGET, with a source like input, a0.h0, m0 ` +
          "(the last is m2) and a target like a1.h0<q>, a1.h0<k>, m1, logits.",
      );
    }
  });

  test("no more of a name than a message has room for", () => {
    expect(complaint("m".repeat(1_000_000))).toContain(`found "${"m".repeat(59)}…; wanted SOURCE->TARGET`);
  });

  test("a source that writes too late", () => {
    expect(complaint("m1->a1.h0<q>")).toBe(
      'edges.txt:3: found "m1->a1.h0<q>"; wanted a source that writes before a1.h0<q> reads.',
    );
  });
});
