import fc from "fast-check";
import { expect, test } from "vitest";
import { at, drawnVariables, effects, labelsAt, noEffectValue, sites, strongest } from "./cells.ts";
import {
  attrs,
  headsByPair,
  layerByHead,
  layerByPosition,
  nextTokens,
  pathEffects,
  range,
  variable,
} from "./fixtures.ts";
import { formatJson, fromJson, jsonPieces, toJson } from "./json.ts";
import { type Dataset, dataset, type Json } from "./result.ts";
import { baselinesLine, formatNumber, question } from "./words.ts";

test("JSON is nested by dim in the contract's key order, with null for what was not computed", () => {
  const small = dataset({
    attrs: { metric: "logit_diff" },
    dims: { layer: 2, pos: 2 },
    coords: { token_clean: { dims: ["pos"], data: ["a", " b"], attrs: {} } },
    dataVars: {
      resid_pre: variable({ layer: 2, pos: 2 }, (l, p) => (l + p === 2 ? Number.NaN : 10 * l + p + 0.5), {
        unit: "logit",
      }),
      embed: variable({}, () => 3),
    },
  });
  expect(formatJson(small)).toBe(
    '{"attrs":{"format":"crosspatch.result/1","metric":"logit_diff"},' +
      '"coords":{"token_clean":{"dims":["pos"],"data":["a"," b"],"attrs":{}}},' +
      '"dims":{"layer":2,"pos":2},' +
      '"data_vars":{"resid_pre":{"dims":["layer","pos"],"data":[[0.5,1.5],[10.5,null]],"attrs":{"unit":"logit"}},' +
      '"embed":{"dims":[],"data":3,"attrs":{}}}}\n',
  );
});

test("reading what was written gives the dataset back, whatever its shape", () => {
  const size = fc.integer({ min: 0, max: 3 });
  const cell = fc.oneof(fc.double({ noDefaultInfinity: true }), fc.constant(Number.NaN));
  const arbitrary = fc.tuple(size, size, size).chain(([a, b, c]) =>
    fc.array(cell, { minLength: a * b * c, maxLength: a * b * c }).map(
      (values): Dataset =>
        dataset({
          attrs: { nested: { list: [1, null, "x"] } },
          dims: { a, b, c },
          coords: { name: { dims: ["a"], data: Array.from({ length: a }, (_, i) => `<${i}>`), attrs: {} } },
          dataVars: { x: { dims: ["c", "a", "b"], data: Float64Array.from(values), attrs: { unit: "nat" } } },
        }),
    ),
  );
  fc.assert(
    fc.property(arbitrary, (original) => {
      const back = fromJson(JSON.parse(formatJson(original)));
      expect(formatJson(back)).toBe(formatJson(original));
      expect([...(back.dataVars.x?.data ?? [])]).toEqual(
        [...(original.dataVars.x?.data ?? [])].map((v) => (v === 0 ? 0 : v)),
      );
    }),
  );
});

test("JSON in pieces is that of the whole, in pieces of bounded length", () => {
  const shapes = [[], [0], [3, 0], [1, 1, 1], [5000], [3, 4096], [4096, 3], [7, 2, 1, 900]];
  for (const shape of shapes) {
    const size = shape.reduce((product, length) => product * length, 1);
    const large = dataset({
      attrs: { note: "ü\u2028" },
      dims: Object.fromEntries(shape.map((length, axis) => [`d${axis}`, length])),
      coords: {},
      dataVars: {
        value: {
          dims: shape.map((_, axis) => `d${axis}`),
          data: Float64Array.from({ length: size }, (_, i) => (i % 7 === 0 ? Number.NaN : Math.sin(i))),
          attrs: { unit: "logit" },
        },
        word: {
          dims: shape.map((_, axis) => `d${axis}`),
          data: Array.from({ length: size }, (_, i) => `"${i}`),
          attrs: {},
        },
      },
    });
    const pieces = [...jsonPieces(large)];
    expect(pieces.join("")).toBe(`${JSON.stringify(toJson(large))}\n`);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThan(200_000);
  }
});

test("every fault of a dataset is named at once", () => {
  const wrong: Dataset = {
    attrs: { seconds: Number.NaN },
    dims: { layer: 2, pos: -1 },
    coords: { layer: { dims: ["layer"], data: [4, 4], attrs: {} } },
    dataVars: {
      layer: { dims: ["layer"], data: [1, 2], attrs: {} },
      z: { dims: ["layer", "head"], data: [], attrs: {} },
      q: { dims: ["layer"], data: [1, 2, 3], attrs: {} },
    },
  };
  expect(() => dataset(wrong)).toThrow(
    [
      "dims.pos: found -1; wanted a whole number, 0 or more.",
      "coords.layer: found label 4 more than once; wanted distinct labels.",
      "data_vars.layer: found a coordinate of the same name; wanted names that are used once. " +
        "Leave the coordinate out: a dim without one is labelled 0, 1, 2, …",
      "data_vars.z: found undeclared dims head; wanted some of: layer, pos.",
      "data_vars.q: found 3 values; wanted 2 (layer 2).",
      "attrs.seconds: found NaN; wanted a finite number or null.",
    ].join("\n"),
  );
});

