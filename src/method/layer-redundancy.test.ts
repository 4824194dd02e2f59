import { expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import type { Weights } from "../model/store.ts";
import { logSumExp } from "../numeric/logits.ts";
import type { Dataset } from "../result/result.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import { reordered } from "../run/reorder.ts";
import { layerRedundancy, type RedundancyOptions } from "./layer-redundancy.ts";

const NAME = "gpt2";
const { patching } = goldenFacts(NAME);
const model = await loadGolden(NAME, referenceBackend());
const LAYERS = model.architecture.layers.length;
const { dModel, vocabulary } = model.architecture;
const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });
const texts = [tokens(patching.clean), tokens(patching.corrupt.slice(0, 5).reverse())];
const run = (options: RedundancyOptions = {}, of: Model = model): Promise<Dataset> =>
  layerRedundancy(of, texts, { blocks: [1, 2], ...options });
const values = (result: Dataset, name: string): number[] =>
  [...(result.dataVars[name]?.data ?? [])].map(Number);

/** Loss and rows of logits of one text, by whole passes of a model. */
async function whole(of: Model, ids: readonly number[], less?: Float64Array) {
  const { residuals } = await forward(of, [ids]);
  const stream = Float64Array.from(residuals[0] ?? [], (value, i) => value - (less?.[i] ?? 0));
  const { logits = new Float64Array(0) } = await unembed(of, stream, { logits: true });
  const rows = ids.slice(0, -1).map((_, at) => logits.slice(at * vocabulary, (at + 1) * vocabulary));
  const losses = rows.map((row, at) => logSumExp(row) - (row[ids[at + 1] ?? 0] ?? Number.NaN));
  return { rows, loss: losses.reduce((sum, value) => sum + value, 0) / losses.length };
}
const meanOf = async (loss: (ids: readonly number[]) => Promise<number>): Promise<number> => {
  const each = await Promise.all(texts.map(({ ids }) => loss(ids)));
  return each.reduce((sum, value) => sum + value, 0) / each.length;
};
const inOrder = (order: readonly number[]): Promise<number> =>
  meanOf(async (ids) => (await whole(reordered(model, order), ids)).loss);
const all = [...Array(LAYERS).keys()];

test("deletions by edits are models without those layers; a deleted run of one is the layer", async () => {
  const found = await run();
  for (const layer of all) {
    const without = await inOrder(all.filter((other) => other !== layer));
    expect(values(found, "delete")[layer]).toBeCloseTo(without, 10);
    expect(values(found, "delete_block")[layer]).toBeCloseTo(without, 10);
  }
  const pair = await inOrder(all.filter((layer) => layer !== 0 && layer !== 1));
  expect(values(found, "delete_block")[LAYERS]).toBeCloseTo(pair, 10);
  expect(values(found, "delete_block").at(-1)).toBeNaN();
});

test("exchanged, repeated and reversed layers are models in that order", async () => {
  const found = await run({ middle: [0, LAYERS - 1] });
  for (const layer of all) {
    const swapped = all.with(layer, layer + 1).with(Math.min(layer + 1, LAYERS - 1), layer);
    if (layer + 1 < LAYERS) expect(values(found, "swap")[layer]).toBeCloseTo(await inOrder(swapped), 10);
    else expect(values(found, "swap")[layer]).toBeNaN();
    const twice = [...all.slice(0, layer + 1), ...all.slice(layer)];
    expect(values(found, "repeat")[layer]).toBeCloseTo(await inOrder(twice), 10);
  }
  expect(values(found, "reverse_middle")[0]).toBeCloseTo(await inOrder([...all].reverse()), 10);
});

test("the direct effect takes the layer's own output from the final stream; of the last layer it is the total", async () => {
  const found = await run();
  for (const layer of all) {
    const direct = await meanOf(async (ids) => {
      const { caches } = await forward(model, [ids], {
        capture: [{ site: "attn_out" }, { site: "mlp_out" }],
      });
      const mlp = caches[0]?.get("mlp_out", layer).data ?? [];
      const less = Float64Array.from(
        caches[0]?.get("attn_out", layer).data ?? [],
        (value, i) => value + (mlp[i] ?? 0),
      );
      return (await whole(model, ids, less)).loss;
    });
    expect(values(found, "direct")[layer]).toBeCloseTo(direct, 10);
  }
  expect(values(found, "direct").at(-1)).toBeCloseTo(values(found, "delete").at(-1) ?? Number.NaN, 12);
});

