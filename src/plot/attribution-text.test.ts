/** @file What a terminal says of estimates, word for word, on results small enough to check by hand. */

import { expect, test } from "vitest";
import { type Dataset, dataset, type Variable } from "../result/result.ts";
import { agreementLines } from "./attribution-text.ts";
import { displayWidth } from "./labels.ts";
import { terminal } from "./terminal.ts";

const over = (dims: readonly string[], data: readonly number[]): Variable => ({
  dims: [...dims],
  data: Float64Array.from(data),
  attrs: { unit: "logit" },
});

const checked = (attrs: Dataset["attrs"]): Dataset =>
  dataset({
    attrs: { method: "attribution-patching", unit: "logit", forwards: 2, backwards: 1, ...attrs },
    dims: {},
    coords: {},
    dataVars: {},
  });

test("agreement, the bound on the others and the cost", () => {
  const attrs = {
    verified: 20,
    verify_rank_correlation: 0.9184,
    verify_max_abs_error: 1.6,
    verify_mean_abs_exact: 2.15,
    verify_sign_agreement: 0.95,
    hidden: { samples: 64, cells: 28, confidence: 0.95, bound: 3.4 },
  };
  expect(agreementLines(checked(attrs))).toEqual([
    "20 largest estimates against exact effects: rank correlation 0.92, largest error 1.6 logit, mean size 2.15 logit, 95 % with the right sign",
    "28 others, from 64 random subsets: none has an effect above 3.4 logit (95 % confidence, if cells do not interact), more than those above have on average: too wide to rule out much; give more --samples",
    "estimated in 2 forward passes and 1 backward pass; checked with 20 exact patches a pair and 64 subsets",
  ]);
});

test("estimates are called so; what was computed exactly is ranked by that, with its own interval", () => {
  const found = dataset({
    attrs: {
      method: "attribution-patching",
      metric: "logit_diff",
      unit: "logit",
      forwards: 2,
      backwards: 1,
      verified: 2,
      verify_rank_correlation: -1,
      verify_max_abs_error: 3,
      verify_mean_abs_exact: 2.5,
      verify_sign_agreement: 1,
    },
    dims: { layer: 2, head: 2 },
    coords: {},
    dataVars: {
      z: { ...over(["layer", "head"], [2, 1, 0.5, 0]), attrs: { unit: "logit", quantity: "estimate" } },
      z_ci_low: over(["layer", "head"], [1.5, 0.5, 0.25, 0]),
      z_ci_high: over(["layer", "head"], [2.5, 1.5, 0.75, 0]),
      z_exact: over(["layer", "head"], [1, 4, none, none]),
      z_exact_ci_low: over(["layer", "head"], [0.5, 3, none, none]),
      z_exact_ci_high: over(["layer", "head"], [1.5, 5, none, none]),
    },
  });
  const text = terminal(found, { columns: 120 });
  expect(text).toContain("estimated effect on logit difference (logit), 0 = no effect");
  const [title, ...rows] = text.slice(text.indexOf("strongest\n")).trim().split("\n").slice(1);
  expect(title).toBe(
    "site  layer  head  estimate  95 % interval of the estimate  exact  95 % interval of the exact",
  );
  expect(rows.map((row) => row.trim().split(/ {2,}/))).toEqual([
    ["z", "0", "1", "+1", "0.5 to 1.5", "4", "3 to 5"],
    ["z", "0", "0", "+2", "1.5 to 2.5", "1", "0.5 to 1.5"],
    ["z", "1", "0", "+0.5", "0.25 to 0.75"],
    ["z", "1", "1", "0", "0 to 0"],
  ]);
  expect(agreementLines(found)[0]).toContain("largest error 3 logit (z, layer 0, head 1: +1, exact +4)");
});

test("nothing checked, and too few subsets for a bound, are said to be so", () => {
  expect(agreementLines(checked({ verified: 0, forwards: 1 }))).toEqual([
    "estimated in 1 forward pass and 1 backward pass",
  ]);
  const hidden = { samples: 2, cells: 28, confidence: 0.95, bound: null };
  expect(agreementLines(checked({ verified: 0, hidden }))[0]).toBe(
    "28 others: 2 random subsets are too few for a bound; give more --samples",
  );
});

