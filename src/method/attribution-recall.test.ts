/** @file Recall of the true top cells: how many of few cells are looked for, and what its intervals hold and cover. */
import { expect, test } from "vitest";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { idPair } from "../../test/helpers/pairs.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { random } from "../core/random.ts";
import { drawResamples, mean } from "../numeric/statistics.ts";
import type { Variable } from "../result/result.ts";
import { attributionRecall, holding } from "./attribution-recall.ts";
import { order, type Sizes, shares } from "./attribution-shares.ts";

const at = (variables: Readonly<Record<string, Variable>>, name: string, row: number): number =>
  Number(variables[name]?.data[row] ?? Number.NaN);

test("of fewer than twice as many cells a quarter is looked for, of each site and of all, and the result says so", async () => {
  const model = linearNet(referenceBackend());
  const pairs = [
    idPair([1, 2, 3, 4, 2], [1, 5, 3, 0, 6], { answer: 1, foil: 6 }),
    idPair([3, 2, 0, 4, 2], [3, 5, 0, 0, 2], { answer: 1, foil: 6, id: "1" }),
  ];
  const found = await attributionRecall(model, pairs, { sites: ["z", "attn_out"], by: ["layer", "pos"] });
  const { site_tops: tops, top } = found.attrs as {
    readonly site_tops: Readonly<Record<string, { readonly cells: number; readonly top: number }>>;
    readonly top: number;
  };
  const all = Object.values(tops).reduce((sum, { cells }) => sum + cells, 0);
  expect(all).toBeLessThan(40);
  expect(found.attrs.top_asked).toBe(20);
  expect(top).toBe(Math.floor(all / 4));
  expect(found.dims.top).toBe(top);
  for (const [site, own] of Object.entries(tops)) {
    expect(own.top).toBe(Math.max(1, Math.floor(own.cells / 4)));
    expect(found.dataVars[`${site}_recall`]?.attrs.long_name).toBe(
      `share of the true top ${own.top} among the ${own.top} largest estimates`,
    );
  }
  // As many as are asked for where there are twice as many.
  const asked = await attributionRecall(model, pairs, { sites: ["z"], by: ["layer", "pos"], top: 2 });
  expect(asked.attrs).toMatchObject({ top: 2, top_asked: 2, site_tops: { z: { top: 2 } } });
});

test("an interval to one side of its estimate is widened to hold it; what has none stays without", () => {
  const over = (data: readonly number[]): Variable => ({ dims: ["estimator"], data: [...data], attrs: {} });
  const found = holding({
    recall: over([0.85, 0.5, 0.2]),
    recall_ci_low: over([0.28, 0.6, Number.NaN]),
    recall_ci_high: over([0.8, 0.7, Number.NaN]),
  });
  expect([...(found.recall_ci_low?.data ?? [])]).toEqual([0.28, 0.5, Number.NaN]);
  expect([...(found.recall_ci_high?.data ?? [])]).toEqual([0.85, 0.7, Number.NaN]);
  expect(found.recall).toEqual(over([0.85, 0.5, 0.2]));
});

test("intervals of recall and of its gain hold the estimate, and cover that of endlessly many pairs", () => {
  const [CELLS, TOP, PAIRS, TRIALS] = [60, 10, 10, 150];
  const source = random(8);
  // Sizes fall off by a tenth from cell to cell; two estimates misjudge each of them, the second less.
  const truth = Float64Array.from({ length: CELLS }, (_, cell) => 0.9 ** cell);
  const means = [0.6, 0.2].map((error) => truth.map((size) => size * Math.exp(error * source.normal())));
  const sizes = (of: Float64Array): Sizes => ({
    cells: CELLS,
    values: Float64Array.from(
      { length: PAIRS * CELLS },
      (_, i) => (of[i % CELLS] ?? 0) * Math.exp(0.5 * source.normal()),
    ),
  });
  const top = (of: Float64Array): number[] => order(of).slice(0, TOP);
  const [first = 0, second = 0] = means.map(
    (of) => top(of).filter((cell) => top(truth).includes(cell)).length / TOP,
  );
  const covered: boolean[][] = [[], [], []];
  for (let trial = 0; trial < TRIALS; trial++) {
    const exact = sizes(truth);
    const drawn = drawResamples(PAIRS, { seed: trial, resamples: 200 });
    const options = { top: TOP, drawn, passes: [4, 4], rows: 2, name: "" };
    const { variables } = shares(means.map(sizes), exact, options);
    const found = holding(variables);
    for (const [which, [name, row, value]] of (
      [
        ["recall", 0, first],
        ["recall", 1, second],
        ["recall_gain", 1, second - first],
      ] as const
    ).entries()) {
      const [low, high] = [at(found, `${name}_ci_low`, row), at(found, `${name}_ci_high`, row)];
      expect(low).toBeLessThanOrEqual(at(found, name, row));
      expect(high).toBeGreaterThanOrEqual(at(found, name, row));
      // A step is 0.1, so that an end beside the value by rounding alone still covers it.
      covered[which]?.push(low - 1e-9 <= value && value <= high + 1e-9);
    }
  }
  // Shares come in steps, and an interval that ends on a step holds all of it: coverage lies above its level.
  const least = 0.95 - 4 * Math.sqrt((0.95 * 0.05) / TRIALS);
  for (const list of covered) expect(mean(list.map(Number))).toBeGreaterThan(least);
});