test("a file that is no result is refused with every fault and where it is", () => {
  const variables = {
    ragged: { dims: ["layer", "pos"], data: [[1, 2], [3]], attrs: {} },
    mixed: { dims: ["layer"], data: [1, "one"], attrs: {} },
    huge: { dims: ["pos", "big", "big"], data: [], attrs: {} },
  };
  const file = { attrs: {}, coords: {}, dims: { layer: 2, pos: 2, big: 60_000 }, data_vars: variables };
  expect(() => fromJson(file, "r.json")).toThrow(
    [
      'r.json.attrs.format: found none; wanted "crosspatch.result/1".',
      "r.json.data_vars.ragged[1]: found a list of 1; wanted a list of 2 (dim pos).",
      "r.json.data_vars.mixed: found 1 texts and 1 numbers; wanted one kind.",
      "r.json.data_vars.huge: found 7200000000 cells; wanted at most 67108864. Use Parquet.",
    ].join("\n"),
  );
  expect(() =>
    fromJson({ attrs: { format: "crosspatch.result/2" }, coords: {}, dims: {}, data_vars: {} }),
  ).toThrow('result.attrs.format: found "crosspatch.result/2"; wanted "crosspatch.result/1".');
  expect(() => fromJson([1, 2], "r.json")).toThrow(/^r\.json: found a list of 2; wanted a crosspatch result/);
  expect(() => fromJson({ attrs: {}, coords: {}, dims: {}, dataVars: {} }, "r.json")).toThrow(
    /r\.json\.data_vars: found nothing.*\n.*[Uu]nrecognized key: "dataVars"/,
  );
  const deep: unknown = JSON.parse("[".repeat(20_000) + "]".repeat(20_000));
  expect(() => fromJson({ attrs: { format: deep }, coords: {}, dims: {}, data_vars: {} })).toThrow(
    'result.attrs.format: found [[[["…"]]]]; wanted "crosspatch.result/1".',
  );
});

test("at reads a cell by label, with what the site's other variables say of it", () => {
  const labelled = dataset({
    attrs,
    dims: { layer: 2, pos: 2 },
    coords: { layer: { dims: ["layer"], data: [3, 7], attrs: {} } },
    dataVars: {
      z: variable({ layer: 2, pos: 2 }, (l, p) => 10 * l + p),
      z_normalized: variable({ layer: 2, pos: 2 }, (l, p) =>
        l === 0 && p === 0 ? Number.NaN : 0.1 * (l + p),
      ),
      z_effect: variable({ layer: 2, pos: 2 }, (l, p) => l - p),
      z_ci_low: variable({ layer: 2, pos: 2 }, () => -1),
      z_ci_high: variable({ layer: 2, pos: 2 }, () => 2),
    },
  });
  expect(at(labelled, "z", { pos: 1, layer: 7 })).toEqual({
    value: 11,
    normalized: 0.2,
    effect: 0,
    ciLow: -1,
    ciHigh: 2,
  });
  expect(at(labelled, "z", { layer: 3, pos: 0 })).toEqual({ value: 0, effect: 0, ciLow: -1, ciHigh: 2 });
  expect(() => at(labelled, "z", { layer: 5, head: 2 })).toThrow(
    [
      "z: found dim head; wanted its dims layer, pos.",
      "z, layer: found 5; wanted one of 3, 7.",
      "z: found no pos; wanted one of 0, 1.",
    ].join("\n"),
  );
  expect(() => at(labelled, "q", {})).toThrow('variable: found "q"; wanted one of: z, z_normalized');
});

test("companions are no sites of their own, but an effect without a metric is", () => {
  expect(sites(layerByHead())).toEqual(["z"]);
  expect(sites(pathEffects())).toEqual(["head_effect", "mlp_effect", "embed_effect"]);
});

test("the values by pair are the site's: drawn behind it, but neither in the question nor ranked with the means", () => {
  const found = headsByPair();
  expect(sites(found)).toEqual(["z"]);
  expect(drawnVariables(found)).toEqual(["z", "z_per_pair"]);
  expect(question(found)).toMatch(/ \(z\)$/);
  expect(strongest(found, 3).map(({ site }) => site)).toEqual(["z", "z", "z"]);
  expect(strongest(found, 1, ["z_per_pair"])[0]?.labels).toEqual({ pair: "store", layer: 4, head: 2 });
  const { z, z_per_pair: own } = found.dataVars;
  if (z === undefined || own === undefined) throw new Error("no z");
  const detail = { ...own, attrs: { detail: true } };
  expect(drawnVariables({ ...found, dataVars: { z, z_per_pair: detail } })).toEqual(["z"]);
  expect(sites({ ...found, dataVars: { z_per_pair: own } })).toEqual(["z_per_pair"]);
});

