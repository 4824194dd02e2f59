/** @file The job of the command `edges`: scores of edges, estimated or exact, and the circuit that they make. */

import { DEFAULT_EDGE_STEPS, edgeAttribution } from "../method/edge-attribution.ts";
import { circuitFile, DEFAULT_CIRCUIT_SIZE, withCircuit } from "../method/edge-circuit.ts";
import type { EdgeEstimator } from "../method/edge-scores.ts";
import { exactEdges } from "../method/exact-edges.ts";
import type { Kept } from "../method/measure.ts";
import { edgeGraph, edgeName } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import { readEdgeList } from "../result/circuit.ts";
import type { Dataset } from "../result/result.ts";
import { tasks } from "../task/registry.ts";
import { announce, type Expected, edgeWords } from "./cost.ts";
import { allOf, type JobContext } from "./input.ts";
import type { EdgesOptions } from "./options/edges.ts";
import { pairsOf, promptSource } from "./prompts.ts";
import { withWarnings } from "./warnings.ts";

/** Scores as the options say. @throws InputError with the faults of prompts and of files of edges together. */
export async function edgesJob(model: Model, options: EdgesOptions, context: JobContext): Promise<Dataset> {
  const { "edges-file": file, "group-kv": groupKv, seed = 0 } = options;
  const [{ pairs, warnings }, edges] = await allOf<
    [Awaited<ReturnType<typeof pairsOf>>, readonly string[] | undefined]
  >([
    () => pairsOf(options, model.tokenizer, context),
    async () => {
      if (file === undefined) return undefined;
      const graph = edgeGraph(model.definition, { groupKv });
      const { architecture } = model;
      const found = readEdgeList(await context.readText(file), graph, { where: file, architecture });
      return found.map((edge) => edgeName(graph, edge));
    },
  ]);
  const shared = {
    edges,
    groupKv,
    direction: options.direction,
    metric: options.metric ?? (options.task && tasks[options.task].defaultMetric),
    perPair: options["per-pair"],
    seed,
    signal: context.signal,
  };
  let kept: Kept | undefined;
  let patches = 0;
  const scored =
    options.method === "exact"
      ? await exactEdges(model, pairs, {
          ...shared,
          verify: options.verify,
          onResume: context.onResume,
          onPlan: (plan) => {
            patches = plan.variants - plan.unchanged;
            const words = (expected: Expected): string => edgeWords(plan, expected);
            return announce(model, plan, { onPlan: context.onPlan, words });
          },
          // FLOPs are known better than edges; those that are done are told in edges all the same.
          onProgress: (done, total) =>
            context.onProgress?.(total === 0 ? patches : Math.round((done / total) * patches), patches),
          keep:
            context.keep &&
            (async (work) => {
              kept = (await context.keep?.(work)) as Kept;
              return kept;
            }),
        })
      : await edgeAttribution(model, pairs, {
          ...shared,
          estimator: estimatorOf(options),
          onProgress: context.onProgress,
          verifyTop: options["verify-top"],
          stateBytes: model.stateBytes,
        });
  const { select: by = "greedy", size = DEFAULT_CIRCUIT_SIZE, signed } = options;
  const result =
    kept?.kind === "finished"
      ? scored
      : withWarnings(withCircuit(model, scored, { by, size, signed }), warnings, {
          bos: options.bos ?? model.tokenizer.addsBos,
          ...promptSource(options),
        });
  if (options.circuit !== undefined)
    await context.writeBytes(options.circuit, bytesOf(circuitFile(model, result)));
  return result;
}

/** Names of edges and numbers are ASCII. */
function bytesOf(pieces: Iterable<string>): Uint8Array {
  const list = [...pieces];
  const bytes = new Uint8Array(list.reduce((size, piece) => size + piece.length, 0));
  let at = 0;
  for (const piece of list) {
    for (let i = 0; i < piece.length; i++) bytes[at + i] = piece.charCodeAt(i);
    at += piece.length;
  }
  return bytes;
}

function estimatorOf({
  method = "eap",
  steps = DEFAULT_EDGE_STEPS,
  rule = "paper",
  compatible,
}: EdgesOptions): EdgeEstimator {
  switch (method) {
    case "eap-ig":
      return { kind: "eap-ig", steps, rule };
    case "eap-ig-activations":
      return { kind: "eap-ig-activations", steps, rule, compatible: compatible ?? false };
    case "clean-corrupted":
      return { kind: "clean-corrupted" };
    default:
      return { kind: "eap" };
  }
}
