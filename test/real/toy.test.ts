/** @file The embedded toy model against Hugging Face (models/toy/golden.json) and against itself as a whole. */

import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { activationPatching } from "../../src/method/activation-patching.ts";
import { type LoadedModel, load } from "../../src/model/load.node.ts";
import { unembed } from "../../src/run/ends.ts";
import { forward } from "../../src/run/forward.ts";
import { generatePairs } from "../../src/task/registry.ts";

interface Golden {
  readonly prompts: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly logits: readonly (readonly number[])[];
  }[];
  readonly patching: {
    readonly clean: string;
    readonly corrupt: string;
    readonly answer: string;
    readonly foil: string;
    readonly baseline_clean: number;
    readonly baseline_corrupt: number;
    readonly resid_pre: readonly (readonly number[])[];
  };
}

const golden = JSON.parse(
  readFileSync(new URL("../../models/toy/golden.json", import.meta.url), "utf8"),
) as Golden;
const TOLERANCE = 5e-5; // float32 of two engines on logits of magnitude 20

function largestDifference(found: ArrayLike<number>, wanted: readonly number[]): number {
  expect(found.length).toBe(wanted.length);
  return wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - (found[i] ?? Number.NaN))), 0);
}

describe("the embedded toy model", () => {
  let model: LoadedModel;
  beforeAll(async () => {
    model = await load("toy", { threads: 1 });
  });

  test.each(golden.prompts)(
    "has the ids and logits of Hugging Face: $text",
    async ({ text, ids, logits }) => {
      expect(model.tokenizer.encode(text)).toEqual(ids);
      expect(model.tokenizer.decode(ids)).toBe(text);
      const { residuals } = await forward(model, [ids]);
      const read = await unembed(model, residuals[0] ?? new Float32Array(0), { logits: true });
      expect(largestDifference(read.logits ?? [], logits.flat())).toBeLessThan(TOLERANCE);
    },
  );

  test("has the denoising grid of one whole pass per cell", async () => {
    const { clean, corrupt, answer, foil, ...wanted } = golden.patching;
    const pair = model.pair({ clean, corrupt, answer, foil });
    const found = await activationPatching(model, [pair], {
      sites: ["resid_pre"],
      by: ["layer", "pos"],
      verify: 0,
    });
    const values = [...(found.dataVars.resid_pre?.data ?? [])].map(Number);
    expect(largestDifference(values, wanted.resid_pre.flat())).toBeLessThan(TOLERANCE);
    expect(found.attrs.baseline_clean).toBeCloseTo(wanted.baseline_clean, 4);
    expect(found.attrs.baseline_corrupt).toBeCloseTo(wanted.baseline_corrupt, 4);
  });

  test("it shows the behaviour of the built-in tasks that it was trained on", async () => {
    for (const name of ["ioi", "factual"] as const) {
      const pairs = generatePairs(name, model.tokenizer, { n: 40, seed: 1 });
      const found = await activationPatching(model, pairs, {
        sites: ["resid_pre"],
        by: ["layer"],
        verify: 0,
      });
      expect(found.attrs.warnings).toEqual([]);
      expect(Number(found.attrs.baseline_clean)).toBeGreaterThan(Number(found.attrs.baseline_corrupt) + 3);
    }
  });

  test("text outside its words survives as bytes", () => {
    const text = " Zoë said: 'the 42 Marys'\n";
    expect(model.tokenizer.decode(model.tokenizer.encode(text))).toBe(text);
  });
});
