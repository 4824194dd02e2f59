/** @file Metrics against closed forms, and their laws on a Markov chain that stands in for a model. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../core/errors.ts";
import { type Pair, preparePairs } from "../model/pair.ts";
import { wordTokenizer } from "../model/pair-fixtures.ts";
import type { PairSpec } from "../model/pair-spec.ts";
import { metricGradient } from "./gradient.ts";
import { evaluateMetric, readLogits, requireMetric } from "./metric.ts";
import {
  defaultMetric,
  type MetricName,
  type MetricPlan,
  metricNames,
  metricPlan,
  metricPlans,
} from "./plan.ts";

// Word tokens get the ids 1 … 6 in this order; 0 is the BOS that no prompt here has.
const vocabulary = ["a", " a", " b", " c", " d", " e"];
const size = vocabulary.length + 1;
const tokenizer = wordTokenizer();
for (const word of vocabulary) tokenizer.encode(word);

function pairOf(spec: Partial<PairSpec>): Pair {
  const [pair] = preparePairs([{ clean: "a b", corrupt: "a c", ...spec }], tokenizer).pairs;
  if (pair === undefined) throw new Error("no pair");
  return pair;
}

const logits = fc
  .array(fc.double({ min: -20, max: 20, noNaN: true }), { minLength: size, maxLength: size })
  .map((values) => Float64Array.from(values));
/** Logits of the next token after each token: a language model with a memory of one. */
const chain = fc.array(logits, { minLength: size, maxLength: size });

/** The rows of logits at the plan's positions, for a Markov chain. */
function run(plan: MetricPlan, pair: Pair, model: readonly Float64Array[]): Float64Array[] {
  const ids = [...pair.clean.ids, ...plan.appended];
  return plan.positions.map(({ pos }) => model[ids[pos]]);
}

function evaluate(plan: MetricPlan, rows: readonly Float64Array[], clean = rows): number {
  return evaluateMetric(plan, readLogits(plan, rows), readLogits(plan, clean));
}

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return "accepted";
}

describe("plan", () => {
  test("of single-token answers reads their columns at the prompt's last position", () => {
    const pair = pairOf({ answer: [" b", " c"], foil: " d" });
    expect(metricPlan(pair, "logit_diff")).toEqual({
      metric: "logit_diff",
      appended: [],
      positions: [{ pos: 1, columns: [3, 4, 5], logsumexp: false, fullLogits: false }],
      answers: [[0], [1]],
      foils: [[2]],
    });
    expect(metricPlan(pair, "kl").positions).toEqual([
      { pos: 1, columns: [], logsumexp: false, fullLogits: true },
    ]);
  });

  test("of a longer answer appends all its tokens but the last and reads after each", () => {
    expect(metricPlan(pairOf({ answer: [" b c d", " e", " b e"] }), "prob")).toEqual({
      metric: "prob",
      appended: [3, 4],
      positions: [
        { pos: 1, columns: [3, 6], logsumexp: true, fullLogits: false },
        { pos: 2, columns: [4, 6], logsumexp: true, fullLogits: false },
        { pos: 3, columns: [5], logsumexp: true, fullLogits: false },
      ],
      answers: [[0, 0, 0], [1], [0, 1]],
      foils: [],
    });
  });

  test("refuses every pair the metric is not defined on, tokens shown", () => {
    const pairs = [pairOf({ answer: " b c", foil: " d" }), pairOf({ answer: " b" })];
    expect(refusal(() => metricPlans(pairs, "logit_diff")).split("\n")).toEqual([
      'pair 1, answer: found " b c", 2 tokens: [" b" " c"]; wanted one token for the metric logit_diff. Choose a text of one token, or use the metric logprob, prob or loss.',
      "pair 1, foil: found none; wanted at least one for the metric logit_diff. Give one, or use the metric logprob.",
    ]);
    expect(refusal(() => metricPlan(pairOf({}), "prob"))).toMatch(
      /answer: found none.*Give one, or use the metric kl/,
    );
    expect(refusal(() => metricPlan(pairOf({}), "kl_reverse"))).toBe("accepted");
  });

  test("refuses answers that need different forced runs", () => {
    expect(refusal(() => metricPlan(pairOf({ answer: [" b c d", " d c"] }), "logprob"))).toMatch(
      /found " d c" \[" d" " c"\], which parts from another answer before its last token/,
    );
  });

  test("default is logit_diff where a foil is given, else logprob", () => {
    expect(defaultMetric([pairOf({ answer: " b", foil: " c" })])).toBe("logit_diff");
    expect(defaultMetric([pairOf({ answer: " b" })])).toBe("logprob");
  });

  test("an unknown name is refused with those there are", () => {
    expect(refusal(() => requireMetric("logits"))).toBe(
      '--metric: found "logits"; wanted one of logit_diff, logprob, prob, kl, kl_reverse, loss.',
    );
  });
});

