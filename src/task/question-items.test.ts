import { afterAll, beforeAll, expect, test } from "vitest";
import { random } from "../core/random.ts";
import { load } from "../model/load.node.ts";
import type { Model } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer/tokenizer.ts";
import { questionItems } from "./question-items.ts";
import { parseQuestions, type QuestionSet, worldQuestions, writeQuestion } from "./questions.ts";

let model: Model;
beforeAll(async () => {
  model = await load("pocket");
});
afterAll(() => model.close());

/** Signs of one to four bytes, of one and two characters, some joined to what stands before them. */
const WORDS = [
  "Mary",
  " the",
  " é",
  "日本",
  " 👩‍🔬",
  "e\u0301",
  "ß",
  " 17",
  "…",
  "\u00a0x",
  " Ω",
  "𝕏",
  "\n",
  "c",
];

/** Questions of random text, long ones in front. */
function drawn(seed: number): QuestionSet {
  const source = random(seed);
  const text = (most: number): string =>
    Array.from({ length: 1 + source.integer(most) }, () => WORDS[source.integer(WORDS.length)]).join("");
  const asked = (n: number) => ({
    question: text(n),
    options: Object.fromEntries(["A", "B", "C", "D"].map((label) => [label, text(4)])),
    answer: "C",
  });
  return parseQuestions({
    questions: [asked(6), asked(9)],
    shots: [asked(12), asked(4)],
    prefix: source.integer(2) === 0 ? "" : text(8),
  });
}

/** The definition, by the decoding of every text so far. */
function tokenFinder(
  ids: readonly number[],
  tokenizer: Tokenizer,
  special: number,
): (character: number) => number {
  const ends = ids.map((_, position) => tokenizer.decode(ids.slice(special, position + 1)).length);
  return (character) => ends.findIndex((end, position) => position >= special && end > character);
}

test("the token of a character is the first at whose end the text so far is longer", () => {
  const { tokenizer } = model;
  for (let seed = 0; seed < 12; seed++) {
    const bos = seed % 2 === 0;
    const set = drawn(seed);
    const { kinds, items } = questionItems(set, tokenizer, { seed, bos });
    for (const [kind, index] of kinds.flatMap((one) => set.questions.map((_, at) => [one, at] as const))) {
      const [asked, item] = [set.questions[index], items[kind]?.[index]];
      if (asked === undefined || item === undefined) throw new Error("no question");
      const { labels, texts } = writeQuestion(set, asked, item.labels);
      const tokenOf = tokenFinder(item.clean.ids, tokenizer, Number(bos));
      expect(item.labelAt).toEqual(labels.map(([, to]) => tokenOf(to - 1)));
      expect(item.textAt).toEqual(texts.map(([, to]) => tokenOf(to - 1)));
      const starts = labels.map(([from]) => tokenOf(from));
      const last = item.textAt.at(-1) ?? -1;
      expect(item.optionOf).toEqual(
        item.clean.ids.map((_, position) =>
          position > last ? -1 : starts.findLastIndex((start) => position >= start),
        ),
      );
    }
  }
});

test("few texts are decoded to find them, however long the prompt is", () => {
  const { tokenizer } = model;
  const decoded = (times: number): number => {
    let count = 0;
    const counting: Tokenizer = {
      ...tokenizer,
      encode: (text, options) => tokenizer.encode(text, options),
      pieces: (ids) => tokenizer.pieces(ids),
      decode(ids) {
        count++;
        return tokenizer.decode(ids);
      },
    };
    const set = { ...worldQuestions({ n: 1, seed: 0 }), prefix: "Which of these is it? ".repeat(times) };
    questionItems(set, counting, { seed: 0 });
    return count;
  };
  expect(decoded(64)).toBeLessThan(2 * decoded(4));
});

/** A token for each sign of ASCII, for all else one for each byte; a run of bytes that is no text is a U+FFFD for each. */
const fallback: Tokenizer = {
  size: 512,
  bosId: undefined,
  eosIds: [],
  addsBos: false,
  encode: (text) => [...new TextEncoder().encode(text)],
  decode: (ids) =>
    Buffer.from(ids)
      .toString("latin1")
      .replace(/[\x80-\xff]+/g, (run) => {
        const text = Buffer.from(run, "latin1").toString();
        return text.includes("\ufffd") ? "\ufffd".repeat(run.length) : text;
      }),
  pieces: (ids) => ids.map(String),
  chat: () => "",
};

test("bytes of characters without a token of their own take up no more room than the characters", () => {
  const options = { A: "日本語日本語", B: "👩‍🔬 é", C: "no", D: "ja" };
  const format = { question: "{question}{options}:", option: "\n{label}{text}.", answer: "{label}" };
  const asked = { question: "日本語日本語?", options, answer: "B" };
  const [item] = questionItems(parseQuestions({ format, questions: [asked] }), fallback, { seed: 0 }).items
    .letters;
  if (item === undefined) throw new Error("no question");
  const bytes = Buffer.from(item.clean.ids);
  expect(item.labelAt).toEqual(["\nA", "\nB", "\nC", "\nD"].map((label) => bytes.indexOf(label) + 1));
  expect(item.textAt.slice(2)).toEqual(["no", "ja"].map((text) => bytes.indexOf(text) + 1));
});

test("labels in one token with their text are refused, other kinds of them left out; once for all questions", () => {
  const { tokenizer } = model;
  const asked = { question: "How many?", options: { A: "5", B: "7" }, answer: "A" };
  const format = { question: "{question}{options}\nAnswer:", option: "\n{label}{text}", answer: " {label}" };
  const set = parseQuestions({ format, questions: [asked, asked] }, "q.json");
  const { kinds, without } = questionItems(set, tokenizer, { seed: 0 });
  expect(kinds).toEqual(["letters", "random", "shuffled"]);
  expect(without).toContain('numbers: labels "1", "2" in one token with the text of an option');
  const options = [
    { label: "1", text: "5" },
    { label: "2", text: "x" },
  ];
  const one = { ...asked, options, answer: "1" };
  const numbered = parseQuestions({ format, questions: [one, one, one] }, "q.json");
  expect(() => questionItems(numbered, tokenizer, { seed: 0 })).toThrow(
    'q.json, questions[0], options: found labels "1" in one token with the text of an option, and so in 2 more questions; wanted labels and texts that end in different tokens. Put signs between them in the format, such as "\\n{label}. {text}".',
  );
});

test("a label in one token with the text of the option before it is refused", () => {
  const options = { A: "1", B: "2" };
  const asked = { question: "How many?", options, answer: "A" };
  const format = { question: "{question}{options}\n:", option: "{label} {text}", answer: "{label}" };
  const set = parseQuestions({ format, questions: [asked] }, "q.json");
  // Of the text and the label behind it, "1B", one token.
  const joined: Tokenizer = {
    ...fallback,
    encode: (text) => [...text.replaceAll("1B", "\u0100")].map((sign) => sign.charCodeAt(0)),
    decode: (ids) => String.fromCharCode(...ids).replaceAll("\u0100", "1B"),
  };
  expect(() => questionItems(set, joined, { seed: 0 })).toThrow(
    'q.json, questions[0], options: found labels "B" in one token with the text of an option',
  );
  expect(questionItems(set, fallback, { seed: 0 }).items.letters[0]?.labels).toEqual(["A", "B"]);
});
