import { describe, expect, test } from "vitest";
import type { Dataset, Json } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { edgeViews } from "./edges.ts";
import { edgeAgreementLines, edgeLines, largestEdges } from "./edges-text.ts";
import { plot } from "./spec.ts";
import { svg } from "./svg.ts";

const NAMES = ["input->a0.h0<q>", "input->m0", "a0.h0->m0", "m0->logits", "input->logits"];
const along = (data: readonly number[]) => ({
  dims: ["edge"],
  data: Float64Array.from(data),
  attrs: { unit: "logit" },
});

function edges(attrs: Record<string, Json> = {}): Dataset {
  return dataset({
    attrs: {
      method: "edge-attribution",
      metric: "logit_diff",
      unit: "logit",
      direction: "noise",
      baseline_clean: 3,
      baseline_corrupt: -2,
      edges: 5,
      forwards: 2,
      backwards: 1,
      verified: 2,
      verify_rank_correlation: 1,
      verify_max_abs_error: 0.5,
      verify_mean_abs_exact: 2,
      verify_sign_agreement: 0.5,
      seconds: 1.25,
      seconds_estimate: 0.5,
      circuit: { select: "greedy", signed: false, size: 4, edges: 3, nodes: 2, nodes_in_all: 3 },
      ...attrs,
    },
    dims: { edge: 5 },
    coords: { edge: { dims: ["edge"], data: NAMES, attrs: {} } },
    dataVars: {
      score: along([0.1, 2, -0.5, -3, Number.NaN]),
      score_ci_low: along([0, 1.5, -1, -3.5, Number.NaN]),
      score_ci_high: along([0.2, 2.5, 0.25, -2.5, Number.NaN]),
      score_exact: along([Number.NaN, 1.75, Number.NaN, -2.5, Number.NaN]),
      in_graph: along([1, 1, 0, 1, 0]),
    },
  });
}

describe("scores of edges in a terminal", () => {
  test("the largest first, with intervals, exact scores and what is in the circuit", () => {
    expect(edgeLines(edges(), 100)).toEqual([
      "edge             estimate  95 % interval  exact  circuit",
      "m0->logits             -3  -3.5 to -2.5    -2.5  in",
      "input->m0              +2  +1.5 to +2.5   +1.75  in",
      "a0.h0->m0            -0.5  -1 to +0.25",
      "input->a0.h0<q>      +0.1  0 to +0.2             in",
      "",
      "Scores: drop of the logit difference (logit) when the edge alone carries the corrupt value in the",
      "clean run; + means that the edge helps.",
      "Circuit: 3 edges between 2 of 3 nodes, of 4 chosen from the logits down, once loose ends are gone.",
    ]);
  });

  test("how estimates agree with exact scores, and what both cost", () => {
    expect(edgeAgreementLines(edges())).toEqual([
      "2 largest estimates against exact scores: rank correlation 1.00, largest error 0.5 logit (score, edge m0->logits: -3, exact -2.5), mean size 2 logit, 50 % with the right sign",
      "5 edges estimated in 2 forward passes and 1 backward pass: 0.5 s, with the exact ones in 1.3 s",
    ]);
  });

  test("exact scores are called so, and nothing is said of agreement", () => {
    const exact = edges({ method: "exact-edges", direction: "denoise" });
    const { score_exact: _, ...dataVars } = exact.dataVars;
    const lines = edgeLines({ ...exact, dataVars }, 100) ?? [];
    expect(lines[0]).toBe("edge             exact  95 % interval  circuit");
    expect(lines.join(" ")).toContain(
      "Scores: rise of the logit difference (logit) when the edge alone carries the clean",
    );
    expect(edgeAgreementLines(exact)).toEqual([]);
  });

  test("of another result there is nothing to say", () => {
    expect(edgeLines(edges({ method: "direct" }), 80)).toBeUndefined();
    expect(edgeViews(edges({ method: "direct" }))).toBeUndefined();
  });
});

test("edges without a score are left out, ties keep their order", () => {
  expect(largestEdges(edges()).map(({ name }) => name)).toEqual([NAMES[3], NAMES[1], NAMES[2], NAMES[0]]);
});

test("the figure: a bar an edge, a line an edge of the circuit, a name a node, the input below the logits", async () => {
  const drawn = await svg(plot(edges()));
  for (const name of NAMES.slice(0, 4))
    expect(drawn).toContain(name.replace(">", "&gt;").replace("<q>", "&lt;q&gt;"));
  const place = (node: string): number => {
    const [, y] = new RegExp(`translate\\([-\\d.]+,([-\\d.]+)\\)"[^>]*>${node}<`).exec(drawn) ?? [];
    return Number(y);
  };
  expect(place("input")).toBeGreaterThan(place("a0.h0"));
  expect(place("a0.h0")).toBeGreaterThan(place("m0"));
  expect(place("m0")).toBeGreaterThan(place("logits"));
  const { hconcat } = plot(edges()) as { readonly hconcat: readonly { readonly layer: readonly Json[] }[] };
  expect(hconcat.length).toBe(2);
  const [lines] = hconcat[1].layer as readonly { readonly data: { readonly values: readonly Json[] } }[];
  expect(lines.data.values.map((line) => (line as { readonly edge: string }).edge)).toEqual([
    NAMES[0],
    NAMES[1],
    NAMES[3],
  ]);
});
