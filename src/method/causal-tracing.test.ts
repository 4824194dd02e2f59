import { describe, expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Fact } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { addScaled } from "../numeric/projection.ts";
import type { Dataset } from "../result/result.ts";
import type { Edit } from "../run/edit.ts";
import { patch } from "../run/edit.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import type { Reading } from "../run/read.ts";
import { sweep } from "../run/sweep.ts";
import { causalTracing, type TracingOptions } from "./causal-tracing.ts";
import { drawNoise, embeddingSpread } from "./noise.ts";
import { rolePositions, windowLayers } from "./tracing-cells.ts";

const NAME = "llama-gqa-tied";
const { patching } = goldenFacts(NAME);
const opened = await loadGolden(NAME, referenceBackend());
const model: Model = {
  ...opened,
  tokenizer: { ...opened.tokenizer, pieces: (ids) => ids.map((id) => `<${id}>`) },
};
const { dModel } = model.architecture;
const LAYERS = model.architecture.layers.length;
const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });
const factOf = (ids: readonly number[], subject: readonly number[], id = "0"): Fact => ({
  id,
  where: `fact ${id}`,
  clean: tokens(ids),
  answers: [tokens([patching.answer])],
  foils: [],
  subject,
});
const ids = patching.clean;
const SUBJECT = [2, 3, 4];
const fact = factOf(ids, SUBJECT);
const trace = (options: TracingOptions = {}, facts = [fact]): Promise<Dataset> =>
  causalTracing(model, facts, {
    metric: "prob",
    verify: 0,
    ...(options.noise === undefined ? { samples: 3 } : {}),
    ...options,
  });
const values = (result: Dataset, name: string): number[] =>
  [...(result.dataVars[name]?.data ?? [])].map(Number);
const baseline = (result: Dataset, run: "clean" | "corrupt"): number =>
  Number(result.attrs[`baseline_${run}`]);

/** The answer's probability of one whole pass from embeddings that noise was added to. */
async function whole(
  noise: Float64Array,
  edits: readonly Edit[],
  runs: Awaited<ReturnType<typeof forward>>["caches"],
) {
  const data = new Float64Array(ids.length * dModel);
  data.set(noise, (SUBJECT[0] ?? 0) * dModel);
  const add: Edit = {
    site: "resid_pre",
    layer: 0,
    where: {},
    action: "add",
    value: { kind: "given", shape: [ids.length, dModel], data },
  };
  const { residuals } = await forward(model, [ids], { edits: [[add, ...edits]], runs });
  const last = (residuals[0] ?? new Float64Array(0)).slice(-dModel);
  const { columns, logsumexp } = await unembed(model, last, { columns: [patching.answer], logsumexp: true });
  return Math.exp((columns?.[0] ?? Number.NaN) - (logsumexp?.[0] ?? Number.NaN));
}

test("states and windows restored one by one are whole passes with those edits, averaged over the noise", async () => {
  const found = await trace({ window: 2, seed: 5 });
  const sigma = 3 * (await embeddingSpread(model));
  expect(found.attrs.sigma).toBeCloseTo(sigma, 12);
  const noise = await drawNoise(model, {
    distribution: "gaussian",
    sigma,
    factor: 3,
    samples: 3,
    tokens: 3,
    antithetic: false,
    seed: 5,
  });
  const sites = ["resid_post", "mlp_out", "attn_out"] as const;
  const { caches } = await forward(model, [ids], { capture: sites.map((site) => ({ site })) });
  const size = 3 * dModel;
  for (const site of sites) {
    for (let layer = 0; layer < LAYERS; layer++) {
      const layers = site === "resid_post" ? [layer] : windowLayers(layer, { layers: 2, before: 1 }, LAYERS);
      for (const pos of [0, 3, 6, ids.length - 1]) {
        let sum = 0;
        for (let sample = 0; sample < 3; sample++) {
          const edits = layers.map((at) => patch(site, at, { run: 0, where: { pos: [pos] } }));
          sum += await whole(noise.slice(sample * size, (sample + 1) * size), edits, caches);
        }
        expect(values(found, site)[layer * ids.length + pos]).toBeCloseTo(sum / 3, 10);
      }
    }
  }
});

