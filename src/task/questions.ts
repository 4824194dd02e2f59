/** @file Multiple-choice questions as data: files of them, the embedded model's own, and how they are written out. */
import { z } from "zod";
import { type Fault, InputError, inputError, refuse } from "../core/errors.ts";
import { excerpt } from "../core/excerpt.ts";
import { random } from "../core/random.ts";
import { repeatedKeyFaults } from "../core/repeated-keys.ts";
import { wantedBy } from "../model/config.ts";
import { drawWrong, questionsOn } from "./decisions.ts";
import {
  type GivenOption,
  labelFaultsOf,
  oncePerLabels,
  optionLabels,
  optionsOf,
} from "./question-options.ts";
import { pick, shuffledIndices } from "./task.ts";
import { world } from "./world.ts";

/** A question with its options in the order in which they are listed. */
export interface Question {
  readonly id: string;
  readonly question: string;
  /** One for each label. */
  readonly options: readonly string[];
  /** Place of the right one, from 0. */
  readonly correct: number;
  /** `file, questions[3]`, for messages. */
  readonly where: string;
}

/** How questions are written out: `{question}`, `{options}`; `{label}`, `{text}`; `{label}`. */
export interface QuestionFormat {
  readonly question: string;
  readonly option: string;
  readonly answer: string;
}

/** Questions that share labels, format and what stands in front. */
export interface QuestionSet {
  readonly labels: readonly string[];
  readonly format: QuestionFormat;
  /** Text in front of everything, exactly as typed. */
  readonly prefix: string;
  /** Questions with their answers in front of each question; their labels change with its own. */
  readonly shots: readonly Question[];
  readonly questions: readonly Question[];
}

/** A question as a file has it. */
export interface GivenQuestion {
  readonly question: string;
  /** In order: by their labels, or as a list. Labels that are whole numbers need the list, as objects put those first. */
  readonly options: Readonly<Record<string, string>> | readonly GivenOption[];
  /** Label of the right one. */
  readonly answer: string;
  readonly id?: string | undefined;
}

/** What a file of questions holds. */
export interface QuestionFile {
  readonly questions: readonly GivenQuestion[];
  readonly shots?: readonly GivenQuestion[] | undefined;
  readonly prefix?: string | undefined;
  readonly format?: QuestionFormat | undefined;
}

/** As in MMLU's own evaluation (Hendrycks et al. 2021). */
const MMLU: QuestionFormat = {
  question: "{question}{options}\nAnswer:",
  option: "\n{label}. {text}",
  answer: " {label}",
};
/** Between a shot and what follows it. */
const BETWEEN = "\n\n";

/** Hours of runs; a benchmark of 14,000 questions should be sampled. */
const MAX_QUESTIONS = 10_000;
/** More would not fit into the context of the models that are studied. */
const MAX_SHOTS = 100;
/** A page of text in each part. */
const MAX_CHARACTERS = 100_000;
/** Characters of what was found, in a message. */
const MAX_SHOWN = 60;

const text = z.string().min(1).max(MAX_CHARACTERS);
const question = z.strictObject({
  question: text,
  options: optionsOf(text),
  answer: z.string().min(1),
  id: text.optional(),
});
/** Once each, so that it is known where a part stands. */
const template = (parts: readonly string[]): z.ZodType<string> =>
  z
    .string()
    .max(MAX_CHARACTERS)
    .refine(
      (value) => parts.every((part) => value.split(`{${part}}`).length === 2),
      `${parts.map((part) => `{${part}}`).join(" and ")}, once each`,
    )
    .refine(
      (value) => {
        const places = parts.map((part) => value.indexOf(`{${part}}`));
        return places.every((place, i) => i === 0 || place > (places[i - 1] ?? 0));
      },
      `${parts.map((part) => `{${part}}`).join(" before ")}`,
    );
const file = z.strictObject({
  prefix: z.string().max(MAX_CHARACTERS).default(""),
  format: z
    .strictObject({
      question: template(["question", "options"]),
      option: template(["label", "text"]),
      answer: template(["label"]),
    })
    .default(MMLU),
  shots: z.array(question).max(MAX_SHOTS).default([]),
  questions: z.array(question).min(1).max(MAX_QUESTIONS),
});

/**
 * Reads a file of questions: a JSON object `{"questions": [{"question", "options": {"A": "…", …}, "answer": "A", "id"}],
 * "shots": […], "prefix": "…", "format": {…}}`. Options may be a list `[{"label": "1", "text": "…"}, …]` instead, and have to
 * be one where labels are whole numbers: objects put those first, in ascending order, whatever the file says. All questions
 * have the same labels in the same order.
 *
 * @throws InputError naming every fault.
 */
export function readQuestions(json: string, where: string): QuestionSet {
  const bare = json.replace(/^\uFEFF/, "");
  let value: unknown;
  try {
    value = JSON.parse(bare);
  } catch {
    throw inputError(where, "what is not JSON", 'a JSON object such as {"questions": […]}');
  }
  refuse(repeatedKeyFaults(bare, where));
  return parseQuestions(value, where);
}

