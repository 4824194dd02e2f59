/** @file The reference backend: interprets programs in float64, one plain loop an operation. The oracle of the others. */

import type { Tensor } from "../../core/tensor.ts";
import { sizeOf } from "../../core/tensor.ts";
import * as kernels from "../../numeric/kernels.ts";
import type { OpAttrs, OpName } from "../../program/ops.ts";
import type { AnyNode, Program, Value } from "../../program/program.ts";
import { shapeOf, valueOfSite } from "../../program/program.ts";
import type { Backend, Executable, RunOptions } from "../backend.ts";
import { bindDims, resolve } from "../dims.ts";

type Rule<K extends OpName> = (
  args: readonly Tensor[],
  context: { readonly attrs: OpAttrs[K]; readonly shape: readonly number[] },
) => Float64Array;

function arg(args: readonly Tensor[], index: number): Tensor {
  const found = args[index];
  if (found === undefined) throw new Error(`argument ${index} is missing`);
  return found;
}

const dim = (tensor: Tensor, axis: number): number => tensor.shape.at(axis) ?? 0;

const binary =
  (apply: (a: number, b: number) => number) =>
  (args: readonly Tensor[], { shape }: { readonly shape: readonly number[] }): Float64Array =>
    kernels.elementwise(arg(args, 0), arg(args, 1), { shape, apply });

const lastAxis = (args: readonly Tensor[], reduce: (values: kernels.Numbers) => number): Float64Array =>
  kernels.reduceLast(arg(args, 0).data, dim(arg(args, 0), -1), reduce);

/** One rule an operation; a missing one does not compile. */
const rules: { readonly [K in OpName]: Rule<K> } = {
  linear: (args, { attrs, shape: [tokens = 0, outputs = 0] }) =>
    kernels.linear(arg(args, 0).data, arg(args, 1).data, {
      tokens,
      outputs,
      inputs: dim(arg(args, 0), -1),
      outIn: attrs.layout === "out_in",
      bias: args[2]?.data,
    }),
  head_linear: (args, { attrs, shape: [tokens = 0, heads = 0, outputs = 0] }) =>
    kernels.headLinear(arg(args, 0).data, arg(args, 1).data, {
      tokens,
      heads,
      outputs,
      width: dim(arg(args, 0), -1),
      outIn: attrs.layout === "out_in",
    }),
  sum_heads: (args) => kernels.sumHeads(arg(args, 0).data, dim(arg(args, 0), 0), dim(arg(args, 0), 1)),
  take_rows: (args) =>
    kernels.takeRows(arg(args, 0).data, arg(args, 1).data, sizeOf(arg(args, 1).shape.slice(1))),
  concat: (args) => kernels.concat(args.map(({ data }) => data)),
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b) => a / b),
  scale: (args, { attrs }) => kernels.map(arg(args, 0).data, (x) => x * attrs.by),
  shift: (args, { attrs }) => kernels.map(arg(args, 0).data, (x) => x + attrs.by),
  mean: (args) => lastAxis(args, kernels.mean),
  rms: (args, { attrs }) => lastAxis(args, (values) => kernels.rootMeanSquare(values, attrs.eps)),
  activation: (args, { attrs }) => kernels.map(arg(args, 0).data, kernels.activations[attrs.kind]),
  reshape: (args) => Float64Array.from(arg(args, 0).data),
  identity: (args) => Float64Array.from(arg(args, 0).data),
  rotary: (args, { attrs, shape: [, heads = 0, width = 0] }) =>
    kernels.rotary(
      arg(args, 0).data,
      { cos: arg(args, 1).data, sin: arg(args, 2).data },
      { heads, width, dims: attrs.dims, interleaved: attrs.style === "interleaved" },
    ),
  repeat_heads: (args, { attrs }) =>
    kernels.repeatHeads(arg(args, 0).data, dim(arg(args, 0), -1), attrs.times),
  query_key: (args, { shape: [rows = 0, heads = 0, dst = 0, src = 0] }) =>
    kernels.queryKey(arg(args, 0).data, arg(args, 1).data, {
      rows,
      heads,
      dst,
      src,
      groups: dim(arg(args, 1), 2),
      width: dim(arg(args, 1), 3),
    }),
  softmax: (args) => kernels.softmax(arg(args, 0).data, dim(arg(args, 0), -1)),
  pattern_value: (args, { shape: [rows = 0, dst = 0, heads = 0, width = 0] }) =>
    kernels.patternValue(arg(args, 0).data, arg(args, 1).data, {
      rows,
      dst,
      heads,
      width,
      src: dim(arg(args, 1), 1),
      groups: dim(arg(args, 1), 2),
    }),
  logsumexp: (args) => lastAxis(args, kernels.logsumexp),
  expand: binary((x) => x),
  sum_to: (args, { shape }) => kernels.sumTo(arg(args, 0), shape),
  sum_groups: (args, { attrs }) => kernels.sumGroups(arg(args, 0).data, dim(arg(args, 0), -1), attrs.times),
  head_linear_transposed: (args, { attrs, shape: [tokens = 0, heads = 0, width = 0] }) =>
    kernels.headLinearTransposed(arg(args, 0).data, arg(args, 1).data, {
      tokens,
      heads,
      width,
      outputs: dim(arg(args, 0), -1),
      outIn: attrs.layout === "out_in",
    }),
  transpose: (args) => kernels.transpose(arg(args, 0).data, dim(arg(args, 0), -2), dim(arg(args, 0), -1)),
  slope: (args, { attrs }) => kernels.map(arg(args, 0).data, kernels.slopes[attrs.kind]),
};

