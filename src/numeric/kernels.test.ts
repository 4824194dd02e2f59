import { describe, expect, test } from "vitest";
import { random } from "../core/random.ts";
import * as kernels from "./kernels.ts";

const draw = (size: number, seed: number): Float64Array => {
  const { normal } = random(seed);
  return Float64Array.from({ length: size }, normal);
};

const expectClose = (found: ArrayLike<number>, wanted: ArrayLike<number>, within = 1e-13): void => {
  expect(found.length).toBe(wanted.length);
  for (let i = 0; i < found.length; i++) expect(Math.abs(found[i] - wanted[i])).toBeLessThan(within);
};

/** [rows, columns] → [columns, rows] */
const transpose = (x: Float64Array, columns: number): Float64Array => {
  const rows = x.length / columns;
  return x.map((_, i) => x[(i % rows) * columns + Math.floor(i / rows)]);
};

describe("erf", () => {
  // Correctly rounded values; the series hands over to the continued fraction at 2.5.
  test.each([
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [1.5, 0.9661051464753108],
    [2, 0.9953222650189527],
    [2.4375, 0.9994334567454198],
    [2.5, 0.999593047982555],
    [2.625, 0.9997946242638588],
    [3, 0.9999779095030014],
    [4, 0.9999999845827421],
    [6.5, 1],
  ])("of ±%d", (x, value) => {
    expect(Math.abs(kernels.erf(x) - value)).toBeLessThan(1e-15);
    expect(kernels.erf(-x)).toBe(-kernels.erf(x));
  });
});

describe("activations", () => {
  test("x·Φ(x), its tanh form and x·σ(x) have an odd part of x/2", () => {
    for (const kind of ["gelu", "gelu_tanh", "silu"] as const) {
      const f = kernels.activations[kind];
      for (const x of [0.3, 1, 2.5, 7]) expect(f(x) - f(-x)).toBeCloseTo(x, 14);
    }
  });

  test("at points with closed forms", () => {
    expect(kernels.activations.gelu(1)).toBeCloseTo(0.8413447460685429, 15);
    expect(kernels.activations.gelu_tanh(1)).toBeCloseTo(0.8411919906082768, 15);
    expect(kernels.activations.silu(Math.log(3))).toBeCloseTo(0.75 * Math.log(3), 15);
    expect([-2, 3].map(kernels.activations.relu)).toEqual([0, 3]);
  });
});

describe("reductions", () => {
  test("log Σ exp does not overflow or vanish", () => {
    expect(kernels.logsumexp(Float64Array.of(1e4, 1e4))).toBeCloseTo(1e4 + Math.LN2, 10);
    expect(kernels.logsumexp(Float64Array.of(-1e4, -1e4, -1e4))).toBeCloseTo(-1e4 + Math.log(3), 10);
    expect(kernels.logsumexp(Float64Array.of(1e4, -1e4))).toBe(1e4);
  });

  test("softmax is exp over its sum, the same after a shift, and exactly 0 where masked", () => {
    const x = draw(12, 1);
    const y = kernels.softmax(x, 4);
    for (let row = 0; row < 12; row += 4) {
      const total = x.subarray(row, row + 4).reduce((sum, value) => sum + Math.exp(value), 0);
      for (let i = row; i < row + 4; i++) expect(y[i]).toBeCloseTo(Math.exp(x[i]) / total, 14);
    }
    expectClose(
      kernels.softmax(
        x.map((value) => value + 500),
        4,
      ),
      y,
    );
    const masked = kernels.softmax(Float64Array.of(2, -1e30, 2, -1e30), 4);
    expectClose(masked, [0.5, 0, 0.5, 0]);
    expect([masked[1], masked[3]]).toEqual([0, 0]);
  });

  test("mean and root mean square of each row", () => {
    const x = Float64Array.of(3, 4, -5, 5);
    expect([...kernels.reduceLast(x, 2, kernels.mean)]).toEqual([3.5, 0]);
    const rms = kernels.reduceLast(x, 2, (row) => kernels.rootMeanSquare(row, 0.5));
    expect([...rms]).toEqual([Math.sqrt(13), Math.sqrt(25.5)]);
  });
});

test("broadcasting repeats axes of 1 and missing leading axes", () => {
  const a = { data: Float64Array.of(1, 2), shape: [2, 1] };
  const b = { data: Float64Array.of(10, 20, 30), shape: [3] };
  const subtract = (x: number, y: number) => x - y;
  expect([...kernels.elementwise(a, b, { shape: [2, 3], apply: subtract })]).toEqual([
    -9, -19, -29, -8, -18, -28,
  ]);
  expect([...kernels.elementwise(b, a, { shape: [2, 3], apply: subtract })]).toEqual([9, 19, 29, 8, 18, 28]);
});

test("rows are taken by id, and only those that exist", () => {
  const table = Float64Array.of(0, 1, 10, 11, 20, 21);
  expect([...kernels.takeRows(Int32Array.of(2, 0), table, 2)]).toEqual([20, 21, 0, 1]);
  expect(() => kernels.takeRows(Int32Array.of(3), table, 2)).toThrow("row 3 of a table with 3 rows");
  expect(() => kernels.takeRows(Int32Array.of(-1), table, 2)).toThrow("row -1 of a table with 3 rows");
});

