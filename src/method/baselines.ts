/** @file The unedited runs of a result: the metric's means over pairs, with their intervals. */
import { bootstrapMean, mean } from "../numeric/statistics.ts";
import type { Json } from "../result/result.ts";
import { bootstrapOf } from "./intervals.ts";

/**
 * `baseline_clean` and `baseline_corrupt`, means over pairs; with several pairs `baseline_clean_ci_low`, … too, 95 %
 * bootstrap intervals over pairs.
 */
export function baselineAttributes(
  { clean, corrupt }: { readonly clean: Float64Array; readonly corrupt: Float64Array },
  { seed }: { readonly seed: number },
): Record<string, Json> {
  const attrs: Record<string, Json> = {};
  for (const [run, values] of [["clean", clean] as const, ["corrupt", corrupt] as const]) {
    attrs[`baseline_${run}`] = mean(values);
    const bootstrap = bootstrapOf(2, { count: values.length, seed });
    if (bootstrap === undefined) continue;
    const { low, high } = bootstrapMean(values, bootstrap.drawn(values.length));
    attrs[`baseline_${run}_ci_low`] = low;
    attrs[`baseline_${run}_ci_high`] = high;
  }
  return attrs;
}
