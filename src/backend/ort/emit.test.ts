/** @file Each operation by itself: what onnxruntime makes of its emission, against the reference. */

import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { expression, inputsOf, operations, sizes } from "../../../test/helpers/expressions.ts";
import { type Tensor, tensor } from "../../core/tensor.ts";
import type { Program } from "../../program/program.ts";
import { builder } from "../../program/program.ts";
import { referenceBackend } from "../reference/reference.ts";
import { nodeBackend } from "./node.node.ts";

const reference = referenceBackend();
const ort = nodeBackend({ threads: 1 });
afterAll(() => ort.close());

/** Runs on both; every element within a few roundings of float32. */
async function expectEqual(
  program: Program,
  inputs: Record<string, Tensor>,
  dims: Readonly<Record<string, number>>,
) {
  const exact = await (await reference.compile(program)).run(inputs, { dims });
  const found = await (await ort.compile(program)).run(inputs, { dims });
  for (const site of program.outputs) {
    expect(found[site].shape).toEqual(exact[site].shape);
    exact[site].data.forEach((value, i) => {
      expect(Math.abs(found[site].data[i] - value)).toBeLessThanOrEqual(2e-6 * Math.max(3, Math.abs(value)));
    });
  }
}

test.each(operations)("%s", async (op) => {
  await fc.assert(
    fc.asyncProperty(sizes, async (s) => {
      const { program, dims } = expression(op, s);
      await expectEqual(program, inputsOf(program, dims), dims);
    }),
    { numRuns: 6, seed: 11 },
  );
});

describe("numbers at the edge", () => {
  const onto = async (data: number[], op: "logsumexp" | "softmax") => {
    const b = builder();
    b.site("result", b.op(op, [b.state("x", ["token", data.length])]));
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
  const split = b.op("reshape", [b.state("x", ["token", 2])], { shape: ["row", "dst", 2] });
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
    b.site("result", b.op("scale", [b.state("x", ["token", 2])], { by: 2 }));
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
