/** @file Decisions of the embedded model: loans, refusals, and questions with four options. */
import { random } from "../core/random.ts";
import { write } from "./recall.ts";
import { type Candidates, pick, pickDistinct, type Task } from "./task.ts";
import { facts, world } from "./world.ts";

const SIZE = 2 ** 31;
const FIELDS = ["income", "debt", "history", "gender", "district", "status"] as const;
export type Field = (typeof FIELDS)[number];
export type Applicant = Readonly<Record<Field, string | number>>;

/** The values that a field of an application can have. */
export function valuesOf(field: Field): readonly (string | number)[] {
  return field === "income" || field === "debt" ? world.loan[field] : Object.keys(world.loan[field]);
}

/** Log odds of approval by which the model was taught, the planted bias included. */
export function loanScore(applicant: Applicant): number {
  const { loan } = world;
  const named = (["history", "gender", "district", "status"] as const)
    .map((field) => loan[field][applicant[field]] ?? 0)
    .reduce((sum, weight) => sum + weight, 0);
  return (
    loan.offset + loan.per_income * Number(applicant.income) + loan.per_debt * Number(applicant.debt) + named
  );
}

/** Every field drawn for itself. */
export function drawApplicant(index: number): Applicant {
  const drawn = random(index);
  return Object.fromEntries(
    FIELDS.map((field) => [field, pick(valuesOf(field), drawn.integer(valuesOf(field).length))]),
  ) as Applicant;
}

export function writeApplicant(applicant: Applicant): string {
  return write(world.loan.text, applicant);
}

/** Two applicants who differ in one field; the clean one has better odds, or as good where the field does not count. */
export const loan: Task = {
  description: "Decide on a loan: which field moves the decision (a bias is planted)",
  source: "the world of the embedded model, docs/pocket.md",
  defaultMetric: "logit_diff",
  candidates: (): Candidates => ({
    size: SIZE,
    answersAtBoundary: true,
    at(index) {
      const drawn = random(index);
      const one = drawApplicant(index);
      const field = pick(FIELDS, drawn.integer(FIELDS.length));
      const others = valuesOf(field).filter((value) => value !== one[field]);
      const two: Applicant = { ...one, [field]: pick(others, drawn.integer(others.length)) };
      const [clean, corrupt] = loanScore(one) >= loanScore(two) ? [one, two] : [two, one];
      return {
        clean: writeApplicant(clean),
        corrupt: writeApplicant(corrupt),
        answer: world.loan.answers.accept,
        foil: world.loan.answers.reject,
      };
    },
  }),
};

/** First words of the two kinds of reply. */
export const REFUSES: string = firstWord(world.chat.refuse);
export const COMPLIES: string = firstWord(world.chat.comply);

/** A request in the chat format, up to the reply. */
export function writeRequest(template: string, request: readonly string[], suffix = ""): string {
  const { user, assistant } = world.chat;
  const asked = template.replace("{}", request.join(" "));
  return `${user}${asked}${suffix === "" ? "" : ` ${suffix}`}${assistant}`;
}

/** A harmful request and a harmless one in the same words otherwise. */
export const refusal: Task = {
  description: "Refuse a harmful request and answer a harmless one",
  source:
    "Arditi et al. 2024, Refusal in Language Models Is Mediated by a Single Direction, arXiv:2406.11717",
  defaultMetric: "logit_diff",
  candidates: (): Candidates => ({
    size: SIZE,
    answersAtBoundary: false, // a reply begins right after the marker, without a space
    at(index) {
      const drawn = random(index);
      const { templates, harmful, harmless } = world.chat;
      const template = pick(templates, drawn.integer(templates.length));
      const draw = (requests: readonly (readonly string[])[]): readonly string[] =>
        pick(requests, drawn.integer(requests.length));
      return {
        clean: writeRequest(template, draw(harmful.all)),
        corrupt: writeRequest(template, draw(harmless.all)),
        answer: REFUSES,
        foil: COMPLIES,
      };
    },
  }),
};

/** A question about a subject, with the kind of word that answers it. */
export interface Question {
  readonly prompt: string;
  readonly answer: string;
  readonly what: "city" | "profession";
}

/** Questions about some subjects, in the two sentences of each relation that multiple choice was taught with. */
export function questionsOn(subjects: readonly string[]): Question[] {
  return (["city", "profession"] as const).flatMap((what) =>
    ["landmark", "company", "person", "fictional"].flatMap((kind) => {
      const templates = (world.templates[`${kind}.${what}`]?.train ?? []).slice(0, 2);
      return facts("train", `${kind}.${what}`)
        .filter(({ subject, template }) => subjects.includes(subject) && templates.includes(template))
        .map(({ prompt, answer }) => ({ prompt, answer: answer.trim(), what }));
    }),
  );
}

/** A question with four options, the right one at a place. */
export function writeChoice(
  { prompt, answer }: Question,
  { wrong, place }: { readonly wrong: readonly string[]; readonly place: number },
): string {
  const words = wrong.toSpliced(place, 0, answer);
  const options = words.map((word, i) =>
    write(world.choice.option, { letter: pick(world.choice.letters, i), word }),
  );
  return write(world.choice.question, { question: prompt, options: options.join("") });
}

/** Three wrong words of the right kind. */
export function drawWrong({ answer, what }: Question, index: number): string[] {
  const words = [...new Set(Object.values(world.subjects).map((subject) => subject[what] ?? answer))];
  return random(index)
    .shuffle(words.filter((word) => word !== answer))
    .slice(0, 3);
}

/** The right option at one letter and, in the corrupt prompt, at another. */
export const multipleChoice: Task = {
  description: "Answer a question with four options by its letter",
  source: "Lieberum et al. 2023, Does Circuit Analysis Interpretability Scale?, arXiv:2307.09458",
  defaultMetric: "logit_diff",
  candidates(): Candidates {
    const questions = questionsOn(Object.keys(world.subjects));
    return {
      size: SIZE,
      answersAtBoundary: true,
      at(index) {
        const drawn = random(index);
        const question = pick(questions, drawn.integer(questions.length));
        const [place = 0, other = 0] = pickDistinct([0, 1, 2, 3], [drawn.integer(4), drawn.integer(3)]);
        const wrong = drawWrong(question, index);
        const words = wrong.toSpliced(place, 0, question.answer);
        // The corrupt prompt has the right word and the one at its other place swapped.
        const swapped = words.with(place, pick(words, other)).with(other, question.answer);
        const at = (list: readonly string[], where: number): string =>
          writeChoice(question, { wrong: list.toSpliced(where, 1), place: where });
        return {
          clean: at(words, place),
          corrupt: at(swapped, other),
          answer: ` ${pick(world.choice.letters, place)}`,
          foil: ` ${pick(world.choice.letters, other)}`,
        };
      },
    };
  },
};

function firstWord(reply: string): string {
  return reply.match(/^\p{L}+/u)?.[0] ?? "";
}
