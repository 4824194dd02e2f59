/** @file From pairs and a metric to the runs that are differentiated. */

import type { Direction } from "../metric/normalise.ts";
import { metricObjective } from "../metric/objective.ts";
import type { MetricPlan } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { logitsAt } from "../run/end-gradients.ts";
import type { AttributionPair } from "./attribution-estimate.ts";

/** Base and source of each pair, with the metric as objective; `plans` has one for each. */
export async function attributionRuns(
  model: Model,
  pairs: readonly Pair[],
  { plans, direction }: { readonly plans: readonly MetricPlan[]; readonly direction: Direction },
): Promise<AttributionPair[]> {
  const runs: AttributionPair[] = [];
  for (const [index, { clean, corrupt }] of pairs.entries()) {
    const plan = plans[index] as MetricPlan;
    const whole = (ids: readonly number[]): readonly number[] => [...ids, ...plan.appended];
    const distant = plan.metric === "kl" || plan.metric === "kl_reverse";
    const positions = plan.positions.map(({ pos }) => pos);
    const reference = distant ? await logitsAt(model, whole(clean.ids), positions) : undefined;
    const objective = metricObjective(plan, reference);
    const [base, source] = direction === "denoise" ? [corrupt, clean] : [clean, corrupt];
    runs.push({ base: { ids: whole(base.ids), objective }, source: { ids: whole(source.ids), objective } });
  }
  return runs;
}
