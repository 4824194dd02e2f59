import { expect, test } from "vitest";
import { InputError } from "../core/errors.ts";
import { load } from "../model/load.node.ts";
import { questionItems } from "./question-items.ts";
import { readQuestions, worldQuestions, writeQuestion } from "./questions.ts";

const question = {
  question: "What is the capital of France?",
  options: { A: "Halle", B: "Paris" },
  answer: "B",
};
const file = (more: object = {}): string => JSON.stringify({ questions: [question], ...more });

test("a question is written as MMLU has it, shots with their answers in front, labels exchanged throughout", () => {
  const shot = { question: "One?", options: { A: "yes", B: "no" }, answer: "A" };
  const set = readQuestions(file({ prefix: "Questions.\n", shots: [shot] }), "q.json");
  const [asked] = set.questions;
  if (asked === undefined) throw new Error("no question");
  const { text, labels, texts, answers } = writeQuestion(set, asked, ["C", "D"]);
  expect(text).toBe(
    "Questions.\nOne?\nC. yes\nD. no\nAnswer: C\n\nWhat is the capital of France?\nC. Halle\nD. Paris\nAnswer:",
  );
  expect(labels.map((span) => text.slice(...span))).toEqual(["C", "D"]);
  expect(labels[0]?.[0]).toBe(text.lastIndexOf("C. Halle"));
  expect(texts.map((span) => text.slice(...span))).toEqual(["Halle", "Paris"]);
  expect(answers).toEqual([" C", " D"]);
});

test("a format of one's own, with signs that patterns would read otherwise", () => {
  const format = { question: "Q: {question} ({options} ) A:", option: " {label}={text}", answer: "{label}" };
  const odd = { ...question, question: "What is $& in {text}?", options: { A: "$1", B: "{label}" } };
  const set = readQuestions(file({ format, questions: [odd] }), "q.json");
  const [asked] = set.questions;
  expect(asked && writeQuestion(set, asked, set.labels).text).toBe(
    "Q: What is $& in {text}? ( A=$1 B={label} ) A:",
  );
});

test("all that is wrong with a file is said at once", () => {
  expect(() => readQuestions("{", "q.json")).toThrow(/q\.json: found what is not JSON/);
  const bad = [
    { ...question, answer: "C" },
    { ...question, options: { A: "x", C: "y" }, answer: "A" },
    { ...question, id: "0" },
  ];
  expect(() => readQuestions(file({ questions: bad }), "q.json")).toThrow(
    [
      'q.json, questions[0], answer: found "C"; wanted A, B.',
      "q.json, questions[1], options: found A, C; wanted A, B, as in the first question.",
      'q.json, questions[2], id: found "0" again; wanted an id of its own.',
    ].join("\n"),
  );
  const many = Array.from({ length: 102 }, () => ({ ...question, answer: "C" }));
  expect(() => readQuestions(file({ questions: many }), "q.json")).toThrow(
    'questions[99], answer: found "C"; wanted A, B.\nand 2 more faults',
  );
  const worse = {
    questions: [{ ...question, options: { A: "x" }, colour: "red" }],
    format: { question: "?" },
  };
  expect(() => readQuestions(JSON.stringify(worse), "q.json")).toThrow(
    /questions\[0\]\.options: found .*2 to 26 options[\s\S]*unknown key colour|unknown key colour[\s\S]*2 to 26 options/,
  );
  expect(() => readQuestions(JSON.stringify(worse), "q.json")).toThrow(
    /\{question\} and \{options\}, once each/,
  );
  const mistyped = { questions: [{ ...question, question: "", answer: 5, colour: "red" }], prefix: 7 };
  expect(() => readQuestions(JSON.stringify(mistyped), "q.json")).toThrow(
    [
      "q.json, prefix: found 7; wanted a string.",
      'q.json, questions[0].question: found ""; wanted at least 1 characters.',
      "q.json, questions[0].answer: found 5; wanted a string.",
      "q.json, questions[0]: found the unknown key colour; wanted only known ones.",
    ].join("\n"),
  );
});

test("options as a list keep their order, whatever their labels", () => {
  const options = [
    { label: "2", text: "Halle" },
    { label: "10", text: "Paris" },
    { label: "1", text: "Rome" },
  ];
  const { labels, questions } = readQuestions(
    file({
      questions: [{ ...question, options, answer: "10" }],
      shots: [{ ...question, options, answer: "1" }],
    }),
    "q.json",
  );
  expect(labels).toEqual(["2", "10", "1"]);
  expect(questions[0]).toMatchObject({ options: ["Halle", "Paris", "Rome"], correct: 1 });
  // The same labels, by label or as a list: one set.
  const letters = Object.entries(question.options).map(([label, text]) => ({ label, text }));
  const both = readQuestions(file({ questions: [question, { ...question, options: letters }] }), "q.json");
  expect(both.questions[1]?.options).toEqual(both.questions[0]?.options);
});

