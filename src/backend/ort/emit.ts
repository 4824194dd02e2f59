/**
 * @file Programs as ONNX graphs. Weights are graph inputs, so that one session serves all layers of a kind
 * and no weight is copied into it.
 */

import type { onnx } from "onnx-proto";
import proto from "onnx-proto"; // CommonJS: Node finds no names in it but the default
import type { OpAttrs, OpName, Shape } from "../../program/ops.ts";
import type { AnyNode, Program, Value } from "../../program/program.ts";
import { shapeOf, valueOfSite } from "../../program/program.ts";
import type { Fused } from "./fuse.ts";
import { fuse } from "./fuse.ts";

/** The first operator set with `Attention`, `RotaryEmbedding` and `RMSNormalization`. */
const OPSET = 23;
const IR_VERSION = 11;
const { DataType } = proto.onnx.TensorProto;

/** An ONNX model, and the shapes that must be fed to reshapes with more than one unknown size. */
export interface Emitted {
  readonly bytes: Uint8Array;
  /** Name of an int64 input → the shape whose numbers it takes. */
  readonly shapeInputs: ReadonlyMap<string, Shape>;
}

type Attribute = number | readonly number[] | string | { readonly float: number };

/** Writes the graph; values of the program keep their names. */
interface Graph {
  node(
    op: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, Attribute>>,
    out?: string,
  ): string;
  floats(value: number): string;
  ints(values: readonly number[]): string;
  shape(value: Value): Shape;
  /** Reshape of `x`: by a constant where one size is unknown, else by a fed shape. */
  reshape(x: string, shape: Shape, out?: string): string;
}

type Rule<K extends OpName> = (
  graph: Graph,
  node: { readonly args: readonly Value[]; readonly attrs: OpAttrs[K]; readonly out: Value },
) => void;

const elementwise =
  (op: string) =>
  (graph: Graph, { args, out }: { readonly args: readonly Value[]; readonly out: Value }): void => {
    graph.node(op, args, {}, out);
  };

const ACTIVATIONS: Record<OpAttrs["activation"]["kind"], (graph: Graph, x: string, out: string) => void> = {
  gelu: (graph, x, out) => graph.node("Gelu", [x], { approximate: "none" }, out),
  gelu_tanh: (graph, x, out) => graph.node("Gelu", [x], { approximate: "tanh" }, out),
  silu: (graph, x, out) => graph.node("Mul", [x, graph.node("Sigmoid", [x])], {}, out),
  relu: (graph, x, out) => graph.node("Relu", [x], {}, out),
  tanh: (graph, x, out) => graph.node("Tanh", [x], {}, out),
};

/** 1 − y². */
function oneMinusSquare(graph: Graph, y: string): string {
  return graph.node("Sub", [graph.floats(1), graph.node("Mul", [y, y])]);
}

const SLOPES: typeof ACTIVATIONS = {
  // Φ(x) + x·φ(x)
  gelu(graph, x, out) {
    const times = (value: string, by: number): string => graph.node("Mul", [value, graph.floats(by)]);
    const erf = graph.node("Erf", [times(x, Math.SQRT1_2)]);
    const cumulative = times(graph.node("Add", [erf, graph.floats(1)]), 0.5);
    const bell = graph.node("Exp", [times(graph.node("Mul", [x, x]), -0.5)]);
    const density = times(graph.node("Mul", [x, bell]), 1 / Math.sqrt(2 * Math.PI));
    graph.node("Add", [cumulative, density], {}, out);
  },
  // ½(1 + t) + ½x(1 − t²)·√(2/π)(1 + 3·0.044715·x²), t = tanh(√(2/π)(x + 0.044715·x³))
  gelu_tanh(graph, x, out) {
    const times = (value: string, by: number): string => graph.node("Mul", [value, graph.floats(by)]);
    const plusOne = (value: string): string => graph.node("Add", [value, graph.floats(1)]);
    const square = graph.node("Mul", [x, x]);
    const scale = Math.sqrt(2 / Math.PI);
    const inner = graph.node("Mul", [times(x, scale), plusOne(times(square, 0.044715))]);
    const t = graph.node("Tanh", [inner]);
    const steep = graph.node("Mul", [oneMinusSquare(graph, t), plusOne(times(square, 3 * 0.044715))]);
    const second = graph.node("Mul", [times(x, scale / 2), steep]);
    graph.node("Add", [times(plusOne(t), 0.5), second], {}, out);
  },
  // σ + x·σ(1 − σ)
  silu(graph, x, out) {
    const sigmoid = graph.node("Sigmoid", [x]);
    const rest = graph.node("Sub", [graph.floats(1), sigmoid]);
    const factor = graph.node("Add", [graph.node("Mul", [x, rest]), graph.floats(1)]);
    graph.node("Mul", [sigmoid, factor], {}, out);
  },
  relu(graph, x, out) {
    graph.node("Cast", [graph.node("Greater", [x, graph.floats(0)])], { to: DataType.FLOAT }, out);
  },
  tanh(graph, x, out) {
    graph.node("Identity", [oneMinusSquare(graph, graph.node("Tanh", [x]))], {}, out);
  },
};

