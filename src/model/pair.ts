/** @file Prompt pairs as tokens, checked before anything runs. */
import type { Fault } from "../core/errors.ts";
import { renderAlignment } from "./pair-alignment.ts";
import { listOf, type PairSpec, parsePairSpec, refuseListed } from "./pair-spec.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

/** A text and its tokens. */
export interface Tokens {
  readonly text: string;
  /** [pos] */
  readonly ids: readonly number[];
  /** [pos] the text of each token by itself. */
  readonly pieces: readonly string[];
}

/** A pair whose prompts have the same number of tokens. */
export interface Pair {
  readonly id: string;
  readonly clean: Tokens;
  readonly corrupt: Tokens;
  /** Alternatives, none of which begins another. Empty where the spec names none. */
  readonly answers: readonly Tokens[];
  readonly foils: readonly Tokens[];
  /** Positions at which the two prompts have different tokens, ascending, at least one. */
  readonly differing: readonly number[];
  /** `file:line` or option, for messages. */
  readonly where: string;
}

/** How prompts are tokenised and named. */
export interface PrepareOptions {
  /** Whether BOS goes in front of both prompts; the tokenizer's own setting where not given. */
  readonly bos?: boolean | undefined;
  /** Where each spec comes from; `pair 1`, `pair 2`, … where not given. */
  readonly where?: readonly string[] | undefined;
}

/** Pairs in the order of their specs, and what is odd about them without being wrong. */
export interface PreparedPairs {
  readonly pairs: readonly Pair[];
  readonly warnings: readonly string[];
}

/**
 * Tokenises and checks pairs. Nothing is trimmed, padded or cut.
 * @throws InputError naming every fault of every pair: prompts of different length, prompts that are equal, answers
 * that cannot be told from one another or from a foil, an id used twice.
 */
export function preparePairs(
  specs: readonly PairSpec[],
  tokenizer: Tokenizer,
  options: PrepareOptions = {},
): PreparedPairs {
  const pairs: Pair[] = [];
  const faults: Fault[] = [];
  const warnings: string[] = [];
  for (const [index, spec] of specs.entries()) {
    const where = options.where?.[index] ?? `pair ${index + 1}`;
    const prepared = preparePair(spec, tokenizer, { ...options, where, id: String(index) });
    faults.push(...prepared.faults);
    warnings.push(...prepared.warnings);
    if (prepared.pair !== undefined) pairs.push(prepared.pair);
  }
  if (specs.length === 0) faults.push({ where: "pairs", found: "none", wanted: "at least one pair" });
  const repeats = findRepeats(pairs);
  refuseListed([...faults, ...repeats.faults]);
  return { pairs, warnings: [...warnings, ...repeats.warnings] };
}

/** One pair, or what is wrong with it. `id` names the pair if its spec does not. */
export function preparePair(
  value: PairSpec,
  tokenizer: Tokenizer,
  options: { readonly bos?: boolean | undefined; readonly where: string; readonly id: string },
): { readonly pair?: Pair; readonly faults: readonly Fault[]; readonly warnings: readonly string[] } {
  const { where } = options;
  const bos = options.bos ?? tokenizer.addsBos;
  const { spec, faults } = parsePairSpec(value, where);
  if (spec === undefined) return { faults, warnings: [] };

  const clean = tokens(spec.clean, tokenizer.encode(spec.clean, { bos }), tokenizer);
  const corrupt = tokens(spec.corrupt, tokenizer.encode(spec.corrupt, { bos }), tokenizer);
  const warnings: string[] = [];
  const continuations = (texts: readonly string[]): Tokens[] =>
    texts.map((text) => {
      const { ids, atBoundary } = continuation(text, tokenizer, { prompt: clean, bos });
      if (!atBoundary) warnings.push(boundaryWarning({ where, prompt: clean, text }));
      return tokens(text, ids, tokenizer);
    });
  const answers = continuations(listOf(spec.answer));
  const foils = continuations(listOf(spec.foil));
  const differing = clean.ids.flatMap((id, pos) => (id === corrupt.ids[pos] ? [] : [pos]));

  const found = [
    ...alignmentFaults({ clean, corrupt, differing, where }),
    ...answerFaults(answers, foils, where),
  ];
  if (found.length > 0) return { faults: found, warnings };
  return {
    pair: { id: spec.id ?? options.id, clean, corrupt, answers, foils, differing, where },
    faults,
    warnings,
  };
}

/**
 * The ids that `text` has right after a prompt: those that follow the prompt's own in the encoding of both together,
 * which is what the model sees. Where the two merge across the seam (`to` + `Mary` without a space), there is no such
 * thing; `atBoundary` is then false and the ids are those of the text by itself.
 */
