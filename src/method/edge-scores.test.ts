/** @file Estimates of edges against differences of single edges, node estimates, closed forms and completeness. */

import { afterAll, describe, expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { chainNet } from "../../test/helpers/chain-net.ts";
import type { EdgeRuns } from "../../test/helpers/exact-edge.ts";
import { edgeRuns, withEdge } from "../../test/helpers/exact-edge.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { nodeBackend } from "../backend/ort/node.node.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { random } from "../core/random.ts";
import { metricRun } from "../metric/objective.ts";
import { metricPlan } from "../metric/plan.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import { edgeAt, edgeGraph, edgeName, edgeNames, sourceName } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { attribution } from "./attribution.ts";
import type { AttributionPair } from "./attribution-estimate.ts";
import type { EdgeEstimator, EdgeScoreOptions } from "./edge-scores.ts";
import { edgeScores } from "./edge-scores.ts";

const reference = referenceBackend();
const ort = nodeBackend({ threads: 1 });
afterAll(() => ort.close());

const tokens = (ids: readonly number[], text: string): Pair["clean"] => ({
  text,
  ids,
  pieces: ids.map((id) => `<${id}>`),
});

function pairOf(
  clean: readonly number[],
  corrupt: readonly number[],
  [answer, foil]: readonly number[],
): Pair {
  return {
    id: "0",
    where: "pair 0",
    clean: tokens(clean, "clean"),
    corrupt: tokens(corrupt, "corrupt"),
    answers: [tokens([answer], "answer")],
    foils: [tokens([foil], "foil")],
    differing: clean.flatMap((token, position) => (token === corrupt[position] ? [] : [position])),
  };
}

const goldenPair = (name: string): Pair => {
  const { patching } = goldenFacts(name);
  return pairOf(patching.clean, patching.corrupt, [patching.answer, patching.foil]);
};
const toyPair = pairOf([1, 2, 3, 4, 2], [1, 5, 3, 0, 6], [1, 6]);

function runOf({ clean, corrupt, ...rest }: Pair, base: "clean" | "corrupt"): AttributionPair {
  const plan = metricPlan({ clean, corrupt, ...rest }, "logit_diff");
  const [one, other] = [metricRun(clean.ids, plan), metricRun(corrupt.ids, plan)];
  return base === "clean" ? { base: one, source: other } : { base: other, source: one };
}

type Settings = Partial<Omit<EdgeScoreOptions, "graph">> & { readonly groupKv?: boolean };

async function scoresOf(model: Model, pairs: readonly Pair[], settings: Settings = {}) {
  const { base = "clean", estimator = { kind: "eap" }, groupKv, ...rest } = settings;
  const graph = edgeGraph(model.definition, { groupKv });
  const runs = pairs.map((pair) => runOf(pair, base));
  return { graph, ...(await edgeScores(model, runs, { graph, estimator, base, ...rest })) };
}

/** Sum of the scores of all edges that leave each source. */
function leaving(graph: EdgeGraph, scores: Float64Array): Float64Array {
  const sums = new Float64Array(graph.sources.length);
  for (const [edge, score] of scores.entries()) sums[edgeAt(graph, edge).source] += score;
  return sums;
}

function expectClose(found: ArrayLike<number>, wanted: ArrayLike<number>, within: number): void {
  expect(found.length).toBe(wanted.length);
  expect(Math.max(...Array.from(wanted, Math.abs))).toBeGreaterThan(100 * within);
  for (let i = 0; i < wanted.length; i++) expect(Math.abs(found[i] - wanted[i])).toBeLessThan(within);
}

const exactDrop = async (runs: EdgeRuns, graph: EdgeGraph, index: number, share: number): Promise<number> => {
  const { source, target } = edgeAt(graph, index);
  return await withEdge(runs, { from: graph.sources[source], to: graph.targets[target] }, share);
};

/** A few edges of every kind: each slot, MLP and logits, from inputs, heads and MLPs. */
function someEdges(graph: EdgeGraph, seed: number): number[] {
  const kinds = new Map<string, number[]>();
  for (let edge = 0; edge < graph.size; edge++) {
    const { source, target } = edgeAt(graph, edge);
    const to = graph.targets[target];
    const kind = `${graph.sources[source].kind} ${to.kind}${"slot" in to ? to.slot : ""}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), edge]);
  }
  const { integer } = random(seed);
  return [...kinds.values()].flatMap((edges) => [edges[integer(edges.length)], edges[integer(edges.length)]]);
}

describe.each(families())("$name", ({ name }) => {
  const pair = goldenPair(name);

  test("each estimate is the derivative of its own edge's effect", async () => {
    const model = await loadGolden(name, reference);
    for (const groupKv of [false, true]) {
      const { graph, scores } = await scoresOf(model, [pair], { groupKv });
      const { base, source } = runOf(pair, "clean");
      const runs = await edgeRuns(model, { base, source: source.ids });
      const step = 1e-5;
      const off: string[] = [];
      for (const edge of someEdges(graph, name.length)) {
        const [up, down] = [
          await exactDrop(runs, graph, edge, step),
          await exactDrop(runs, graph, edge, -step),
        ];
        const numeric = (down - up) / (2 * step);
        if (!(Math.abs(numeric - scores[edge]) < 1e-6 * Math.max(0.01, Math.abs(numeric))))
          off.push(`${edgeName(graph, edge)}: ${scores[edge]}, by differences ${numeric}`);
      }
      expect(off).toEqual([]);
    }
  });

  test("edges that leave a node sum to the node's own estimate", async () => {
    const model = await loadGolden(name, reference);
    const { graph, scores } = await scoresOf(model, [pair]);
    const how = { direction: "noise", verifyTop: 0, samples: 0 } as const;
    const { heads } = model.architecture;
    const nodes = async (site: string, by: readonly string[], layer?: readonly number[]) => {
      const choose = layer === undefined ? {} : { choose: { layer } };
      return (await attribution(model, [pair], { ...how, ...choose, sites: [site], by })).dataVars[site].data;
    };
    const result = await nodes("result", ["layer", "head"]);
    const mlp = await nodes("mlp_out", ["layer"]);
    const [input] = await nodes("resid_pre", ["layer"], [0]);
    const wanted = graph.sources.map((source) => {
      if (source.kind === "input") return -Number(input);
      const of = source.kind === "head" ? result[source.layer * heads + source.head] : mlp[source.layer];
      return -Number(of); // an estimate of a node is a change of the metric, an edge's a drop
    });
    expectClose(leaving(graph, scores), wanted, 1e-10);
  });
});
