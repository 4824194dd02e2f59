/** @file Weighted sums of vectors, by the model's engine. */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Program } from "../program/program.ts";
import { builder } from "../program/program.ts";

const PROGRAM: Program = (() => {
  const b = builder();
  const [weights, values] = [b.state("weights", ["sum", "vector"]), b.state("values", ["vector", "feature"])];
  b.site("sums", b.op("linear", [weights, values], { layout: "in_out" }));
  return b.build(["sums"]);
})();

/** weights [sum, vector] and `count` vectors of values [vector, feature] → [sum, feature]. */
export async function mixtures(
  { backend }: Model,
  {
    weights,
    values,
    count,
  }: { readonly weights: FloatArray; readonly values: FloatArray; readonly count: number },
): Promise<FloatArray> {
  const executable = await backend.compile(PROGRAM);
  const { sums } = await executable.run({
    weights: { data: weights, shape: [weights.length / count, count] },
    values: { data: values, shape: [count, values.length / count] },
  });
  if (sums === undefined) throw new Error("no sums were returned");
  return sums.data;
}
