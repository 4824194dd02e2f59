import { expect, test } from "vitest";
import { baselineAttributes } from "./baselines.ts";

test("means of both runs, of several pairs with an interval from the same resamples for both", () => {
  const clean = Float64Array.of(1, 5);
  expect(baselineAttributes({ clean, corrupt: clean.map((value) => -value) }, { seed: 0 })).toEqual({
    baseline_clean: 3,
    baseline_clean_ci_low: 1,
    baseline_clean_ci_high: 5,
    baseline_corrupt: -3,
    baseline_corrupt_ci_low: -5,
    baseline_corrupt_ci_high: -1,
  });
  expect(baselineAttributes({ clean: clean.slice(1), corrupt: clean.slice(0, 1) }, { seed: 0 })).toEqual({
    baseline_clean: 5,
    baseline_corrupt: 1,
  });
});
