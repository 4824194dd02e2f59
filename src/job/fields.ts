/**
 * @file Option values as typed on a command line or written in an experiment file: `"layer,pos"` or
 * `["layer", "pos"]`, `"3,7-9"` or `[3, 7, 8, 9]`, `"4GB"` or `4000000000`. Reading what was read changes nothing.
 */
import { z } from "zod";
import { refuse } from "../core/errors.ts";
import { inWords } from "../core/excerpt.ts";
import { didYouMean } from "../core/nearest.ts";
import { MIN_BUDGET } from "../model/memory.ts";
import { HEAD_PATTERN, headNamed } from "./heads.ts";
import type { OptionEntry, OptionFault } from "./options/entry.ts";

/** Most labels of one list: the neurons of the widest layer known. */
const MAX_INDICES = 1 << 20;

export const text: z.ZodType<string> = z.string({ error: "a text" }).min(1, { error: "a text" });

export const flag: z.ZodType<boolean> = z.boolean({ error: "true or false" });

/** One text or several. */
export const texts: z.ZodType<readonly string[]> = z.preprocess(
  (value) => (typeof value === "string" ? [value] : value),
  z.array(text, { error: "a text or a list of texts" }).min(1, { error: "at least one text" }),
);

/** What stands between the commas of a text. */
const apart = (value: unknown): unknown =>
  typeof value === "string" ? value.split(",").map((part) => part.trim()) : value;

/** Names separated by commas. */
export const names: z.ZodType<readonly string[]> = z.preprocess(
  apart,
  z
    .array(z.string().min(1, { error: "names separated by commas" }), { error: "names separated by commas" })
    .min(1, { error: "at least one name" }),
);

/**
 * Heads such as 9.6, separated by commas, each once.
 * @param word stands for all of them, by itself
 */
export function heads(word?: string): z.ZodType<readonly string[]> {
  const error = `heads such as 9.6,9.9, each once${word === undefined ? "" : `, or ${word}`}`;
  const areHeads = (list: readonly string[]): boolean => {
    if (!list.every((name) => HEAD_PATTERN.test(name))) return false;
    const places = list.map(headNamed).map(({ layer, head }) => `${layer}.${head}`); // 9.06 is 9.6
    return new Set(places).size === list.length;
  };
  return z.preprocess(
    apart,
    z
      .array(z.string({ error }), { error })
      .min(1, { error })
      .refine((list) => (word !== undefined && list.join() === word) || areHeads(list), { error }),
  );
}

/** A whole number from `least` to `most`. */
export function whole(least: number, most: number = Number.MAX_SAFE_INTEGER): z.ZodType<number> {
  const error =
    most === Number.MAX_SAFE_INTEGER
      ? `a whole number, ${least} or more`
      : `a whole number from ${least} to ${most}`;
  return z.preprocess(
    (value) => (typeof value === "string" && /^[+-]?\d+$/.test(value) ? Number(value) : value),
    z.int({ error }).min(least, { error }).max(most, { error }),
  );
}

/** A finite number of at least `least`. */
export function atLeast(least: number): z.ZodType<number> {
  const error = `a number, ${least} or more`;
  return z.preprocess(
    (value) => (typeof value === "string" && value.trim() !== "" ? Number(value) : value),
    z.number({ error }).min(least, { error }),
  );
}

/** A number from `least` on and below `most`. */
export function between(least: number, most: number): z.ZodType<number> {
  const error = `a number of at least ${least} and below ${most}`;
  return z.preprocess(
    (value) => (typeof value === "string" && value.trim() !== "" ? Number(value) : value),
    z.number({ error }).min(least, { error }).lt(most, { error }),
  );
}

/** Finite numbers of at least `least`, separated by commas, each once. */
export function numbers(least: number): z.ZodType<readonly number[]> {
  const error = `numbers separated by commas, each ${least} or more and given once`;
  return z.preprocess(
    (value) =>
      typeof value === "string"
        ? value.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)))
        : value,
    z
      .array(z.number({ error }).min(least, { error }), { error })
      .min(1, { error })
      .refine((list) => new Set(list).size === list.length, { error }),
  );
}

/** Some of some words, separated by commas, each once. */
export function choices<T extends string>(words: readonly [T, ...T[]]): z.ZodType<readonly T[]> {
  const error = `some of ${words.join(", ")}, separated by commas, each once`;
  return z.preprocess(
    apart,
    z
      .array(z.enum(words, { error }), { error })
      .min(1, { error })
      .refine((list) => new Set(list).size === list.length, { error }),
  ) as unknown as z.ZodType<readonly T[]>;
}

