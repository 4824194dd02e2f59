/** @file Every rule of differentiation against central differences in float64, and on onnxruntime against the reference. */

import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { expression, inputsOf, operations, type Sizes, sizes } from "../../test/helpers/expressions.ts";
import { nodeBackend } from "../backend/ort/node.node.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { random } from "../core/random.ts";
import type { Tensor } from "../core/tensor.ts";
import { cut } from "./cut.ts";
import type { OpName } from "./ops.ts";
import { print } from "./print.ts";
import type { Program } from "./program.ts";
import { builder } from "./program.ts";
import { gradientSite, vjp } from "./vjp.ts";

const reference = referenceBackend();
const ort = nodeBackend({ threads: 1 });
afterAll(() => ort.close());

/** Operations that activations do not flow back through. */
const WITHOUT: Partial<Record<OpName, RegExp>> = {
  take_rows: /result do not depend on|no site/,
  concat: /^concat has no derivative by its argument 0$/,
  slope: /^slope has no derivative by its argument 0$/,
};

/** The states that a derivative is taken by; `like` of an expansion gives its shape only. */
function statesOf(op: OpName, program: Program): string[] {
  const states = program.inputs.filter(({ role }) => role.kind === "state").map(({ name }) => name);
  return op === "expand" ? ["y"] : states;
}

const run = async (program: Program, inputs: Record<string, Tensor>, dims: Record<string, number>) =>
  (await reference.compile(program)).run(pick(program, inputs), { dims });

const pick = (program: Program, inputs: Record<string, Tensor>): Record<string, Tensor> =>
  Object.fromEntries(program.inputs.map(({ name }) => [name, inputs[name]]));

/** In float64 and away from 0, where relu has a kink and a quotient a pole. */
const double = (inputs: Record<string, Tensor>): Record<string, Tensor> =>
  Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, data }]) => [
      name,
      {
        shape,
        data: data instanceof Int32Array ? data : Float64Array.from(data, (x) => x + 0.5 * Math.sign(x)),
      },
    ]),
  );

/** The gradient of Σ w·result by every state, the analytic one and by central differences. */
async function bothGradients(op: OpName, s: Sizes) {
  const { program, dims } = expression(op, s);
  const inputs = double(inputsOf(program, dims));
  const { result } = await run(program, inputs, dims);
  const { normal } = random(5);
  const weights = Float64Array.from(result.data, () => normal());
  const states = statesOf(op, program);
  const derivative = cut(vjp(program, { of: ["result"], wrt: states }), {
    given: [...states, "d.result"],
    want: states.map(gradientSite),
  });
  const feeds = { ...inputs, "d.result": { shape: result.shape, data: weights } };
  const analytic = await run(derivative, feeds, dims);
  const scalar = async (changed: Record<string, Tensor>): Promise<number> => {
    const found = await run(program, changed, dims);
    return weights.reduce((sum, weight, i) => sum + weight * found.result.data[i], 0);
  };
  const step = 1e-5;
  const numeric: Record<string, Float64Array> = {};
  for (const state of states) {
    const { data, shape } = inputs[state];
    numeric[state] = new Float64Array(data.length);
    for (let i = 0; i < data.length; i++) {
      const moved = (by: number) =>
        scalar({ ...inputs, [state]: { shape, data: Float64Array.from(data).with(i, data[i] + by) } });
      numeric[state][i] = ((await moved(step)) - (await moved(-step))) / (2 * step);
    }
  }
  return { derivative, feeds, dims, analytic, numeric, inputs };
}

