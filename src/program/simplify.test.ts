import { describe, expect, test } from "vitest";
import { referenceBackend } from "../backend/reference/reference.ts";
import { random } from "../core/random.ts";
import { sizeOf, type Tensor, tensor } from "../core/tensor.ts";
import { print } from "./print.ts";
import type { Program } from "./program.ts";
import { builder } from "./program.ts";
import { simplify } from "./simplify.ts";

const operations = (program: Program) => program.nodes.map(({ op }) => op);

/** Both programs on the same random inputs. */
async function bothRuns(program: Program): Promise<readonly [unknown, unknown]> {
  const { normal } = random(1);
  const sizes: Record<string, number> = { token: 6, row: 2, dst: 3, src: 3 };
  const inputs = Object.fromEntries(
    program.inputs.map(({ name, shape }): [string, Tensor] => {
      const numbers = shape.map((dim) => (typeof dim === "number" ? dim : sizes[dim]));
      return [name, tensor(Float64Array.from({ length: sizeOf(numbers) }, normal), numbers)];
    }),
  );
  const backend = referenceBackend();
  const run = async (version: Program) => (await backend.compile(version)).run(inputs, { dims: sizes });
  return [await run(program), await run(simplify(program))];
}

describe("identities", () => {
  test("are dropped, and their names fall on what they named", () => {
    const b = builder();
    const x = b.state("x", ["token", 2]);
    const copy = b.site("copy", b.op("identity", [b.op("identity", [x])]));
    b.site("y", b.op("scale", [copy], { by: 2 }));
    expect(print(simplify(b.build(["y"])))).toBe(
      "x [token, 2] state  ; copy\n%0 = scale(x) {by=2} : [token, 2]  ; y\nreturn y",
    );
  });

  test("an identity that is returned is its argument", () => {
    const b = builder();
    b.site("copy", b.op("identity", [b.state("x", ["token", 2])]));
    expect(print(simplify(b.build(["copy"])))).toBe("x [token, 2] state  ; copy\nreturn copy");
  });
});

describe("equal expressions", () => {
  test("are computed once, through chains and behind identities", () => {
    const b = builder();
    const x = b.state("x", ["token", 2]);
    const branch = () =>
      b.op("activation", [b.op("scale", [b.op("identity", [x])], { by: 3 })], { kind: "tanh" });
    b.site("y", b.op("mul", [branch(), branch()]));
    expect(print(simplify(b.build(["y"])))).toMatchInlineSnapshot(`
      "x [token, 2] state
      %0 = scale(x) {by=3} : [token, 2]
      %1 = activation(%0) {kind="tanh"} : [token, 2]
      %2 = mul(%1, %1) : [token, 2]  ; y
      return y"
    `);
  });

  test("with other attributes or another order of arguments stay apart", () => {
    const b = builder();
    const x = b.state("x", ["token", 2]);
    const y = b.state("y", ["token", 2]);
    const parts = [
      b.op("sub", [x, y]),
      b.op("sub", [y, x]),
      b.op("scale", [x], { by: 1 }),
      b.op("scale", [x], { by: 2 }),
    ];
    b.site(
      "z",
      parts.reduce((sum, part) => b.op("add", [sum, part])),
    );
    expect(operations(simplify(b.build(["z"]))).filter((op) => op !== "add")).toHaveLength(4);
  });
});

describe("separated heads", () => {
  for (const layout of ["out_in", "in_out"] as const) {
    test(`Σ z W of each head is one product unless a head's share is asked for (${layout})`, async () => {
      const b = builder();
      const z = b.state("z", ["token", 3, 2]);
      const weight = b.weight("w", layout === "out_in" ? [5, 6] : [6, 5]);
      const result = b.site("result", b.op("head_linear", [z, weight], { layout }));
      b.site("out", b.op("sum_heads", [result]));
      expect(operations(simplify(b.build(["out"])))).toEqual(["reshape", "linear"]);
      expect(operations(simplify(b.build(["out", "result"])))).toEqual(["head_linear", "sum_heads"]);

      const [plain, folded] = await bothRuns(b.build(["out"]));
      const [a, c] = [plain, folded] as { out: Tensor }[];
      a.out.data.forEach((value, i) => {
        expect(c.out.data[i]).toBeCloseTo(value, 12);
      });
    });
  }

  test("keys and values are not repeated for query heads unless the copies are asked for", async () => {
    const b = builder();
    const queries = b.state("q", ["row", "dst", 4, 3]);
    const keys = b.site("k_heads", b.op("repeat_heads", [b.state("k", ["row", "src", 2, 3])], { times: 2 }));
    const values = b.site(
      "v_heads",
      b.op("repeat_heads", [b.state("v", ["row", "src", 2, 3])], { times: 2 }),
    );
    const pattern = b.op("softmax", [b.op("query_key", [queries, keys])]);
    b.site("z", b.op("pattern_value", [pattern, values]));
    expect(operations(simplify(b.build(["z"])))).toEqual(["query_key", "softmax", "pattern_value"]);
    expect(operations(simplify(b.build(["z", "v_heads"])))).toContain("repeat_heads");

    const [plain, folded] = await bothRuns(b.build(["z"]));
    expect(folded).toEqual(plain);
  });
});

test("what nothing asks for is left out, inputs too", () => {
  const b = builder();
  const x = b.state("x", ["token", 2]);
  b.site("unread", b.op("add", [x, b.weight("w", [2])]));
  b.site("y", b.op("scale", [x], { by: 2 }));
  const program = simplify(b.build(["y"]));
  expect(print(program)).toBe("x [token, 2] state\n%0 = scale(x) {by=2} : [token, 2]  ; y\nreturn y");
  expect([...program.sites.keys()]).toEqual(["x", "y"]);
});

test("simplifying again changes nothing", () => {
  const b = builder();
  const z = b.state("z", ["token", 3, 2]);
  const result = b.op("head_linear", [b.op("identity", [z]), b.weight("w", [5, 6])], { layout: "out_in" });
  b.site("out", b.op("sum_heads", [result]));
  const once = simplify(b.build(["out"]));
  expect(print(simplify(once))).toBe(print(once));
});
