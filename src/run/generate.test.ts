import { describe, expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { bothBackends, rounding } from "../../test/helpers/backends.ts";
import { useGolden } from "../../test/helpers/golden-model.ts";
import type { Model } from "../model/model.ts";
import type { Edit } from "./edit.ts";
import { unembed } from "./ends.ts";
import { forward } from "./forward.ts";
import { type GenerateOptions, generate } from "./generate.ts";

const backends = bothBackends();
const NONE = { stopIds: [] } as const;

/** Generation by a whole pass per token, with the edits of each pass given. */
async function plainly(
  model: Model,
  prompt: readonly number[],
  { tokens, editsAt }: { readonly tokens: number; readonly editsAt: (length: number) => readonly Edit[] },
): Promise<{ readonly ids: number[]; readonly logprobs: number[] }> {
  const ids: number[] = [];
  const logprobs: number[] = [];
  for (let done = 0; done < tokens; done++) {
    const sequence = [...prompt, ...ids];
    const { residuals } = await forward(model, [sequence], { edits: [editsAt(sequence.length)] });
    const last = residuals[0]?.slice(-model.architecture.dModel) ?? model.backend.allocate(0);
    const { logits } = await unembed(model, last, { logits: true });
    const row = [...(logits ?? [])];
    const top = Math.max(...row);
    ids.push(row.indexOf(top));
    logprobs.push(-Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - top), 0)));
  }
  return { ids, logprobs };
}

for (const backend of backends) {
  describe(backend.name, () => {
    for (const { name } of families()) {
      const opened = useGolden(name, backend);
      const { generation, prompts } = goldenFacts(name);

      test(`${name}: greedy generation with cached keys and values is PyTorch's, token for token`, async () => {
        const prompt = prompts[generation.prompt === 0 ? 0 : 1];
        const found = await generate(await opened(), prompt, { tokens: generation.ids.length, ...NONE });
        expect(found.ids).toEqual(generation.ids);
      });
    }

    const opened = useGolden("llama-gqa-tied", backend);
    const [prompt] = goldenFacts("llama-gqa-tied").prompts;
    const everywhere: Edit = {
      site: "mlp_out",
      layer: 1,
      where: {},
      action: "scale",
      value: { kind: "fill", value: -3 },
    };
    const onPrompt = { ...everywhere, where: { pos: [...prompt.keys()] } };
    const cases: readonly (readonly [string, GenerateOptions, (length: number) => readonly Edit[]])[] = [
      ["no edit", { tokens: 5 }, () => []],
      ["an edit on the prompt", { tokens: 5, edits: [everywhere] }, () => [onPrompt]],
      ["an edit on every step", { tokens: 5, edits: [everywhere], editOn: "every-step" }, () => [everywhere]],
      [
        "an edit at a named position",
        { tokens: 5, edits: [{ ...everywhere, where: { pos: [3] } }] },
        () => [{ ...everywhere, where: { pos: [3] } }],
      ],
    ];
    for (const [what, options, editsAt] of cases) {
      test(`${what}: cached generation equals a whole pass per token`, async () => {
        const model = await opened();
        const wanted = await plainly(model, prompt, { tokens: options.tokens, editsAt });
        const found = await generate(model, prompt, { ...options, ...NONE });
        expect(found.ids).toEqual(wanted.ids);
        found.logprobs.forEach((logprob, i) => {
          expect(Math.abs(logprob - (wanted.logprobs[i] ?? Number.NaN))).toBeLessThan(rounding(backend));
        });
      });
    }

    test("an edit on the prompt and on every step differ, and both differ from none", async () => {
      const model = await opened();
      const texts = await Promise.all(
        cases
          .slice(0, 3)
          .map(async ([, options]) =>
            (await generate(model, prompt, { ...options, ...NONE })).logprobs.join(),
          ),
      );
      expect(new Set(texts).size).toBe(3);
    });

    test("sampling: the seed decides, top-k 1 is greedy, and frequencies follow the distribution", async () => {
      const model = await opened();
      const sample = (seed: number, topK?: number) =>
        generate(model, prompt, { tokens: 1, temperature: 1, seed, topK, ...NONE });
      expect(await sample(3)).toEqual(await sample(3));
      const greedy = await generate(model, prompt, { tokens: 1, ...NONE });
      expect((await sample(9, 1)).ids).toEqual(greedy.ids);
      const draws = 300;
      let hits = 0;
      for (let seed = 0; seed < draws; seed++) hits += (await sample(seed)).ids[0] === greedy.ids[0] ? 1 : 0;
      const p = Math.exp(greedy.logprobs[0] ?? 0);
      // Five standard errors of a binomial share.
      expect(Math.abs(hits / draws - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / draws));
    });

    test("a stop id ends the text", async () => {
      const model = await opened();
      const [first = 0] = (await generate(model, prompt, { tokens: 1, ...NONE })).ids;
      expect((await generate(model, prompt, { tokens: 5, stopIds: [first] })).ids).toEqual([first]);
    });
  });
}