describe.each(operations.filter((op) => WITHOUT[op] === undefined))("%s", (op) => {
  test("the rule is the derivative, on both engines", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async (s) => {
        const { derivative, feeds, dims, analytic, numeric, inputs } = await bothGradients(op, s);
        const engine = await (await ort.compile(derivative)).run(
          Object.fromEntries(
            Object.entries(pick(derivative, feeds)).map(([name, { shape, data }]) => [
              name,
              { shape, data: data instanceof Int32Array ? data : Float32Array.from(data) },
            ]),
          ),
          { dims },
        );
        for (const [state, wanted] of Object.entries(numeric)) {
          const found = analytic[gradientSite(state)];
          expect(found.shape).toEqual(inputs[state].shape);
          const scale = Math.max(1, ...wanted.map(Math.abs));
          wanted.forEach((value, i) => {
            expect(Math.abs(found.data[i] - value)).toBeLessThan(1e-7 * scale);
            expect(Math.abs(engine[gradientSite(state)].data[i] - found.data[i])).toBeLessThan(4e-6 * scale);
          });
        }
      }),
      { numRuns: 5, seed: 3 },
    );
  });
});

test.each(Object.entries(WITHOUT))("%s is refused", (op, message) => {
  const s: Sizes = { row: 1, dst: 2, src: 2, groups: 1, times: 1, width: 2, out: 2, form: 0 };
  const { program } = expression(op as OpName, s);
  expect(() => vjp(program, { of: ["result"], wrt: ["x"] })).toThrow(message);
});

describe("the program of a derivative", () => {
  const square = () => {
    const b = builder();
    const x = b.state("x", ["token", 2]);
    const [left, right] = ["left", "right"].map((name) => b.site(name, b.op("identity", [x])));
    b.site("y", b.op("mul", [left, right]));
    return b.build(["y"]);
  };

  test("tells copies of one value apart where they are asked for", () => {
    const apart = vjp(square(), { of: ["y"], wrt: ["left", "x"] });
    expect(print(cut(apart, { given: ["x", "d.y"], want: ["d.left", "d.x"] }))).toMatchInlineSnapshot(`
      "x [token, 2] state  ; left, right
      d.y [token, 2] state
      %0 = mul(d.y, x) : [token, 2]  ; d.left
      %1 = add(%0, %0) : [token, 2]  ; d.x
      return d.left, d.x"
    `);
  });

  test("merges them where they are not", () => {
    const merged = vjp(square(), { of: ["y"], wrt: ["x"] });
    expect(print(cut(merged, { given: ["x", "d.y"], want: ["d.x"] }))).toMatchInlineSnapshot(`
      "x [token, 2] state  ; left, right
      d.y [token, 2] state
      %0 = mul(d.y, x) : [token, 2]
      %1 = add(%0, %0) : [token, 2]  ; d.x
      return d.x"
    `);
  });

  test("goes on from a gradient that is given in the middle", () => {
    const b = builder();
    const middle = b.site("middle", b.op("scale", [b.state("x", ["token", 2])], { by: 3 }));
    b.site("y", b.op("activation", [middle], { kind: "tanh" }));
    const whole = vjp(b.build(["y"]), { of: ["y"], wrt: ["x", "middle"] });
    expect(print(cut(whole, { given: ["d.middle"], want: ["d.x"] }))).toMatchInlineSnapshot(`
      "d.middle [token, 2] state
      %0 = scale(d.middle) {by=3} : [token, 2]  ; d.x
      return d.x"
    `);
  });

  test("computes the gradient by all heads at once where their results are only summed", () => {
    const b = builder();
    const z = b.state("z", ["token", 2, 3]);
    const result = b.site("result", b.op("head_linear", [z, b.weight("w", [4, 6])], { layout: "out_in" }));
    b.site("y", b.op("sum_heads", [result]));
    const derivative = vjp(b.build(["y"]), { of: ["y"], wrt: ["z"] });
    const cutOut = cut(derivative, { given: ["z", "d.y"], want: ["d.z"] });
    expect(cutOut.nodes.map(({ op }) => op)).not.toContain("head_linear_transposed");
  });

  test("refuses a site that nothing depends on", () => {
    const b = builder();
    b.state("other", ["token", 2]);
    b.site("y", b.op("scale", [b.state("x", ["token", 2])], { by: 3 }));
    expect(() => vjp(b.build(["y"]), { of: ["y"], wrt: ["other"] })).toThrow("y do not depend on other");
  });
});