describe("values", () => {
  test("of a row with logits log 1 … log 7, so that P(id) = (id + 1)/28", () => {
    const row = Float64Array.from({ length: size }, (_, id) => Math.log(id + 1));
    const pair = pairOf({ answer: [" b", " d"], foil: [" a", " e"] }); // ids 3, 5 and 2, 6
    const value = (metric: MetricName) => evaluate(metricPlan(pair, metric), [row]);
    expect(value("prob")).toBeCloseTo(10 / 28, 14);
    expect(value("logprob")).toBeCloseTo(Math.log(10 / 28), 14);
    expect(value("loss")).toBe(-value("logprob"));
    expect(value("logit_diff")).toBeCloseTo(Math.log(4 * 6) / 2 - Math.log(3 * 7) / 2, 14);
  });

  test("answers that cover the vocabulary, one token or two, have probability 1", () => {
    // Every next token but " b", and " b" followed by each token: the ways a text can go on. BOS cannot be
    // written as text, so the chain never says it.
    const words = vocabulary.filter((word) => word !== "a");
    const answer = [...words.filter((word) => word !== " b"), ...words.map((word) => ` b${word}`)];
    const pair = pairOf({ answer });
    const plan = metricPlan(pair, "prob");
    fc.assert(
      fc.property(chain, (model) => {
        const silenced = model.map((row) => row.map((logit, id) => (id < 2 ? -Infinity : logit)));
        expect(evaluate(plan, run(plan, pair, silenced))).toBeCloseTo(1, 12);
      }),
    );
  });

  test("the log-probability of an answer is the sum over its tokens", () => {
    const pair = pairOf({ answer: " b c d" });
    fc.assert(
      fc.property(chain, (model) => {
        const one = (clean: string, answer: string) => {
          const step = pairOf({ clean, corrupt: clean.replace("a", " a"), answer });
          const plan = metricPlan(step, "logprob");
          return evaluate(plan, run(plan, step, model));
        };
        const plan = metricPlan(pair, "logprob");
        const whole = evaluate(plan, run(plan, pair, model));
        expect(whole).toBeCloseTo(one("a b", " b") + one("a b b", " c") + one("a b b c", " d"), 9);
      }),
    );
  });

  test("logit_diff changes sign, exactly, when answer and foil change places", () => {
    const pair = pairOf({ answer: [" b", " d"], foil: " c" });
    const swapped: Pair = {
      ...pair,
      clean: pair.corrupt,
      corrupt: pair.clean,
      answers: pair.foils,
      foils: pair.answers,
    };
    fc.assert(
      fc.property(logits, (row) => {
        const value = evaluate(metricPlan(pair, "logit_diff"), [row]);
        expect(evaluate(metricPlan(swapped, "logit_diff"), [row])).toBe(0 - value);
      }),
    );
  });

  test("KL of the clean run is exactly 0, otherwise positive, and its reverse swaps the runs", () => {
    const plan = (metric: MetricName) => metricPlan(pairOf({}), metric);
    fc.assert(
      fc.property(logits, logits, (row, clean) => {
        expect(evaluate(plan("kl"), [clean], [clean])).toBe(0);
        // Logits that differ by a constant are the same distribution.
        const differences = row.map((logit, id) => logit - clean[id]);
        fc.pre(Math.max(...differences) - Math.min(...differences) > 1e-3);
        expect(evaluate(plan("kl"), [row], [clean])).toBeGreaterThan(0);
        expect(evaluate(plan("kl_reverse"), [row], [clean])).toBe(evaluate(plan("kl"), [clean], [row]));
      }),
    );
  });
});

describe("gradients", () => {
  const moderate = fc
    .array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: size, maxLength: size })
    .map((values) => Float64Array.from(values));
  const specs: { readonly [K in MetricName]: Partial<PairSpec> } = {
    logit_diff: { answer: [" b", " d"], foil: [" c", " e"] },
    logprob: { answer: [" b c", " d", " b e"] },
    prob: { answer: [" b c", " d", " b e"] },
    loss: { answer: " b c d" },
    kl: {},
    kl_reverse: {},
  };

  test.each(metricNames)("of %s agree with central differences and sum to 0", (metric) => {
    const plan = metricPlan(pairOf(specs[metric]), metric);
    const rowsOf = fc.array(moderate, { minLength: plan.positions.length, maxLength: plan.positions.length });
    const step = 1e-5;
    fc.assert(
      fc.property(rowsOf, rowsOf, (rows, clean) => {
        const gradient = metricGradient(plan, rows, clean);
        for (const [position, row] of rows.entries()) {
          // Adding a constant to all logits changes no distribution and no difference.
          expect(gradient[position].reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 12);
          for (let id = 0; id < size; id++) {
            const moved = (by: number) =>
              rows.map((r, p) => (p === position ? row.with(id, row[id] + by) : r));
            const slope =
              (evaluate(plan, moved(step), clean) - evaluate(plan, moved(-step), clean)) / (2 * step);
            expect(Math.abs(gradient[position][id] - slope)).toBeLessThan(1e-8 * (1 + Math.abs(slope)));
          }
        }
      }),
      { numRuns: 30 },
    );
  });
});
