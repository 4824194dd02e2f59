import { expect, test } from "vitest";
import type { Dataset } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { plot } from "./spec.ts";
import { svg } from "./svg.ts";

const dims = ["layer", "pos"];
const attrs = { quantity: "metric", unit: "1" };
const one: Dataset = dataset({
  attrs: {
    method: "causal-tracing",
    metric: "prob",
    unit: "1",
    baseline_clean: 0.8,
    baseline_corrupt: 0.1,
    samples: 10,
    sigma: 0.25,
    options: { window: 4 },
  },
  dims: { layer: 2, pos: 3 },
  coords: {
    token: { dims: ["pos"], data: ["The", " Space", " is"], attrs: {} },
    is_subject: { dims: ["pos"], data: [1, 1, 0], attrs: {} },
  },
  dataVars: {
    resid_post: { dims, data: Float64Array.of(0.1, 0.2, 0.1, 0.1, 0.1, 0.8), attrs },
    mlp_out: { dims, data: Float64Array.of(0.1, 0.3, 0.1, 0.1, 0.05, 0.1), attrs },
  },
});
const role = { dims: ["role"], data: ["last subject token", "last token", "later tokens"], attrs: {} };
const { mlp_out: effect, ...vars } = one.dataVars;
const many: Dataset = {
  ...one,
  dims: { layer: 2, role: 3 },
  coords: { role },
  dataVars: Object.fromEntries(
    Object.entries({
      ...vars,
      resid_post_effect: effect,
      resid_post_effect_ci_low: effect,
      resid_post_effect_ci_high: effect,
    }).map(([name, variable]) => [name, { dims: ["layer", "role"], data: variable?.data ?? [], attrs }]),
  ),
};

/** Texts of the marks in a figure. */
const texts = (picture: string): string[] =>
  [...picture.matchAll(/<text[^>]*>([^<]*)/g)].map(([, text = ""]) => text);

test("one fact: a panel a kind, subject tokens starred, windows and noise named, effects from the noised run", async () => {
  const found = plot(one);
  const shown = texts(await svg(found));
  for (const text of [
    "state after the layer",
    "MLP output, windows of 4 layers",
    "0: The*",
    "1: ␣Space*",
    "2: ␣is",
  ]) {
    expect(shown).toContain(text);
  }
  expect(JSON.stringify(found)).toContain(
    "Noise of deviation 0.250 on the subject's embeddings, mean of 10 samples. *: subject.",
  );
  // What both panels share stands beside the first.
  expect(shown.filter((text) => text === "0: The*")).toHaveLength(1);
  const cells = JSON.stringify(found).match(/"effect":-?[\d.e-]+/g) ?? [];
  expect(cells.length).toBe(12);
  expect(JSON.stringify(found)).toContain('"layer":1,"place":"2: ␣is","effect":0.7');
});

test("several facts: lines with bands under the panels, a role's own interval behind its line", async () => {
  const found = plot(many);
  const picture = await svg(found);
  expect(JSON.stringify(found)).toContain("mean of 10 samples. Bands: 95 % interval over facts.");
  expect(texts(picture).filter((text) => text === "last subject token").length).toBe(2); // axis and legend
  // Legend: lines as they are drawn, not the pale bands behind them.
  const lines = [...picture.matchAll(/<path[^>]*stroke="#56b4e9"[^>]*>/g)].map(([path]) => path);
  expect(lines.some((path) => path.includes('stroke-width="2.5"') && path.includes('opacity="1"'))).toBe(
    true,
  );
  expect(JSON.stringify(found)).toContain('"place":"last token","effect":0.3,"low":0.3,"high":0.3');
  // Restricted to one site, the figure has that alone.
  expect(texts(await svg(plot(one, { sites: ["mlp_out"] })))).not.toContain("state after the layer");
});
