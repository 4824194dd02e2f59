import { describe, expect, test } from "vitest";
import type { OpAttrs, OpName, Shape } from "./ops.ts";
import { inferShape } from "./ops.ts";
import { builder } from "./program.ts";

function infer<K extends OpName>(op: K, args: readonly Shape[], attrs: OpAttrs[K]): Shape {
  return inferShape[op](args, attrs);
}

describe("shapes that an operation cannot take are named", () => {
  test("linear: width of x, of the bias, and layout", () => {
    const x = ["token", 3];
    expect(infer("linear", [x, [5, 3], [5]], { layout: "out_in" })).toEqual(["token", 5]);
    expect(infer("linear", [x, [3, 5]], { layout: "in_out" })).toEqual(["token", 5]);
    expect(() => infer("linear", [x, [3, 5]], { layout: "out_in" })).toThrow(
      "linear cannot take [token, 3] and [3, 5]",
    );
    expect(() => infer("linear", [x, [5, 3], [3]], { layout: "out_in" })).toThrow(
      "linear cannot take [token, 3] and [5, 3] and [3]",
    );
    expect(() => infer("linear", [x], { layout: "out_in" })).toThrow("no axis 1 in a missing argument");
  });

  test("head_linear: heads × width against the weight", () => {
    expect(
      infer(
        "head_linear",
        [
          ["token", 2, 3],
          [7, 6],
        ],
        { layout: "out_in" },
      ),
    ).toEqual(["token", 2, 7]);
    expect(() =>
      infer(
        "head_linear",
        [
          ["token", 2, 3],
          [6, 7],
        ],
        { layout: "out_in" },
      ),
    ).toThrow("head_linear cannot take [token, 2, 3] and [6, 7]");
  });

  test("rotary: an even number of dimensions inside the head, tables of half as many", () => {
    const attrs = { dims: 4, style: "half" } as const;
    expect(
      infer(
        "rotary",
        [
          ["token", 2, 6],
          ["token", 2],
          ["token", 2],
        ],
        attrs,
      ),
    ).toEqual(["token", 2, 6]);
    for (const bad of [
      [
        ["token", 2, 3],
        ["token", 2],
        ["token", 2],
      ],
      [
        ["token", 2, 6],
        ["token", 4],
        ["token", 4],
      ],
    ]) {
      expect(() => infer("rotary", bad, attrs)).toThrow("rotary cannot take ");
    }
    expect(() =>
      infer(
        "rotary",
        [
          ["token", 2, 6],
          ["token", 1],
          ["token", 1],
        ],
        { dims: 3, style: "half" },
      ),
    ).toThrow("rotary cannot take [token, 2, 6] and [token, 1] and [token, 1]");
  });

  test("attention: query heads a multiple of key heads, widths equal, as many values as columns", () => {
    const q = ["row", "dst", 6, 4];
    expect(infer("query_key", [q, ["row", "src", 2, 4]], {})).toEqual(["row", 6, "dst", "src"]);
    expect(() => infer("query_key", [q, ["row", "src", 4, 4]], {})).toThrow(
      "query_key cannot take [row, dst, 6, 4] and [row, src, 4, 4]",
    );
    expect(() => infer("query_key", [q, ["row", "src", 2, 5]], {})).toThrow("query_key cannot take");
    const pattern = ["row", 6, "dst", "src"];
    expect(infer("pattern_value", [pattern, ["row", "src", 3, 4]], {})).toEqual(["row", "dst", 6, 4]);
    expect(() => infer("pattern_value", [pattern, ["row", "dst", 3, 4]], {})).toThrow(
      "pattern_value cannot take [row, 6, dst, src] and [row, dst, 3, 4]",
    );
  });

  test("broadcasting: a symbol meets itself or 1", () => {
    expect(
      infer(
        "add",
        [
          ["row", 4, "dst", "src"],
          [1, 1, "dst", "src"],
        ],
        {},
      ),
    ).toEqual(["row", 4, "dst", "src"]);
    expect(infer("mul", [["token", 3], [3]], {})).toEqual(["token", 3]);
    expect(
      infer(
        "sub",
        [
          ["token", 1],
          ["token", 3],
        ],
        {},
      ),
    ).toEqual(["token", 3]);
    expect(() =>
      infer(
        "add",
        [
          ["dst", 3],
          ["src", 3],
        ],
        {},
      ),
    ).toThrow("add cannot take [dst, 3] and [src, 3]");
    expect(() => infer("div", [["token", 3], [2]], {})).toThrow("div cannot take [token, 3] and [2]");
  });

  test("rows are taken from a table", () => {
    expect(infer("take_rows", [["token"], [9, 3]], {})).toEqual(["token", 3]);
    const ids = ["row", "src"];
    expect(infer("take_rows", [ids, ["token", 2, 4]], {})).toEqual(["row", "src", 2, 4]);
    expect(() => infer("take_rows", [ids, [9]], {})).toThrow("take_rows cannot take [row, src] and [9]");
  });

  test("tables of the same rows are put together under a name for all their rows", () => {
    const [here, there] = [
      ["token", 2, 4],
      ["past", 2, 4],
    ];
    expect(infer("concat", [here, there], { size: "known" })).toEqual(["known", 2, 4]);
    expect(() => infer("concat", [here, ["past", 8]], { size: "known" })).toThrow(
      "concat cannot take [token, 2, 4] and [past, 8]",
    );
  });
});

test("reductions keep the last axis as 1, sums over heads drop theirs, repeats multiply it", () => {
  expect(infer("rms", [["token", 4, 3]], { eps: 1 })).toEqual(["token", 4, 1]);
  expect(infer("logsumexp", [["token", 9]], {})).toEqual(["token", 1]);
  expect(infer("sum_heads", [["token", 4, 3]], {})).toEqual(["token", 3]);
  expect(infer("repeat_heads", [["row", "src", 2, 3]], { times: 3 })).toEqual(["row", "src", 6, 3]);
});

describe("the builder", () => {
  test("refuses a second site of one name and values it does not have", () => {
    const b = builder();
    const x = b.state("x", ["token", 2]);
    expect(() => b.site("x", x)).toThrow("two sites are named x");
    expect(() => b.op("identity", ["%7"])).toThrow("no value %7 in the program");
  });

  test("takes parts of a stored tensor under names of their own", () => {
    const b = builder();
    const part = b.weight("qkv", [12, 4], { axis: 0, offset: 2, length: 2, period: 6 });
    expect(part).toBe("qkv[2+2/6]");
    expect(b.shape(part)).toEqual([4, 4]);
    expect(b.weight("qkv", [12, 4])).not.toBe(part);
  });
});