const rules: { readonly [K in OpName]: Rule<K> } = {
  linear(graph, { args, attrs, out }) {
    graph.node("Gemm", args, attrs.layout === "out_in" ? { transB: 1 } : {}, out);
  },
  head_linear(graph, { args: [z = "", weight = ""], attrs, out }) {
    const [, heads = 0, width = 0] = graph.shape(z);
    const [, , outputs = 0] = graph.shape(out);
    const byHead = graph.node("Transpose", [z], { perm: [1, 0, 2] });
    // [d, H·dh] → [H, dh, d], or [H·dh, d] → [H, dh, d]
    const split =
      attrs.layout === "out_in"
        ? graph.node("Transpose", [graph.reshape(weight, [outputs, heads, width])], { perm: [1, 2, 0] })
        : graph.reshape(weight, [heads, width, outputs]);
    graph.node("Transpose", [graph.node("MatMul", [byHead, split])], { perm: [1, 0, 2] }, out);
  },
  sum_heads(graph, { args: [x = ""], out }) {
    graph.node("ReduceSum", [x, graph.ints([1])], { keepdims: 0 }, out);
  },
  take_rows(graph, { args: [ids = "", table = ""], out }) {
    graph.node("Gather", [table, ids], { axis: 0 }, out);
  },
  concat(graph, { args, out }) {
    graph.node("Concat", args, { axis: 0 }, out);
  },
  add: elementwise("Add"),
  sub: elementwise("Sub"),
  mul: elementwise("Mul"),
  div: elementwise("Div"),
  scale(graph, { args: [x = ""], attrs, out }) {
    graph.node("Mul", [x, graph.floats(attrs.by)], {}, out);
  },
  shift(graph, { args: [x = ""], attrs, out }) {
    graph.node("Add", [x, graph.floats(attrs.by)], {}, out);
  },
  mean(graph, { args: [x = ""], out }) {
    graph.node("ReduceMean", [x, graph.ints([-1])], { keepdims: 1 }, out);
  },
  rms(graph, { args: [x = ""], attrs, out }) {
    const square = graph.node("ReduceMean", [graph.node("Mul", [x, x]), graph.ints([-1])], { keepdims: 1 });
    graph.node("Sqrt", [graph.node("Add", [square, graph.floats(attrs.eps)])], {}, out);
  },
  activation(graph, { args: [x = ""], attrs, out }) {
    ACTIVATIONS[attrs.kind](graph, x, out);
  },
  reshape(graph, { args: [x = ""], attrs, out }) {
    graph.reshape(x, attrs.shape, out);
  },
  identity(graph, { args, out }) {
    graph.node("Identity", args, {}, out);
  },
  rotary(graph, { args: [x = "", cos = "", sin = ""], attrs: { dims, style }, out }) {
    const [, heads = 0, width = 0] = graph.shape(x);
    // All tokens as one sequence, whose position i has row i of the tables.
    const sequence = (value: Value, size: number): string =>
      graph.node("Reshape", [value, graph.ints([1, -1, size])]);
    const turned = graph.node(
      "RotaryEmbedding",
      [sequence(x, Number(heads) * Number(width)), sequence(cos, dims / 2), sequence(sin, dims / 2)],
      {
        num_heads: Number(heads),
        interleaved: style === "interleaved" ? 1 : 0,
        ...(dims < Number(width) ? { rotary_embedding_dim: dims } : {}),
      },
    );
    graph.node("Reshape", [turned, graph.ints([-1, Number(heads), Number(width)])], {}, out);
  },
  repeat_heads(graph, { args: [x = ""], attrs: { times }, out }) {
    const repeated = graph.node("Unsqueeze", [x, graph.ints([-2])]);
    const rank = graph.shape(x).length;
    const repeats = Array.from({ length: rank + 1 }, (_, axis) => (axis === rank - 1 ? times : 1));
    graph.reshape(graph.node("Tile", [repeated, graph.ints(repeats)]), graph.shape(out), out);
  },
  query_key(graph, { args: [q = "", k = ""], out }) {
    const heads = Number(graph.shape(q)[2]);
    const keyHeads = Number(graph.shape(k)[2]);
    const width = Number(graph.shape(q)[3]);
    const queries = graph.node("Transpose", [q], { perm: [0, 2, 1, 3] });
    const keys = graph.node("Transpose", [k], { perm: [0, 2, 3, 1] });
    if (heads === keyHeads) {
      graph.node("MatMul", [queries, keys], {}, out);
      return;
    }
    // Query heads of a group are stacked along dst: [row, G, H/G·dst, dh].
    const stacked = graph.node("Reshape", [queries, graph.ints([0, keyHeads, -1, width])]);
    const scores = graph.node("MatMul", [stacked, keys]);
    graph.node("Reshape", [scores, graph.ints([0, heads, -1, 0])], {}, out);
  },
  softmax(graph, { args, out }) {
    graph.node("Softmax", args, { axis: -1 }, out);
  },
  pattern_value(graph, { args: [pattern = "", v = ""], out }) {
    const heads = Number(graph.shape(pattern)[1]);
    const [, , keyHeads = 0, width = 0] = graph.shape(v);
    const values = graph.node("Transpose", [v], { perm: [0, 2, 1, 3] });
    let mixed: string;
    if (heads === keyHeads) {
      mixed = graph.node("MatMul", [pattern, values]);
    } else {
      const stacked = graph.node("Reshape", [pattern, graph.ints([0, Number(keyHeads), -1, 0])]);
      const product = graph.node("MatMul", [stacked, values]);
      mixed = graph.node("Reshape", [product, graph.ints([0, heads, -1, Number(width)])]);
    }
    graph.node("Transpose", [mixed], { perm: [0, 2, 1, 3] }, out);
  },
  logsumexp(graph, { args: [x = ""], out }) {
    // onnxruntime's ReduceLogSumExp on CPU does not subtract the maximum first.
    const top = graph.node("ReduceMax", [x, graph.ints([-1])], { keepdims: 1 });
    const exponentials = graph.node("Exp", [graph.node("Sub", [x, top])]);
    const total = graph.node("ReduceSum", [exponentials, graph.ints([-1])], { keepdims: 1 });
    graph.node("Add", [top, graph.node("Log", [total])], {}, out);
  },
  expand(graph, { args: [x = "", like = ""], out }) {
    graph.node("Expand", [x, graph.node("Shape", [like])], {}, out);
  },
  sum_to(graph, { args: [x = ""], attrs: { shape }, out }) {
    const from = graph.shape(x);
    const lead = from.length - shape.length;
    const kept = [...from.keys()].filter((axis) => axis >= lead && shape[axis - lead] !== from[axis]);
    const leading = [...from.keys()].filter((axis) => axis < lead);
    const inner = kept.length === 0 ? x : graph.node("ReduceSum", [x, graph.ints(kept)], { keepdims: 1 });
    if (leading.length === 0) graph.node("Identity", [inner], {}, out);
    else graph.node("ReduceSum", [inner, graph.ints(leading)], { keepdims: 0 }, out);
  },
  sum_groups(graph, { args: [x = ""], attrs: { times }, out }) {
    const shape = graph.shape(out);
    const rank = shape.length;
    // 0 keeps the size of an axis; the axes before the heads come first in both shapes.
    const split = [
      ...shape.slice(0, -2).map(() => 0),
      Number(shape[rank - 2]),
      times,
      Number(shape[rank - 1]),
    ];
    const groups = graph.node("Reshape", [x, graph.ints(split)]);
    graph.node("ReduceSum", [groups, graph.ints([rank - 1])], { keepdims: 0 }, out);
  },
  head_linear_transposed(graph, { args: [y = "", weight = ""], attrs, out }) {
    const [, heads = 0, width = 0] = graph.shape(out);
    const [, , outputs = 0] = graph.shape(y);
    const byHead = graph.node("Transpose", [y], { perm: [1, 0, 2] });
    // [d, H·dh] → [H, d, dh], or [H·dh, d] → [H, d, dh]
    const split =
      attrs.layout === "out_in"
        ? graph.node("Transpose", [graph.reshape(weight, [outputs, heads, width])], { perm: [1, 0, 2] })
        : graph.node("Transpose", [graph.reshape(weight, [heads, width, outputs])], { perm: [0, 2, 1] });
    graph.node("Transpose", [graph.node("MatMul", [byHead, split])], { perm: [1, 0, 2] }, out);
  },
  transpose(graph, { args: [x = ""], out }) {
    const rank = graph.shape(x).length;
    const perm = Array.from({ length: rank }, (_, axis) => axis);
    perm.push(...perm.splice(rank - 2).reverse());
    graph.node("Transpose", [x], { perm }, out);
  },
  slope(graph, { args: [x = ""], attrs, out }) {
    SLOPES[attrs.kind](graph, x, out);
  },
};