test("what is severed stays as it is under noise from the restored state on", async () => {
  const given = await drawNoise(model, {
    distribution: "uniform",
    sigma: 0.5,
    factor: 1,
    samples: 1,
    tokens: 3,
    antithetic: false,
    seed: 9,
  });
  for (const module of ["mlp", "attn"] as const) {
    const site = `${module}_out` as const;
    const noise = { data: given, shape: [1, 3, dModel] };
    const found = await trace({ sever: module, noise });
    expect(Object.keys(found.dataVars).filter((name) => !/_/.test(name.slice(10)))).toEqual(["resid_post"]);
    const clean = (await forward(model, [ids], { capture: [{ site: "resid_post" }] })).caches;
    const data = new Float64Array(ids.length * dModel);
    data.set(given, 2 * dModel);
    const shape = [ids.length, dModel];
    const add: Edit = {
      site: "resid_pre",
      layer: 0,
      where: {},
      action: "add",
      value: { kind: "given", shape, data },
    };
    const noised = (await forward(model, [ids], { edits: [[add]], capture: [{ site }] })).caches;
    const runs = [...clean, ...noised];
    for (let layer = 0; layer < LAYERS; layer++) {
      for (const pos of [3, 5]) {
        const where = { pos: [pos] };
        const frozen = [...Array(LAYERS).keys()].map((at) => patch(site, at, { run: 1, where }));
        const wanted = await whole(given, [...frozen, patch("resid_post", layer, { run: 0, where })], runs);
        expect(values(found, "resid_post")[layer * ids.length + pos]).toBeCloseTo(wanted, 10);
      }
    }
  }
});

