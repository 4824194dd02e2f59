/** @file Laws of the generators under tokenizers of different habits. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../core/errors.ts";
import { random } from "../core/random.ts";
import { metricPlans } from "../metric/plan.ts";
import type { Pair } from "../model/pair.ts";
import { wordTokenizer } from "../model/pair-fixtures.ts";
import { generatePairs, type TaskName, taskNames, tasks } from "./registry.ts";
import { choices, type DrawOptions, drawPairs, pickDistinct, shuffledIndices, type Task } from "./task.ts";
import { durations, givenNames, nouns, objects, places } from "./words.ts";

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return "accepted";
}

/** Cuts about a third of all words in two, so that many candidates do not align. */
const uneven = (word: string): boolean => word.trim().length % 3 === 0;
const tokenizers = {
  "one token a word, digit by digit": () => wordTokenizer(),
  "years in twos, BOS in front": () => wordTokenizer({ digits: "twos", bos: true }),
  "uneven words": () => wordTokenizer({ cutsInTwo: uneven }),
};

describe.each(Object.entries(tokenizers))("%s", (name, tokenizer) => {
  // A loan is approved or refused, and the uneven tokenizer cuts "refuse".
  const fitting = taskNames.filter((task) => name !== "uneven words" || !task.startsWith("loan"));

  test.each(fitting)("%s: pairs align, are distinct and differ exactly where they say", (name) => {
    const pairs = generatePairs(name, tokenizer(), { n: 60, seed: 7 });
    expect(pairs.length).toBe(60);
    expect(new Set(pairs.map(({ clean, corrupt }) => `${clean.text}|${corrupt.text}`)).size).toBe(60);
    for (const { clean, corrupt, differing, answers, foils } of pairs) {
      expect(clean.ids.length).toBe(corrupt.ids.length);
      for (const pos of clean.ids.keys()) {
        expect(clean.ids[pos] !== corrupt.ids[pos]).toBe(differing.includes(pos));
      }
      expect([...answers, ...foils].every(({ ids }) => ids.length === 1)).toBe(true);
    }
    // Every metric's plan can be made, the default one among them.
    expect(metricPlans(pairs, "logit_diff").length).toBe(60);
    expect(metricPlans(pairs, tasks[name].defaultMetric).length).toBe(60);
  });

  test.each(fitting)("%s: the same seed gives the same pairs, a larger n the same first", (name) => {
    const draw = (n: number, seed: number) => generatePairs(name, tokenizer(), { n, seed });
    expect(draw(30, 3).slice(0, 10)).toEqual(draw(10, 3));
    const texts = (pairs: readonly Pair[]) => pairs.map(({ clean }) => clean.text);
    expect(texts(draw(10, 4))).not.toEqual(texts(draw(10, 3)));
  });
});

describe("ioi", () => {
  const pairs = generatePairs("ioi", wordTokenizer(), { n: 400, seed: 1 });

  test("one token differs: the second subject gives way to the indirect object, answer and foil follow", () => {
    for (const { clean, corrupt, differing, answers, foils } of pairs) {
      const [pos] = differing;
      expect(differing.length).toBe(1);
      expect(clean.pieces[pos]).toBe(foils[0].text);
      expect(corrupt.pieces[pos]).toBe(answers[0].text);
      const count = (piece: string) => clean.pieces.filter((other) => other === piece).length;
      expect([count(answers[0].text), count(foils[0].text)]).toEqual([1, 2]);
    }
  });

  test("both orders of the names come equally often, within 4 standard errors", () => {
    const abba = pairs.filter(({ clean, answers, foils }) => {
      return clean.text.indexOf(answers[0].text) < clean.text.indexOf(foils[0].text);
    });
    expect(Math.abs(abba.length / 400 - 0.5)).toBeLessThan(4 * Math.sqrt(0.25 / 400));
  });

  test("says why not where no two names are one token", () => {
    const none = wordTokenizer({ cutsInTwo: (word) => givenNames.includes(word.trim()) });
    expect(refusal(() => generatePairs("ioi", none, { n: 1, seed: 0 }))).toBe(
      `task ioi, names: found 0 of ${givenNames.length} words that are one token; wanted at least 2.`,
    );
  });
});

describe("greater-than", () => {
  const startOf = (pair: Pair) => Number(/year \d\d(\d\d) to/.exec(pair.clean.text)?.[1]);
  const numbers = (options: Pair["answers"]) => options.map(({ text }) => Number(text));

  test("with two-digit tokens the answers are the later years, the foils all others", () => {
    for (const pair of generatePairs("greater-than", wordTokenizer({ digits: "twos" }), { n: 50, seed: 2 })) {
      const start = startOf(pair);
      expect(numbers(pair.answers).every((year) => year > start)).toBe(true);
      expect(numbers(pair.foils).every((year) => year <= start)).toBe(true);
      expect(pair.answers.length + pair.foils.length).toBe(100);
      expect(pair.corrupt.text).toBe(pair.clean.text.replace(/(year \d\d)\d\d/, "$101"));
    }
  });

  test("with single digits they are the digits above and below the tens digit of the start", () => {
    for (const pair of generatePairs("greater-than", wordTokenizer(), { n: 50, seed: 2 })) {
      const tens = Math.floor(startOf(pair) / 10);
      const digits = Array.from({ length: 10 }, (_, digit) => digit);
      expect(numbers(pair.answers)).toEqual(digits.filter((digit) => digit > tens));
      expect(numbers(pair.foils)).toEqual(digits.filter((digit) => digit < tens));
    }
  });

  test("says why not where digits are grouped in threes", () => {
    const threes = wordTokenizer({ digits: "threes" });
    expect(refusal(() => generatePairs("greater-than", threes, { n: 1, seed: 0 }))).toMatch(
      /^task greater-than: found years cut otherwise: \["the" " year" " " "173" "2"\]; wanted a tokenizer/,
    );
  });
});