test("no effect is the base run's metric: corrupt when denoising, clean when noising, 0 for differences", () => {
  const denoise = layerByPosition();
  expect(noEffectValue(denoise, "resid_pre")).toBe(-5.485);
  expect(noEffectValue({ ...denoise, attrs: { ...attrs, direction: "noise" } }, "resid_pre")).toBe(6.12);
  expect(noEffectValue(pathEffects(), "head_effect")).toBe(0);
  expect(noEffectValue(nextTokens(), "logit")).toBe(0);
  const z: Dataset["dataVars"] = { z: { ...variable({}, () => 2), attrs: { quantity: "effect" } } };
  expect(noEffectValue({ ...denoise, dataVars: z }, "z")).toBe(0);
});

test("the effect of one pair's cell is measured from the base run of that pair", () => {
  const byPair = dataset({
    attrs,
    dims: { pair: 2, layer: 2 },
    coords: {
      pair: range("pair", 2),
      layer: range("layer", 2),
      baseline_clean: variable({ pair: 2 }, (pair) => 10 * (pair + 1)),
      baseline_corrupt: variable({ pair: 2 }, (pair) => -1 - pair),
    },
    dataVars: { z_per_pair: variable({ pair: 2, layer: 2 }, (pair, layer) => 100 * pair + layer) },
  });
  expect([...effects(byPair, "z_per_pair")]).toEqual([1, 2, 102, 103]);
  const noise = { ...byPair, attrs: { ...attrs, direction: "noise" } };
  expect([...effects(noise, "z_per_pair")]).toEqual([-10, -9, 80, 81]);
  const { baseline_corrupt: _, ...coords } = byPair.coords;
  expect([...effects({ ...byPair, coords }, "z_per_pair")]).toEqual([5.485, 6.485, 105.485, 106.485]);
  // Causal tracing records effects by pair themselves, and no baselines.
  const mean = { layer: 2 };
  const traced = {
    z: variable(mean, (layer) => 50 + layer),
    z_effect: variable(mean, (layer) => 40 + layer),
    z_effect_per_pair: variable({ pair: 2, ...mean }, (pair, layer) => 10 * pair + layer),
    ...byPair.dataVars,
  };
  const effect = [...effects({ ...byPair, coords, dataVars: traced }, "z_per_pair")];
  expect(effect).toEqual([0, 1, 10, 11]);
});

test("the strongest cells are ranked by absolute effect over all sites, without those not computed", () => {
  const found = strongest(layerByHead(), 3).map(({ site, labels }) => [site, labels.layer, labels.head]);
  expect(found).toEqual([
    ["z", 9, 6],
    ["z", 9, 7],
    ["z", 10, 2],
  ]);
  expect(strongest(layerByHead(), 1000)).toHaveLength(12 * 9 - 1);
  expect(Math.max(...effects(layerByPosition(), "resid_pre").map(Math.abs))).toBe(
    Math.abs(strongest(layerByPosition(), 1)[0]?.effect ?? 0),
  );
});

test("labelsAt undoes row-major order", () => {
  const d = dataset({
    attrs: {},
    dims: { a: 2, b: 3 },
    coords: { b: range("b", 3) },
    dataVars: { x: variable({ a: 2, b: 3 }, (a, b) => 10 * a + b) },
  });
  for (let index = 0; index < 6; index++) {
    const labels = labelsAt(d, "x", index);
    expect(10 * Number(labels.a) + Number(labels.b)).toBe(d.dataVars.x?.data[index]);
  }
});

test("a result says in words what was asked and what its zero means", () => {
  expect(question(layerByPosition())).toBe(
    "Which layer and position, restored from the clean run, brings back “Mary” over “John”? (resid_pre, mlp_out)",
  );
  expect(baselinesLine(layerByPosition())).toBe("clean 6.12 · corrupt -5.485 · logit difference (logit)");
  expect([0, 6.1196, -0.03127, 2.1e-5, 123456.7, 1e-20, 1.2e9].map(formatNumber)).toEqual([
    "0",
    "6.12",
    "-0.03127",
    "2.1e-5",
    "123457",
    "1e-20",
    "1.2e9",
  ]);
});

test("a question says what is put in: the other run's values, zero, a mean or other prompts' values", () => {
  const asked = (ablate: Json, direction = "noise"): string =>
    question({ ...layerByHead(), attrs: { ...attrs, direction, options: { ablate } } });
  const noised = "loses “Mary” over “John”? (z)";
  expect(asked({ kind: "source" })).toBe(`Which layer and head, taken from the corrupt run, ${noised}`);
  expect(asked({ kind: "zero" })).toBe(`Which layer and head, set to zero, ${noised}`);
  expect(asked({ kind: "mean", over: "position" })).toBe(
    `Which layer and head, set to its mean over prompts, ${noised}`,
  );
  expect(asked({ kind: "mean", over: "all" })).toBe(
    `Which layer and head, set to its mean over prompts and positions, ${noised}`,
  );
  expect(asked({ kind: "resample", draws: 10, seed: 0 })).toBe(
    `Which layer and head, taken from other prompts, ${noised}`,
  );
  expect(asked({ kind: "zero" }, "denoise")).toBe(
    "Which layer and head, set to zero in the corrupt run, brings back “Mary” over “John”? (z)",
  );
});