function runNode(node: AnyNode, args: readonly Tensor[], shape: readonly number[]): Float64Array {
  const rule = rules[node.op] as Rule<OpName>;
  return rule(args, { attrs: node.attrs, shape });
}

function interpret(program: Program): Executable {
  return {
    async run(inputs, { dims, into }: RunOptions = {}) {
      const bound = bindDims(program, inputs, dims);
      const values = new Map<Value, Tensor>(program.inputs.map(({ name }) => [name, inputs[name] as Tensor]));
      for (const node of program.nodes) {
        const args = node.args.map((name) => values.get(name) as Tensor);
        const isSized = node.op === "reshape" || node.op === "concat";
        const size = isSized ? args.reduce((sum, { data }) => sum + data.length, 0) : undefined;
        const shape = resolve(shapeOf(program, node.out), bindLeading(program, node, args, bound), size);
        values.set(node.out, { shape, data: runNode(node, args, shape) });
      }
      const result: Record<string, Tensor<Float64Array>> = {};
      for (const site of program.outputs) {
        const value = values.get(valueOfSite(program, site)) as Tensor;
        const data = (into?.[site]?.data ?? new Float64Array(value.data.length)) as Float64Array;
        data.set(value.data);
        result[site] = { shape: value.shape, data };
      }
      return result;
    },
  };
}

/** Symbols that only appear inside the program (the token axis of a reshaped z) are known from the arguments. */
function bindLeading(
  program: Program,
  node: AnyNode,
  args: readonly Tensor[],
  bound: Map<string, number>,
): Map<string, number> {
  node.args.forEach((name, index) => {
    shapeOf(program, name).forEach((symbol, axis) => {
      if (typeof symbol === "string" && !bound.has(symbol)) bound.set(symbol, args[index]?.shape[axis] ?? 0);
    });
  });
  return bound;
}

/** The float64 interpreter. */
export function referenceBackend(): Backend {
  return {
    name: "reference",
    device: "cpu",
    version: "float64 interpreter",
    precision: "float64",
    allocate: (size) => new Float64Array(size),
    compile: async (program) => interpret(program),
    close: async () => {},
  };
}
