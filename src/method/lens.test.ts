import { expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { logSumExp } from "../numeric/logits.ts";
import type { Dataset } from "../result/result.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import { lens } from "./lens.ts";

const { patching } = goldenFacts("gpt2");
const opened: Model = await loadGolden("gpt2", referenceBackend());
const model: Model = {
  ...opened,
  tokenizer: { ...opened.tokenizer, pieces: (ids) => ids.map((id) => `<${id}>`) },
};
const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });
const prompt = (ids: readonly number[]): Prompted => ({
  id: ids.join(),
  where: "prompt",
  clean: tokens(ids),
  answers: [tokens([patching.answer])],
  foils: [],
});
const values = (result: Dataset, name: string): (string | number)[] => [
  ...(result.dataVars[name]?.data ?? []),
];

test("each cell is what the model would say of that stream, the last of them what it says", async () => {
  const found = await lens(model, [prompt(patching.clean)]);
  const { caches, residuals } = await forward(model, [patching.clean], { capture: [{ site: "resid_post" }] });
  const { dModel, layers } = model.architecture;
  const length = patching.clean.length;
  for (const layer of layers.keys()) {
    for (let pos = 0; pos < length; pos++) {
      const { data } = caches[0]?.get("resid_post", layer) ?? { data: new Float64Array(0) };
      const stream = data.slice(pos * dModel, (pos + 1) * dModel);
      const logits = (await unembed(model, stream, { logits: true })).logits ?? new Float64Array(0);
      const cell = layer * length + pos;
      const own = logits[patching.answer] ?? Number.NaN;
      expect(values(found, "resid_post")[cell]).toBeCloseTo(own - logSumExp(logits), 10);
      expect(values(found, "resid_post_rank")[cell]).toBe(
        1 + [...logits].filter((logit) => logit > own).length,
      );
      const best = [...logits].indexOf(Math.max(...logits));
      expect(values(found, "resid_post_top")[cell]).toBe(`<${best}>`);
      expect(values(found, "resid_post_top_prob")[cell]).toBeCloseTo(
        Math.exp((logits[best] ?? 0) - logSumExp(logits)),
        10,
      );
    }
  }
  const last = (residuals[0] ?? new Float64Array(0)).slice(-dModel);
  const said = await unembed(model, last, { columns: [patching.answer], logsumexp: true });
  expect(values(found, "resid_post").at(-1)).toBeCloseTo(
    (said.columns?.[0] ?? 0) - (said.logsumexp?.[0] ?? 0),
    10,
  );
  // A stream is the next layer's.
  const middle = values(found, "resid_pre").slice(length);
  expect(middle).toEqual(values(found, "resid_post").slice(0, -length));
});

test("prompts of different lengths are lined up at their ends", async () => {
  const short = patching.clean.slice(0, 4);
  const both = await lens(model, [prompt(patching.clean), prompt(short)], { sites: ["resid_post"] });
  expect(both.coords.pos?.data).toEqual([-4, -3, -2, -1]);
  const [a, b] = [await lens(model, [prompt(patching.clean)]), await lens(model, [prompt(short)])];
  const length = patching.clean.length;
  values(both, "resid_post").forEach((value, cell) => {
    const layer = Math.floor(cell / 4);
    const first = Number(values(a, "resid_post")[layer * length + length - 4 + (cell % 4)]);
    const second = Number(values(b, "resid_post")[cell]);
    expect(value).toBeCloseTo((first + second) / 2, 12);
  });
});

test("sites of another width are refused by name", async () => {
  await expect(lens(model, [prompt(patching.clean)], { sites: ["z", "colour"] })).rejects.toThrow(
    /--site: found z; wanted a site of the stream's width.*\n--site: found "colour"/,
  );
});
