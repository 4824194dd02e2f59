/** @file One expression for each operation, over random sizes: what engines and derivatives are tested on. */

import fc from "fast-check";
import { resolve } from "../../src/backend/dims.ts";
import { random } from "../../src/core/random.ts";
import { sizeOf, type Tensor, tensor } from "../../src/core/tensor.ts";
import type { OpName, Shape } from "../../src/program/ops.ts";
import type { Builder, Program, Value } from "../../src/program/program.ts";
import { builder } from "../../src/program/program.ts";

/** Sizes of one example; H = groups × times, token = row × dst. */
export interface Sizes {
  readonly row: number;
  readonly dst: number;
  readonly src: number;
  readonly groups: number;
  readonly times: number;
  readonly width: number;
  readonly out: number;
  /** Chooses between forms of an operation. */
  readonly form: number;
}

export const sizes: fc.Arbitrary<Sizes> = fc.record({
  row: fc.integer({ min: 1, max: 3 }),
  dst: fc.integer({ min: 1, max: 4 }),
  src: fc.integer({ min: 1, max: 5 }),
  groups: fc.integer({ min: 1, max: 3 }),
  times: fc.integer({ min: 1, max: 3 }),
  width: fc.integer({ min: 1, max: 4 }).map((half) => 2 * half),
  out: fc.integer({ min: 1, max: 7 }),
  form: fc.nat(11),
});

const layout = ({ form }: Sizes): "out_in" | "in_out" => (form % 2 === 0 ? "out_in" : "in_out");
const activations = ["gelu", "gelu_tanh", "silu", "relu", "tanh"] as const;
const x = (b: Builder, shape: Shape): Value => b.state("x", shape);
const y = (b: Builder, shape: Shape): Value => b.state("y", shape);

/** Elementwise operations against a full, a kept-as-1 and a missing axis, on either side. */
function broadcast(op: "add" | "sub" | "mul" | "div") {
  return (b: Builder, { width, form }: Sizes): Value => {
    const args = [x(b, ["token", width]), y(b, [["token", width], ["token", 1], [width]][form % 3] as Shape)];
    return b.op(op, form % 2 === 0 ? args : args.toReversed());
  };
}

const rank4 = (b: Builder, s: Sizes): Value => x(b, ["row", s.groups, "dst", s.width]);

