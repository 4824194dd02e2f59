/** @file SmolLM2-135M-Instruct against PyTorch: every cell of two sweeps, next tokens, a greedy continuation. */

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { activationPatching } from "../../src/method/activation-patching.ts";
import { type LoadedModel, load } from "../../src/model/load.node.ts";
import { at } from "../../src/result/cells.ts";
import { generate } from "../../src/run/generate.ts";

interface Golden {
  readonly file: string;
  readonly ioi: {
    readonly clean: string;
    readonly corrupt: string;
    readonly answer: string;
    readonly foil: string;
    readonly baseline_clean: number;
    readonly baseline_corrupt: number;
    readonly resid_pre: readonly (readonly number[])[];
    readonly z: readonly (readonly number[])[];
  };
  readonly next_token: readonly { readonly prompt: string; readonly top: readonly Top[] }[];
  readonly generation: { readonly prompt: string; readonly ids: readonly number[] };
}
interface Top {
  readonly id: number;
  readonly prob: number;
}

const golden: Golden = JSON.parse(
  readFileSync(new URL("../goldens/smollm2/ioi.json", import.meta.url), "utf8"),
);
const models =
  process.env.CROSSPATCH_MODELS ?? fileURLToPath(new URL("../../../shared/models", import.meta.url));
const path = `${models}/${golden.file}`;
const present = existsSync(path);
const reason = present ? "" : ` (not run: ${golden.file} is not in CROSSPATCH_MODELS or ../shared/models)`;

let opened: Promise<LoadedModel> | undefined;
const model = (): Promise<LoadedModel> => {
  opened ??= load(path);
  return opened;
};
afterAll(async () => (await opened)?.close());

/** Largest difference of a PyTorch float32 logit difference that is put down to rounding. */
const ROUNDING = 5e-4;

for (const [site, by] of [
  ["resid_pre", "pos"],
  ["z", "head"],
] as const) {
  test.runIf(present)(
    `denoising ${site} by layer and ${by} gives PyTorch's value in every cell${reason}`,
    async () => {
      const loaded = await model();
      const { clean, corrupt, answer, foil } = golden.ioi;
      const pair = loaded.pair({ clean, corrupt, answer, foil });
      expect(pair.clean.ids.length).toBe(14);
      const result = await activationPatching(loaded, [pair], {
        sites: [site],
        by: ["layer", by],
        verify: 2,
      });
      expect(result.attrs.baseline_clean).toBeCloseTo(6.1196, 3);
      expect(result.attrs.baseline_corrupt).toBeCloseTo(-5.4853, 3);
      const found = [...(result.dataVars[site]?.data ?? [])].map(Number);
      const wanted = golden.ioi[site].flat();
      expect(found.length).toBe(wanted.length);
      const worst = found.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - (wanted[i] ?? Number.NaN))),
        0,
      );
      expect(worst).toBeLessThan(ROUNDING);
      if (site === "resid_pre") {
        const { value } = at(result, site, { layer: 15, pos: 9 });
        expect(Math.abs(value - 6.2659)).toBeLessThan(ROUNDING);
      }
    },
  );
}

test.runIf(present)(`next-token probabilities are PyTorch's${reason}`, async () => {
  const loaded = await model();
  for (const { prompt, top } of golden.next_token) {
    const { logprobs, ids } = await generate(loaded, loaded.tokenizer.encode(prompt), { tokens: 1 });
    expect(ids).toEqual([top[0]?.id]);
    expect(Math.abs(Math.exp(logprobs[0] ?? 0) - (top[0]?.prob ?? 0))).toBeLessThan(1e-4);
  }
  for (const [prompt, answer, probability] of [
    ["The Eiffel Tower is in the city of", " Paris", 0.656],
    ["The Colosseum is in the city of", " Rome", 0.849],
  ] as const) {
    const { logprobs, ids } = await generate(loaded, loaded.tokenizer.encode(prompt), { tokens: 1 });
    expect(loaded.tokenizer.decode(ids)).toBe(answer);
    expect(Math.abs(Math.exp(logprobs[0] ?? 0) - probability)).toBeLessThan(1e-3);
  }
});

test.runIf(present)(`greedy generation is PyTorch's, token for token${reason}`, async () => {
  const loaded = await model();
  const { prompt, ids } = golden.generation;
  const found = await generate(loaded, loaded.tokenizer.encode(prompt), { tokens: ids.length, stopIds: [] });
  expect(found.ids).toEqual(ids);
});