function emitFused(graph: Graph, kernel: Fused): void {
  if (kernel.kind === "normalisation") {
    const { x, gain, bias, eps, out } = kernel;
    const attributes = { axis: -1, epsilon: { float: eps } };
    if (bias === undefined) graph.node("RMSNormalization", [x, gain], attributes, out);
    else graph.node("LayerNormalization", [x, gain, bias], attributes, out);
    return;
  }
  const { queries, keys, values, mask, scale, out } = kernel;
  const heads = Number(graph.shape(queries)[2]);
  const [, , keyHeads = 0, width = 0] = graph.shape(values);
  const flat = (x: Value): string => graph.node("Reshape", [x, graph.ints([0, 0, -1])]);
  const mixed = graph.node("Attention", [flat(queries), flat(keys), flat(values), mask], {
    q_num_heads: heads,
    kv_num_heads: Number(keyHeads),
    scale: { float: scale },
  });
  graph.node("Reshape", [mixed, graph.ints([0, 0, heads, Number(width)])], {}, out);
}

function attribute(name: string, value: Attribute): onnx.IAttributeProto {
  const { AttributeType } = proto.onnx.AttributeProto;
  if (typeof value === "string")
    return { name, type: AttributeType.STRING, s: Uint8Array.from(value, (letter) => letter.charCodeAt(0)) };
  if (typeof value === "number") return { name, type: AttributeType.INT, i: value };
  if ("float" in value) return { name, type: AttributeType.FLOAT, f: value.float };
  return { name, type: AttributeType.INTS, ints: [...value] };
}

