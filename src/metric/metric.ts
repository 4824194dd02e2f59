/** @file The metrics: numbers that say how far a run's next-token distribution is from the clean behaviour. */
import { inputError } from "../core/errors.ts";
import type { FloatArray } from "../core/tensor.ts";
import { klDivergence, logSumExp } from "../numeric/logits.ts";
import { mean } from "../numeric/statistics.ts";
import { type AnswerColumns, type MetricName, type MetricPlan, metricNames } from "./plan.ts";

/** What the model provided at one position of the plan, for one row. */
export interface PositionLogits {
  /** [column] logits of the position's columns, in the plan's order. */
  readonly columns: ArrayLike<number>;
  /** log Σ exp over the vocabulary, in nats, where the plan asks for it. */
  readonly logsumexp?: number | undefined;
  /** [vocab] where the plan asks for all logits. */
  readonly logits?: FloatArray | undefined;
}

/** One row: what was read at each position of the plan. */
export type MetricInput = readonly PositionLogits[];

export interface Metric {
  readonly unit: "logit" | "nat" | "1";
  /** Whether a larger value means more of the clean behaviour. */
  readonly higherIsClean: boolean;
  readonly formula: string;
  /**
   * Smallest |clean − corrupt| that may be divided by. Logits of the float32 engine are within 5e-5 of float64's
   * (design goal): over a gap of this size that rounding moves a normalised score by 5 to 10 %, over a smaller one by more.
   */
  smallestGap(clean: number, corrupt: number): number;
  /** `clean` is the clean run's row; only the KL metrics read it. */
  evaluate(plan: MetricPlan, row: MetricInput, clean: MetricInput): number;
}

const SMALLEST_LOGIT_GAP = 1e-3; // 5e-5 of rounding is 5 % of it

const ofLogits = (): number => SMALLEST_LOGIT_GAP;
/** The error of a KL of D is about √(2D) times that of the logits: 7e-8 at 1e-6. */
const ofDivergences = (): number => 1e-6;
/** A change of a probability by one part in a thousand is one of its logarithm by 1e-3. */
const ofProbabilities = (clean: number, corrupt: number): number =>
  SMALLEST_LOGIT_GAP * Math.max(Math.abs(clean), Math.abs(corrupt));

/** Complete by type. */
export const metrics: { readonly [K in MetricName]: Metric } = {
  logit_diff: {
    unit: "logit",
    higherIsClean: true,
    formula: "mean logit of the answers − mean logit of the foils",
    smallestGap: ofLogits,
    evaluate: (plan, row) => meanLogit(plan.answers, row) - meanLogit(plan.foils, row),
  },
  logprob: {
    unit: "nat",
    higherIsClean: true,
    formula: "log P(any of the answers)",
    smallestGap: ofLogits,
    evaluate: (plan, row) => logSumExp(answerLogprobs(plan, row)),
  },
  prob: {
    unit: "1",
    higherIsClean: true,
    formula: "P(any of the answers), the sum of theirs",
    smallestGap: ofProbabilities,
    evaluate: (plan, row) => answerLogprobs(plan, row).reduce((sum, logprob) => sum + Math.exp(logprob), 0),
  },
  loss: {
    unit: "nat",
    higherIsClean: false,
    formula: "−log P(any of the answers)",
    smallestGap: ofLogits,
    evaluate: (plan, row) => -logSumExp(answerLogprobs(plan, row)),
  },
  kl: {
    unit: "nat",
    higherIsClean: false,
    formula: "KL(clean ‖ edited run) of the next token",
    smallestGap: ofDivergences,
    evaluate: (_plan, row, clean) => klDivergence(allLogits(clean), allLogits(row)),
  },
  kl_reverse: {
    unit: "nat",
    higherIsClean: false,
    formula: "KL(edited run ‖ clean) of the next token",
    smallestGap: ofDivergences,
    evaluate: (_plan, row, clean) => klDivergence(allLogits(row), allLogits(clean)),
  },
};

/**
 * The metric of one row, in float64. `clean` is the clean run's row of the same plan: the KL metrics are distances
 * from it, so that of the clean run itself is exactly 0; the others do not look at it.
 */
export function evaluateMetric(plan: MetricPlan, row: MetricInput, clean: MetricInput): number {
  return metrics[plan.metric].evaluate(plan, row, clean);
}

/** What a plan reads of whole rows of logits, one [vocab] per position of the plan. */
export function readLogits(plan: MetricPlan, logits: readonly FloatArray[]): MetricInput {
  return plan.positions.map(({ columns, logsumexp, fullLogits }, step): PositionLogits => {
    const row = logits[step];
    if (row === undefined)
      throw new RangeError(`${plan.positions.length} rows of logits wanted, ${logits.length} given`);
    return {
      columns: columns.map((id) => row[id] ?? NaN),
      logsumexp: logsumexp ? logSumExp(row) : undefined,
      logits: fullLogits ? row : undefined,
    };
  });
}

/** Checks a metric's name. @throws InputError naming those there are. */
export function requireMetric(name: string, where = "--metric"): MetricName {
  const known = metricNames.find((metric) => metric === name);
  if (known === undefined) throw inputError(where, JSON.stringify(name), `one of ${metricNames.join(", ")}`);
  return known;
}

/** [answer] log P(answer | prompt) in nats: the sum over its tokens. */
export function answerLogprobs(plan: MetricPlan, row: MetricInput): Float64Array {
  const ofToken = (column: number, step: number): number => {
    const { logsumexp } = at(row, step);
    if (logsumexp === undefined)
      throw new RangeError(`${plan.metric} needs the logsumexp of position ${step}`);
    return logitAt(row, { step, column }) - logsumexp;
  };
  return Float64Array.from(plan.answers, (columns) =>
    columns.map(ofToken).reduce((sum, logprob) => sum + logprob, 0),
  );
}

function meanLogit(options: readonly AnswerColumns[], row: MetricInput): number {
  return mean(options.map(([column = -1]) => logitAt(row, { step: 0, column })));
}

function logitAt(
  row: MetricInput,
  { step, column }: { readonly step: number; readonly column: number },
): number {
  const logit = at(row, step).columns[column];
  if (logit === undefined) throw new RangeError(`no column ${column} at position ${step} of the metric`);
  return logit;
}

function allLogits(row: MetricInput): FloatArray {
  const { logits } = at(row, 0);
  if (logits === undefined) throw new RangeError("a KL metric needs all logits of both runs");
  return logits;
}

function at(row: MetricInput, step: number): PositionLogits {
  const position = row[step];
  if (position === undefined) throw new RangeError(`no position ${step} in a row of ${row.length}`);
  return position;
}
