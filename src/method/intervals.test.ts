import { expect, test } from "vitest";
import { bootstrapMean, drawResamples } from "../numeric/statistics.ts";
import { bootstrapOf, intervalVariables } from "./intervals.ts";

test("resamples are as many as can be afforded, at least enough for an interval", () => {
  expect(bootstrapOf(1000, { count: 20, seed: 0 })?.attrs).toEqual({
    interval: 0.95,
    bootstrap_resamples: 2000,
  });
  expect(bootstrapOf(200_000, { count: 20, seed: 0 })?.resamples).toBe(500);
  expect(bootstrapOf(500_000, { count: 20, seed: 0 })?.resamples).toBe(200);
  expect(bootstrapOf(500_001, { count: 20, seed: 0 })).toBeUndefined();
  expect(bootstrapOf(1, { count: 1, seed: 0 })).toBeUndefined();
});

test("every cell has the ends of its own interval, all from the same resamples", () => {
  const columns = [Float64Array.of(1, 2, 4), Float64Array.of(0, 0, 0), Float64Array.of(-1, 5, 2)];
  const drawn = bootstrapOf(columns.length, { count: 3, seed: 7 })?.drawn(3);
  expect(drawn).toEqual(drawResamples(3, { seed: 7 }));
  if (drawn === undefined) return;
  const of = (cell: number) => bootstrapMean(columns[cell] ?? [], drawn);
  const found = intervalVariables("z", { dims: ["head"], unit: "logit", over: "prompts", cells: 3, of });
  expect(Object.keys(found)).toEqual(["z_ci_low", "z_ci_high"]);
  expect(found.z_ci_low).toEqual({
    dims: ["head"],
    data: Float64Array.from(columns, (_, cell) => of(cell).low),
    attrs: { unit: "logit", long_name: "95 % bootstrap interval over prompts, low" },
  });
  expect(found.z_ci_high?.data).toEqual(Float64Array.from(columns, (_, cell) => of(cell).high));
});
