/**
 * @file Options of the library's functions, as data: beside each interface of options lies a table that says of every
 * key what it may be, and a function holds what it was given against the table before it computes anything. The command
 * line reads texts and has tables of its own; types alone bind nobody who writes JavaScript.
 */

import type { Fault } from "./errors.ts";
import { inWords } from "./excerpt.ts";
import { didYouMean } from "./nearest.ts";
import { MAX_SEED } from "./random.ts";

/** What one value may be: what is wrong with a value at a place. */
export interface Check<T> {
  (value: unknown, where: string): readonly Fault[];
  /** Never there. What passes is a `T`: the compiler holds it against the option's own type. */
  readonly passed?: T;
}

/** Of an option that has no default. */
export interface RequiredCheck<T> extends Check<T> {
  readonly isRequired: true;
}

/** A check of every option of `T`, complete by type. */
export type OptionChecks<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? Check<Exclude<T[K], undefined>> : RequiredCheck<T[K]>;
};

/** A table, whatever it is of. */
type Table = Readonly<Record<string, Check<unknown> & { readonly isRequired?: true }>>;

/**
 * Everything that is wrong with options, those that do not exist included. What is undefined counts as not given.
 * @param where names the options in messages: `options` for `options.metric`
 */
export function optionFaults(options: unknown, table: Table, where = "options"): Fault[] {
  if (options === undefined) return optionFaults({}, table, where);
  const known = Object.keys(table);
  if (typeof options !== "object" || options === null || Array.isArray(options))
    return [{ where, found: inWords(options), wanted: `an object with some of ${known.join(", ")}` }];
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const faults = given.flatMap(([key, value]): readonly Fault[] => {
    const place = `${where}.${key}`;
    const check = Object.hasOwn(table, key) ? table[key] : undefined;
    if (check !== undefined) return check(value, place);
    const wanted = known.length === 0 ? "none" : `one of ${known.join(", ")}`;
    return [fault(place, { found: "an unknown option", wanted, fix: didYouMean(key, known) })];
  });
  const names = given.map(([key]) => key);
  const missing = Object.entries(table).filter(([key, check]) => check?.isRequired && !names.includes(key));
  return [...faults, ...missing.flatMap(([key, check]) => check?.(undefined, `${where}.${key}`) ?? [])];
}

function fault(
  where: string,
  { fix, ...rest }: Omit<Fault, "where" | "fix"> & { fix: string | undefined },
): Fault {
  return fix === undefined ? { where, ...rest } : { where, ...rest, fix };
}

/** The check of an option that has no default. */
export function required<T>(check: Check<T>): RequiredCheck<T> {
  return Object.assign((value: unknown, where: string) => check(value, where), { isRequired: true } as const);
}

/**
 * What a test tells.
 * @param wanted in the words of an error
 */
export function such<T>(wanted: string, passes: (given: unknown) => boolean): Check<T> {
  return (given, where) => (passes(given) ? [] : [{ where, found: inWords(given), wanted }]);
}

export const text: Check<string> = such("a text", (given) => typeof given === "string" && given !== "");

export const flag: Check<boolean> = such("true or false", (given) => typeof given === "boolean");

/** What a function takes cannot be told from outside. */
export const callback: Check<never> = such("a function", (given) => typeof given === "function");

/** What says that work is to stop. */
export const signal: Check<{ readonly aborted: boolean }> = such(
  "an AbortSignal",
  (given) => typeof given === "object" && given !== null && "aborted" in given,
);

/** One of some words. */
export function oneOf<const T extends string>(words: readonly T[]): Check<T> {
  const known: readonly string[] = words;
  const wanted = `one of ${known.join(", ")}`;
  return (given, where) => {
    if (typeof given !== "string") return [{ where, found: inWords(given), wanted }];
    if (known.includes(given)) return [];
    return [fault(where, { found: inWords(given), wanted, fix: didYouMean(given, known) })];
  };
}

/** A whole number from `least` to `most`. */
export function whole(least: number, most: number = Number.MAX_SAFE_INTEGER): Check<number> {
  const wanted =
    most === Number.MAX_SAFE_INTEGER
      ? `a whole number, ${least} or more`
      : `a whole number from ${least} to ${most}`;
  return such(wanted, (given) => Number.isSafeInteger(given) && isWithin(given, least, most));
}

export const seed: Check<number> = whole(0, MAX_SEED);

/** Bytes of memory; Infinity is no bound. */
export const bytes: Check<number> = such(
  "a number of bytes, 0 or more",
  (given) => typeof given === "number" && given >= 0,
);

