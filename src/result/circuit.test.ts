import { describe, expect, test } from "vitest";
import { InputError } from "../core/errors.ts";
import { edgeGraph, edgeNames } from "../model/edge-graph.ts";
import { define } from "../model/families/registry.ts";
import { circuitJson, readCircuit, readEdgeList } from "./circuit.ts";

const { blocks, architecture } = define({
  architectures: ["GPTNeoXForCausalLM"],
  hidden_size: 8,
  intermediate_size: 12,
  num_attention_heads: 2,
  num_hidden_layers: 2,
  vocab_size: 31,
  rotary_pct: 0.5,
});
const graph = edgeGraph({ blocks, architecture });
const about = { where: "circuit.json", architecture };

const complaint = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return "none";
};

describe("a circuit as JSON", () => {
  const scores = Float64Array.from({ length: graph.size }, (_, edge) => edge / 7 - 1);
  const inGraph = Uint8Array.from({ length: graph.size }, (_, edge) => edge % 2);
  scores[3] = Number.NaN;
  const nodes = new Uint8Array(graph.sources.length).fill(1);
  const text = [...circuitJson(graph, { scores, inGraph }, { architecture, nodes })].join("");

  test("has the form that the EAP-IG tools read", () => {
    const json = JSON.parse(text);
    expect(json.cfg).toEqual({ n_layers: 2, n_heads: 2, parallel_attn_mlp: true, d_model: 8 });
    expect(Object.keys(json.nodes)).toEqual([
      "input",
      "a0.h0",
      "a0.h1",
      "m0",
      "a1.h0",
      "a1.h1",
      "m1",
      "logits",
    ]);
    expect(json.nodes["a0.h1"]).toEqual({ in_graph: true });
    expect(Object.keys(json.edges).length).toBe(graph.size);
    expect(json.edges["input->a0.h1<q>"]).toEqual({ score: 1 / 7 - 1, in_graph: true });
    expect(json.edges["input->a0.h1<k>"]).toEqual({ score: null, in_graph: true });
  });

  test("read again is what was written, bit for bit", () => {
    expect(readCircuit(text, graph, about)).toEqual({ scores, inGraph });
  });

  test("edges that are not listed are not in it", () => {
    const listed = '{"edges":{"m0->logits":{"score":2,"in_graph":true}}}';
    const { scores: found, inGraph: isIn } = readCircuit(listed, graph, about);
    const edge = edgeNames(graph).parse("m0->logits", "");
    expect([found[edge], isIn[edge]]).toEqual([2, 1]);
    expect(isIn.reduce((sum, one) => sum + one, 0)).toBe(1);
    expect(found.filter((score) => Number.isNaN(score)).length).toBe(graph.size - 1);
  });

  test("of another model, or with what is no score: every fault at once", () => {
    const strange = {
      cfg: { n_layers: 12, n_heads: 2, parallel_attn_mlp: false },
      nodes: { m7: { in_graph: true } },
      edges: {
        "a0.h0->m0": { score: 1, in_graph: true },
        "m0->m1": { score: "large", in_graph: 1 },
        "m0->logits": true,
      },
    };
    expect(complaint(() => readCircuit(JSON.stringify(strange), graph, about)).split("\n")).toEqual([
      "circuit.json, cfg.n_layers: found 12; wanted 2, as the model has.",
      "circuit.json, cfg.parallel_attn_mlp: found false; wanted true, as the model has.",
      'circuit.json, nodes: found "m7"; wanted nodes of the model, such as input, a0.h0, m0, logits.',
      'circuit.json, edges: found "a0.h0->m0"; wanted a source that writes before m0 reads.',
      "circuit.json, edges.m0->m1.in_graph: found 1; wanted true or false.",
      'circuit.json, edges.m0->m1.score: found "large"; wanted a number.',
      'circuit.json, edges.m0->logits: found true; wanted {"score": number, "in_graph": boolean}.',
    ]);
    expect(complaint(() => readCircuit("[1]", graph, about))).toMatch(/^circuit.json: found \[1\]/);
    expect(complaint(() => readCircuit("{", graph, about))).toMatch(
      /^circuit.json: found text that is no JSON/,
    );
    expect(complaint(() => readCircuit("{}", graph, about))).toMatch(/^circuit.json, edges: found nothing/);
  });

  test("keys given twice are refused, of which JSON would keep the last", () => {
    const edge = (score: number): string => `"m0->logits":{"score":${score},"in_graph":true}`;
    expect(complaint(() => readCircuit(`{"edges":{${edge(1)},\n${edge(2)}}}`, graph, about))).toBe(
      'circuit.json:2: found the key "m0->logits" again in the same object; wanted each key once.',
    );
  });

  test("values nested without end are refused like any other", () => {
    const deep = "[".repeat(20_000) + "]".repeat(20_000);
    const shown = '[[[["…"]]]]';
    const edge = '"m0->m1":{"score":DEEP,"in_graph":DEEP},"m0->logits":DEEP';
    const text = `{"cfg":{"n_layers":DEEP},"nodes":DEEP,"edges":{${edge}}}`.replaceAll("DEEP", deep);
    expect(complaint(() => readEdgeList(text, graph, about)).split("\n")).toEqual([
      `circuit.json, cfg.n_layers: found ${shown}; wanted 2, as the model has.`,
      `circuit.json, nodes: found ${shown}; wanted an object.`,
      `circuit.json, edges.m0->m1.in_graph: found ${shown}; wanted true or false.`,
      `circuit.json, edges.m0->m1.score: found ${shown}; wanted a number.`,
      `circuit.json, edges.m0->logits: found ${shown}; wanted {"score": number, "in_graph": boolean}.`,
    ]);
    expect(complaint(() => readCircuit(`{"edges":${deep},"cfg":${deep}}`, graph, about)).split("\n")).toEqual(
      [
        `circuit.json, cfg: found ${shown}; wanted an object.`,
        `circuit.json, edges: found ${shown}; wanted an object with an entry for each edge.`,
      ],
    );
    expect(complaint(() => readCircuit(deep, graph, about))).toBe(
      `circuit.json: found ${shown}; wanted a circuit: an object with edges.`,
    );
  });

  test("a file with hundreds of faults is refused with the first, and their number", () => {
    const edges = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`m${i + 5}->logits`, {}]));
    const lines = complaint(() => readCircuit(JSON.stringify({ edges }), graph, about)).split("\n");
    expect(lines.length).toBe(21);
    expect(lines.at(-1)).toBe("circuit.json: found 280 more such faults; wanted none.");
  });

  test("names of edges: one a line, or those in a circuit", () => {
    const { parse } = edgeNames(graph);
    const found = readEdgeList("# mine\n\nm0->logits\r\ninput->a1.h0<q>\nm0->logits\n", graph, about);
    expect(found).toEqual([parse("m0->logits", ""), parse("input->a1.h0<q>", "")]);
    expect(readEdgeList(text, graph, about)).toEqual(
      [...inGraph.keys()].filter((edge) => inGraph[edge] === 1),
    );
    expect(complaint(() => readEdgeList("m0->m9\nm0->m1\nm1->m0", graph, about)).split("\n")).toEqual([
      expect.stringMatching(/^circuit.json:1: found "m0->m9"/),
      'circuit.json:3: found "m1->m0"; wanted a source that writes before m0 reads.',
    ]);
    expect(complaint(() => readEdgeList("# none\n", graph, about))).toBe(
      "circuit.json: found no edge; wanted at least one, e.g. a0.h0->m1.",
    );
  });
});
