/** @file Files of one JSON value a line (JSONL), read by one loop: their bounds, and every fault of every line. */
import type { z } from "zod";
import { type Fault, refuse } from "../core/errors.ts";
import { excerpt } from "../core/excerpt.ts";
import { repeatedKeyFaults } from "../core/repeated-keys.ts";

/** Longest line read: two prompts of 131,072 tokens (the longest context in common use) at 15 characters each. */
export const MAX_LINE_CHARACTERS = 4_000_000;
/** Characters of a value or of a line that a message has room for. */
const MAX_SHOWN = 60;

/** What came of one value: never both. */
export interface Parsed<T> {
  readonly spec?: T;
  readonly faults: readonly Fault[];
}

/** What the lines of a file are. */
export interface LineKind<T> {
  /** One of them, as in `no pair`. */
  readonly one: string;
  /** Most of them in a file. */
  readonly most: number;
  /** What a file holds, in the words of an error. */
  readonly wanted: string;
  /** Checks the value of a line; `where` names its place. */
  readonly parse: (value: unknown, where: string) => Parsed<T>;
}

/** Values with the place each came from, for messages. */
export interface Located<T> {
  readonly specs: readonly T[];
  /** `file:line` of each spec. */
  readonly where: readonly string[];
}

/**
 * Reads a file of one JSON value a line, blank lines skipped. `where` names the file.
 * @throws InputError with every fault of every line.
 */
export function readLines<T>(jsonl: string, where: string, kind: LineKind<T>): Located<T> {
  const { one, most, wanted } = kind;
  const specs: T[] = [];
  const places: string[] = [];
  const faults: Fault[] = [];
  let count = 0;
  for (const { line, number } of linesOf(jsonl)) {
    if (line.trim() === "") continue;
    const place = `${where}:${number}`;
    if (++count > most) {
      const fix = "Split the file.";
      faults.push({ where: place, found: `one more ${one}`, wanted: `at most ${most}`, fix });
      break;
    }
    const parsed = parseLine(line, place, kind);
    for (const fault of parsed.faults) faults.push(fault);
    if (parsed.spec === undefined) continue;
    specs.push(parsed.spec);
    places.push(place);
  }
  if (count === 0) faults.push({ where, found: `no ${one}`, wanted });
  refuse(faults);
  return { specs, where: places };
}

/** One at a time: a file of nothing but line ends would make half a billion of them at once. */
function* linesOf(text: string): Generator<{ readonly line: string; readonly number: number }> {
  let start = text.startsWith("\uFEFF") ? 1 : 0;
  for (let number = 1; start <= text.length; number++) {
    const next = text.indexOf("\n", start);
    const end = next < 0 ? text.length : next;
    yield { line: text.slice(start, end), number };
    start = end + 1;
  }
}

function parseLine<T>(line: string, where: string, { wanted, parse }: LineKind<T>): Parsed<T> {
  if (line.length > MAX_LINE_CHARACTERS) {
    const found = `${line.length} characters`;
    return { faults: [{ where, found, wanted: `at most ${MAX_LINE_CHARACTERS} a line` }] };
  }
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { faults: [{ where, found: `what is not JSON: ${cut(line)}`, wanted }] };
  }
  const twice = repeatedKeyFaults(line, where, () => where);
  return twice.length > 0 ? { faults: twice } : parse(value, where);
}

/**
 * What checks an object against a schema, every fault at once.
 * @param wantedByKey what each key holds, in the words of an error
 * @param options with `text`, a mere string stands for an object with that one key
 */
export function objectParser<T extends object>(
  schema: z.ZodType<T>,
  wantedByKey: { readonly [K in keyof T]-?: string },
  { text }: { readonly text?: keyof T & string } = {},
): LineKind<T>["parse"] {
  const keys = Object.keys(wantedByKey);
  const object = `a JSON ${text === undefined ? "" : "string or "}object with the ${keys.length === 1 ? "key" : "keys"} ${keys.join(", ")}`;
  return (given, where) => {
    const value = text !== undefined && typeof given === "string" ? { [text]: given } : given;
    const parsed = schema.safeParse(value);
    const faults = parsed.success
      ? loneSurrogates(parsed.data, where)
      : parsed.error.issues.flatMap((issue): Fault[] => {
          if (issue.code === "unrecognized_keys") return unknownKeys(issue.keys, { where, keys });
          // An element of a list is told of with its list, of which the message has a part.
          const end = issue.path.findIndex((key) => typeof key === "number");
          const path = end < 0 ? issue.path : issue.path.slice(0, end);
          const wanted = Object.entries(wantedByKey).find(([key]) => key === path[0])?.[1];
          if (wanted === undefined) return [{ where, found: describe(value), wanted: object }];
          const held = path.reduce<unknown>(property, value);
          const isName = issue.code === "invalid_key";
          const place = `${where}, ${(isName ? path.slice(0, -1) : path).map(String).join(".")}`;
          const found = isName ? `the name ${excerpt(path.at(-1), MAX_SHOWN)}` : describe(held);
          return [{ where: place, found, wanted: String(wanted) }];
        });
    return parsed.success && faults.length === 0
      ? { spec: parsed.data, faults }
      : { faults: distinct(faults) };
  };
}

function unknownKeys(
  unknown: readonly string[],
  { where, keys }: { readonly where: string; readonly keys: readonly string[] },
): Fault[] {
  return unknown.map((key) => ({
    where,
    found: `the unknown key ${excerpt(key, MAX_SHOWN)}`,
    wanted: `only ${keys.join(", ")}`,
    fix: "Correct its spelling or remove it.",
  }));
}

/** Two bad elements of a list are one fault of it. */
function distinct(faults: readonly Fault[]): Fault[] {
  return faults.filter(({ where, found }, index) => {
    const before = faults[index - 1];
    return before?.where !== where || before.found !== found;
  });
}

/** JSON can spell half of a surrogate pair, which no UTF-8 text holds: the tokenizer would see another character. */
function loneSurrogates(spec: object, where: string): Fault[] {
  return Object.entries(spec).flatMap(([key, held]) =>
    textsIn(held).some((part) => /\p{Surrogate}/u.test(part))
      ? [
          {
            where: `${where}, ${key}`,
            found: "half of a surrogate pair (\\ud800 … \\udfff)",
            wanted: "whole characters",
          },
        ]
      : [],
  );
}

/** All texts of a value that a schema has bounded the depth of, names included. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [name, ...textsIn(inner)]);
}

function property(value: unknown, key: PropertyKey): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? Reflect.get(value, key)
    : undefined;
}

/** A value in a few words; never its whole text, which may be a megabyte. */
function describe(value: unknown): string {
  if (value === "") return "an empty string";
  if (Array.isArray(value))
    return value.length === 0 ? "an empty list" : `a list of ${value.length}: ${excerpt(value, MAX_SHOWN)}`;
  if (typeof value === "object" && value !== null) return "an object";
  return excerpt(value, MAX_SHOWN);
}

function cut(line: string): string {
  return line.length <= MAX_SHOWN ? line : `${line.slice(0, MAX_SHOWN)}…`;
}
