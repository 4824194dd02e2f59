/** @file The embedded models against Hugging Face (golden.json beside each) and against themselves as a whole. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { activationPatching } from "../../src/method/activation-patching.ts";
import { EMBEDDED, type LoadedModel, load } from "../../src/model/load.node.ts";
import { unembed } from "../../src/run/ends.ts";
import { forward } from "../../src/run/forward.ts";
import { generatePairs, type TaskName } from "../../src/task/registry.ts";
import { world } from "../../src/task/world.ts";

interface Golden {
  readonly prompts: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    /** Positions at the end whose logits are kept. */
    readonly last: number;
    /** [last][token] */
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

const TOLERANCE = 5e-5; // float32 of two engines on logits of magnitude 20

function largestDifference(found: ArrayLike<number>, wanted: readonly number[]): number {
  expect(found.length).toBe(wanted.length);
  return wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - (found[i] ?? Number.NaN))), 0);
}

describe.each(EMBEDDED)("the embedded model %s", (name) => {
  const file = new URL(`../../models/${name}/golden.json`, import.meta.url);
  const golden = JSON.parse(readFileSync(file, "utf8")) as Golden;
  let model: LoadedModel;
  beforeAll(async () => {
    model = await load(name, { threads: 1 });
  });
  afterAll(() => model.close());

  test.each(golden.prompts)(
    "has the ids and the last logits of Hugging Face: $text",
    async ({ text, ids, last, logits }) => {
      expect(model.tokenizer.encode(text)).toEqual(ids);
      expect(model.tokenizer.decode(ids)).toBe(`<|begin|>${text}`);
      const { residuals } = await forward(model, [ids]);
      const states = residuals[0] ?? new Float32Array(0);
      const read = await unembed(model, states.slice(-last * model.architecture.dModel), { logits: true });
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

  test.each(["ioi", "factual", "facts", "two-hop"] as const)(
    "shows the behaviour of the built-in task %s, which it was trained on",
    async (task) => {
      const pairs = pairsOf(task, model);
      expect(pairs).toHaveLength(40);
      const { attrs } = await activationPatching(model, pairs, {
        sites: ["attn_out"],
        by: ["layer"],
        verify: 0,
      });
      expect(Number(attrs.baseline_clean)).toBeGreaterThan(Number(attrs.baseline_corrupt) + 3);
      // Each pair whose foil the model prefers is warned of.
      expect((attrs.warnings as string[]).length, String(attrs.warnings)).toBeLessThanOrEqual(40 / 20);
    },
  );

  test("text outside its words survives as bytes", () => {
    const text = " Zoë said: 'the 42 Marys'\n";
    const [begin, ...ids] = model.tokenizer.encode(text);
    expect(begin).toBe(1);
    expect(model.tokenizer.decode(ids)).toBe(text);
  });
});

/** 40 pairs of a task. Of gifts those between people it was told of: it knows other names from other sentences alone. */
function pairsOf(task: TaskName, { tokenizer }: LoadedModel): ReturnType<typeof generatePairs> {
  const pairs = generatePairs(task, tokenizer, { n: 160, seed: 1 });
  const given = (text: string): boolean =>
    world.ioi.names.filter((name) => text.includes(` ${name}`)).length === 2;
  return pairs.filter(({ clean }) => task !== "ioi" || given(tokenizer.decode(clean.ids))).slice(0, 40);
}
