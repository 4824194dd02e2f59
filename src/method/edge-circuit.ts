/** @file The circuit that scores of edges make: which of them are in, as part of the result and as a file. */

import { inputError } from "../core/errors.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import { edgeGraph, edgeNames } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import { labelsOf } from "../result/cells.ts";
import { circuitJson } from "../result/circuit.ts";
import type { Dataset } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { SelectOptions } from "./edge-pruning.ts";
import { nodesIn, selectEdges } from "./edge-pruning.ts";

/** Edges of a circuit where no number is given. */
export const DEFAULT_CIRCUIT_SIZE = 200;

/**
 * A result about edges with `in_graph`, 1 for edges of the circuit, and `attrs.circuit`: how it was chosen, and how
 * many edges and nodes it has once loose ends are gone.
 */
export function withCircuit(model: Model, found: Dataset, options: SelectOptions): Dataset {
  const { graph, scores, edges } = edgesOf(model, found);
  const { by, size, signed = false } = options;
  if (!(Number.isSafeInteger(size) && size >= 1))
    throw inputError("--size", String(size), "a whole number of edges, at least 1");
  const mask = selectEdges(graph, scores, options);
  const nodes = nodesIn(graph, mask);
  const count = (bytes: Uint8Array): number => bytes.reduce((sum, one) => sum + one, 0);
  return dataset({
    ...found,
    attrs: {
      ...found.attrs,
      circuit: {
        select: by,
        signed,
        size,
        edges: count(mask),
        nodes: count(nodes),
        nodes_in_all: nodes.length,
      },
    },
    dataVars: {
      ...found.dataVars,
      in_graph: {
        dims: ["edge"],
        data: Float64Array.from(edges, (edge) => mask[edge] ?? 0),
        attrs: { unit: "1", detail: true, long_name: "whether the edge is in the circuit" },
      },
    },
  });
}

/** The circuit of a result, in pieces of the JSON text that the EAP-IG and MIB tools read. */
export function circuitFile(model: Model, found: Dataset): Iterable<string> {
  const { graph, scores, edges } = edgesOf(model, found);
  const inGraph = new Uint8Array(graph.size);
  for (const [index, edge] of edges.entries())
    inGraph[edge] = Number(found.dataVars.in_graph?.data[index]) === 1 ? 1 : 0;
  const { architecture } = model;
  return circuitJson(graph, { scores, inGraph }, { architecture, nodes: nodesIn(graph, inGraph) });
}

/** Scores of a result as the graph numbers its edges; NaN for edges that it does not have. */
function edgesOf(
  { definition }: Model,
  found: Dataset,
): { readonly graph: EdgeGraph; readonly scores: Float64Array; readonly edges: Int32Array } {
  const { dataVars, attrs } = found;
  const { group_kv: groupKv } = (attrs.options ?? {}) as { readonly group_kv?: boolean };
  const graph = edgeGraph(definition, { groupKv });
  const { parse } = edgeNames(graph);
  const edges = Int32Array.from(labelsOf(found, "edge").map((name) => parse(String(name), "edge")));
  const scores = new Float64Array(graph.size).fill(Number.NaN);
  for (const [index, edge] of edges.entries()) scores[edge] = Number(dataVars.score?.data[index]);
  return { graph, scores, edges };
}
