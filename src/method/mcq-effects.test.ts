import { expect, test } from "vitest";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { mean } from "../numeric/statistics.ts";
import type { Edit } from "../run/edit.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import type { Item } from "../task/question-items.ts";
import { type Ablated, prepareAblation } from "./ablated-units.ts";
import { type Node, nodeEffects, nodesOf } from "./mcq-effects.ts";
import { keepCurve } from "./mcq-set.ts";
import { fitSubspace, rankCurves } from "./mcq-subspace.ts";

const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });
/** Label tokens 1, 2 and 3, one text token each. */
const item = (index: number, correct: number): Item => {
  const ids = [9 + index, 1, 12 + index, 2, 15, 3, 6 + correct, 4];
  const letters = [1, 2, 3];
  return {
    id: String(index),
    where: `question ${index}`,
    clean: tokens(index === 2 ? [5, ...ids] : ids), // one is longer
    answers: [tokens([letters[correct] ?? 0])],
    foils: letters.filter((_, place) => place !== correct).map((id) => tokens([id])),
    labels: ["a", "b", "c"],
    letters,
    correct,
    labelAt: [1, 3, 5].map((position) => position + Number(index === 2)),
    textAt: [2, 4, 6].map((position) => position + Number(index === 2)),
    optionOf: [],
  };
};
const items = [item(0, 0), item(1, 1), item(2, 2), item(3, 0)];

/** The metric of whole forward passes with edits. */
async function metricOf(
  model: Model,
  { clean, letters, correct }: Item,
  edits: readonly Edit[],
): Promise<number> {
  const { residuals } = await forward(model, [clean.ids], { edits: [edits] });
  const last = residuals[0]?.slice(-model.architecture.dModel) ?? model.backend.allocate(0);
  const { columns = [] } = await unembed(model, last, { columns: letters });
  const others = Array.from(columns).filter((_, place) => place !== correct);
  return Number(columns[correct]) - mean(others);
}

/** Everything that later parts add at the last position, as it is in the unedited run. */
async function held(model: Model, { clean: { ids } }: Item, node: Node): Promise<Edit[]> {
  const { caches } = await forward(model, [ids], { capture: [{ site: "attn_out" }, { site: "mlp_out" }] });
  const parallel = !model.definition.blocks[0]?.sites.has("resid_mid");
  const reached = (site: "attn_out" | "mlp_out"): number =>
    site === "mlp_out" && node.kind === "head" && !parallel ? node.layer : node.layer + 1;
  return (["attn_out", "mlp_out"] as const).flatMap((site) =>
    [...model.definition.blocks.keys()].slice(reached(site)).map((layer): Edit => {
      const { data, shape } = (caches[0] as (typeof caches)[number]).get(site, layer);
      const value = { kind: "given", shape, data } as const;
      return { site, layer, where: { pos: [ids.length - 1] }, action: "replace", value };
    }),
  );
}

async function prepared(name: string): Promise<{ model: Model; ablated: Ablated; nodes: Node[] }> {
  const golden = await loadGolden(name, referenceBackend());
  const pieces = (ids: readonly number[]): string[] => ids.map(String);
  const model = { ...golden, tokenizer: { ...golden.tokenizer, pieces } };
  const ablated = await prepareAblation(model, items, {
    ablation: { kind: "resample", draws: 2 },
    centred: false,
  });
  return { model, ablated, nodes: nodesOf(model, ablated) };
}

/** Sequential and parallel blocks, shared keys, norms behind the modules. */
const names = ["gpt2", "llama", "gptj", "gemma2"];

test.each(names)(
  "%s: effects are those of whole forward passes, the direct one with all later parts held",
  async (name) => {
    const { model, ablated, nodes } = await prepared(name);
    const { effects, clean } = await nodeEffects(model, ablated, { items, nodes, metric: "logit_diff" });
    const prompt = 2;
    const own = items[prompt] as Item;
    const base = await metricOf(model, own, []);
    expect(clean[prompt]?.logit_diff).toBeCloseTo(base, 9);
    for (const [at, node] of nodes.entries()) {
      const later = await held(model, own, node);
      const [total, direct] = [[], []] as [number[], number[]];
      for (let draw = 0; draw < (ablated.draws[prompt] ?? 0); draw++) {
        const edit = ablated.edit(node, { prompt, draw });
        total.push((await metricOf(model, own, [edit])) - base);
        direct.push((await metricOf(model, own, [edit, ...later])) - base);
      }
      expect(effects[prompt]?.total[at], `total of ${JSON.stringify(node)}`).toBeCloseTo(mean(total), 9);
      expect(effects[prompt]?.direct[at], `direct of ${JSON.stringify(node)}`).toBeCloseTo(mean(direct), 9);
    }
  },
);

