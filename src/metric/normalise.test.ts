/** @file Laws of normalised scores. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { preparePairs } from "../model/pair.ts";
import { wordTokenizer } from "../model/pair-fixtures.ts";
import { bootstrapRatio, drawResamples } from "../numeric/statistics.ts";
import { baselineWarnings, type Direction, normaliseMean, normaliser, ratioParts } from "./normalise.ts";
import type { MetricName } from "./plan.ts";

const number = fc.double({ min: -100, max: 100, noNaN: true });
const options = (metric: MetricName, direction: Direction) => ({ metric, direction });

describe("of one pair", () => {
  test("the endpoints are exactly 0 and 1", () => {
    fc.assert(
      fc.property(number, number, (clean, corrupt) => {
        fc.pre(Math.abs(clean - corrupt) >= 1e-3);
        const restored = normaliser({ clean, corrupt }, options("logit_diff", "denoise"));
        const damage = normaliser({ clean, corrupt }, options("logit_diff", "noise"));
        expect(restored(corrupt) === 0 && restored(clean) === 1).toBe(true);
        expect(damage(clean) === 0 && damage(corrupt) === 1).toBe(true);
      }),
    );
  });

  test("denoising a pair and noising it with all roles swapped give the same score", () => {
    // Swapping clean with corrupt and answer with foil turns a logit difference v into −v.
    fc.assert(
      fc.property(number, number, number, (clean, corrupt, value) => {
        fc.pre(Math.abs(clean - corrupt) >= 1e-3);
        const score = normaliser({ clean, corrupt }, options("logit_diff", "denoise"))(value);
        const swapped = normaliser(
          { clean: -corrupt, corrupt: -clean },
          options("logit_diff", "noise"),
        )(-value);
        expect(swapped).toBe(score);
      }),
    );
  });

  test("a KL restores by 1 − D/D_corrupt", () => {
    expect(normaliser({ clean: 0, corrupt: 4 }, options("kl", "denoise"))(1)).toBe(1 - 1 / 4);
    expect(normaliser({ clean: 0, corrupt: 4 }, options("kl", "noise"))(1)).toBe(1 / 4);
  });

  test("baselines too close for the metric's unit are refused; the same gap may do in another", () => {
    const at = (metric: MetricName, clean: number, corrupt: number) => () =>
      normaliser({ clean, corrupt }, { ...options(metric, "denoise"), where: "pair 3" });
    expect(at("logit_diff", 2, 2.0005)).toThrow(
      /^pair 3: found logit_diff 2 on clean and 2\.0005 on corrupt/,
    );
    expect(at("kl", 0, 0.0005)).not.toThrow();
    expect(at("prob", 0.0006, 0.0001)).not.toThrow();
    expect(at("prob", 0.9, 0.9005)).toThrow("wanted at least 0.0009");
    expect(at("prob", 0, 0)).toThrow("0 apart");
    expect(at("logprob", NaN, 1)).toThrow("NaN apart");
  });
});

describe("of a data set", () => {
  // Nine pairs half restored; in the tenth the model hardly tells clean from corrupt.
  const scores = {
    clean: [...Array(9).fill(4), 0.002],
    corrupt: [...Array(9).fill(0), 0],
    value: [...Array(9).fill(2), 2],
  };

  test("the ratio of means withstands a pair with almost no gap, the mean of ratios explodes", () => {
    const mean = (averaging: "ratio-of-means" | "mean-of-ratios") =>
      normaliseMean(scores, { ...options("logit_diff", "denoise"), averaging });
    expect(mean("ratio-of-means")).toBeCloseTo(20 / 36.002, 12);
    expect(mean("mean-of-ratios")).toBeCloseTo((9 * 0.5 + 1000) / 10, 9);
  });

  test("both averages agree where all pairs have the same gap, in both directions", () => {
    fc.assert(
      fc.property(fc.array(number, { minLength: 1, maxLength: 8 }), (value) => {
        const same = { clean: value.map(() => 3), corrupt: value.map(() => -1), value };
        for (const direction of ["denoise", "noise"] as const) {
          const [first, second] = (["ratio-of-means", "mean-of-ratios"] as const).map((averaging) =>
            normaliseMean(same, { ...options("logit_diff", direction), averaging }),
          );
          expect(first).toBeCloseTo(second, 10);
        }
      }),
    );
  });

  test("the bootstrap's estimate is the ratio of means", () => {
    const parts = ratioParts(scores, "denoise");
    const { estimate, low, high } = bootstrapRatio(parts, drawResamples(10, { seed: 2 }));
    expect(estimate).toBe(
      normaliseMean(scores, { ...options("logit_diff", "denoise"), averaging: "ratio-of-means" }),
    );
    expect(low).toBeLessThan(estimate);
    expect(high).toBeGreaterThan(estimate);
  });

  test("the mean of ratios names every pair without a gap", () => {
    const flat = { clean: [1, 2, 3], corrupt: [1, 0, 3], value: [1, 1, 1] };
    const action = () =>
      normaliseMean(flat, { ...options("logit_diff", "noise"), averaging: "mean-of-ratios" });
    expect(action).toThrow(
      /^pair 1: found logit_diff 1 on clean and 1 on corrupt.*\npair 3: found logit_diff 3/,
    );
  });
});

test("baselines that show no behaviour are warned of with their numbers", () => {
  const spec = { clean: "a b", corrupt: "a c", answer: " d", foil: " e" };
  const { pairs } = preparePairs(
    [spec, { ...spec, clean: "a f" }, { ...spec, clean: "a g" }],
    wordTokenizer(),
  );
  const runs = [
    { clean: 2, corrupt: -2 },
    { clean: -0.25, corrupt: -2 },
    { clean: 1, corrupt: 1.5 },
  ];
  expect(baselineWarnings(pairs, runs, "logit_diff")).toEqual([
    "pair 2: the model prefers the foil on the clean prompt: logit_diff -0.2500 logit on clean, -2.000 logit on corrupt",
    "pair 3: the clean prompt does not favour the answer over the corrupt one: logit_diff 1.000 logit on clean, 1.500 logit on corrupt",
  ]);
  const many = Array.from({ length: 5 }, () => pairs[1] as (typeof pairs)[number]);
  expect(
    baselineWarnings(
      many,
      many.map(() => runs[1] as (typeof runs)[number]),
      "logit_diff",
    ),
  ).toEqual([
    `5 of 5 pairs: the model prefers the foil on the clean prompt (${Array(3).fill("pair 2: logit_diff -0.2500 logit on clean, -2.000 logit on corrupt").join("; ")}; …)`,
  ]);
  // A loss is the other way round: less is better.
  expect(baselineWarnings(pairs, runs, "loss").map((warning) => warning.slice(0, 6))).toEqual([
    "pair 1",
    "pair 2",
  ]);
});
