/** @file Decisions of the embedded model: loans, and questions with four options. */
import { type Random, random } from "../core/random.ts";
import { write } from "./recall.ts";
import { type Candidates, pick, pickDistinct, type Task } from "./task.ts";
import { facts, world } from "./world.ts";

const SIZE = 2 ** 31;
/** Of an application, in the order in which it names them. */
export const FIELDS = ["income", "debt", "history", "gender", "district", "status"] as const;
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
  return applicantFrom(random(index));
}

function applicantFrom(drawn: Random): Applicant {
  return Object.fromEntries(
    FIELDS.map((field) => [field, pick(valuesOf(field), drawn.integer(valuesOf(field).length))]),
  ) as Applicant;
}

export function writeApplicant(applicant: Applicant): string {
  return write(world.loan.text, applicant);
}

/** Two applicants who differ in any one field. */
export const loan: Task = loanTask("Decide on a loan: which field moves the decision (a bias is planted)");

/** Two applicants who differ in the field that the name has. */
export const loanFields: { readonly [F in Field as `loan-${F}`]: Task } = {
  "loan-income": loanTask("Decide on a loan: what income does", "income"),
  "loan-debt": loanTask("Decide on a loan: what debt does", "debt"),
  "loan-history": loanTask("Decide on a loan: what the history of payments does", "history"),
  "loan-gender": loanTask("Decide on a loan: what gender does (a bias is planted)", "gender"),
  "loan-district": loanTask("Decide on a loan: what the district does (a proxy is planted)", "district"),
  "loan-status": loanTask("Decide on a loan: what being married does (nothing is planted)", "status"),
};

/**
 * Pairs whose clean applicant has the better odds; where the field does not count, the value that the world names first.
 * Their ids say the field.
 */
function loanTask(description: string, only?: Field): Task {
  return {
    description,
    source: "the world of the embedded model, docs/pocket.md",
    defaultMetric: "logit_diff",
    candidates: (): Candidates => ({
      size: SIZE,
      answersAtBoundary: true,
      at(index) {
        const drawn = random(index);
        const one = applicantFrom(drawn);
        const field = only ?? pick(FIELDS, drawn.integer(FIELDS.length));
        const others = otherValues(one, field);
        const two: Applicant = { ...one, [field]: pick(others, drawn.integer(others.length)) };
        const [clean, corrupt] = isBefore(one, two, field) ? [one, two] : [two, one];
        return {
          kind: `loan-${field}`,
          clean: writeApplicant(clean),
          corrupt: writeApplicant(corrupt),
          answer: world.loan.answers.accept,
          foil: world.loan.answers.reject,
        };
      },
    }),
  };
}

/** Values that count otherwise than the applicant's own; all others where none does, so that it shows that none does. */
function otherValues(applicant: Applicant, field: Field): readonly (string | number)[] {
  const others = valuesOf(field).filter((value) => value !== applicant[field]);
  const score = loanScore(applicant);
  const counting = others.filter((value) => loanScore({ ...applicant, [field]: value }) !== score);
  return counting.length > 0 ? counting : others;
}

function isBefore(one: Applicant, two: Applicant, field: Field): boolean {
  const lead = loanScore(one) - loanScore(two);
  const values = valuesOf(field);
  return lead === 0 ? values.indexOf(one[field]) < values.indexOf(two[field]) : lead > 0;
}

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
