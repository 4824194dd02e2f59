/** @file Prompt pairs as tokens, checked before anything runs. */
import { type Fault, refuse } from "../core/errors.ts";
import { alignmentFaults, answerFaults, seamWarnings, unknownWordWarnings } from "./pair-checks.ts";
import { listOf, type PairSpec, parsePairSpec } from "./pair-spec.ts";
import { continuation, type PromptForm, promptTokens, type Tokens } from "./pair-tokens.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

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
export interface PrepareOptions extends PromptForm {
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
  refuse([...faults, ...repeats.faults]);
  return { pairs, warnings: [...warnings, ...repeats.warnings] };
}

/** One pair, or what is wrong with it. `id` names the pair if its spec does not. */
export function preparePair(
  value: PairSpec,
  tokenizer: Tokenizer,
  options: PromptForm & { readonly where: string; readonly id: string },
): { readonly pair?: Pair; readonly faults: readonly Fault[]; readonly warnings: readonly string[] } {
  const { where } = options;
  const { spec, faults } = parsePairSpec(value, where);
  if (spec === undefined) return { faults, warnings: [] };

  const { tokens: clean, bos } = promptTokens(spec.clean, tokenizer, options);
  const { tokens: corrupt } = promptTokens(spec.corrupt, tokenizer, options);
  const warnings = [clean, corrupt].flatMap((prompt, run) =>
    unknownWordWarnings(prompt, tokenizer, `${where}, ${run === 0 ? "clean" : "corrupt"}`),
  );
  const continuations = (texts: readonly string[]): Tokens[] =>
    texts.map((text) => {
      const { tokens, ...seam } = continuation(text, tokenizer, { prompt: clean, bos });
      warnings.push(...seamWarnings({ where, prompt: clean, text, ...seam }));
      return tokens;
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