test("agreement, KL and block influence are what their definitions say", async () => {
  const found = await run();
  const layer = 0;
  const shortened = reordered(model, all.slice(1));
  let agreement = 0;
  let kl = 0;
  let influence = 0;
  for (const { ids } of texts) {
    const [base, edited] = [await whole(model, ids), await whole(shortened, ids)];
    const top = (row: ArrayLike<number>): number => {
      const list = Array.from(row);
      return list.indexOf(Math.max(...list));
    };
    const each = base.rows.map((row, at) => {
      const other = edited.rows[at] ?? row;
      const [a, b] = [logSumExp(row), logSumExp(other)];
      const divergence = [...row].reduce(
        (sum, logit, i) => sum + Math.exp(logit - a) * (logit - a - ((other[i] ?? 0) - b)),
        0,
      );
      return { same: top(row) === top(other) ? 1 : 0, divergence };
    });
    agreement += each.reduce((sum, { same }) => sum + same, 0) / each.length / 2;
    kl += each.reduce((sum, { divergence }) => sum + divergence, 0) / each.length / 2;
    const { caches } = await forward(model, [ids], {
      capture: [{ site: "resid_pre" }, { site: "resid_post" }],
    });
    const [before, after] = [
      caches[0]?.get("resid_pre", layer).data,
      caches[0]?.get("resid_post", layer).data,
    ];
    const cosines = ids.map((_, at) => {
      const [a, b] = [before, after].map((data) => [...(data ?? [])].slice(at * dModel, (at + 1) * dModel));
      const dot = (x: readonly number[] = [], y: readonly number[] = []): number =>
        x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0);
      return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    });
    influence += (1 - cosines.reduce((sum, value) => sum + value, 0) / cosines.length) / 2;
  }
  expect(values(found, "delete_agreement")[layer]).toBeCloseTo(agreement, 12);
  expect(values(found, "delete_kl")[layer]).toBeCloseTo(kl, 10);
  expect(values(found, "block_influence")[layer]).toBeCloseTo(influence, 10);
});

test("a block that adds nothing can go, and is called redundant", async () => {
  const silent = 1;
  // Weights and biases of both output projections are 0.
  const muted = (weights: Weights): Weights =>
    Object.fromEntries(
      Object.entries(weights).map(([name, tensor]) =>
        /c_proj/.test(name)
          ? [name, { ...tensor, data: new Float32Array(tensor.data.length) }]
          : [name, tensor],
      ),
    );
  const zeroed: Model = {
    ...model,
    weights: {
      ...model.weights,
      get: async (part) => (part === silent ? muted(await model.weights.get(part)) : model.weights.get(part)),
    },
  };
  const found = await run({}, zeroed);
  for (const name of ["delete_effect", "direct_effect", "repeat_effect", "delete_kl"])
    expect(values(found, name)[silent]).toBe(0);
  expect(values(found, "delete_agreement")[silent]).toBe(1);
  expect(values(found, "block_influence")[silent]).toBeCloseTo(0, 12);
  expect(found.dataVars.verdict?.data[silent]).toBe("redundant");
  // Of the change, not of the loss: what texts differ in by themselves is not in it.
  for (const side of ["low", "high"]) expect(values(found, `delete_effect_ci_${side}`)[silent]).toBe(0);
  expect(values(found, "delete_ci_high")[silent]).toBeGreaterThan(
    values(found, "delete_ci_low")[silent] ?? 0,
  );
});

test("what cannot be done is refused, all at once", async () => {
  const refused = layerRedundancy(model, [tokens([1])], { blocks: [99], middle: [3, 1] });
  await expect(refused).rejects.toThrow(
    /text 1: found 1 tokens.*\n--blocks: found 99.*\n--middle: found 3-1/,
  );
});
