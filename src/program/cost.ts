/** @file What a program costs: multiply-adds counted as two floating-point operations each. */

import type { Dim } from "./ops.ts";
import type { Program } from "./program.ts";
import { shapeOf } from "./program.ts";

/** FLOPs of the matrix products with weights, per token; everything else is small beside them. */
export function linearFlopsPerToken(program: Program): number {
  return program.nodes.reduce((sum, node) => {
    const [x = "", weight = ""] = node.args;
    if (node.op === "linear") {
      const out = sizes(shapeOf(program, node.out)).at(-1) ?? 0;
      return sum + 2 * (sizes(shapeOf(program, x)).at(-1) ?? 0) * out;
    }
    if (node.op === "head_linear") {
      const [rows = 0, columns = 0] = sizes(shapeOf(program, weight));
      return sum + 2 * rows * columns;
    }
    return sum;
  }, 0);
}

/** FLOPs of attention over one query and one key, all heads: scores and mixing of values. */
export function attentionFlopsPerCell(architecture: {
  readonly heads: number;
  readonly dHead: number;
}): number {
  return 4 * architecture.heads * architecture.dHead;
}

/** Known sizes of a shape; symbols count as 0, and only feature axes are looked at. */
function sizes(shape: readonly Dim[]): number[] {
  return shape.map((dim) => (typeof dim === "number" ? dim : 0));
}
