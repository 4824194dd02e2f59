/** @file Checks of prompt pairs, by the text a user reads. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../core/errors.ts";
import { type Pair, preparePairs } from "./pair.ts";
import { align, renderAlignment } from "./pair-alignment.ts";
import { wordTokenizer } from "./pair-fixtures.ts";
import type { PairSpec } from "./pair-spec.ts";

const ioi: PairSpec = {
  clean: "When Mary and John went to the store, John gave a drink to",
  corrupt: "When Mary and John went to the store, Mary gave a drink to",
  answer: " Mary",
  foil: " John",
};
const cutsJonathan = wordTokenizer({ cutsInTwo: (word) => word === " Jonathan" });

function refusal(...specs: PairSpec[]): string {
  try {
    preparePairs(specs, cutsJonathan);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return "accepted";
}

function prepareOne(spec: PairSpec, options: { bos?: boolean } = {}): Pair {
  const [pair] = preparePairs([spec], wordTokenizer(), options).pairs;
  if (pair === undefined) throw new Error("no pair");
  return pair;
}

describe("a good pair", () => {
  test("has its tokens, its answers in context, and the positions that differ", () => {
    const pair = prepareOne(ioi);
    expect(pair.clean.pieces.join("|")).toBe(
      "When| Mary| and| John| went| to| the| store|,| John| gave| a| drink| to",
    );
    expect(pair.differing).toEqual([9]);
    expect(pair.answers.map(({ ids }) => ids)).toEqual([[pair.clean.ids[1]]]);
    expect(pair.foils.map(({ ids }) => ids)).toEqual([[pair.clean.ids[3]]]);
    expect(pair.id).toBe("0");
  });

  test("with BOS has every position one later", () => {
    const pair = prepareOne(ioi, { bos: true });
    expect(pair.clean.pieces[0]).toBe("<s>");
    expect(pair.differing).toEqual([10]);
    expect(pair.answers[0]?.pieces).toEqual([" Mary"]);
  });

  test("has the answer's tokens in context where the tokenizer puts a space in front of every text", () => {
    // SentencePiece's dummy prefix: " Mary" by itself becomes "  Mary", two tokens; after a prompt it is one.
    const words = wordTokenizer();
    const prefixed = { ...words, encode: (text: string) => words.encode(` ${text}`) };
    const { pairs, warnings } = preparePairs([ioi], prefixed);
    expect(prefixed.encode(" Mary").length).toBe(2);
    expect(pairs[0].answers[0].ids).toEqual([pairs[0].clean.ids[1]]);
    expect(warnings).toEqual([]);
  });

  test("may have an answer of several tokens", () => {
    expect(prepareOne({ ...ioi, answer: " New York" }).answers[0]?.pieces).toEqual([" New", " York"]);
  });
});

describe("refused", () => {
  test("prompts of different length, both shown token below token", () => {
    const corrupt = "When Mary and Jonathan went to the store, Mary gave a drink to";
    expect(refusal({ ...ioi, corrupt })).toBe(
      [
        "pair 1: found 14 tokens in clean, 15 in corrupt; wanted the same number, token below token. Reword one of them:",
        "    clean   |When| Mary| and| John   | | went| to| the| store|,| John| gave| a| drink| to|",
        "    corrupt |When| Mary| and| Jonatha|n| went| to| the| store|,| Mary| gave| a| drink| to|",
      ].join("\n"),
    );
  });

  test("equal prompts", () => {
    expect(refusal({ ...ioi, corrupt: ioi.clean })).toBe(
      "pair 1: found the same text in clean and corrupt; wanted prompts that differ in at least one token.",
    );
  });

  test("an answer that equals a foil, or begins it", () => {
    expect(refusal({ ...ioi, foil: " Mary" })).toBe(
      'pair 1, foil: found " Mary" [" Mary"] and the answer " Mary" [" Mary"]; wanted answers and foils of which none equals or begins another.',
    );
    expect(refusal({ ...ioi, foil: " Mary Jane" })).toMatch(
      /found " Mary Jane" \[" Mary" " Jane"\] and the answer " Mary"/,
    );
    expect(refusal({ ...ioi, answer: [" Mary", " Ann", " Mary"] })).toMatch(/^pair 1, answer: found " Mary"/);
  });

  test("an id used twice, a default one included", () => {
    const other = { ...ioi, clean: "Then Mary and John went to the store, John gave a drink to", id: "0" };
    expect(refusal(ioi, other)).toMatch(/^pair 2, id: found "0", the id of pair 1 too/);
  });

  test("all faults of all pairs at once", () => {
    const faults = refusal({ ...ioi, foil: " Mary", corrupt: ioi.clean }, { ...ioi, clean: "" }, ioi).split(
      "\n",
    );
    expect(faults.map((fault) => fault.slice(0, fault.indexOf(": found")))).toEqual([
      "pair 1",
      "pair 1, foil",
      "pair 2, clean",
    ]);
  });
});

describe("warned of", () => {
  const warningsOf = (spec: PairSpec, tokenizer = wordTokenizer()) =>
    preparePairs([spec], tokenizer).warnings;
  const noSeam = 'pair 1: "Mary" does not begin a token after';

  test("an answer that merges with the prompt's last token", () => {
    expect(warningsOf({ ...ioi, answer: "Mary" })).toEqual([
      `${noSeam} " to", so its tokens are those of the text by itself; did you mean " Mary"?`,
    ]);
    // Nothing to suggest where a space does not help, nor in a script that puts none between words.
    const blank = wordTokenizer();
    const withoutSpaces = {
      ...blank,
      encode: (text: string) => blank.encode(text.replaceAll(" ", "")),
    };
    expect(warningsOf({ ...ioi, answer: "Mary" }, withoutSpaces)[0]).toMatch(/by itself$/);
    expect(warningsOf({ clean: "東京", corrupt: "大阪", answer: "都" })[0]).toMatch(/by itself$/);
    const [clean, corrupt] = [`${ioi.clean} `, `${ioi.corrupt} `];
    expect(warningsOf({ clean, corrupt, answer: "Mary" })).toEqual([
      `${noSeam} " ", so its tokens are those of the text by itself; move the space at the prompt's end to the start of the answer`,
    ]);
  });

  test("an answer that goes on the prompt's last word without merging", () => {
    const words = wordTokenizer();
    // Byte-level BPE: " to" + "Mary" has no merge across the seam, so the prompt's own tokens stay as they are.
    const unmerged = {
      ...words,
      encode: (text: string) => words.encode(text.replace("toMary", "to|Mary")).filter((id) => id !== bar),
    };
    const [bar] = words.encode("|");
    expect(warningsOf({ ...ioi, answer: "Mary" }, unmerged)).toEqual([
      'pair 1: "Mary" goes on the word that ends in " to"; does it lack a leading space?',
    ]);
    expect(warningsOf(ioi, unmerged)).toEqual([]);
  });

  test("prompts that come twice", () => {
    const warnings = preparePairs([ioi, ioi], wordTokenizer(), { where: ["a:1", "a:2"] }).warnings;
    expect(warnings).toEqual(["a:2: the same prompts as a:1; they count twice in every mean"]);
  });
});

describe("alignment", () => {
  const pieces = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 12 });

  test("keeps both lists, and its number of edits is the Levenshtein distance", () => {
    const distance = (x: readonly string[], y: readonly string[]): number => {
      const [first, ...restX] = x;
      const [other, ...restY] = y;
      if (first === undefined || other === undefined) return x.length + y.length;
      if (first === other) return distance(restX, restY);
      return 1 + Math.min(distance(restX, y), distance(x, restY), distance(restX, restY));
    };
    const short = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 6 });
    fc.assert(
      fc.property(short, short, (x, y) => {
        const columns = align(x, y);
        expect(columns.flatMap(([top]) => top ?? [])).toEqual(x);
        expect(columns.flatMap(([, bottom]) => bottom ?? [])).toEqual(y);
        expect(columns.filter(([top, bottom]) => top !== bottom).length).toBe(distance(x, y));
      }),
    );
  });

  test("is two lines of equal width whatever the tokens", () => {
    const odd = fc.array(fc.constantFrom("\n", '"', "\t", " é", "x"), { maxLength: 40 });
    fc.assert(
      fc.property(odd, pieces, (x, y) => {
        const lines = renderAlignment(x, y).split("\n");
        expect(lines.map((line) => line.length)).toEqual([lines[0]?.length, lines[0]?.length]);
      }),
    );
  });

  test("of long lists shows what is near the first differences", () => {
    const long = Array.from({ length: 300 }, (_, i) => `t${i}`);
    const other = long.toSpliced(150, 1, "x", "y");
    expect(renderAlignment(long, other)).toBe(
      [
        "    clean   |…|t146|t147|t148|t149|t150| |t151|t152|t153|t154|…|",
        "    corrupt |…|t146|t147|t148|t149|x   |y|t151|t152|t153|t154|…|",
      ].join("\n"),
    );
  });
});
