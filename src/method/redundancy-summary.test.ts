/** @file Laws of the variables of changed layers. */
import { expect, test } from "vitest";
import { meanOver } from "./mean-over.ts";
import { described, sampleOf } from "./redundancy-summary.ts";
import type { ChangedText } from "./redundancy-values.ts";

/** A text whose loss each of two deletions moves by so many nats. */
const text = (loss: number, moved: readonly number[]): ChangedText => ({
  loss,
  changed: {
    delete: {
      loss: Float64Array.from(moved, (by) => loss + by),
      agreement: new Float64Array(2).fill(1),
      kl: new Float64Array(2),
    },
  },
  influence: new Float64Array(2),
});

test("a change that is the same on every text has an interval without width, whatever the texts lose themselves", () => {
  const texts = [text(2, [0.5, 0.25]), text(4, [0.5, 0.5]), text(7, [0.5, 0.75])]; // exact in binary
  const { dataVars } = meanOver(texts.map(sampleOf), {
    unit: "nat",
    quantity: "metric",
    perSample: false,
    seed: 3,
  });
  const of = (name: string): number[] => Array.from(dataVars[name]?.data ?? [], Number);
  expect(of("delete_effect")).toEqual([0.5, 0.5]);
  expect(of("delete_effect_ci_low")).toEqual([0.5, 0.25]);
  expect(of("delete_effect_ci_high")).toEqual([0.5, 0.75]);
  expect(of("delete_ci_low")).toEqual([2.5, 2.25]);
  expect(of("delete_ci_high")).toEqual([7.5, 7.75]);
});

test("bounds of an interval keep their own words and take the unit of what they bound", () => {
  const bound = { dims: ["layer"], data: [0], attrs: { unit: "nat", long_name: "interval, low" } };
  expect(described("delete_agreement_ci_low", bound).attrs).toEqual({
    unit: "1",
    detail: true,
    long_name: "interval, low",
  });
  expect(described("delete_ci_low", bound)).toEqual(bound);
});
