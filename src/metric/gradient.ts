/** @file Gradients of the metrics with respect to the logits: what backpropagation through the model starts from. */
import type { FloatArray } from "../core/tensor.ts";
import { klGradientOfFirst, klGradientOfSecond, logSumExp, softmax } from "../numeric/logits.ts";
import { answerLogprobs, readLogits } from "./metric.ts";
import type { AnswerColumns, MetricName, MetricPlan } from "./plan.ts";

/** Rows of logits, one [vocab] per position of the plan. */
type Rows = readonly FloatArray[];
type Gradient = (plan: MetricPlan, rows: Rows, clean: Rows) => Float64Array[];

/** Complete by type. Derivations: with p the softmax of a row, ∂ log p_a / ∂ logits = e_a − p. */
const gradients: { readonly [K in MetricName]: Gradient } = {
  logit_diff: (plan, rows) => {
    const gradient = rows.map((row) => new Float64Array(row.length));
    addFirstTokens(gradient, plan, { options: plan.answers, weight: 1 / plan.answers.length });
    addFirstTokens(gradient, plan, { options: plan.foils, weight: -1 / plan.foils.length });
    return gradient;
  },
  logprob: (plan, rows) => logprobGradient(plan, rows, 1),
  // ∂P = P ∂ log P
  prob: (plan, rows) => logprobGradient(plan, rows, Math.exp(anyLogprob(plan, rows))),
  loss: (plan, rows) => logprobGradient(plan, rows, -1),
  kl: (_plan, rows, clean) => rows.map((row, step) => klGradientOfSecond(clean[step] ?? row, row)),
  kl_reverse: (_plan, rows, clean) => rows.map((row, step) => klGradientOfFirst(row, clean[step] ?? row)),
};

/**
 * ∂ metric / ∂ logits at each position of the plan, [position][vocab], in float64.
 * `rows` and `clean` hold whole rows of logits, one per position; only the KL metrics read `clean`.
 */
export function metricGradient(plan: MetricPlan, rows: Rows, clean: Rows): Float64Array[] {
  const wanted = plan.positions.length;
  if (rows.length !== wanted || clean.length !== wanted) {
    throw new RangeError(`${wanted} rows of logits wanted, ${rows.length} and ${clean.length} given`);
  }
  return gradients[plan.metric](plan, rows, clean);
}

function anyLogprob(plan: MetricPlan, rows: Rows): number {
  return logSumExp(answerLogprobs(plan, readLogits(plan, rows)));
}

/** Each answer counts by its share of P(any); at each of its positions it pulls its token up and the rest down. */
function logprobGradient(plan: MetricPlan, rows: Rows, scale: number): Float64Array[] {
  const shares = softmax(answerLogprobs(plan, readLogits(plan, rows)));
  return rows.map((row, step) => {
    const gradient = softmax(row);
    let reading = 0;
    for (const [index, columns] of plan.answers.entries())
      if (step < columns.length) reading += shares[index] ?? 0;
    for (let i = 0; i < gradient.length; i++) gradient[i] = -(gradient[i] ?? 0) * reading * scale;
    for (const [index, columns] of plan.answers.entries()) {
      const id = plan.positions[step]?.columns[columns[step] ?? -1];
      if (id !== undefined) gradient[id] = (gradient[id] ?? 0) + (shares[index] ?? 0) * scale;
    }
    return gradient;
  });
}

function addFirstTokens(
  gradient: readonly Float64Array[],
  plan: MetricPlan,
  { options, weight }: { readonly options: readonly AnswerColumns[]; readonly weight: number },
): void {
  const first = gradient[0];
  for (const [column = -1] of options) {
    const id = plan.positions[0]?.columns[column];
    if (first !== undefined && id !== undefined) first[id] = (first[id] ?? 0) + weight;
  }
}
