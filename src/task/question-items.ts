/** @file Multiple-choice questions as tokens, with their own labels and with others: where labels and options stand. */
import { type Fault, refuse } from "../core/errors.ts";
import { type Random, random } from "../core/random.ts";
import type { Prompted } from "../model/fact.ts";
import { continuation, showTokens, type Tokens, tokensOf } from "../model/pair-tokens.ts";
import type { Tokenizer } from "../model/tokenizer/tokenizer.ts";
import { oncePerLabels } from "./question-options.ts";
import { type Question, type QuestionSet, writeQuestion } from "./questions.ts";

/** Which labels the options bear. `letters` are the set's own; `shuffled` the same, none at its own place. */
export const labelKinds = ["letters", "random", "numbers", "shuffled"] as const;
export type LabelKind = (typeof labelKinds)[number];

/** A question as the model sees it. `answers` is the right label, `foils` are the others. */
export interface Item extends Prompted {
  readonly labels: readonly string[];
  /** [option] token of the label as an answer. */
  readonly letters: readonly number[];
  /** Place of the right option, from 0. */
  readonly correct: number;
  /** [option] position of the label. */
  readonly labelAt: readonly number[];
  /** [option] position of the last token of the option's text. */
  readonly textAt: readonly number[];
  /** [pos] the option that a token is of, -1 outside them. */
  readonly optionOf: readonly number[];
}

/** The same questions in every form that could be written. */
export interface Items {
  readonly kinds: readonly LabelKind[];
  /** For each kind, every question in the same order. */
  readonly items: Readonly<Partial<Record<LabelKind, readonly Item[]>>> & {
    readonly letters: readonly Item[];
  };
  /** Why kinds are left out. */
  readonly without: readonly string[];
}

/** Two bytes of a character that is not whole yet, decoded by byte fallback; of other tokenizers the part is one sign. */
const LACKING = "\ufffd\ufffd";
const LETTERS = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];

/**
 * Tokenises questions.
 * @throws InputError naming every label that is no token of its own, labels that cannot be told apart, and those in one token
 * with the text of an option; once for all questions with the same fault.
 */
export function questionItems(
  set: QuestionSet,
  tokenizer: Tokenizer,
  { bos = tokenizer.addsBos, seed }: { readonly bos?: boolean | undefined; readonly seed: number },
): Items {
  const source = random(seed);
  const { labels, questions } = set;
  const built = (question: Question, own: readonly string[]) =>
    itemOf(set, question, { labels: own, tokenizer, bos });
  const faults: Fault[] = [];
  const letters = questions.map((question) => {
    const { item, answerFault, placeFault } = built(question, labels);
    for (const fault of [answerFault, placeFault]) if (fault !== undefined) faults.push(fault);
    return item;
  });
  refuse(oncePerLabels(faults));
  const [first] = questions;
  const items: Partial<Record<LabelKind, readonly Item[]>> & { letters: readonly Item[] } = { letters };
  const without: string[] = [];
  if (first !== undefined) {
    /** Labels that make one token each in the first question stand for all. */
    const single = (candidates: readonly string[]): string[] =>
      candidates.filter((label) => built(first, labels.with(0, label)).answerFault === undefined);
    const others = single(LETTERS.filter((label) => !labels.includes(label)));
    const small = single(
      LETTERS.map((label) => label.toLowerCase()).filter((label) => !labels.includes(label)),
    );
    const pool = others.length >= labels.length ? others : small;
    const numbers = single(labels.map((_, index) => String(index + 1)).filter((n) => !labels.includes(n)));
    const form = (kind: LabelKind, labelsOf: () => readonly string[]): void => {
      const made = questions.map((question) => built(question, labelsOf()));
      const [wrong] = made.flatMap(({ answerFault, placeFault }) => answerFault ?? placeFault ?? []);
      if (wrong === undefined) items[kind] = made.map(({ item }) => item);
      else without.push(`${kind}: ${wrong.found}`);
    };
    const few = (found: readonly string[]): string =>
      `${found.length} of the labels wanted are single tokens of this tokenizer`;
    if (pool.length < labels.length) without.push(`random: ${few(pool)}`);
    else form("random", () => source.shuffle(pool).slice(0, labels.length));
    if (numbers.length < labels.length) without.push(`numbers: ${few(numbers)}`);
    else form("numbers", () => numbers);
    form("shuffled", () => deranged(labels, source));
  }
  return { kinds: labelKinds.filter((kind) => items[kind] !== undefined), items, without };
}

/** In another order, none at its own place: by drawing again, three times on average. */
function deranged(labels: readonly string[], source: Random): string[] {
  for (;;) {
    const drawn = source.shuffle(labels);
    if (drawn.every((label, place) => label !== labels[place])) return drawn;
  }
}