describe("linear maps", () => {
  const [tokens, heads, width, outputs] = [3, 2, 4, 5];
  const inputs = heads * width;
  const z = draw(tokens * inputs, 2);
  const weight = draw(outputs * inputs, 3);
  const bias = draw(outputs, 4);

  test("are x W^T + b: the map of a unit vector is a column of W", () => {
    const unit = Float64Array.from({ length: inputs }, (_, i) => (i === 2 ? 1 : 0));
    const y = kernels.linear(unit, weight, { tokens: 1, inputs, outputs, outIn: true, bias });
    expectClose(
      y,
      bias.map((value, o) => value + weight[o * inputs + 2]),
    );
  });

  test("read either layout of the weight", () => {
    const turned = transpose(weight, inputs);
    const sizes = { tokens, inputs, outputs, bias };
    expectClose(
      kernels.linear(z, turned, { ...sizes, outIn: false }),
      kernels.linear(z, weight, { ...sizes, outIn: true }),
    );
    const perHead = { tokens, heads, width, outputs };
    expectClose(
      kernels.headLinear(z, turned, { ...perHead, outIn: false }),
      kernels.headLinear(z, weight, { ...perHead, outIn: true }),
    );
  });

  test("of heads sum to that of their concatenation", () => {
    const results = kernels.headLinear(z, weight, { tokens, heads, width, outputs, outIn: true });
    expectClose(
      kernels.sumHeads(results, tokens, heads),
      kernels.linear(z, weight, { tokens, inputs, outputs, outIn: true }),
    );
  });
});

describe.each([
  { interleaved: false, dims: 6 },
  { interleaved: true, dims: 6 },
  { interleaved: false, dims: 4 },
  { interleaved: true, dims: 4 },
])("rotary, $dims of 6 features, interleaved $interleaved", ({ interleaved, dims }) => {
  const width = 6;
  const frequencies = [1, 0.3, 0.02].slice(0, dims / 2);
  const turn = (x: Float64Array, position: number): Float64Array => {
    const angles = Float64Array.from(frequencies, (frequency) => position * frequency);
    const tables = { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
    return kernels.rotary(x, tables, { heads: x.length / width, width, dims, interleaved });
  };
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);

  test("q·k depends on the distance of positions alone", () => {
    const [q, k] = [draw(width, 5), draw(width, 6)];
    expect(dot(turn(q, 9), turn(k, 4))).toBeCloseTo(dot(turn(q, 105), turn(k, 100)), 12);
    expect(dot(turn(q, 9), turn(k, 4))).not.toBeCloseTo(dot(turn(q, 9), turn(k, 5)), 3);
  });

  test("turns compose and keep lengths; position 0 and the features beyond stay as they are", () => {
    const x = draw(2 * width, 7);
    expectClose(turn(turn(x, 3), 4), turn(x, 7));
    expect(dot(turn(x, 11), turn(x, 11))).toBeCloseTo(dot(x, x), 12);
    expect([...turn(x, 0)]).toEqual([...x]);
    expect([...turn(x, 5).subarray(width + dims)]).toEqual([...x.subarray(width + dims)]);
  });

  test("pairs the features that its style pairs", () => {
    const unit = Float64Array.of(1, 0, 0, 0, 0, 0);
    const partner = interleaved ? 1 : dims / 2;
    const turned = turn(unit, 2);
    expect(turned[0]).toBe(Math.cos(2));
    expect(turned[partner]).toBe(Math.sin(2));
  });
});

describe("grouped attention", () => {
  const [rows, dst, src, heads, groups, width] = [2, 3, 4, 6, 2, 5];
  const sizes = { rows, dst, src, heads, width };
  const q = draw(rows * dst * heads * width, 8);
  const k = draw(rows * src * groups * width, 9);
  const repeated = kernels.repeatHeads(k, width, heads / groups);

  test("head h reads group ⌊h·G/H⌋", () => {
    for (let h = 0; h < heads; h++) {
      const group = Math.floor((h * groups) / heads);
      expect(repeated[h * width]).toBe(k[group * width]);
    }
  });

  test("equals attention over repeated keys and values", () => {
    const scores = kernels.queryKey(q, k, { ...sizes, groups });
    expectClose(scores, kernels.queryKey(q, repeated, { ...sizes, groups: heads }));
    const pattern = kernels.softmax(scores, src);
    expectClose(
      kernels.patternValue(pattern, k, { ...sizes, groups }),
      kernels.patternValue(pattern, repeated, { ...sizes, groups: heads }),
    );
  });

  test("a pattern on one key returns that value; scores are dot products", () => {
    const oneHot = Float64Array.from({ length: rows * heads * dst * src }, (_, i) => (i % src === 1 ? 1 : 0));
    const z = kernels.patternValue(oneHot, repeated, { ...sizes, groups: heads });
    const at = (row: number, head: number) => repeated.subarray(((row * src + 1) * heads + head) * width);
    expect(z[((1 * dst + 2) * heads + 4) * width]).toBe(at(1, 4)[0]);
    const scores = kernels.queryKey(q, repeated, { ...sizes, groups: heads });
    const query = q.subarray(((1 * dst + 2) * heads + 4) * width).subarray(0, width);
    const key = at(1, 4).subarray(0, width);
    const wanted = query.reduce((sum, value, i) => sum + value * key[i], 0);
    expect(scores[((1 * heads + 4) * dst + 2) * src + 1]).toBeCloseTo(wanted, 13);
  });
});
