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
import { edgeAt, edgeGraph, edgeName, edgeNames } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Edit } from "../run/edit.ts";
import { forward } from "../run/forward.ts";
import { gradients } from "../run/gradients.ts";
import { activationPatching } from "./activation-patching.ts";
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

/** An edge of every kind: each slot, MLP and logits, from inputs, heads and MLPs. */
function someEdges(graph: EdgeGraph, seed: number): number[] {
  const kinds = new Map<string, number[]>();
  for (let edge = 0; edge < graph.size; edge++) {
    const { source, target } = edgeAt(graph, edge);
    const to = graph.targets[target];
    const kind = `${graph.sources[source].kind} ${to.kind}${"slot" in to ? to.slot : ""}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), edge]);
  }
  const { integer } = random(seed);
  return [...kinds.values()].map((edges) => edges[integer(edges.length)]);
}

describe.each(families())("$name", ({ name }) => {
  const pair = goldenPair(name);

  test("each estimate is the derivative of its own edge's effect", async () => {
    const model = await loadGolden(name, reference);
    const { heads, kvHeads } = model.architecture;
    for (const groupKv of heads === kvHeads ? [false] : [false, true]) {
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

describe("a linear network", () => {
  test("every estimate, of any kind, is the exact effect of its edge", async () => {
    const model = linearNet(reference);
    const { base, source } = runOf(toyPair, "clean");
    const runs = await edgeRuns(model, { base, source: source.ids });
    const graph = edgeGraph(model.definition);
    const whole = await withEdge(runs, { from: { kind: "input" }, to: { kind: "logits" } }, 0);
    const exact: number[] = [];
    for (let edge = 0; edge < graph.size; edge++) exact.push(whole - (await exactDrop(runs, graph, edge, 1)));
    const estimators: EdgeEstimator[] = [
      { kind: "eap" },
      { kind: "eap-ig", steps: 3, rule: "paper" },
      { kind: "eap-ig", steps: 2, rule: "code" },
      { kind: "eap-ig-activations", steps: 2, rule: "paper", compatible: false },
      { kind: "clean-corrupted" },
    ];
    for (const estimator of estimators) {
      for (const base of ["clean", "corrupt"] as const) {
        const { scores } = await scoresOf(model, [toyPair], { estimator, base });
        expectClose(scores, exact, 1e-10);
      }
    }
  });

  test("without a norm at the end, edges into the logits add up to the change of the metric, however bent what is before", async () => {
    const model = linearNet(reference, 2, { queryScale: 2 });
    const { graph, scores, base, source } = await scoresOf(model, [toyPair]);
    const logits = graph.targets.length - 1;
    const into = scores.subarray(graph.first[logits]).reduce((sum, score) => sum + score, 0);
    expect(Math.abs(base[0] - source[0])).toBeGreaterThan(0.1);
    expect(into).toBeCloseTo(base[0] - source[0], 10);
  });
});

test("edges show what their node's sum hides: a stream that a later block erases", async () => {
  const model = chainNet([1, 0, 0, 0, -0.999]);
  const { graph, scores } = await scoresOf(model, [pairOf([1], [2], [0, 4])]);
  const { parse } = edgeNames(graph);
  const of = (name: string): number => scores[parse(name, "")];
  const own = of("m0->logits");
  expect(Math.abs(own)).toBeGreaterThan(0.1);
  expect(of("m0->m4") / own).toBeCloseTo(-0.999, 6);
  expect(leaving(graph, scores)[1] / own).toBeCloseTo(0.001, 6);
});

describe("gradients averaged on the way", () => {
  const name = "llama-gqa-tied";
  const pair = goldenPair(name);
  const along = async (
    kind: "eap-ig" | "eap-ig-activations",
    rule: "midpoint" | "paper" | "code",
    steps: number,
  ) => {
    const estimator: EdgeEstimator =
      kind === "eap-ig" ? { kind, rule, steps } : { kind, rule, steps, compatible: false };
    return await scoresOf(await loadGolden(name, reference), [pair], { estimator });
  };

  test("edges from the input sum to the change of the metric: errors of order 1/m at the ends, 1/m² in the middle", async () => {
    const gap = async (rule: "midpoint" | "paper" | "code", steps: number): Promise<number> => {
      const { graph, scores, base, source } = await along("eap-ig", rule, steps);
      return leaving(graph, scores)[0] - (base[0] - source[0]);
    };
    const middle = [await gap("midpoint", 12), await gap("midpoint", 24)];
    expect(Math.abs(middle[1])).toBeLessThan(0.02);
    expect(middle[0] / middle[1]).toBeGreaterThan(3.5);
    expect(middle[0] / middle[1]).toBeLessThan(4.5);
    // The end rules are off by half a step's worth of the gradients' change, to either side.
    const ends = async (steps: number): Promise<number> =>
      (await gap("paper", steps)) - (await gap("code", steps));
    const one = await ends(1);
    expect(Math.abs(one)).toBeGreaterThan(0.1);
    expect(await ends(12)).toBeCloseTo(one / 12, 10);
    expect(await gap("paper", 24)).toBeCloseTo((middle[0] + (await gap("paper", 12))) / 2, 10);
  });

  test("over activations, the edges of all heads of a layer sum to the exact effect of patching them together", async () => {
    const { graph, scores } = await along("eap-ig-activations", "midpoint", 24);
    const model = await loadGolden(name, reference);
    const sums = leaving(graph, scores);
    for (const [site, kind] of [
      ["z", "head"],
      ["mlp_out", "mlp"],
    ] as const) {
      const exact = await activationPatching(model, [pair], {
        sites: [site],
        by: ["layer"],
        direction: "noise",
        normalize: false,
        verify: 0,
      });
      for (const [layer, change] of Array.from(exact.dataVars[`${site}_effect`].data, Number).entries()) {
        const sum = graph.sources.reduce(
          (total, source, i) => (source.kind === kind && source.layer === layer ? total + sums[i] : total),
          0,
        );
        expect(Math.abs(change)).toBeGreaterThan(0.01);
        expect(Math.abs(sum + change)).toBeLessThan(2e-3 * Math.max(1, Math.abs(change)));
      }
    }
  });

  test("one step of the paper's rule is the plain estimate, of the repository's rule that at the corrupt run", async () => {
    const model = await loadGolden(name, reference);
    const [plain, corrupt] = [
      await scoresOf(model, [pair]),
      await scoresOf(model, [pair], { base: "corrupt" }),
    ];
    expectClose((await along("eap-ig", "paper", 1)).scores, plain.scores, 1e-10);
    expectClose((await along("eap-ig", "code", 1)).scores, corrupt.scores, 1e-10);
    expectClose((await along("eap-ig-activations", "paper", 1)).scores, plain.scores, 1e-10);
    const both = await scoresOf(model, [pair], { estimator: { kind: "clean-corrupted" } });
    expectClose(
      both.scores,
      plain.scores.map((score, edge) => (score + corrupt.scores[edge]) / 2),
      1e-10,
    );
    expect(both.passes).toEqual({ forwards: 3, backwards: 2 });
  });

  test("the way between two runs is the same from either end", async () => {
    const model = await loadGolden(name, reference);
    for (const kind of ["eap-ig", "eap-ig-activations"] as const) {
      const estimator: EdgeEstimator = { kind, rule: "midpoint", steps: 3, compatible: false };
      const [one, other] = [
        await scoresOf(model, [pair], { estimator }),
        await scoresOf(model, [pair], { estimator, base: "corrupt" }),
      ];
      if (kind === "eap-ig") expectClose(one.scores, other.scores, 1e-10);
      else expect(one.scores).not.toEqual(other.scores); // what is not moved is of the base run
    }
  });

  test("as the repository has it, each group's run counts for all edges", async () => {
    const model = await loadGolden(name, reference);
    const estimator: EdgeEstimator = {
      kind: "eap-ig-activations",
      rule: "paper",
      steps: 1,
      compatible: true,
    };
    const { graph, scores } = await scoresOf(model, [pair], { estimator });
    const plain = await scoresOf(model, [pair]);
    // At the clean run itself: nothing moves, but each group's output counts as a constant in its own run.
    const last = graph.first[graph.targets.length - 1];
    expectClose(scores.subarray(last), plain.scores.subarray(last), 1e-10);
    const groups = 1 + 2 * model.definition.blocks.length;
    const without = new Float64Array(graph.size);
    const { base } = runOf(pair, "clean");
    const sites = [...model.definition.blocks.keys()].flatMap((layer) =>
      (["z", "mlp_out"] as const).map((site) => ({ site, layer })),
    );
    const edited = async (held: readonly { site: "z" | "mlp_out" | "resid_pre"; layer: number }[]) => {
      const { caches } = await forward(model, [base.ids], {
        capture: held.map(({ site, layer }) => ({ site, layers: [layer] })),
      });
      const edits = held.map(
        ({ site, layer }): Edit => ({
          ...{ site, layer, where: {}, action: "replace" },
          value: { kind: "given", ...caches[0].get(site, layer) },
        }),
      );
      const [found] = await gradients(model, [base], { sites: ["mlp_in"], edits: [edits] });
      return found;
    };
    // Edges into the MLPs, by hand: gradients of runs in which one group is held.
    const target = graph.targets.findIndex((one) => one.kind === "mlp" && one.layer === 0);
    const [first, source] = [graph.first[target], 0];
    const { caches } = await forward(model, [pair.clean.ids, pair.corrupt.ids], {
      capture: [{ site: "resid_pre", layers: [0] }],
    });
    const [clean, corrupt] = caches.map((cache) => cache.get("resid_pre", 0).data);
    for (const held of [{ site: "resid_pre" as const, layer: 0 }, ...sites]) {
      const { data } = (await edited([held])).get("mlp_in", 0);
      for (const [i, g] of data.entries()) without[first + source] += ((clean[i] - corrupt[i]) * g) / groups;
    }
    expect(scores[first + source]).toBeCloseTo(without[first + source], 10);
    expect(Math.abs(scores[first + source] - plain.scores[first + source])).toBeGreaterThan(1e-4);
  });
});

describe("the same whatever the way it is worked out", () => {
  const name = "gemma3";
  const pair = goldenPair(name);
  const shorter = pairOf(pair.clean.ids.slice(0, -2), pair.corrupt.ids.slice(0, -2), [1, 2]);

  test("pairs of several lengths, together or apart; values kept or computed again", async () => {
    const model = await loadGolden(name, reference);
    const together = await scoresOf(model, [pair, shorter, pair]);
    const { graph } = together;
    const apart = [
      ...(await scoresOf(model, [pair])).scores,
      ...(await scoresOf(model, [shorter], { keepBytes: 0 })).scores,
      ...(await scoresOf(model, [pair])).scores,
    ];
    expectClose(together.scores, apart, 1e-10);
    expect(together.scores.length).toBe(3 * graph.size);
    expect(together.passes).toEqual({ forwards: 6, backwards: 3 });
  });

  test("edges into shared keys and values are the sums over the query heads that share them", async () => {
    const model = await loadGolden(name, reference);
    const [own, shared] = [await scoresOf(model, [pair]), await scoresOf(model, [pair], { groupKv: true })];
    const { heads, kvHeads } = model.architecture;
    expect(heads).toBeGreaterThan(kvHeads);
    const sums = new Float64Array(shared.graph.size);
    const { parse } = edgeNames(shared.graph);
    for (const [edge, score] of own.scores.entries()) {
      const to = edgeName(own.graph, edge).replace(
        /h(\d+)<([kv])>$/,
        (_, head, slot) => `kv${Math.floor((Number(head) * kvHeads) / heads)}<${slot}>`,
      );
      sums[parse(to, "")] += score;
    }
    expectClose(shared.scores, sums, 1e-10);
  });

  test.each(["gpt2", "gemma2", "qwen3"])("%s: in float32 by onnxruntime", async (family) => {
    const own = goldenPair(family);
    const [exact, single] = [await loadGolden(family, reference), await loadGolden(family, ort)];
    const [wanted, found] = [await scoresOf(exact, [own]), await scoresOf(single, [own])];
    const largest = wanted.scores.reduce((most, score) => Math.max(most, Math.abs(score)), 0);
    expectClose(found.scores, wanted.scores, 2e-5 * largest);
  });
});

test("signs are those of exact effects: all where the step is small, most where all of it is taken", async () => {
  const same = { small: 0, whole: 0 };
  for (const name of ["gpt2", "llama-gqa-tied", "gpt-neox"]) {
    const pair = goldenPair(name);
    const model = await loadGolden(name, reference);
    const { graph, scores, base } = await scoresOf(model, [pair]);
    const run = runOf(pair, "clean");
    const runs = await edgeRuns(model, { base: run.base, source: run.source.ids });
    const largest = [...scores.keys()].sort((a, b) => Math.abs(scores[b]) - Math.abs(scores[a])).slice(0, 20);
    for (const edge of largest) {
      for (const [key, share] of [
        ["small", 0.02],
        ["whole", 1],
      ] as const) {
        const exact = base[0] - (await exactDrop(runs, graph, edge, share));
        if (Math.sign(exact) === Math.sign(scores[edge])) same[key]++;
      }
    }
  }
  expect(same.small).toBe(60);
  expect(same.whole).toBeGreaterThanOrEqual(50);
});