export function continuation(
  text: string,
  tokenizer: Tokenizer,
  { prompt, bos }: { readonly prompt: Tokens; readonly bos: boolean },
): { readonly ids: readonly number[]; readonly atBoundary: boolean } {
  const together = tokenizer.encode(prompt.text + text, { bos });
  const atBoundary =
    together.length > prompt.ids.length && prompt.ids.every((id, pos) => id === together[pos]);
  return {
    ids: atBoundary ? together.slice(prompt.ids.length) : tokenizer.encode(text, { bos: false }),
    atBoundary,
  };
}

function tokens(text: string, ids: readonly number[], tokenizer: Tokenizer): Tokens {
  return { text, ids, pieces: tokenizer.pieces(ids) };
}

function alignmentFaults(at: {
  readonly clean: Tokens;
  readonly corrupt: Tokens;
  readonly differing: readonly number[];
  readonly where: string;
}): Fault[] {
  const { clean, corrupt, differing, where } = at;
  if (clean.ids.length !== corrupt.ids.length) {
    return [
      {
        where,
        found: `${clean.ids.length} tokens in clean, ${corrupt.ids.length} in corrupt`,
        wanted: "the same number, token below token",
        fix: `Reword one of them:\n${renderAlignment(clean.pieces, corrupt.pieces)}`,
      },
    ];
  }
  if (differing.length > 0) return [];
  const same = clean.text === corrupt.text ? "the same text" : "texts with the same tokens";
  return [
    { where, found: `${same} in clean and corrupt`, wanted: "prompts that differ in at least one token" },
  ];
}

/** Alternatives must exclude one another: the probability of "any of them" is then a sum. */
function answerFaults(answers: readonly Tokens[], foils: readonly Tokens[], where: string): Fault[] {
  const options = [
    ...answers.map((option) => ({ ...option, key: "answer" })),
    ...foils.map((option) => ({ ...option, key: "foil" })),
  ];
  return options.flatMap((option, index): Fault[] => {
    const at = `${where}, ${option.key}`;
    if (option.ids.length === 0)
      return [{ where: at, found: `${quote(option)}, no token`, wanted: "at least one token" }];
    const twin = options.slice(0, index).find((other) => overlaps(option.ids, other.ids));
    if (twin === undefined) return [];
    const both = `${quote(option)} ${showTokens(option)} and the ${twin.key} ${quote(twin)} ${showTokens(twin)}`;
    return [{ where: at, found: both, wanted: "answers and foils of which none equals or begins another" }];
  });
}

function findRepeats(pairs: readonly Pair[]): { faults: Fault[]; warnings: string[] } {
  const faults: Fault[] = [];
  const warnings: string[] = [];
  const byId = new Map<string, Pair>();
  const byTokens = new Map<string, Pair>();
  for (const pair of pairs) {
    const named = byId.get(pair.id);
    if (named !== undefined) {
      faults.push({
        where: `${pair.where}, id`,
        found: `${JSON.stringify(pair.id)}, the id of ${named.where} too`,
        wanted: "an id of its own",
      });
    }
    byId.set(pair.id, pair);
    const key = JSON.stringify([pair.clean.ids, pair.corrupt.ids]);
    const twin = byTokens.get(key);
    if (twin !== undefined)
      warnings.push(`${pair.where}: the same prompts as ${twin.where}; they count twice in every mean`);
    else byTokens.set(key, pair);
  }
  return { faults, warnings };
}

function boundaryWarning(at: { where: string; prompt: Tokens; text: string }): string {
  const last = JSON.stringify(at.prompt.pieces.at(-1) ?? "");
  const hint = /^\s/.test(at.text) ? "" : "; does it lack a leading space?";
  return `${at.where}: ${JSON.stringify(at.text)} does not begin a token after ${last}, so its tokens are those of the text by itself${hint}`;
}

/** A text's tokens, as `[" Mar" "y"]`. */
export function showTokens({ pieces }: Tokens): string {
  return `[${pieces.map((piece) => JSON.stringify(piece)).join(" ")}]`;
}

function quote({ text }: Tokens): string {
  return JSON.stringify(text);
}

/** Whether one list of ids is the beginning of the other, or all of it. */
function overlaps(ids: readonly number[], others: readonly number[]): boolean {
  const length = Math.min(ids.length, others.length);
  if (length === 0) return false;
  for (let i = 0; i < length; i++) if (ids[i] !== others[i]) return false;
  return true;
}
