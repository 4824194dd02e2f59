/** @file What is wrong with prompts that the library's own functions have not prepared: they can be anything. */

import type { Fault } from "../core/errors.ts";
import { inWords } from "../core/excerpt.ts";
import type { Prompted } from "../model/fact.ts";
import type { Pair } from "../model/pair.ts";
import type { Tokens } from "../model/pair-tokens.ts";

/** No pairs, what is no pair, and pairs whose prompts differ in length. */
export function pairFaults(pairs: readonly Pair[]): Fault[] {
  const faults = listFaults(pairs, {
    where: "pairs",
    least: "at least one pair",
    wanted: PAIR,
    isOne: isPair,
  });
  if (faults.length > 0) return faults;
  return pairs
    .filter(({ clean, corrupt }) => clean.ids.length !== corrupt.ids.length || clean.ids.length === 0)
    .map(({ where, clean, corrupt }) => ({
      where,
      found: `${clean.ids.length} tokens in clean, ${corrupt.ids.length} in corrupt`,
      wanted: "the same number in both, and at least one",
    }));
}

/** No prompts, and what is neither a prepared prompt nor a pair. */
export function promptFaults(prompts: readonly Prompted[]): Fault[] {
  return listFaults(prompts, {
    where: "prompts",
    least: "at least one",
    wanted: "a prompt with its tokens, or a pair that model.pair has made",
    isOne: isPrompted,
  });
}

const PAIR = "a pair that model.pair has made";

function listFaults(
  given: unknown,
  how: {
    readonly where: string;
    readonly least: string;
    readonly wanted: string;
    readonly isOne: (one: unknown) => boolean;
  },
): Fault[] {
  const { where, least, wanted, isOne } = how;
  if (!Array.isArray(given)) return [{ where, found: inWords(given), wanted: `a list, each ${wanted}` }];
  if (given.length === 0) return [{ where, found: "none", wanted: least }];
  return given.flatMap((one: unknown, index): Fault[] =>
    isOne(one) ? [] : [{ where: `${where}[${index}]`, found: described(one), wanted, ...fixOf(one) }],
  );
}

const held = (given: unknown, key: string): unknown =>
  typeof given === "object" && given !== null ? Reflect.get(given, key) : undefined;

const isTokens = (given: unknown): given is Tokens => Array.isArray(held(given, "ids"));

const isPrompted = (given: unknown): boolean =>
  isTokens(held(given, "clean")) &&
  Array.isArray(held(given, "answers")) &&
  Array.isArray(held(given, "foils"));

const isPair = (given: unknown): boolean => isPrompted(given) && isTokens(held(given, "corrupt"));

function described(given: unknown): string {
  return typeof held(given, "clean") === "string" ? "texts without their tokens" : inWords(given);
}

/** The two slips that are easily made: texts as they are, and all that `model.pairs` returns. */
function fixOf(given: unknown): { readonly fix?: string } {
  if (typeof held(given, "clean") === "string") return { fix: "Call model.pair with them." };
  return Array.isArray(held(given, "pairs")) ? { fix: "Give the pairs in it: model.pairs(…).pairs." } : {};
}
