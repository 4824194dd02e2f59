import { expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { bothBackends, rounding } from "../../test/helpers/backends.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { InputError } from "../core/errors.ts";
import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import type { Dataset } from "../result/result.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import { type DirectOptions, direct } from "./direct.ts";

const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });

function prompted(
  ids: readonly number[],
  answer: number,
  foil?: number,
  corrupt?: readonly number[],
): Prompted {
  return {
    id: ids.join(),
    where: "prompt",
    clean: tokens(ids),
    ...(corrupt === undefined ? {} : { corrupt: tokens(corrupt) }),
    answers: [tokens([answer])],
    foils: foil === undefined ? [] : [tokens([foil])],
  };
}

/** A model without a tokenizer gets one that names ids; closed after the test. */
function named(model: Model): Model {
  return { ...model, tokenizer: { ...model.tokenizer, pieces: (ids) => ids.map(String) } };
}
const values = (result: Dataset, name: string): number[] =>
  [...(result.dataVars[name]?.data ?? [])].map(Number);
const sum = (list: readonly number[]): number => list.reduce((all, value) => all + value, 0);
const total = (result: Dataset): number =>
  sum(["head", "mlp", "embed", "pos_embed", "bias"].flatMap((name) => values(result, name)));

async function logits(model: Model, ids: readonly number[]): Promise<number[]> {
  const { residuals } = await forward(model, [ids]);
  const last = (residuals[0] ?? new Float64Array(0)).slice(-model.architecture.dModel);
  return [...((await unembed(model, last, { logits: true })).logits ?? [])];
}

const backends = bothBackends();

test.each(families())(
  "$name: shares sum to the logit, sources to heads, neurons to MLPs",
  async ({ name }) => {
    const { patching } = goldenFacts(name);
    for (const backend of backends) {
      const model = named(await loadGolden(name, backend));
      const all = await logits(model, patching.clean);
      const split = (options: DirectOptions, foil?: number): Promise<Dataset> =>
        direct(model, [prompted(patching.clean, patching.answer, foil)], options);
      const layers = [...model.architecture.layers.keys()];
      const one = await split({ sources: true, neuronLayers: layers });
      const off = (found: number, wanted: number): void =>
        expect(Math.abs(found - wanted)).toBeLessThan(rounding(backend));
      off(total(one), all[patching.answer] ?? Number.NaN);
      const difference = await split({}, patching.foil);
      off(total(difference), (all[patching.answer] ?? 0) - (all[patching.foil] ?? 0));
      // Against the foil by itself: splitting is linear where logits are.
      const length = patching.clean.length;
      for (const [at, head] of values(one, "head").entries()) {
        off(sum(values(one, "head_src").slice(at * length, (at + 1) * length)), head);
      }
      const { dMlp } = model.architecture;
      for (const [layer, mlp] of values(one, "mlp").entries()) {
        const neurons = values(one, "mlp_neuron").slice(layer * dMlp, (layer + 1) * dMlp);
        off(sum(neurons) + (values(one, "mlp_bias")[layer] ?? 0), mlp);
      }
    }
  },
);

test.each(["llama-gqa-tied", "gpt2", "phi"])(
  "%s: centred shares are shares less their mean over the vocabulary",
  async (name) => {
    const { patching } = goldenFacts(name);
    const model = named(await loadGolden(name, referenceBackend()));
    const { vocabulary } = model.architecture;
    const split = (answer: number, centred: boolean): Promise<Dataset> =>
      direct(model, [prompted(patching.clean, answer)], { centred });
    const found = await split(patching.answer, true);
    const each: Dataset[] = [];
    for (let id = 0; id < vocabulary; id++) each.push(await split(id, false));
    for (const variable of ["head", "mlp", "embed", "bias"]) {
      for (const [cell, value] of values(found, variable).entries()) {
        const mean = sum(each.map((one) => values(one, variable)[cell] ?? Number.NaN)) / vocabulary;
        const own = values(each[patching.answer] as Dataset, variable)[cell] ?? Number.NaN;
        expect(value).toBeCloseTo(own - mean, 9);
      }
    }
  },
);