/** One of some words. */
export function choice<T extends string>(words: readonly [T, ...T[]]): z.ZodType<T> {
  return z.enum(words, { error: `one of ${words.join(", ")}` }) as unknown as z.ZodType<T>;
}

const INDICES = "whole numbers and ranges, each number once, as in 3,7-9";

/** Labels along a dim: whole numbers and ranges, each once. */
export const indices: z.ZodType<readonly number[]> = z.preprocess(
  (value) => (typeof value === "string" ? expandRanges(value) : value),
  z
    .array(z.int({ error: INDICES }).min(0, { error: INDICES }), { error: INDICES })
    .min(1, { error: INDICES })
    .max(MAX_INDICES, { error: `at most ${MAX_INDICES} numbers` })
    .refine((list) => new Set(list).size === list.length, { error: INDICES }),
);

/** `3,7-9` as [3, 7, 8, 9]; the text itself where it is nothing of the kind. */
function expandRanges(list: string): readonly number[] | string {
  const expanded: number[] = [];
  for (const part of list.split(",")) {
    const [, low, high = low] = /^\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*$/.exec(part) ?? [];
    const [first, last] = [Number(low), Number(high)];
    if (low === undefined || last < first || last - first >= MAX_INDICES) return list;
    for (let index = first; index <= last; index++) expanded.push(index);
    if (expanded.length > MAX_INDICES) return list;
  }
  return expanded;
}

const BYTES = "a size such as 4GB or 512MiB, at least 1MB";
const unitBytes: Readonly<Record<string, number>> = {
  "": 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/** Bytes, with or without a unit. */
export const bytes: z.ZodType<number> = z.preprocess(
  (value) => {
    if (typeof value !== "string") return value;
    const [, number, unit = ""] = /^(\d+(?:\.\d+)?)\s*([KMGT]?I?B)?$/.exec(value.trim().toUpperCase()) ?? [];
    const factor = unitBytes[unit];
    return number === undefined || factor === undefined ? value : Math.round(Number(number) * factor);
  },
  z.int({ error: BYTES }).min(MIN_BUDGET, { error: BYTES }),
);

/** How each option of `T` is read, complete by type. */
export type OptionReaders<T> = {
  readonly [K in keyof T]-?: Pick<OptionEntry<NonNullable<T[K]>>, "read">;
};

/** Reads every option, and collects what is wrong with any of them, options that do not exist included. */
export function readFields<T extends object>(
  table: OptionReaders<T>,
  raw: Readonly<Record<string, unknown>>,
): { readonly options: T; readonly faults: readonly OptionFault[] } {
  const entries: Readonly<Record<string, Pick<OptionEntry<unknown>, "read">>> = table;
  const known = `one of ${Object.keys(entries).join(", ")}`;
  const options: Record<string, unknown> = {};
  const faults: OptionFault[] = [];
  for (const [option, value] of Object.entries(raw)) {
    if (value === undefined) continue;
    const entry = Object.hasOwn(entries, option) ? entries[option] : undefined;
    if (entry === undefined) {
      faults.push({ option, found: "an unknown option", wanted: known });
      continue;
    }
    const parsed = entry.read.safeParse(value);
    if (parsed.success) options[option] = parsed.data;
    else faults.push({ option, found: inWords(value), ...faultOf(value, parsed.error.issues[0]) });
  }
  return { options: options as T, faults };
}

/** {@link readFields} of a command line. @throws InputError with everything that is wrong. */
export function typedFields<T extends object>(
  table: OptionReaders<T>,
  raw: Readonly<Record<string, unknown>>,
): T {
  const { options, faults } = readFields(table, raw);
  refuse(faults.map(({ option, ...fault }) => ({ where: `--${option}`, ...fault })));
  return options;
}

/** What was wanted instead of a value, and of some words the one that was probably meant. */
function faultOf(value: unknown, issue: z.core.$ZodIssue | undefined): Pick<OptionFault, "wanted" | "fix"> {
  const wanted = issue?.message ?? "a value";
  const words = issue?.code === "invalid_value" && issue.path.length === 0 ? issue.values.map(String) : [];
  const fix = typeof value === "string" ? didYouMean(value, words) : undefined;
  return fix === undefined ? { wanted } : { wanted, fix };
}
