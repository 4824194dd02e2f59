/** @file Results of edge attribution: what they hold, against exact edges; what is refused. */

import { describe, expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { InputError } from "../core/errors.ts";
import { edgeGraph } from "../model/edge-graph.ts";
import type { Pair } from "../model/pair.ts";
import { bootstrapMean, drawResamples } from "../numeric/statistics.ts";
import { at } from "../result/cells.ts";
import { readCircuit } from "../result/circuit.ts";
import type { Dataset } from "../result/result.ts";
import type { EdgeAttributionOptions } from "./edge-attribution.ts";
import { edgeAttribution } from "./edge-attribution.ts";
import { circuitFile, withCircuit } from "./edge-circuit.ts";
import { exactEdges } from "./exact-edges.ts";

const reference = referenceBackend();
const tokens = (ids: readonly number[], text: string): Pair["clean"] => ({
  text,
  ids,
  pieces: ids.map(String),
});

function pairOf(
  clean: readonly number[],
  corrupt: readonly number[],
  [answer, foil]: readonly number[],
): Pair {
  return {
    id: `${clean.join("-")} ${corrupt.join("-")}`,
    where: "pair",
    clean: tokens(clean, "clean"),
    corrupt: tokens(corrupt, "corrupt"),
    answers: [tokens([answer], "answer")],
    foils: [tokens([foil], "foil")],
    differing: clean.flatMap((token, position) => (token === corrupt[position] ? [] : [position])),
  };
}

const name = "llama-gqa-tied";
const { patching } = goldenFacts(name);
const pair = pairOf(patching.clean, patching.corrupt, [patching.answer, patching.foil]);
const other = pairOf(patching.corrupt, patching.clean, [patching.foil, patching.answer]);
const third = pairOf(patching.clean, patching.corrupt.toReversed(), [patching.answer, patching.foil]);
const toy = pairOf([1, 2, 3, 4, 2], [1, 5, 3, 0, 6], [1, 6]);

const values = (found: Dataset, variable: string): number[] =>
  Array.from(found.dataVars[variable].data, Number);

describe("the result", () => {
  test("estimates of several pairs are means, with intervals over pairs and each pair's own", async () => {
    const model = await loadGolden(name, reference);
    const pairs = [pair, other, third];
    const found = await edgeAttribution(model, pairs, { verifyTop: 0, perPair: true });
    const { size } = edgeGraph(model.definition);
    const own = values(found, "score_per_pair");
    expect(own.length).toBe(3 * size);
    const drawn = drawResamples(3, { seed: 0, resamples: 500 });
    for (const edge of [0, 17, size - 1]) {
      const column = pairs.map((_, index) => own[index * size + edge]);
      const { estimate, low, high } = bootstrapMean(column, drawn);
      expect(values(found, "score")[edge]).toBeCloseTo(estimate, 12);
      expect([values(found, "score_ci_low")[edge], values(found, "score_ci_high")[edge]]).toEqual([
        low,
        high,
      ]);
    }
    const alone = await edgeAttribution(model, [other], { verifyTop: 0 });
    expect(own.slice(size, 2 * size).map((x) => x.toFixed(9))).toEqual(
      values(alone, "score").map((x) => x.toFixed(9)),
    );
    expect(alone.dataVars.score_ci_low).toBeUndefined();
    expect([found.attrs.forwards, found.attrs.backwards]).toEqual([6, 3]);
  });

  test.each(["noise", "denoise"] as const)(
    "exact scores stand beside the largest estimates, %s",
    async (direction) => {
      const model = await loadGolden(name, reference);
      const found = await edgeAttribution(model, [pair], { direction, verifyTop: 5 });
      const exact = await exactEdges(model, [pair], { direction, verify: 0 });
      const checked = values(found, "score_exact");
      const sizes = values(found, "score").map(Math.abs);
      const least = sizes.toSorted((a, b) => b - a)[4];
      for (const [edge, value] of checked.entries()) {
        expect(Number.isNaN(value)).toBe(sizes[edge] < least);
        if (!Number.isNaN(value)) expect(value).toBeCloseTo(values(exact, "score")[edge], 9);
      }
      expect(found.attrs.verified).toBe(5);
    },
  );

  test("without interactions every estimate is exact: full agreement, no error", async () => {
    const { attrs } = await edgeAttribution(linearNet(reference), [toy], { verifyTop: 8 });
    expect(attrs.verify_max_abs_error).toBeLessThan(1e-9);
    expect([attrs.verify_rank_correlation, attrs.verify_sign_agreement]).toEqual([1, 1]);
  });

  test("of chosen edges alone, in the order given", async () => {
    const model = await loadGolden(name, reference);
    const edges = ["m0->logits", "input->a1.h3<k>"];
    const found = await edgeAttribution(model, [pair], { edges, verifyTop: 1 });
    const whole = await edgeAttribution(model, [pair], { verifyTop: 0 });
    expect(found.coords.edge.data).toEqual(edges);
    for (const edge of edges)
      expect(at(found, "score", { edge }).value).toBe(at(whole, "score", { edge }).value);
  });

  test("its circuit reads back as it was chosen, of estimates and of exact scores", async () => {
    const model = await loadGolden(name, reference);
    const graph = edgeGraph(model.definition);
    for (const scored of [
      await edgeAttribution(model, [pair], { verifyTop: 0 }),
      await exactEdges(model, [pair], { verify: 0 }),
    ]) {
      const chosen = withCircuit(model, scored, { by: "greedy", size: 20 });
      const text = [...circuitFile(model, chosen)].join("");
      const read = readCircuit(text, graph, { where: "file", architecture: model.architecture });
      expect([...read.scores]).toEqual(values(scored, "score"));
      expect([...read.inGraph]).toEqual(values(chosen, "in_graph"));
      const { edges } = chosen.attrs.circuit as { readonly edges: number };
      expect(edges).toBeGreaterThan(5);
      expect(edges).toBe(values(chosen, "in_graph").reduce((sum, one) => sum + one, 0));
      expect(chosen.dataVars.score).toBe(scored.dataVars.score);
    }
  });
});

describe("what is refused", () => {
  const refused = async (pairs: readonly Pair[], options: EdgeAttributionOptions): Promise<string> => {
    const error = await edgeAttribution(linearNet(reference), pairs, options).catch(
      (reason: unknown) => reason,
    );
    return error instanceof InputError ? error.message : String(error);
  };

  test("settings and pairs, all at once, and then edges", async () => {
    const lines = await refused([{ ...toy, corrupt: tokens([1, 2], "short") }], {
      estimator: { kind: "eap-ig", steps: 0, rule: "paper" },
      verifyTop: -1,
      seed: 0.5,
    });
    expect(lines.split("\n")).toEqual([
      "options.estimator.steps: found 0; wanted a whole number from 1 to 10000.",
      "options.verifyTop: found -1; wanted a whole number, 0 or more.",
      "options.seed: found 0.5; wanted a whole number from 0 to 4294967295.",
      "pair: found 5 tokens in clean, 2 in corrupt; wanted the same number in both, and at least one.",
    ]);
    const edges = await refused([toy], { edges: ["a0.h0->logits", "m0->logits", "a1.h0->a0.h0<q>"] });
    expect(edges.split("\n")).toEqual([
      expect.stringMatching(/^edges, 2: found "m0->logits"; wanted SOURCE->TARGET/),
      'edges, 3: found "a1.h0->a0.h0<q>"; wanted a source that writes before a0.h0<q> reads.',
    ]);
    expect(await refused([], {})).toBe("pairs: found none; wanted at least one pair.");
  });

  test("KL where its gradient is 0, and there alone", async () => {
    expect(await refused([toy], { metric: "kl" })).toMatch(
      /^--metric: found kl with --method eap; wanted a metric whose gradient at the clean run is not 0/,
    );
    const estimator = { kind: "eap-ig", steps: 3, rule: "midpoint" } as const;
    const found = await edgeAttribution(linearNet(reference), [toy], {
      metric: "kl",
      estimator,
      verifyTop: 0,
    });
    // KL to the clean run rises without an edge that matters: its drop is negative.
    const edge = "input->logits";
    expect(Math.abs(at(found, "score", { edge }).value)).toBeGreaterThan(1e-3);
    expect(found.attrs.baseline_clean).toBe(0);
  });
});