/** A finite number of at least `least`. */
export function atLeast(least: number): Check<number> {
  return such(
    `a number, ${least} or more`,
    (given) => Number.isFinite(given) && isWithin(given, least, Number.MAX_VALUE),
  );
}

/** A number from `least` on and below `most`. */
export function between(least: number, most: number): Check<number> {
  return such(
    `a number of at least ${least} and below ${most}`,
    (given) => isWithin(given, least, most) && given !== most,
  );
}

const isWithin = (given: unknown, least: number, most: number): boolean =>
  typeof given === "number" && given >= least && given <= most;

/**
 * A list, with the faults of each element.
 * @param of what it is a list of, in the words of an error
 */
export function listOf<T>(element: Check<T>, of: string): Check<readonly T[]> {
  return (given, where) => {
    if (Array.isArray(given))
      return given.flatMap((one: unknown, index) => element(one, `${where}[${index}]`));
    const isElement = element(given, where).length === 0;
    const fix =
      typeof given === "object" ? "Put it into a list." : `Put it into a list: [${inWords(given)}].`;
    return [
      fault(where, { found: inWords(given), wanted: `a list of ${of}`, fix: isElement ? fix : undefined }),
    ];
  };
}

/** A list that has each element once, and at least one. */
export function someOf<T extends string | number>(element: Check<T>, of: string): Check<readonly T[]> {
  const list = listOf(element, of);
  return (given, where) => {
    const faults = list(given, where);
    if (faults.length > 0 || !Array.isArray(given)) return faults;
    if (given.length === 0) return [{ where, found: "an empty list", wanted: "at least one" }];
    const again = given.filter((one, index) => given.indexOf(one) !== index);
    return again.length === 0
      ? []
      : [{ where, found: `${[...new Set(again)].map(inWords).join(", ")} again`, wanted: "each once" }];
  };
}

export const texts: Check<readonly string[]> = listOf(text, "texts");

/** Labels along a dim. */
export const indices: Check<readonly number[]> = someOf(whole(0), "whole numbers");

/** Token ids; which of them there are, the model tells. */
export const ids: Check<readonly number[]> = listOf(
  such("a token id, a whole number", Number.isInteger),
  "token ids, as model.tokenizer.encode gives them",
);

/** Token ids of several prompts. */
export const sequences: Check<readonly (readonly number[])[]> = listOf(
  ids,
  "lists of token ids, one for each prompt",
);

/** Options within options. */
export function nested<T extends object>(table: OptionChecks<T>): Check<T> {
  return (given, where) => optionFaults(given, table, where);
}

/** An object whose `kind` says what else it has. */
interface Kinds {
  readonly kind: string;
}

/** The member of a union that a kind names. */
type OfKind<T extends Kinds, K> = T extends Kinds ? (K extends T["kind"] ? T : never) : never;

/** For every kind of `T` the checks of what comes with it, complete by type. */
export type KindChecks<T extends Kinds> = {
  readonly [K in T["kind"]]: OptionChecks<Omit<OfKind<T, K>, "kind">>;
};

/** One of several kinds, each with options of its own. */
export function oneKindOf<T extends Kinds>(tables: KindChecks<T>): Check<T> {
  const byKind: Readonly<Record<string, Table>> = tables;
  const kinds = Object.keys(byKind);
  return (given, where) => {
    if (typeof given !== "object" || given === null || Array.isArray(given)) {
      const isKind = typeof given === "string" && kinds.includes(given);
      const fix = isKind ? `Write { kind: ${JSON.stringify(given)} }.` : undefined;
      const wanted = `an object whose kind is one of ${kinds.join(", ")}`;
      return [fault(where, { found: inWords(given), wanted, fix })];
    }
    const { kind, ...rest } = given as { readonly kind?: unknown };
    const table = typeof kind === "string" && Object.hasOwn(byKind, kind) ? byKind[kind] : undefined;
    return table === undefined ? oneOf(kinds)(kind, `${where}.kind`) : optionFaults(rest, table, where);
  };
}

/** A word by itself, or what the check says. */
export function wordOr<const W extends string, T>(word: W, check: Check<T>): Check<W | T> {
  return (given, where) => {
    if (given === word) return [];
    const or = `, or ${JSON.stringify(word)}`;
    return check(given, where).map((one) =>
      one.where === where ? { ...one, wanted: one.wanted + or } : one,
    );
  };
}