/** The same of parsed JSON. */
export function parseQuestions(value: unknown, where = "questions"): QuestionSet {
  const parsed = file.safeParse(value);
  if (!parsed.success) {
    throw new InputError(parsed.error.issues.map((issue) => faultOf(issue, value, where)));
  }
  const { prefix, format, shots, questions } = parsed.data;
  const labels = optionLabels(questions[0]?.options);
  const faults: Fault[] = [];
  const labelFaults: Fault[] = [];
  const ids = new Set<string>();
  const prepared = (given: z.output<typeof question>, place: string, id: string): Question => {
    const own = optionLabels(given.options);
    const correct = own.indexOf(given.answer);
    labelFaults.push(...labelFaultsOf(given.options, `${place}, options`));
    if (own.join("\n") !== labels.join("\n")) {
      const wanted = `${labels.join(", ")}, as in the first question`;
      faults.push({ where: `${place}, options`, found: own.join(", "), wanted });
    }
    if (correct < 0)
      faults.push({ where: `${place}, answer`, found: JSON.stringify(given.answer), wanted: own.join(", ") });
    const texts = given.options.list.map((option) => option.text);
    return { id, question: given.question, options: texts, correct, where: place };
  };
  const listed = questions.map((given, index) => {
    const place = `${where}, questions[${index}]`;
    const id = given.id ?? String(index);
    if (ids.size === ids.add(id).size)
      faults.push({
        where: `${place}, id`,
        found: `${JSON.stringify(id)} again`,
        wanted: "an id of its own",
      });
    return prepared(given, place, id);
  });
  const answered = shots.map((given, index) => prepared(given, `${where}, shots[${index}]`, String(index)));
  refuse([...oncePerLabels(labelFaults), ...faults]);
  return { labels, format, prefix, shots: answered, questions: listed };
}

function faultOf(issue: z.core.$ZodIssue, value: unknown, where: string): Fault {
  const found = issue.path.reduce<unknown>(
    (held, key) => (typeof held === "object" && held !== null ? Reflect.get(held, key) : undefined),
    value,
  );
  const path = issue.path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
  const place = path === "" ? where : `${where}, ${path.replace(/^\./, "")}`;
  if (issue.code === "unrecognized_keys") {
    return { where: place, found: `the unknown key ${issue.keys.join(", ")}`, wanted: "only known ones" };
  }
  return {
    where: place,
    found: found === undefined ? "nothing" : excerpt(found, MAX_SHOWN),
    wanted: wantedBy(issue),
  };
}

/** Questions of the embedded model's world, four options each, as it was taught them. */
export function worldQuestions({ n, seed }: { readonly n: number; readonly seed: number }): QuestionSet {
  const source = random(seed);
  const all = questionsOn(world.choice.test_subjects);
  if (n > all.length) throw inputError("--n", String(n), `at most ${all.length}, as many as there are`);
  const chosen: Question[] = [];
  for (const index of shuffledIndices(all.length, source)) {
    if (chosen.length === n) break;
    const one = pick(all, index);
    const correct = chosen.length % world.choice.letters.length; // every letter as often as any other
    chosen.push({
      id: `choice-${index}`,
      question: one.prompt,
      options: drawWrong(one, source.integer(2 ** 31)).toSpliced(correct, 0, one.answer),
      correct,
      where: `question ${chosen.length}`,
    });
  }
  const [before = "", after = ""] = world.choice.option.split("{letter}");
  return {
    labels: world.choice.letters,
    format: {
      question: world.choice.question,
      option: `${before}{label}${after.replace("{word}", "{text}")}`,
      answer: " {label}",
    },
    prefix: "",
    shots: [],
    questions: chosen,
  };
}

/** A question as text, with where in it each label and each option's text stands. */
export interface WrittenQuestion {
  readonly text: string;
  /** [option] first and last (exclusive) character. */
  readonly labels: readonly (readonly [from: number, to: number])[];
  readonly texts: readonly (readonly [from: number, to: number])[];
  /** [option] what follows where it is right. */
  readonly answers: readonly string[];
}

/** Writes a question with some labels in place of the set's own. */
export function writeQuestion(
  { format, prefix, shots }: QuestionSet,
  asked: Question,
  labels: readonly string[],
): WrittenQuestion {
  const answers = labels.map((label) => format.answer.replace("{label}", () => label));
  let written = prefix;
  for (const shot of shots)
    written += body(format, shot, labels).text + (answers[shot.correct] ?? "") + BETWEEN;
  const own = body(format, asked, labels);
  const moved = ([from, to]: readonly [number, number]): readonly [number, number] => [
    written.length + from,
    written.length + to,
  ];
  return {
    text: written + own.text,
    labels: own.labels.map(moved),
    texts: own.texts.map(moved),
    answers,
  };
}

function body(
  format: QuestionFormat,
  { question: asked, options }: Question,
  labels: readonly string[],
): Omit<WrittenQuestion, "answers"> {
  const [start = "", rest = ""] = format.question.split("{question}");
  const [between = "", end = ""] = rest.split("{options}");
  const [before = "", tail = ""] = format.option.split("{label}");
  const [inside = "", after = ""] = tail.split("{text}");
  let written = start + asked + between;
  const places = options.map((option, index) => {
    const label = labels[index] ?? "";
    const from = written.length + before.length;
    const textFrom = from + label.length + inside.length;
    written += before + label + inside + option + after;
    return {
      label: [from, from + label.length] as const,
      text: [textFrom, textFrom + option.length] as const,
    };
  });
  return {
    text: written + end,
    labels: places.map(({ label }) => label),
    texts: places.map((place) => place.text),
  };
}