interface Built {
  readonly item: Item;
  /** That labels are not one token each as an answer, or not different ones. */
  readonly answerFault: Fault | undefined;
  /** That a label ends in one token with its text or another. */
  readonly placeFault: Fault | undefined;
}

function itemOf(
  set: QuestionSet,
  question: Question,
  {
    labels,
    tokenizer,
    bos,
  }: { readonly labels: readonly string[]; readonly tokenizer: Tokenizer; readonly bos: boolean },
): Built {
  const written = writeQuestion(set, question, labels);
  const clean = tokensOf(written.text, tokenizer, { bos });
  const follows = written.answers.map(
    (answer) => continuation(answer, tokenizer, { prompt: clean, bos }).tokens,
  );
  const tokenOf = tokenFinder(clean, tokenizer, bos);
  const labelAt = written.labels.map(([, to]) => tokenOf(to - 1));
  const textAt = written.texts.map(([, to]) => tokenOf(to - 1));
  const starts = written.labels.map(([from]) => tokenOf(from));
  const past = (textAt.at(-1) ?? 0) + 1;
  const optionOf = clean.ids.map((_, position) =>
    position >= past ? -1 : starts.findLastIndex((start) => position >= start),
  );
  const item: Item = {
    id: question.id,
    where: question.where,
    clean,
    answers: follows.filter((_, index) => index === question.correct),
    foils: follows.filter((_, index) => index !== question.correct),
    labels,
    letters: follows.map(({ ids }) => ids[0] ?? -1),
    correct: question.correct,
    labelAt,
    textAt,
    optionOf,
  };
  return { item, answerFault: answerFaultOf(item, follows), placeFault: placeFaultOf(item) };
}

function answerFaultOf({ where, labels, letters }: Item, follows: readonly Tokens[]): Fault | undefined {
  const long = follows.flatMap((tokens, place) =>
    tokens.ids.length === 1 ? [] : [`${JSON.stringify(labels[place])} as an answer ${showTokens(tokens)}`],
  );
  if (long.length > 0) {
    return {
      where: `${where}, options`,
      found: `labels ${long.join(", ")}`,
      wanted: "labels that are one token as an answer",
    };
  }
  if (new Set(letters).size === letters.length) return undefined;
  return { where: `${where}, options`, found: labels.join(", "), wanted: "labels that are different tokens" };
}

/** What heads look at there could be of either. */
function placeFaultOf({ where, labels, labelAt, textAt }: Item): Fault | undefined {
  const shared = labels.filter((_, place) => textAt.includes(labelAt[place] ?? -1));
  if (shared.length === 0) return undefined;
  const named = shared.map((label) => JSON.stringify(label)).join(", ");
  return {
    where: `${where}, options`,
    found: `labels ${named} in one token with the text of an option`,
    wanted: "labels and texts that end in different tokens",
    fix: 'Put signs between them in the format, such as "\\n{label}. {text}".',
  };
}

/**
 * The token that a character of the text stands in: the first at whose end the text so far, decoded, is longer. Found by
 * halving, as every decoding costs as much as its text is long. 0 is BOS where there is one.
 */
function tokenFinder(
  { ids, text }: Tokens,
  tokenizer: Tokenizer,
  bos: boolean,
): (character: number) => number {
  const special = bos && tokenizer.bosId !== undefined && tokenizer.bosId === ids[0] ? 1 : 0;
  const decoded = tokenizer.decode(ids.slice(special));
  // Tokenizers may put a space in front of the text.
  const ahead = Math.max(
    0,
    decoded.indexOf(text.trimStart().slice(0, 20)) - (text.length - text.trimStart().length),
  );
  const lengths = new Map([[ids.length - 1, decoded.length]]);
  /** Characters of the text up to and with a token. */
  const lengthAt = (position: number): number => {
    const known = lengths.get(position);
    if (known !== undefined) return known;
    let length = 0;
    for (let last = position; last >= special; last--) {
      const upTo = tokenizer.decode(ids.slice(special, last + 1));
      length = upTo.length;
      // Byte fallback makes one U+FFFD of every byte where a character lacks some: more than what stands there in the end.
      if (!upTo.endsWith(LACKING)) break;
    }
    lengths.set(position, length);
    return length;
  };
  return (character) => {
    let [from, to] = [special, ids.length];
    while (from < to) {
      const middle = Math.floor((from + to) / 2);
      if (lengthAt(middle) - ahead > character) to = middle;
      else from = middle + 1;
    }
    return from < ids.length ? from : -1;
  };
}