/** Inputs of kind state are called x and y. A missing expression does not compile. */
const expressions: { readonly [K in OpName]: (b: Builder, sizes: Sizes) => Value } = {
  linear(b, s) {
    const weight = layout(s) === "out_in" ? [s.out, s.width] : [s.width, s.out];
    const bias = s.form % 3 === 0 ? [] : [b.weight("bias", [s.out])];
    return b.op("linear", [x(b, ["token", s.width]), b.weight("w", weight), ...bias], { layout: layout(s) });
  },
  head_linear(b, s) {
    const inputs = s.groups * s.width;
    const weight = layout(s) === "out_in" ? [s.out, inputs] : [inputs, s.out];
    const z = x(b, ["token", s.groups, s.width]);
    return b.op("head_linear", [z, b.weight("w", weight)], { layout: layout(s) });
  },
  sum_heads: (b, s) => b.op("sum_heads", [x(b, ["token", s.groups, s.width])]),
  take_rows(b, s) {
    const ids = b.context("ids", s.form % 2 === 0 ? ["token"] : ["row", "src"], "int");
    const row = s.form % 3 === 0 ? [s.width] : [s.groups, s.width];
    return b.op("take_rows", [ids, b.weight("w", [9, ...row])]);
  },
  concat(b, s) {
    const tables = [x(b, ["token", s.groups, s.width]), y(b, ["src", s.groups, s.width])];
    return b.op("concat", s.form % 3 === 0 ? tables.slice(0, 1) : tables, { size: "all" });
  },
  add: broadcast("add"),
  sub: broadcast("sub"),
  mul: broadcast("mul"),
  div: broadcast("div"),
  scale: (b, s) => b.op("scale", [rank4(b, s)], { by: s.out / 3 }),
  shift: (b, s) => b.op("shift", [rank4(b, s)], { by: s.out / 3 }),
  mean: (b, s) => b.op("mean", [rank4(b, s)]),
  rms: (b, s) => b.op("rms", [rank4(b, s)], { eps: 1e-3 * s.out }),
  activation: (b, s) => b.op("activation", [rank4(b, s)], { kind: activations[s.form % 5] }),
  reshape(b, s) {
    // One unknown size is inferred, two must be fed.
    const shape: Shape = s.form % 2 === 0 ? ["token", 2, s.width / 2] : ["row", "dst", s.width / 2, 2];
    return b.op("reshape", [x(b, ["token", s.width])], { shape });
  },
  identity: (b, s) => b.op("identity", [rank4(b, s)]),
  rotary(b, s) {
    const dims = s.form % 3 === 0 ? s.width : 2;
    const tables = [b.context("cos", ["token", dims / 2]), b.context("sin", ["token", dims / 2])];
    const style = s.form % 2 === 0 ? "half" : "interleaved";
    return b.op("rotary", [x(b, ["token", s.groups, s.width]), ...tables], { dims, style });
  },
  repeat_heads(b, s) {
    const shape: Shape = s.form % 2 === 0 ? ["row", "src", s.groups, s.width] : ["token", s.groups, s.width];
    return b.op("repeat_heads", [x(b, shape)], { times: s.times });
  },
  query_key(b, s) {
    const heads = s.groups * s.times;
    return b.op("query_key", [x(b, ["row", "dst", heads, s.width]), y(b, ["row", "src", s.groups, s.width])]);
  },
  softmax: (b, s) => b.op("softmax", [rank4(b, s)]),
  pattern_value(b, s) {
    const pattern = x(b, ["row", s.groups * s.times, "dst", "src"]);
    return b.op("pattern_value", [pattern, y(b, ["row", "src", s.groups, s.width])]);
  },
  logsumexp: (b, s) => b.op("logsumexp", [rank4(b, s)]),
  expand(b, s) {
    const shape: Shape = ([["row", 1, "dst", 1], [s.width], ["dst", 1], [1]] as const)[s.form % 4] ?? [];
    return b.op("expand", [y(b, shape), rank4(b, s)]);
  },
  sum_to(b, s) {
    const shape: Shape = ([["row", 1, "dst", 1], [s.width], ["dst", 1], [1]] as const)[s.form % 4] ?? [];
    return b.op("sum_to", [rank4(b, s)], { shape });
  },
  sum_groups(b, s) {
    const heads = s.groups * s.times;
    const shape: Shape = s.form % 2 === 0 ? ["row", "src", heads, s.width] : ["token", heads, s.width];
    return b.op("sum_groups", [x(b, shape)], { times: s.times });
  },
  head_linear_transposed(b, s) {
    const inputs = s.groups * s.width;
    const weight = layout(s) === "out_in" ? [s.out, inputs] : [inputs, s.out];
    const y = x(b, ["token", s.groups, s.out]);
    return b.op("head_linear_transposed", [y, b.weight("w", weight)], { layout: layout(s) });
  },
  transpose: (b, s) => b.op("transpose", [rank4(b, s)]),
  slope: (b, s) => b.op("slope", [rank4(b, s)], { kind: activations[s.form % 5] }),
};

/** The expression of an operation as a program with the site `result`, and the sizes of its symbols. */
export function expression(
  op: OpName,
  sizes: Sizes,
): { readonly program: Program; readonly dims: Readonly<Record<string, number>> } {
  const b = builder();
  b.site("result", expressions[op](b, sizes));
  const { row, dst, src } = sizes;
  return { program: b.build(["result"]), dims: { row, dst, src, token: row * dst } };
}

/** Random values for every input, in the precision of float32. */
export function inputsOf(program: Program, dims: Readonly<Record<string, number>>): Record<string, Tensor> {
  const { normal, integer } = random(7);
  const bound = new Map(Object.entries(dims));
  return Object.fromEntries(
    program.inputs.map(({ name, shape, role }) => {
      const numbers = resolve(shape, bound);
      const length = sizeOf(numbers);
      const data =
        role.kind === "context" && role.dtype === "int"
          ? Int32Array.from({ length }, () => integer(9))
          : Float32Array.from({ length }, normal);
      return [name, tensor(data, numbers)];
    }),
  );
}

export const operations: readonly OpName[] = Object.keys(expressions) as OpName[];
