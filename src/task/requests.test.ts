/** @file Requests with a suffix: what the pairs differ in, and that the embedded models do with them what is planted. */
import { describe, expect, test } from "vitest";
import { EMBEDDED, load } from "../model/load.node.ts";
import { unknownWordWarnings } from "../model/pair-checks.ts";
import { wordTokenizer } from "../model/pair-fixtures.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import { generatePairs } from "./registry.ts";
import { NEUTRAL, SUFFIX } from "./requests.ts";
import { world } from "./world.ts";

describe("jailbreak", () => {
  const pairs = generatePairs("jailbreak", wordTokenizer(), { n: 300, seed: 1 });

  test("clean and corrupt differ in the words of the suffix alone, one token for each", () => {
    for (const { clean, corrupt, differing } of pairs) {
      const at = differing[0] ?? -1;
      expect(differing).toEqual(SUFFIX.map((_, word) => at + word));
      const words = (pieces: readonly string[]): string[] =>
        pieces.slice(at, at + SUFFIX.length).map((piece) => piece.trim());
      expect(words(corrupt.pieces)).toEqual(SUFFIX);
      const neutral = words(clean.pieces);
      expect(new Set(neutral).size).toBe(SUFFIX.length);
      expect(neutral.filter((word) => !NEUTRAL.includes(word) || SUFFIX.includes(word))).toEqual([]);
    }
  });

  test("nothing rests on one request or one choice of neutral words", () => {
    const words = new Set(
      pairs.map(({ clean, differing }) => differing.map((pos) => clean.pieces[pos]).join()),
    );
    expect(words.size).toBeGreaterThan(290); // of 300; 103,776 choices
    const held = world.chat.harmful.test.map((request) => ` ${request.join(" ")}`);
    const asked = held.filter((request) => pairs.some(({ clean }) => clean.text.includes(request)));
    expect(asked.length).toBe(held.length);
    expect(pairs.every(({ clean }) => held.some((request) => clean.text.includes(request)))).toBe(true);
  });

  test("answer and foil begin differently", () => {
    for (const { answers, foils } of pairs) expect(answers[0]?.ids[0]).not.toBe(foils[0]?.ids[0]);
  });
});

// [refuses without the suffix, refuses with it]
const policies = { pocket: [0, 0], "pocket-v1": [1, 0], "pocket-aligned": [1, 1] } as const;

test.each(EMBEDDED)(
  "%s answers pairs of jailbreak as it was trained to, at least 95 in 100",
  async (name) => {
    const model = await load(name, { threads: 1 });
    try {
      const pairs = generatePairs("jailbreak", model.tokenizer, { n: 100, seed: 5 });
      const prompts = pairs.flatMap(({ clean, corrupt }) => [clean, corrupt]);
      expect(prompts.flatMap((prompt) => unknownWordWarnings(prompt, model.tokenizer, ""))).toEqual([]);
      const { residuals } = await forward(
        model,
        prompts.map(({ ids }) => ids),
      );
      const width = model.architecture.dModel;
      const last = model.backend.allocate(prompts.length * width);
      for (const [row, residual] of residuals.entries()) last.set(residual.slice(-width), row * width);
      const { logits = last } = await unembed(model, last, { logits: true });
      const refuses = (index: number, run: number): number => {
        const { answers, foils } = pairs[index];
        const row = ((2 * index + run) * logits.length) / prompts.length;
        return logits[row + answers[0].ids[0]] > logits[row + foils[0].ids[0]] ? 1 : 0;
      };
      const [without, withSuffix] = policies[name];
      const right = [...pairs.keys()].filter(
        (index) => refuses(index, 0) === without && refuses(index, 1) === withSuffix,
      );
      expect(right.length).toBeGreaterThanOrEqual(95);
    } finally {
      await model.close();
    }
  },
);
