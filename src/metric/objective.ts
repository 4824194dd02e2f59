/** @file Metrics as what gradients are taken of. */
import type { FloatArray } from "../core/tensor.ts";
import type { GradientRun, Objective } from "../run/end-gradients.ts";
import { metricGradient } from "./gradient.ts";
import { evaluateMetric, readLogits } from "./metric.ts";
import type { MetricPlan } from "./plan.ts";

/**
 * A metric of a run as an objective, and its gradient by the logits. The KL metrics, distances from the clean run,
 * need the clean run's logits at the plan's positions, [position][vocab].
 */
export function metricObjective(plan: MetricPlan, clean?: readonly FloatArray[]): Objective {
  const positions = plan.positions.map(({ pos }) => pos);
  const few = plan.positions.every(({ logsumexp, fullLogits }) => !logsumexp && !fullLogits);
  const columns = [...new Set(plan.positions.flatMap((position) => position.columns))];
  // Where a few columns are all that is read, the plan reads them by their places.
  const read: MetricPlan = few
    ? {
        ...plan,
        positions: plan.positions.map((position) => ({
          ...position,
          columns: position.columns.map((id) => columns.indexOf(id)),
        })),
      }
    : plan;
  return {
    positions,
    ...(few ? { columns } : {}),
    evaluate(logits) {
      const reference = clean ?? logits;
      return {
        value: evaluateMetric(read, readLogits(read, logits), readLogits(read, reference)),
        gradient: metricGradient(read, logits, reference),
      };
    },
  };
}

/** A prompt with what the metric appends, and the metric. */
export function metricRun(
  ids: readonly number[],
  plan: MetricPlan,
  clean?: readonly FloatArray[],
): GradientRun {
  return { ids: [...ids, ...plan.appended], objective: metricObjective(plan, clean) };
}
