/** @file Scalar products of many vectors with many others, by the model's engine. */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Program } from "../program/program.ts";
import { builder } from "../program/program.ts";

const PROGRAM: Program = (() => {
  const b = builder();
  const [left, right] = [b.state("left", ["left", "feature"]), b.state("right", ["right", "feature"])];
  b.site("product", b.op("linear", [left, right], { layout: "out_in" }));
  return b.build(["product"]);
})();

/** left [m, size] and right [n, size] → [m, n]. */
export async function products(
  { backend }: Model,
  { left, right, size }: { readonly left: FloatArray; readonly right: FloatArray; readonly size: number },
): Promise<FloatArray> {
  const executable = await backend.compile(PROGRAM);
  const { product } = await executable.run({
    left: { data: left, shape: [left.length / size, size] },
    right: { data: right, shape: [right.length / size, size] },
  });
  if (product === undefined) throw new Error("no product was returned");
  return product.data;
}