test("a label may have any name, also one that objects keep for themselves", () => {
  const options = `{"__proto__":"Halle","constructor":"Paris"}`;
  const given = `{"question":"Which?","options":${options},"answer":"__proto__"}`;
  const { labels, questions } = readQuestions(`{"questions":[${given}]}`, "q.json");
  expect(labels).toEqual(["__proto__", "constructor"]);
  expect(questions[0]).toMatchObject({ options: ["Halle", "Paris"], correct: 0 });
  const wrong = given.replace(`"Halle"`, "7").replace("constructor", "a label of far too many characters");
  expect(() => readQuestions(`{"questions":[${wrong}]}`, "q.json")).toThrow(
    [
      "q.json, questions[0].options.__proto__: found 7; wanted a string.",
      'q.json, questions[0].options.a label of far too many characters: found "Paris"; wanted at most 20 characters.',
    ].join("\n"),
  );
});

test("labels that an object would put in another order or lose are refused, once for all questions", () => {
  const list = (...labels: readonly string[]) => labels.map((label) => ({ label, text: `the ${label}` }));
  const whole = { ...question, options: { A: "one", 7: "seven", 0: "none" }, answer: "A" };
  expect(() => readQuestions(file({ questions: [whole, whole, whole] }), "q.json")).toThrow(
    new InputError([
      {
        where: "q.json, questions[0], options",
        found: "the whole numbers 0, 7 as keys of an object, and so in 2 more questions",
        wanted: "keys that stay in the order of the file",
        fix: 'Write options as a list: [{"label": "0", "text": "…"}, …].',
      },
    ]),
  );
  // What is not written as an index stays in its place.
  const kept = { ...question, options: { "02": "x", "1.": "y", "-1": "z" }, answer: "1." };
  expect(readQuestions(file({ questions: [kept] }), "q.json").labels).toEqual(["02", "1.", "-1"]);

  const again = { ...question, options: list("A", "B", "A", "A"), answer: "B" };
  expect(() => readQuestions(file({ questions: [again, again] }), "q.json")).toThrow(
    "q.json, questions[0], options: found the label A again, and so in 1 more question; wanted each label once.",
  );
  const text = file({ questions: [question, question] }).replaceAll(
    /"B":"Paris"/g,
    '\n"\\u0041":"Paris","B":"x"',
  );
  expect(() => readQuestions(text, "q.json")).toThrow(
    [2, 3]
      .map((line) => `q.json:${line}: found the key "A" again in the same object; wanted each key once.`)
      .join("\n"),
  );
});

test("what is wrong with an option of a list is said where it stands", () => {
  const options = [
    { label: "A", text: "x" },
    { label: "", text: 7 },
    { label: "C", text: "z", colour: "red" },
  ];
  expect(() => readQuestions(file({ questions: [{ ...question, options }] }), "q.json")).toThrow(
    [
      'q.json, questions[0].options[1].label: found ""; wanted at least 1 characters.',
      "q.json, questions[0].options[1].text: found 7; wanted a string.",
      "q.json, questions[0].options[2]: found the unknown key colour; wanted only known ones.",
    ].join("\n"),
  );
  const { options: _, ...without } = question;
  const one = { ...question, options: options.slice(0, 1) };
  expect(() => readQuestions(file({ questions: [without, one] }), "q.json")).toThrow(
    [
      'q.json, questions[0].options: found nothing; wanted labels with their texts: {"A": "…", …} or [{"label": "A", "text": "…"}, …].',
      'q.json, questions[1].options: found [{"label":"A","text":"x"}]; wanted 2 to 26 options.',
    ].join("\n"),
  );
});

test("labels and the ends of options stand where their tokens do, under each kind of labels", async () => {
  const model = await load("pocket");
  const set = worldQuestions({ n: 8, seed: 3 });
  const { kinds, items, without } = questionItems(set, model.tokenizer, { seed: 3 });
  await model.close();
  expect(kinds).toEqual(["letters", "numbers", "shuffled"]);
  expect(without.join()).toMatch(/^random: /);
  for (const kind of kinds) {
    for (const [index, item] of (items[kind] ?? []).entries()) {
      const asked = set.questions[index];
      const piece = (position: number): string => (item.clean.pieces[position] ?? "").trim();
      expect(item.labelAt.map(piece)).toEqual(item.labels);
      expect(item.textAt.map(piece)).toEqual(asked?.options.map((option) => option.split(/\s+/).at(-1)));
      expect(item.answers[0]?.text).toBe(` ${item.labels[item.correct]}`);
      expect(item.foils.length).toBe(3);
      for (const [place, position] of item.textAt.entries()) expect(item.optionOf[position]).toBe(place);
      expect(item.optionOf[(item.labelAt[0] ?? 0) - 1]).toBe(-1);
      expect(item.optionOf.at(-1)).toBe(-1);
    }
  }
  for (const { labels } of items.shuffled ?? []) {
    expect([...labels].sort()).toEqual(set.labels);
    for (const [place, label] of labels.entries()) expect(label).not.toBe(set.labels[place]);
  }
  // Each letter is right as often as any other.
  expect(items.letters.map(({ correct }) => correct).sort()).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
});