const none = Number.NaN;
const recall = dataset({
  attrs: {
    method: "attribution-recall",
    question: "How many?",
    unit: "logit",
    budget: 10,
    patches: { AtP: 6, "AtP*": 2 },
  },
  dims: { estimator: 4, top: 2 },
  coords: { estimator: { dims: ["estimator"], data: ["AtP", "AtP*", "random", "oracle"], attrs: {} } },
  dataVars: {
    cost: over(["estimator", "top"], [5, 10.04, 9, 16, 21 / 2, 14, 1, 2]),
    overhead: over(["estimator"], [5, 8.16, 9.1, 1]),
    recall: over(["estimator"], [0.5, 1, 0.1, none]),
    recall_ci_low: over(["estimator"], [0.5, 0.5, none, none]),
    recall_ci_high: over(["estimator"], [1, 1, none, none]),
    recall_gain: over(["estimator"], [0, 0.5, none, none]),
    recall_gain_ci_low: over(["estimator"], [0, -0.5, none, none]),
    recall_gain_ci_high: over(["estimator"], [0, 0.5, none, none]),
    budget_recall: over(["estimator"], [1, 1, 0.5, none]),
    budget_recall_ci_low: over(["estimator"], [0.5, 0.5, none, none]),
    budget_recall_ci_high: over(["estimator"], [1, 1, none, none]),
    budget_recall_gain: over(["estimator"], [0, 0, none, none]),
    budget_recall_gain_ci_low: over(["estimator"], [0, -0.5, none, none]),
    budget_recall_gain_ci_high: over(["estimator"], [0, 0, none, none]),
  },
});

const flagged = dataset({
  attrs: { method: "attribution-pathologies", question: "Where?", unit: "logit", flagged: { saturation: 1 } },
  dims: { node: 2 },
  coords: {
    node: { dims: ["node"], data: ["q layer 1 head 0", "z\u001b[2J layer 0"], attrs: {} },
    pathology: { dims: ["node"], data: ["saturation", "none"], attrs: {} },
  },
  dataVars: {
    estimate: over(["node"], [0.01, 2]),
    estimate_exact: over(["node"], [1.5, 2.5]),
    qk_fixed: over(["node"], [1.4, 2]),
    grad_drop: over(["node"], [0.02, 2]),
  },
});

test("recall is a table of costs and two of shares, with intervals: as many patches, as many passes", () => {
  expect(terminal(recall).split("\n").slice(1, 17)).toEqual([
    "",
    "in the order of  top 1  top 2  × oracle",
    "AtP                  5     10       5.0",
    "AtP*                 9     16       8.2",
    "random            10.5     14       9.1",
    "oracle               1      2       1.0",
    "",
    "in the order of  patches  share                minus AtP's",
    "AtP                    2  0.50 (0.50 to 1.00)",
    "AtP*                   2  1.00 (0.50 to 1.00)  0.50 (-0.50 to 0.50)",
    "random                 2  0.10",
    "",
    "in the order of  patches  share                minus AtP's",
    "AtP                    6  1.00 (0.50 to 1.00)",
    "AtP*                   2  1.00 (0.50 to 1.00)  0.00 (-0.50 to 0.00)",
    "random                10  0.50",
  ]);
});

test("the tables of single sites say how many of how many cells are looked for, and why so few", () => {
  const lines = terminal(
    {
      ...recall,
      attrs: {
        ...recall.attrs,
        options: { sites: ["q", "k"] },
        top_asked: 2,
        site_tops: { q: { cells: 8, top: 2 }, k: { cells: 3, top: 1 } },
      },
      dataVars: {
        ...recall.dataVars,
        ...Object.fromEntries(
          ["q", "k"].flatMap((site) =>
            Object.entries(recall.dataVars)
              .filter(([name]) => name.startsWith("recall"))
              .map(([name, variable]) => [`${site}_${name}`, variable]),
          ),
        ),
      },
    },
    { columns: 200 },
  ).split("\n");
  expect(lines).toContain("q alone, top 2 of 8  share                minus AtP's");
  expect(lines).toContain("k alone, top 1 of 3  share                minus AtP's");
  expect(lines).toContain(
    "Of fewer than 4 cells a quarter is looked for, not 2: a random order would find over half of those.",
  );
  expect(terminal(recall)).not.toContain("a quarter");
});

test("flagged cells come with their exact effects; names cannot drive the terminal", () => {
  const text = terminal(flagged);
  expect(text.split("\n").slice(2, 7)).toEqual([
    "cell                flag         AtP  exact  QK fix  GradDrop",
    "q layer 1 head 0    saturation  0.01    1.5     1.4      0.02",
    "z\\u{1b}[2J layer 0                 2    2.5       2         2",
    "",
    "Flagged, their estimates hide an effect: 1 × saturation. The others have the",
  ]);
});

test("cells whose estimate is far off for no known reason are named, the first five of them", () => {
  const lines = (cells: string[]) =>
    terminal(
      { ...flagged, attrs: { ...flagged.attrs, unexplained_curvature: { cells, off_by: 0.5 } } },
      { columns: 300 },
    );
  expect(lines([])).not.toContain("curvature");
  expect(lines(["z layer 0"])).toContain(
    "Unexplained curvature, not flagged yet off by more than half the exact effect: z layer 0. The model",
  );
  expect(lines(["a", "b", "c", "d", "e", "f", "g"])).toContain(
    "effect: a, b, c, d, e, and 2 more. The model",
  );
});

test.each([recall, flagged])("both fit narrow terminals", (result) => {
  for (const columns of [40, 60, 80]) {
    const wide = terminal(result, { columns })
      .split("\n")
      .filter((line) => displayWidth(line) > columns);
    expect(wide).toEqual([]);
  }
});