test("a head's share is its result, through the norm's scale and gain, times the unembedding", async () => {
  const name = "llama-gqa-tied";
  const { patching } = goldenFacts(name);
  const model = named(await loadGolden(name, referenceBackend()));
  const { dModel, heads } = model.architecture;
  const { caches, residuals } = await forward(model, [patching.clean], { capture: [{ site: "result" }] });
  const ends = await model.weights.get("ends");
  const gain = ends["model.norm.weight"]?.data ?? [];
  const table = ends["model.embed_tokens.weight"]?.data ?? [];
  const stream = [...(residuals[0] ?? [])].slice(-dModel);
  const node = model.definition.unembed.nodes.find(({ op }) => op === "rms");
  const eps = node?.op === "rms" ? node.attrs.eps : Number.NaN;
  const scale = Math.sqrt(sum(stream.map((value) => value * value)) / dModel + eps);
  const found = await direct(model, [prompted(patching.clean, patching.answer)]);
  for (const layer of model.architecture.layers.keys()) {
    const { data } = caches[0]?.get("result", layer) ?? { data: [] };
    for (let head = 0; head < heads; head++) {
      const at = ((patching.clean.length - 1) * heads + head) * dModel;
      let wanted = 0;
      for (let i = 0; i < dModel; i++) {
        wanted += ((data[at + i] ?? 0) / scale) * (gain[i] ?? 0) * (table[patching.answer * dModel + i] ?? 0);
      }
      expect(values(found, "head")[layer * heads + head]).toBeCloseTo(wanted, 10);
    }
  }
});

test("in a network without norms, a share is what the logit loses with the head's result taken out at the end", async () => {
  const model = named(linearNet(referenceBackend()));
  const ids = [3, 1, 4, 1, 5];
  const { dModel, heads } = model.architecture;
  const found = await direct(model, [prompted(ids, 2)]);
  const { caches, residuals } = await forward(model, [ids], { capture: [{ site: "result" }] });
  const last = (residuals[0] ?? new Float64Array(0)).slice(-dModel);
  const logitOf = async (stream: typeof last): Promise<number> =>
    (await unembed(model, stream, { columns: [2] })).columns?.[0] ?? Number.NaN;
  const whole = await logitOf(last);
  for (const layer of model.architecture.layers.keys()) {
    const result = caches[0]?.get("result", layer).data.slice(-heads * dModel) ?? new Float64Array(0);
    for (let head = 0; head < heads; head++) {
      const without = last.map((value, i) => value - (result[head * dModel + i] ?? 0));
      expect(values(found, "head")[layer * heads + head]).toBeCloseTo(whole - (await logitOf(without)), 10);
    }
  }
});

test("the difference of a pair is clean less corrupt, and a mean is that of its prompts, inside its interval", async () => {
  const name = "gpt2";
  const { patching } = goldenFacts(name);
  const model = named(await loadGolden(name, referenceBackend()));
  const pair = prompted(patching.clean, patching.answer, patching.foil, patching.corrupt);
  const split = (options: DirectOptions): Promise<Dataset> => direct(model, [pair], options);
  const [clean, corrupt, difference] = [
    await split({}),
    await split({ on: "corrupt" }),
    await split({ on: "difference" }),
  ];
  const both = await direct(
    model,
    [pair, { ...prompted(patching.corrupt, patching.answer, patching.foil), id: "other" }],
    { perPair: true },
  );
  for (const variable of ["head", "mlp", "embed", "pos_embed", "bias"]) {
    const [a, b] = [values(clean, variable), values(corrupt, variable)];
    values(difference, variable).forEach((value, i) => {
      expect(value).toBeCloseTo((a[i] ?? 0) - (b[i] ?? 0), 12);
    });
    expect(values(both, `${variable}_per_pair`)).toEqual([...a, ...b]);
    values(both, variable).forEach((value, i) => {
      expect(value).toBeCloseTo(((a[i] ?? 0) + (b[i] ?? 0)) / 2, 12);
      expect(values(both, `${variable}_ci_low`)[i]).toBeLessThanOrEqual(value + 1e-12);
      expect(values(both, `${variable}_ci_high`)[i]).toBeGreaterThanOrEqual(value - 1e-12);
    });
  }
  expect(total(difference)).toBeCloseTo(Number(difference.attrs.total), 10);
});

test("without an answer the model's own most probable token is split; bad wishes are refused, all at once", async () => {
  const { patching } = goldenFacts("gpt2");
  const model = named(await loadGolden("gpt2", referenceBackend()));
  const all = await logits(model, patching.clean);
  const found = await direct(model, [{ ...prompted(patching.clean, 0), answers: [] }]);
  expect(total(found)).toBeCloseTo(Math.max(...all), 9);
  const refused = direct(model, [prompted(patching.clean, 0), prompted([1, 2], 0)], {
    on: "corrupt",
    sources: true,
    neuronLayers: [99],
  });
  await expect(refused).rejects.toThrow(InputError);
  await expect(refused).rejects.toThrow(
    /one prompt.*\n.*one prompt.*\n--sources: found prompts of 2, .* tokens.*\n--neurons: found 99; wanted layers 0 to/,
  );
});
