/**
 * @file Circuits as the EAP-IG and MIB tools write and read them: every edge with its score and whether it is in.
 * Source: github.com/hannamw/EAP-IG, src/eap/graph.py@8fd10d9, `to_json`.
 */

import type { Fault } from "../core/errors.ts";
import { InputError, inputError, refuse } from "../core/errors.ts";
import { excerpt } from "../core/excerpt.ts";
import { repeatedKeyFaults } from "../core/repeated-keys.ts";
import type { Architecture } from "../model/architecture.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import { edgeName, edgeNames, sourceName } from "../model/edge-graph.ts";

/** What is known of a graph's edges. */
export interface Circuit {
  /** [edge]; NaN where an edge has none. */
  readonly scores: Float64Array;
  /** [edge]; 1 where it is in the circuit. */
  readonly inGraph: Uint8Array;
}

/** The circuit as JSON text in pieces: half a million edges are tens of megabytes. `nodes` has a byte for each source. */
export function* circuitJson(
  graph: EdgeGraph,
  { scores, inGraph }: Circuit,
  about: { readonly architecture: Architecture; readonly nodes: Uint8Array },
): Generator<string> {
  const { architecture, nodes } = about;
  yield `{"cfg":${JSON.stringify(configOf(graph, architecture))},"nodes":{`;
  for (const [index, source] of graph.sources.entries())
    yield `${JSON.stringify(sourceName(source))}:{"in_graph":${nodes[index] === 1}},`;
  yield '"logits":{"in_graph":true}},"edges":{';
  for (let edge = 0; edge < graph.size; edge++) {
    const score = scores[edge] ?? Number.NaN;
    const value = Number.isFinite(score) ? String(score) : "null";
    yield `${edge === 0 ? "" : ","}${JSON.stringify(edgeName(graph, edge))}:{"score":${value},"in_graph":${inGraph[edge] === 1}}`;
  }
  yield "}}\n";
}

function configOf(
  graph: EdgeGraph,
  { layers, heads, dModel }: Architecture,
): Record<string, number | boolean> {
  return {
    n_layers: layers.length,
    n_heads: heads,
    parallel_attn_mlp: isParallel(graph),
    d_model: dModel,
  };
}

/** Whether the first layer's MLP reads as many sources as its heads do. */
function isParallel({ targets, reads }: EdgeGraph): boolean {
  const of = (kind: "head" | "mlp"): number =>
    reads[targets.findIndex((target) => target.kind === kind)] ?? 0;
  return of("head") === of("mlp");
}

/** Faults that are listed; a file of another model would have one for every edge. */
const MAX_FAULTS = 20;
/** Characters of a value that a message has room for. */
const MAX_SHOWN = 80;

/**
 * Reads a circuit, of this program or of the EAP-IG and MIB tools. Edges that it does not list are not in it and have
 * no score.
 * @param where the file, for messages
 * @throws InputError with every fault: keys given twice; or other sizes than the model's, edges and nodes that it does
 * not have, scores that are no numbers.
 */
export function readCircuit(
  text: string,
  graph: EdgeGraph,
  { where, architecture }: { readonly where: string; readonly architecture: Architecture },
): Circuit {
  const faults: Fault[] = [];
  const expect = (place: string, found: unknown, wanted: string): void => {
    faults.push({ where: `${where}, ${place}`, found: excerpt(found, MAX_SHOWN), wanted });
  };
  const whole = parsed(text, where);
  const { cfg, nodes, edges } = whole;
  if (cfg !== undefined) {
    const wanted = configOf(graph, architecture);
    if (!isRecord(cfg)) expect("cfg", cfg, "an object");
    else
      for (const [key, value] of Object.entries(wanted))
        if (cfg[key] !== undefined && cfg[key] !== value)
          expect(`cfg.${key}`, cfg[key], `${value}, as the model has`);
  }
  if (nodes !== undefined && !isRecord(nodes)) expect("nodes", nodes, "an object");
  const known = new Set([...graph.sources.map(sourceName), "logits"]);
  for (const name of isRecord(nodes) ? Object.keys(nodes) : [])
    if (!known.has(name)) expect("nodes", name, "nodes of the model, such as input, a0.h0, m0, logits");

  const scores = new Float64Array(graph.size).fill(Number.NaN);
  const inGraph = new Uint8Array(graph.size);
  const { parse } = edgeNames(graph);
  for (const [name, edge] of Object.entries(isRecord(edges) ? edges : {})) {
    try {
      const index = parse(name, `${where}, edges`);
      if (!isRecord(edge)) {
        expect(`edges.${name}`, edge, '{"score": number, "in_graph": boolean}');
        continue;
      }
      const { score, in_graph: isIn } = edge;
      if (typeof isIn !== "boolean") expect(`edges.${name}.in_graph`, isIn, "true or false");
      if (score !== undefined && score !== null && typeof score !== "number")
        expect(`edges.${name}.score`, score, "a number");
      if (typeof score === "number") scores[index] = score;
      inGraph[index] = isIn === true ? 1 : 0;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      faults.push(...error.faults);
    }
  }
  if (!isRecord(edges)) expect("edges", edges, "an object with an entry for each edge");
  if (faults.length > 0) throw new InputError(shortened(faults, where));
  return { scores, inGraph };
}

function shortened(faults: readonly Fault[], where: string): Fault[] {
  if (faults.length <= MAX_FAULTS) return [...faults];
  const more = { where, found: `${faults.length - MAX_FAULTS} more such faults`, wanted: "none" };
  return [...faults.slice(0, MAX_FAULTS), more];
}

function parsed(text: string, where: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw inputError(where, "text that is no JSON", "a circuit as JSON");
  }
  refuse(repeatedKeyFaults(text, where));
  if (!isRecord(value)) throw inputError(where, excerpt(value, MAX_SHOWN), "a circuit: an object with edges");
  return value;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Edges that a file names: one name a line, with blank lines and lines that begin with # left out; or a circuit, of
 * which those that are in it.
 * @throws InputError with every line that names no edge, and where there is none.
 */
export function readEdgeList(
  text: string,
  graph: EdgeGraph,
  { where, architecture }: { readonly where: string; readonly architecture: Architecture },
): number[] {
  if (text.trimStart().startsWith("{")) {
    const { inGraph } = readCircuit(text, graph, { where, architecture });
    return required(
      [...inGraph.keys()].filter((edge) => inGraph[edge] === 1),
      where,
    );
  }
  const faults: Fault[] = [];
  const { parse } = edgeNames(graph);
  const found = new Set<number>();
  for (const [number, line] of text.split(/\r?\n/).entries()) {
    const name = line.trim();
    if (name === "" || name.startsWith("#")) continue;
    try {
      found.add(parse(name, `${where}:${number + 1}`));
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      faults.push(...error.faults);
    }
  }
  if (faults.length > 0) throw new InputError(shortened(faults, where));
  return required([...found], where);
}

function required(edges: number[], where: string): number[] {
  if (edges.length === 0) throw inputError(where, "no edge", "at least one, e.g. a0.h0->m1");
  return edges;
}
