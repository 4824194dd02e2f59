/** @file What a task is: a space of candidate pairs, sampled without replacement under a tokenizer. */
import { inputError } from "../core/errors.ts";
import { flag, type OptionChecks, required, seed, whole } from "../core/options.ts";
import { type Random, random } from "../core/random.ts";
import type { MetricName } from "../metric/plan.ts";
import { type Pair, preparePair } from "../model/pair.ts";
import { MAX_PAIRS, type PairSpec } from "../model/pair-spec.ts";
import { continuation, tokensOf } from "../model/pair-tokens.ts";
import type { Tokenizer } from "../model/tokenizer/tokenizer.ts";

/** Candidates tried beyond 20 per pair asked for: more than all of the factual task; a few seconds of tokenising. */
const SPARE_CANDIDATES = 20_000;

/** A built-in generator of prompt pairs. */
export interface Task {
  readonly description: string;
  /** The paper that introduced the behaviour. */
  readonly source: string;
  readonly defaultMetric: MetricName;
  /** Candidates for this tokenizer. @throws InputError where the task makes no sense under it, saying why. */
  candidates(tokenizer: Tokenizer, options: { readonly bos: boolean }): Candidates;
}

/** A finite, indexed set of pairs, some of which may not align. */
export interface Candidates {
  /** At most 2³², the range of the random numbers. */
  readonly size: number;
  /** The candidate at an index in [0, size). */
  at(index: number): Candidate;
  /** Whether an answer must begin a token after the prompt, as text would have it. */
  readonly answersAtBoundary: boolean;
}

/** A pair before it has its id. */
export interface Candidate extends Omit<PairSpec, "id"> {
  /** Stands in the id instead of the task's name, where a task has pairs of several kinds. */
  readonly kind?: string;
}

/** Which pairs to draw. */
export interface DrawOptions {
  readonly n: number;
  readonly seed: number;
  /** The tokenizer's own setting where not given. */
  readonly bos?: boolean | undefined;
}

export const drawChecks: OptionChecks<DrawOptions> = {
  n: required(whole(1, MAX_PAIRS)),
  seed: required(seed),
  bos: flag,
};

/**
 * Draws n distinct pairs: equal token counts, every answer and foil one token. The same tokenizer, n and seed give
 * the same pairs, and a larger n the same ones first.
 * @throws InputError where fewer than n can be made, saying how many.
 */
export function drawPairs(
  task: Task,
  tokenizer: Tokenizer,
  options: DrawOptions & { readonly name: string },
): Pair[] {
  const { n, seed, name } = options;
  const bos = options.bos ?? tokenizer.addsBos;
  const candidates = task.candidates(tokenizer, { bos });
  const pairs = new Map<string, Pair>();
  const most = SPARE_CANDIDATES + 20 * n;
  let tried = 0;
  for (const index of shuffledIndices(candidates.size, random(seed))) {
    if (pairs.size === n || tried === most) break;
    tried++;
    const { kind = name, ...spec } = candidates.at(index);
    const id = `${kind}-${pairs.size}`;
    const { pair, warnings } = preparePair(spec, tokenizer, { bos, where: id, id });
    if (pair === undefined || (candidates.answersAtBoundary && warnings.length > 0)) continue;
    if ([...pair.answers, ...pair.foils].some(({ ids }) => ids.length !== 1)) continue;
    const key = JSON.stringify([pair.clean.ids, pair.corrupt.ids]);
    if (!pairs.has(key)) pairs.set(key, pair);
  }
  if (pairs.size < n) {
    throw inputError(
      `task ${name}`,
      `${pairs.size} pairs whose tokens align, of ${tried} candidates tried under this tokenizer`,
      `${n} pairs`,
      "Ask for fewer with --n.",
    );
  }
  return [...pairs.values()];
}

/** [0, size) in random order, drawn as far as it is read: Fisher–Yates that keeps only the entries it has moved. */
export function* shuffledIndices(size: number, source: Random): Generator<number> {
  const moved = new Map<number, number>();
  for (let i = 0; i < size; i++) {
    const j = i + source.integer(size - i);
    yield moved.get(j) ?? j;
    moved.set(j, moved.get(i) ?? i);
    moved.delete(i);
  }
}

/** Splits an index into one choice per radix, the first varying fastest. */
export function choices(index: number, radices: readonly number[]): number[] {
  let rest = index;
  return radices.map((radix) => {
    const choice = rest % radix;
    rest = Math.floor(rest / radix);
    return choice;
  });
}

/** An item by an index known to be in range. */
export function pick<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no item ${index} among ${items.length}`);
  return item;
}

/** `count` distinct items; choice k counts among the items that the choices before it left, so k-th radix = length − k. */
export function pickDistinct<T>(items: readonly T[], picks: readonly number[]): T[] {
  const left = [...items];
  return picks.map((index) => {
    const item = pick(left, index);
    left.splice(index, 1);
    return item;
  });
}

/**
 * The words that are one token in running text, a space before them.
 * @throws InputError where there are fewer than `atLeast`.
 */
export function singleTokenWords(
  words: readonly string[],
  tokenizer: Tokenizer,
  options: { readonly bos: boolean; readonly atLeast: number; readonly where: string },
): string[] {
  const { bos, atLeast, where } = options;
  const prompt = tokensOf("and then", tokenizer, { bos });
  const single = words.filter((word) => {
    const { tokens, atBoundary } = continuation(` ${word}`, tokenizer, { prompt, bos });
    return atBoundary && tokens.ids.length === 1;
  });
  if (single.length < atLeast) {
    throw inputError(
      where,
      `${single.length} of ${words.length} words that are one token`,
      `at least ${atLeast}`,
    );
  }
  return single;
}