describe("laws", () => {
  test("without noise nothing is lost", async () => {
    const found = await trace({ factor: 0 });
    expect(found.attrs.total_effect).toBe(0);
    expect(new Set(values(found, "resid_post_effect"))).toEqual(new Set([0]));
    expect(found.attrs.cells_unchanged).toBe(found.attrs.cells);
  });

  test("a subject of one token restored before the first layer, and the last stream at the end, bring back everything", async () => {
    const one = factOf(ids, [3]);
    const found = await trace({ sites: ["resid_pre", "resid_post"] }, [one]);
    const clean = baseline(found, "clean");
    expect(baseline(found, "corrupt")).not.toBeCloseTo(clean, 6);
    expect(values(found, "resid_pre")[3]).toBeCloseTo(clean, 12);
    expect(values(found, "resid_post").at(-1)).toBeCloseTo(clean, 12);
    expect(values(found, "resid_pre").slice(0, 3)).toEqual(Array(3).fill(baseline(found, "corrupt")));
  });

  test("all embeddings of a longer subject restored, or all states after any layer, bring back everything", async () => {
    const sigma = 3 * (await embeddingSpread(model));
    const how = { distribution: "gaussian", factor: 3, samples: 1, tokens: SUBJECT.length } as const;
    const values = await drawNoise(model, { ...how, sigma, antithetic: false, seed: 2 });
    const read = [
      { position: ids.length - 1, readout: { columns: [patching.answer], logsumexp: true } },
    ] as const;
    const all = [...Array(LAYERS).keys()].map((layer) => patch("resid_post", layer, { run: 0 }));
    const restored = [patch("resid_pre", 0, { run: 0, where: { pos: SUBJECT } }), ...all];
    const some = patch("resid_pre", 0, { run: 0, where: { pos: SUBJECT.slice(1) } });
    const probability = ([found]: Reading): number =>
      Math.exp((found?.columns?.[0] ?? Number.NaN) - (found?.logsumexp ?? Number.NaN));
    const runs: number[] = [];
    const variants: number[] = [];
    await sweep(
      model,
      {
        runs: [
          { ids, read },
          { ids, offset: { positions: SUBJECT, values }, read },
        ],
        count: restored.length + 1,
        variant: (index) => ({ run: 1, edits: [restored[index] ?? some] }),
      },
      {
        onRun: (run, reading) => {
          runs[run] = probability(reading);
        },
        onReading: (index, reading) => {
          variants[index] = probability(reading);
        },
      },
    );
    const [clean, noised] = runs;
    expect(Math.abs(clean - noised)).toBeGreaterThan(0.01 * clean);
    for (const value of variants.slice(0, -1)) expect(value).toBeCloseTo(clean, 12);
    expect(variants.at(-1)).not.toBeCloseTo(clean, 6);
  });

  test("severing only what lies behind the last layer severs nothing; a window of one is the single output", async () => {
    const plain = await trace({ sites: ["resid_post"] });
    const severed = await trace({ sites: ["resid_post"], sever: "mlp" });
    expect(values(severed, "resid_post").slice(-ids.length)).toEqual(
      values(plain, "resid_post").slice(-ids.length),
    );
    const single = await trace({ sites: ["mlp_out"], window: 1 });
    const shifted = await trace({ sites: ["mlp_out"], window: 2, windowBefore: 0 });
    const clipped = values(shifted, "mlp_out").slice(-ids.length); // the window reaches beyond the last layer
    expect(clipped).toEqual(values(single, "mlp_out").slice(-ids.length));
  });

  test("a window has its own layer in it, and is warned of where it holds more than half of the model", async () => {
    await expect(trace({ window: 2, windowBefore: 2 })).rejects.toThrow(
      "--window-before: found 2; wanted less than the window of 2, which has the layer itself in it.",
    );
    const warned = async (window: number, sites: readonly string[]) =>
      (await trace({ window, sites, samples: 2 })).attrs.warnings;
    const said = expect.stringContaining(`windows of ${LAYERS} layers in a model of ${LAYERS}`);
    expect(await warned(LAYERS, ["mlp_out"])).toContainEqual(said);
    expect(await warned(LAYERS, ["resid_post"])).not.toContainEqual(said);
    expect(await warned(1, ["mlp_out"])).not.toContainEqual(said);
  });

  test("windows are those of the contract", () => {
    const of = (layer: number, layers: number): number[] =>
      windowLayers(layer, { layers, before: Math.floor(layers / 2) }, 12);
    expect(of(0, 10)).toEqual([0, 1, 2, 3, 4]);
    expect(of(6, 10)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(of(11, 10)).toEqual([6, 7, 8, 9, 10, 11]);
    expect(of(4, 3)).toEqual([3, 4, 5]);
    expect(of(4, 1)).toEqual([4]);
  });

  test("noise of opposite signs cancels in the mean, leaves none of the first order and the same second moment", async () => {
    const draw = (antithetic: boolean, seed: number): Promise<Float64Array> =>
      drawNoise(model, {
        distribution: "gaussian",
        sigma: 0.3,
        factor: 1,
        samples: 8,
        tokens: 2,
        antithetic,
        seed,
      });
    const pairs = await draw(true, 4);
    const size = 2 * dModel;
    const sum = new Float64Array(size);
    for (let sample = 0; sample < 8; sample++)
      addScaled(sum, pairs.subarray(sample * size, (sample + 1) * size), 1);
    expect(Math.max(...sum.map(Math.abs))).toBeLessThan(1e-14);
    expect(pairs.slice(0, 4 * size)).toEqual((await draw(false, 4)).slice(0, 4 * size));
    // The mean over many seeds is the same with and without; the spread over seeds is smaller with.
    const totals = { with: [] as number[], without: [] as number[] };
    for (let seed = 0; seed < 60; seed++) {
      for (const antithetic of [true, false]) {
        const found = await trace({
          sites: ["resid_post"],
          samples: 2,
          factor: 0.5,
          antithetic,
          seed,
          metric: "logprob",
        });
        totals[antithetic ? "with" : "without"].push(baseline(found, "corrupt"));
      }
    }
    const mean = (list: readonly number[]): number =>
      list.reduce((all, value) => all + value, 0) / list.length;
    const variance = (list: readonly number[]): number =>
      mean(list.map((value) => (value - mean(list)) ** 2));
    const error = Math.sqrt((variance(totals.with) + variance(totals.without)) / 60);
    expect(Math.abs(mean(totals.with) - mean(totals.without))).toBeLessThan(4 * error);
    expect(variance(totals.with)).toBeLessThan(0.7 * variance(totals.without));
  });

  test("every distribution has the deviation that is asked for; that of the embeddings their covariance", async () => {
    const sigma = 2 * (await embeddingSpread(model));
    const draw = (distribution: "gaussian" | "uniform" | "covariance"): Promise<Float64Array> =>
      drawNoise(model, {
        distribution,
        sigma,
        factor: 2,
        samples: 400,
        tokens: 1,
        antithetic: false,
        seed: 1,
      });
    for (const distribution of ["gaussian", "uniform"] as const) {
      const noise = await draw(distribution);
      const squares = noise.reduce((sum, value) => sum + value * value, 0) / noise.length;
      expect(Math.abs(Math.sqrt(squares) / sigma - 1)).toBeLessThan(0.03);
      if (distribution === "uniform")
        expect(Math.max(...noise.map(Math.abs))).toBeLessThan(Math.sqrt(3) * sigma);
    }
    // Σ over the table, against the covariance of the draws.
    const table = (await model.weights.get("ends"))["model.embed_tokens.weight"];
    const rows = table?.data.length === undefined ? 0 : table.data.length / dModel;
    const column = (of: ArrayLike<number>, at: number, count: number): number[] =>
      Array.from({ length: count }, (_, row) => of[row * dModel + at] ?? Number.NaN);
    const covariance = (a: readonly number[], b: readonly number[]): number => {
      const [ma, mb] = [a, b].map((list) => list.reduce((sum, value) => sum + value, 0) / list.length);
      return (
        a.reduce((sum, value, i) => sum + (value - (ma ?? 0)) * ((b[i] ?? 0) - (mb ?? 0)), 0) / (a.length - 1)
      );
    };
    const noise = await draw("covariance");
    for (const [i, j] of [
      [0, 0],
      [1, 1],
      [0, 1],
      [3, 7],
    ] as const) {
      const wanted = 4 * covariance(column(table?.data ?? [], i, rows), column(table?.data ?? [], j, rows));
      const scale = 4 * covariance(column(table?.data ?? [], i, rows), column(table?.data ?? [], i, rows));
      const got = covariance(column(noise, i, 400), column(noise, j, 400));
      expect(Math.abs(got - wanted)).toBeLessThan(0.25 * scale);
    }
  });
});

test("several facts: roles averaged over the facts that have them, effects within each fact", async () => {
  const top = async (sequence: readonly number[]): Promise<number> => {
    const { residuals } = await forward(model, [sequence]);
    const last = (residuals[0] ?? new Float64Array(0)).slice(-dModel);
    const logits = [...((await unembed(model, last, { logits: true })).logits ?? [])];
    return logits.indexOf(Math.max(...logits));
  };
  const known = async (
    sequence: readonly number[],
    subject: readonly number[],
    id: string,
  ): Promise<Fact> => ({
    ...factOf(sequence, subject, id),
    answers: [tokens([await top(sequence)])],
  });
  const [a, b] = [await known(ids, SUBJECT, "a"), await known(patching.corrupt.slice(0, 7), [2], "b")];
  const unknown = { ...a, id: "c", answers: [tokens([(a.answers[0]?.ids[0] ?? 0) + 1])] };
  const both = await trace({ sites: ["resid_post"], perPair: true }, [a, unknown, b]);
  expect(both.attrs.skipped).toEqual([{ id: "c", says: `<${a.answers[0]?.ids[0]}>` }]);
  const one = await trace({ sites: ["resid_post"] }, [a]);
  const other = await trace({ sites: ["resid_post"] }, [b]);
  expect(rolePositions(a).map((list) => list.length)).toEqual([1, 1, 1, 1, ids.length - 7, 1]);
  expect(rolePositions(b).map((list) => list.length)).toEqual([0, 0, 1, 1, 2, 1]);
  const at = (result: Dataset, name: string, layer: number, pos: number): number =>
    values(result, name)[layer * (result.dims.pos ?? 0) + pos] ?? Number.NaN;
  for (let layer = 0; layer < LAYERS; layer++) {
    for (const name of ["resid_post", "resid_post_effect"]) {
      const role = (index: number): number => values(both, name)[layer * 6 + index] ?? Number.NaN;
      expect(role(0)).toBeCloseTo(at(one, name, layer, 2), 12);
      expect(role(2)).toBeCloseTo((at(one, name, layer, 4) + at(other, name, layer, 2)) / 2, 12);
    }
  }
  expect(baseline(both, "clean")).toBeCloseTo((baseline(one, "clean") + baseline(other, "clean")) / 2, 12);
});

test("the sweep agrees with whole passes wherever it is checked, severed and windowed", async () => {
  for (const sever of [undefined, "mlp", "attn"] as const) {
    const found = await trace({ sever, window: 2, verify: 12, metric: "kl" });
    expect(Number(found.attrs.verify_max_abs_diff)).toBeLessThan(1e-9);
  }
});

test("what cannot be traced is refused", async () => {
  await expect(trace({}, [factOf(ids, [])])).rejects.toThrow("fact 0, subject: found none");
  await expect(trace({ sites: ["mlp_out"], sever: "mlp" })).rejects.toThrow(
    /--site: found "mlp_out"; wanted a state for --sever mlp/,
  );
  await expect(trace({ samples: 3, antithetic: true })).rejects.toThrow(
    "--samples: found 3; wanted an even number",
  );
  const noise = { data: new Float64Array(2 * dModel), shape: [1, 2, dModel] };
  await expect(trace({ noise })).rejects.toThrow(/fact 0, --noise: found shape \[1, 2, .*wanted .*any, 3,/);
});
