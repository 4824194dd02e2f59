/** @file Figure and text of a corruption comparison: they show what the result holds, and nothing of what is too weak. */
import { expect, test } from "vitest";
import { type HandLayer, handNet } from "../../test/helpers/hand-net.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { corruptionComparison } from "../method/corruptions.ts";
import type { Pair } from "../model/pair.ts";
import type { Json } from "../result/result.ts";
import { plot } from "./spec.ts";
import { svg } from "./svg.ts";
import { terminal } from "./terminal.ts";

const LAYERS = 8;
const layers: HandLayer[] = Array.from({ length: LAYERS }, () => ({}));
layers[1] = {
  up: [
    [0, 0, 1],
    [1, 0, -1],
  ],
  down: [
    [2, 0, 1],
    [2, 1, -1],
  ],
};
layers[5] = { up: [[0, 1, -1]], upBias: [[0, 0, 1]], down: [[2, 0, -6]] };
const net = handNet(referenceBackend(), {
  d: 3,
  heads: 1,
  dHead: 1,
  neurons: 2,
  embedding: [
    [1, 1, 0],
    [-1, 1, 0],
  ],
  unembedding: [
    [0, 0, 1],
    [0, 0, -1],
  ],
  layers,
});
const token = (id: number) => ({ text: String(id), ids: [id], pieces: [String(id)] });
const pair: Pair = {
  id: "0",
  where: "pair",
  clean: token(0),
  corrupt: token(1),
  answers: [token(0)],
  foils: [token(1)],
  differing: [0],
};
const result = await corruptionComparison(net, [pair], {
  sites: ["mlp_out"],
  windows: [1, 2],
  metrics: ["logit_diff"],
  kinds: ["noise", "replacement", "zero"],
  factors: [0, 3],
  samples: 3,
});

/** The same from as many samples as a single pair gets, which tell what noise takes. */
const told = await corruptionComparison(net, [pair], {
  ...{
    sites: ["mlp_out"],
    windows: [1],
    metrics: ["logit_diff"],
    kinds: ["noise", "replacement"],
    factors: [3],
  },
});

/** Every object of a specification that has the key. */
function having(spec: Json, key: string): Readonly<Record<string, Json>>[] {
  if (spec === null || typeof spec !== "object") return [];
  const inner = Object.values(spec).flatMap((value: Json) => having(value, key));
  return key in spec ? [spec as Readonly<Record<string, Json>>, ...inner] : inner;
}

test("the terminal has a line for every grid and corruption, with the numbers of the variables", () => {
  const lines = terminal(result, { columns: 80 }).split("\n");
  expect(lines.every((line) => line.length <= 80)).toBe(true);
  const at = lines.indexOf("mlp_out");
  expect(lines.slice(at, at + 5).map((line) => line.replace(/ +/g, " "))).toEqual([
    "mlp_out",
    " noise 0σ too little",
    expect.stringMatching(/^ noise 3σ \d\.\d\d 5 last corr\. \d\.\d\d \(\d\.\d\d, \d\.\d\d\) 1 \(0\) /),
    " replacement 1.00 1 last corr. 1",
    " zero 0.86 5 last corr. 0.86 1 (0) 0.54",
  ]);
  // Order: layer 1 before all others, against 5 before 1 before all others: ranks 8, 4, … and 7, 8, 3.5, … → 10/√343.
  expect(lines).toContain("mlp_out, windows of 2");
  expect(lines.some((line) => line.startsWith("replacement") && line.includes("-2"))).toBe(true);
});

test("the figure has all but what is too weak, draws without a warning, and restricts itself to the sites asked for", async () => {
  const warnings: string[] = [];
  const drawn = await svg(plot(result), { onWarning: (message) => warnings.push(message) });
  expect(warnings).toEqual([]);
  expect(drawn).toContain("mlp_out, windows of 2");
  const shares = (spec: Json) =>
    having(spec, "share").filter(({ layer, low }) => layer !== undefined && low === undefined);
  expect(shares(plot(result)).length).toBe(2 * 3 * LAYERS);
  expect(shares(plot(result)).some(({ corruption }) => corruption === "noise 0σ")).toBe(false);
  const zero = shares(plot(result)).filter(({ corruption }) => corruption === "zero");
  expect(zero.slice(0, LAYERS).map(({ share }) => Number(Number(share).toFixed(6)))).toEqual([
    0, 0.142857, 0, 0, 0, 0.857143, 0, 0,
  ]);
  const points = having(plot(result), "reference").filter(({ cell }) => cell !== undefined);
  expect(points.length).toBe(2 * LAYERS); // noise 3σ in two grids
  const one = plot(result, { sites: ["mlp_out_window_2_logit_diff"] });
  expect(shares(one).length).toBe(3 * LAYERS);
});

test("of three samples, which do not tell what noise takes, the figure says so", () => {
  const said =
    "Not judged, as the interval does not tell whether enough is taken for shares to mean anything: noise 3σ.";
  expect(JSON.stringify(plot(result))).toContain(said);
  expect(JSON.stringify(plot(told))).not.toContain("Not judged");
});

test("bands are the intervals of shares that the result holds", () => {
  const bands = having(plot(told), "low").filter(({ layer }) => layer !== undefined);
  expect(bands.length).toBe(LAYERS); // of noise; a single replacement has no interval
  const ends = (side: string) =>
    Array.from(told.dataVars[`mlp_out_logit_diff_normalized_ci_${side}`]?.data ?? [], Number).slice(
      0,
      LAYERS,
    );
  expect(bands.map(({ low }) => low)).toEqual(ends("low"));
  expect(bands.map(({ high }) => high)).toEqual(ends("high"));
});

test("what the corrupted run has left comes with its interval", () => {
  const [value, low, high] = ["", "_ci_low", "_ci_high"].map((side) =>
    Number(Number(told.dataVars[`baseline_logit_diff${side}`]?.data[0]).toPrecision(side === "" ? 3 : 2)),
  );
  const line = terminal(told, { columns: 80 })
    .split("\n")
    .find((one) => one.startsWith("noise 3σ"));
  expect(line?.replace(/ +/g, " ")).toContain(`noise 3σ ${value} (${low}, ${high}) `);
});
