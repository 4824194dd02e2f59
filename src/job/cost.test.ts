import { expect, test } from "vitest";
import type { Grid } from "../method/grid.ts";
import type { PlannedWave, SweepPlan } from "../run/plan.ts";
import { duration, edgeWords, formatBytes, formatFlops, planWords } from "./cost.ts";

const wave: PlannedWave = {
  first: 0,
  end: 0,
  variants: 0,
  runs: [],
  newRuns: [],
  flops: new Float64Array(1),
};
const plan: SweepPlan = {
  variants: 1_048_576,
  unchanged: 843_776,
  isUnchanged: () => false,
  waves: Array.from({ length: 12 }, () => wave),
  flops: 2.345e12,
  rows: 0,
  stateBytes: 34_000_000,
};
const grid: Grid = {
  name: "pattern",
  sites: [],
  dims: ["layer", "dst"],
  labels: [
    [0, 1, 2, 3],
    [7, 8],
  ],
  size: 8,
};

test("a plan is two lines: what is asked, and what it takes", () => {
  const words = { grids: [grid], pairs: 20, draws: 1, weightBytes: 833e3, seconds: 83, rate: 31e9 };
  expect(planWords(plan, words).split("\n")).toEqual([
    "1,048,576 cells: 4 layer × 2 dst of pattern × 20 pairs · 843,776 cannot differ from the unedited run",
    "2.35 TFLOP in 12 waves · up to 34 MB of states beside 833 kB of weights · about 1 min 23 s on this machine (31 GFLOP/s)",
  ]);
  const one = { ...plan, variants: 1, unchanged: 0, waves: [wave] };
  expect(
    planWords(one, { ...words, pairs: 1, draws: 3, grids: [{ ...grid, dims: [], labels: [] }] }),
  ).toMatch(/^1 cell: one cell of pattern × 3 draws\n2.35 TFLOP in 1 wave · /);
});

test("a plan of edges, likewise", () => {
  const expected = { weightBytes: 833e3, seconds: 83, rate: 31e9 };
  expect(edgeWords(plan, expected)).toBe(
    "1,048,576 edges, each patched · 843,776 cannot differ from the unedited run\n" +
      "2.35 TFLOP in 12 waves · about 1 min 23 s on this machine (31 GFLOP/s)",
  );
  expect(edgeWords({ ...plan, variants: 1, unchanged: 0, waves: [wave] }, expected)).toBe(
    "1 edge, each patched\n2.35 TFLOP in 1 wave · about 1 min 23 s on this machine (31 GFLOP/s)",
  );
});

test("numbers in words", () => {
  expect([0, 999, 1000, 1.5e12, 1e21].map(formatFlops)).toEqual([
    "0 FLOP",
    "999 FLOP",
    "1 kFLOP",
    "1.5 TFLOP",
    "1000 EFLOP",
  ]);
  expect(formatBytes(537_600_000)).toBe("538 MB");
  expect([0.4, 59.4, 60, 3599, 7500, Number.NaN].map(duration)).toEqual([
    "0 s",
    "59 s",
    "1 min 0 s",
    "59 min 59 s",
    "2 h 5 min",
    "unknown time",
  ]);
});