test("docstring: the corrupt signature swaps the two undocumented parameters", () => {
  const [pair] = generatePairs("docstring", wordTokenizer(), { n: 1, seed: 5 });
  const signature = /\(self, (.*)\):/;
  const [a, b, c, d] = signature.exec(pair.clean.text)?.[1].split(", ") ?? [];
  expect(pair.corrupt.text).toBe(pair.clean.text.replace(signature, `(self, ${a}, ${b}, ${d}, ${c}):`));
  expect(pair.clean.text.match(/:param .*/g)?.map((line) => line.split(/[ :]+/)[2])).toEqual([a, b]);
  expect([pair.answers[0].text, pair.foils[0].text]).toEqual([` ${c}`, ` ${d}`]);
});

test("factual: each prompt's own fact is its answer, the other prompt's the foil", () => {
  const pairs = generatePairs("factual", wordTokenizer(), { n: 800, seed: 5 });
  const cityOf = new Map<string, string>();
  for (const { clean, corrupt, answers, foils } of pairs) {
    for (const [prompt, city] of [
      [clean.text, answers[0].text],
      [corrupt.text, foils[0].text],
    ]) {
      expect(cityOf.get(prompt) ?? city).toBe(city);
      cityOf.set(prompt, city);
    }
    expect(answers[0].text).not.toBe(foils[0].text);
  }
  expect(new Set(cityOf.values()).size).toBeGreaterThan(50);
});

describe("drawing", () => {
  const three: Task = {
    ...tasks.ioi,
    candidates: () => ({
      size: 5,
      answersAtBoundary: true,
      // Candidates 3 and 4 do not align.
      at: (i) => ({ clean: `a ${"vwxyz"[i]}`, corrupt: i < 3 ? "a b" : "a b c", answer: " d", foil: " e" }),
    }),
  };

  test("gives all there are, and says how many where that is too few", () => {
    const draw = (n: number) => drawPairs(three, wordTokenizer(), { name: "three", n, seed: 1 });
    expect(
      draw(3)
        .map(({ clean }) => clean.text)
        .sort(),
    ).toEqual(["a v", "a w", "a x"]);
    expect(refusal(() => draw(4))).toBe(
      "task three: found 3 pairs whose tokens align, of 5 candidates tried under this tokenizer; wanted 4 pairs. Ask for fewer with --n.",
    );
  });

  test("indices come each once, in any order equally often", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer(), (size, seed) => {
        const drawn = [...shuffledIndices(size, random(seed))];
        expect(drawn.sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i));
      }),
    );
    const source = random(9);
    const counts = new Map<string, number>();
    for (let trial = 0; trial < 6000; trial++) {
      const order = [...shuffledIndices(3, source)].join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    // 1000 expected of each, standard deviation 29.
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(4 * 29);
  });

  test("indices and choices correspond one to one", () => {
    const radices = [2, 3, 4];
    const all = Array.from({ length: 24 }, (_, i) => choices(i, radices));
    expect(new Set(all.map(String)).size).toBe(24);
    expect(choices(1 + 2 * 2 + 6 * 3, radices)).toEqual([1, 2, 3]);
    expect(pickDistinct(["a", "b", "c"], [1, 1])).toEqual(["b", "c"]);
  });
});

test("word lists hold no word twice, and the candidates stay in the range of the random numbers", () => {
  for (const words of [givenNames, places, objects, durations, nouns])
    expect(new Set(words).size).toBe(words.length);
  expect(givenNames.length).toBeGreaterThan(100);
  for (const name of taskNames) {
    expect(tasks[name].candidates(wordTokenizer(), { bos: false }).size).toBeLessThanOrEqual(2 ** 32);
  }
});

test("a task whose answers the tokenizer cuts is refused", () => {
  const draw = (): Pair[] => generatePairs("loan", tokenizers["uneven words"](), { n: 5, seed: 1 });
  expect(refusal(draw)).toMatch(/^task loan: found 0 pairs whose tokens align, of 20100 candidates tried/);
});

describe("what generatePairs refuses", () => {
  // As a caller without types could write it.
  const draw = (name: string, options: object): string =>
    refusal(() => generatePairs(name as TaskName, wordTokenizer(), options as DrawOptions));

  test("an unknown task, with those there are", () => {
    expect(draw("loans", { n: 1, seed: 0 })).toBe(
      `task: found "loans"; wanted one of ${taskNames.join(", ")}. Did you mean "loan"?`,
    );
    expect(draw("nothing", { n: 1, seed: 0 })).toMatch(/multiple-choice\.$/);
    for (const inherited of ["toString", "__proto__"])
      expect(draw(inherited, { n: 1, seed: 0 })).toMatch(/^task: found /);
  });

  test("options that there are not, all at once", () => {
    expect(draw("loan", { n: 1, seed: 0, field: "gender", Seed: 3 })).toBe(
      [
        "options.field: found an unknown option; wanted one of n, seed, bos.",
        'options.Seed: found an unknown option; wanted one of n, seed, bos. Did you mean "seed"?',
      ].join("\n"),
    );
  });

  test("a seed or number of pairs that is none", () => {
    expect(draw("ioi", {})).toBe(
      [
        "options.n: found nothing; wanted a whole number from 1 to 100000.",
        "options.seed: found nothing; wanted a whole number from 0 to 4294967295.",
      ].join("\n"),
    );
    expect(draw("ioi", { n: 0, seed: 0 })).toMatch(/^options\.n: found 0; wanted/);
    expect(draw("ioi", { n: 1, seed: -1 })).toMatch(/^options\.seed: found -1; wanted/);
  });
});