function valueInfo(name: string, shape: Shape, elemType: number): onnx.IValueInfoProto {
  const dim = shape.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}

/** Emits a program; its inputs and outputs (by site name) become those of the graph. */
export function emit(program: Program): Emitted {
  const nodes: onnx.INodeProto[] = [];
  const initializers = new Map<string, onnx.ITensorProto>();
  const shapeInputs = new Map<string, Shape>();
  let temporaries = 0;

  const graph: Graph = {
    node(opType, inputs, attributes = {}, out = `t${temporaries++}`) {
      const list = Object.entries(attributes).map(([name, value]) => attribute(name, value));
      nodes.push({ opType, input: [...inputs], output: [out], attribute: list });
      return out;
    },
    floats(value) {
      const name = `float ${value}`;
      initializers.set(name, { name, dataType: DataType.FLOAT, dims: [], floatData: [value] });
      return name;
    },
    ints(values) {
      const name = `ints ${values.join(" ")}`;
      initializers.set(name, {
        name,
        dataType: DataType.INT64,
        dims: [values.length],
        int64Data: [...values],
      });
      return name;
    },
    shape: (value) => shapeOf(program, value),
    reshape(x, shape, out) {
      if (shape.filter((dim) => typeof dim === "string").length <= 1) {
        const sizes = shape.map((dim) => (typeof dim === "string" ? -1 : dim));
        return graph.node("Reshape", [x, graph.ints(sizes)], {}, out);
      }
      const name = `shape ${shape.join(" ")}`;
      shapeInputs.set(name, shape);
      return graph.node("Reshape", [x, name], {}, out);
    },
  };

  const { fused, inner } = fuse(program);
  for (const node of program.nodes) {
    const kernel = fused.get(node.out);
    if (kernel !== undefined) emitFused(graph, kernel);
    else if (!inner.has(node.out)) emitNode(graph, node);
  }
  const output = program.outputs.map((site) => {
    graph.node("Identity", [valueOfSite(program, site)], {}, outputName(site));
    return valueInfo(outputName(site), shapeOf(program, valueOfSite(program, site)), DataType.FLOAT);
  });
  const input = [
    ...program.inputs.map(({ name, shape, role }) =>
      valueInfo(
        name,
        shape,
        role.kind === "context" && role.dtype === "int" ? DataType.INT32 : DataType.FLOAT,
      ),
    ),
    ...[...shapeInputs].map(([name, shape]) => valueInfo(name, [shape.length], DataType.INT64)),
  ];
  const model: onnx.IModelProto = {
    irVersion: IR_VERSION,
    producerName: "crosspatch",
    opsetImport: [{ domain: "", version: OPSET }],
    graph: { name: "program", node: nodes, input, output, initializer: [...initializers.values()] },
  };
  return { bytes: proto.onnx.ModelProto.encode(model).finish(), shapeInputs };
}

/** A graph's outputs need names of their own: a site may be an input, or two sites one value. */
export function outputName(site: string): string {
  return `out ${site}`;
}

function emitNode(graph: Graph, node: AnyNode): void {
  (rules[node.op] as Rule<OpName>)(graph, node);
}