test.each(names)(
  "%s: with nothing kept all nodes are another question's, with all kept none is",
  async (name) => {
    const { model, ablated, nodes } = await prepared(name);
    const { clean } = await nodeEffects(model, ablated, { items, nodes, metric: "logit_diff" });
    const ranked = nodes.toReversed();
    const request = { items, nodes, ranked, metric: "logit_diff", share: 0.9, clean, seed: 0 } as const;
    const curve = await keepCurve(model, ablated, request);
    const own = items[1] as Item;
    const kept = 3;
    for (const [size, without] of [
      [0, nodes],
      [kept, ranked.slice(kept)],
    ] as const) {
      const values = await Promise.all(
        [0, 1].map((draw) =>
          metricOf(
            model,
            own,
            without.map((node) => ablated.edit(node, { prompt: 1, draw })),
          ),
        ),
      );
      expect(curve.values[curve.sizes.indexOf(size)]?.[1]).toBeCloseTo(mean(values), 9);
    }
    expect(curve.values.at(-1)?.[1]).toBeCloseTo(clean[1]?.logit_diff ?? Number.NaN, 9);
    // Of what GPT-J's nodes do on these questions no share can be told.
    const ends = name === "gptj" ? [Number.NaN, Number.NaN] : [0, 1];
    for (const [index, end] of ends.entries())
      expect(curve.faithfulness.at(-index)?.estimate).toEqual(
        Number.isNaN(end) ? end : expect.closeTo(end, 9),
      );
  },
);

test("where all resampled do not change the metric beyond its interval, no share is told and no set is the smallest", async () => {
  const { model, ablated, nodes } = await prepared("gpt2");
  const { clean } = await nodeEffects(model, ablated, { items, nodes, metric: "logit_diff" });
  const request = { items, nodes, ranked: nodes, metric: "logit_diff", share: 0.9, seed: 0 } as const;
  const { values, sizes } = await keepCurve(model, ablated, { ...request, clean });
  const changed = (by: readonly number[]) =>
    keepCurve(model, ablated, {
      ...request,
      clean: clean.map((scores, i) => ({ ...scores, logit_diff: (values[0]?.[i] ?? 0) - (by[i] ?? 0) })),
    });
  for (const by of [
    [0, 0, 0, 0],
    [1, -1, 0.5, -0.4],
  ]) {
    const { change, faithfulness, needed, ...curve } = await changed(by);
    expect(change.estimate).toBeCloseTo(mean(by), 9);
    expect(change.low).toBeLessThanOrEqual(0);
    expect(change.high).toBeGreaterThanOrEqual(0);
    expect(needed).toBe(null);
    for (const share of faithfulness)
      expect(share).toEqual({ estimate: Number.NaN, low: Number.NaN, high: Number.NaN });
    expect(curve).toMatchObject({ sizes, values });
  }
  for (const sign of [1, -1]) {
    const { change, faithfulness, needed } = await changed([1, 1.1, 0.9, 1].map((by) => sign * by));
    expect(change.estimate).toBeCloseTo(sign, 9);
    expect(needed).not.toBe(null);
    expect(faithfulness[0]?.estimate).toBeCloseTo(0, 12);
  }
});

test.each(names)("%s: the whole rank leaves every run as it is, a smaller one does not", async (name) => {
  const model = await loadGolden(name, referenceBackend());
  const { dHead } = model.architecture;
  const layer = model.definition.blocks.length - 1;
  const subspace = await fitSubspace(model, [{ layer, head: 1, readsLabels: true }], items);
  const { clean, scores } = await rankCurves(model, subspace, { items, ranks: [0, dHead] });
  for (const [nothing, everything] of scores.map(([a = [], b = []]) => [a, b] as const)) {
    let moved = 0;
    for (const [question, { loss }] of clean.entries()) {
      expect(everything[question]?.loss).toBeCloseTo(loss, 9);
      moved += Math.abs((nothing[question]?.loss ?? loss) - loss);
    }
    expect(moved).toBeGreaterThan(1e-8);
  }
});

test("halves are of one size whichever places are right, and have each place alike", async () => {
  const model = await loadGolden("gpt2", referenceBackend());
  const foldsOf = async (places: readonly number[]): Promise<readonly number[]> => {
    const asked = places.map((correct, index) => item(index, correct));
    return (await fitSubspace(model, [{ layer: 0, head: 0, readsLabels: true }], asked)).folds;
  };
  expect(await foldsOf([0, 2, 2, 2])).toEqual([0, 1, 0, 1]);
  expect(await foldsOf([0, 1, 2, 1])).toEqual([0, 1, 1, 0]);
  expect(await foldsOf([0, 0, 1, 1, 2, 2])).toEqual([0, 1, 1, 0, 0, 1]);
});

test("where nothing can be drawn, the advice is the caller's", async () => {
  const model = await loadGolden("gpt2", referenceBackend());
  const asked = [item(0, 0)];
  await expect(prepareAblation(model, asked, {})).rejects.toThrow(
    /wanted at least one\. Give more prompts\.$/,
  );
  await expect(prepareAblation(model, asked, { advice: "Ask more." })).rejects.toThrow(/one\. Ask more\.$/);
});
