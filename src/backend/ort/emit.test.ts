/** @file Each operation by itself: what onnxruntime makes of its emission, against the reference. */

import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { random } from "../../core/random.ts";
import { sizeOf, type Tensor, tensor } from "../../core/tensor.ts";
import type { OpName, Shape } from "../../program/ops.ts";
import type { Builder, Program, Value } from "../../program/program.ts";
import { builder } from "../../program/program.ts";
import { resolve } from "../dims.ts";
import { referenceBackend } from "../reference/reference.ts";
import { nodeBackend } from "./node.node.ts";

const reference = referenceBackend();
const ort = nodeBackend({ threads: 1 });
afterAll(() => ort.close());

/** Sizes of one example; H = groups × times, token = row × dst. */
interface Sizes {
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

const sizes: fc.Arbitrary<Sizes> = fc.record({
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

/** One expression an operation; a missing one does not compile. */
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
  take_rows: (b, s) => b.op("take_rows", [b.context("ids", ["token"], "int"), b.weight("w", [9, s.width])]),
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
};

function inputsOf(program: Program, dims: Readonly<Record<string, number>>): Record<string, Tensor> {
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

/** Runs on both; every element within a few roundings of float32. */
async function expectEqual(program: Program, inputs: Record<string, Tensor>, dims: Record<string, number>) {
  const exact = await (await reference.compile(program)).run(inputs, { dims });
  const found = await (await ort.compile(program)).run(inputs, { dims });
  for (const site of program.outputs) {
    expect(found[site].shape).toEqual(exact[site].shape);
    exact[site].data.forEach((value, i) => {
      expect(Math.abs(found[site].data[i] - value)).toBeLessThanOrEqual(2e-6 * Math.max(3, Math.abs(value)));
    });
  }
}

test.each(Object.keys(expressions) as OpName[])("%s", async (op) => {
  await fc.assert(
    fc.asyncProperty(sizes, async (s) => {
      const b = builder();
      b.site("result", expressions[op](b, s));
      const program = b.build(["result"]);
      const dims = { row: s.row, dst: s.dst, src: s.src, token: s.row * s.dst };
      await expectEqual(program, inputsOf(program, dims), dims);
    }),
    { numRuns: 6, seed: 11 },
  );
});

describe("numbers at the edge", () => {
  const onto = async (data: number[], op: "logsumexp" | "softmax") => {
    const b = builder();
    b.site("result", b.op(op, [x(b, ["token", data.length])]));
    const input = { x: tensor(Float32Array.from(data), [1, data.length]) };
    return [...(await (await ort.compile(b.build(["result"]))).run(input)).result.data];
  };

  test("log Σ exp of ±10⁴ neither overflows nor vanishes", async () => {
    expect(await onto([1e4, 1e4], "logsumexp")).toEqual([Math.fround(1e4 + Math.LN2)]);
    expect(await onto([-1e4, -1e4], "logsumexp")).toEqual([Math.fround(-1e4 + Math.LN2)]);
  });

  test("masked scores get no weight, and a row that sees nothing stays finite", async () => {
    expect(await onto([3, -1e30, 3, -1e30], "softmax")).toEqual([0.5, 0, 0.5, 0]);
    expect(await onto([-1e30, -1e30], "softmax")).toEqual([0.5, 0.5]);
  });
});

describe("sizes", () => {
  const b = builder();
  const split = b.op("reshape", [x(b, ["token", 2])], { shape: ["row", "dst", 2] });
  b.site("result", split);
  const program = b.build(["result"]);
  const input = {
    x: tensor(
      Float32Array.from({ length: 12 }, (_, i) => i),
      [6, 2],
    ),
  };

  test.each([reference, ort])("of a split that nothing tells must be given: $name", async (backend) => {
    const executable = await backend.compile(program);
    await expect(executable.run(input)).rejects.toThrow(
      /size of (row|dst) in \[row, dst, 2\] is not known: pass it in dims/,
    );
    const { result } = await executable.run(input, { dims: { row: 2, dst: 3 } });
    expect(result.shape).toEqual([2, 3, 2]);
    expect([...result.data]).toEqual([...input.x.data]);
  });

  test.each([reference, ort])("that disagree with the program are refused: $name", async (backend) => {
    const executable = await backend.compile(program);
    const wrong = { x: tensor(new Float32Array(9), [3, 3]) };
    await expect(executable.run(wrong)).rejects.toThrow("input x is [3, 3], the program takes [token, 2]");
    await expect(executable.run({})).rejects.toThrow("missing input x [token, 2]");
  });
});

test("one session serves programs that print alike; outputs go where they are asked to go", async () => {
  const make = () => {
    const b = builder();
    b.site("result", b.op("scale", [x(b, ["token", 2])], { by: 2 }));
    return b.build(["result"]);
  };
  const first = await ort.compile(make());
  expect(await ort.compile(make())).toBe(first);
  for (const backend of [ort, reference]) {
    const into = { result: { shape: [1, 2], data: backend.allocate(2) } };
    const executable = await backend.compile(make());
    const { result } = await executable.run({ x: tensor(Float32Array.of(1, -2), [1, 2]) }, { into });
    expect(result.data).toBe(into.result.data);
    expect([...into.result.data]).toEqual([2, -4]);
  }
});
