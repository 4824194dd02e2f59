/** @file Prompt pairs as data: the schema of one pair, and files of them, one JSON object a line. */
import { z } from "zod";
import { type Fault, refuse } from "../core/errors.ts";

/** Longest line read: two prompts of 131,072 tokens (the longest context in common use) at 15 characters each. */
export const MAX_LINE_CHARACTERS = 4_000_000;
/** Most pairs in one file: at half a second a sweep, the least measured, these take fourteen hours. */
export const MAX_PAIRS = 100_000;
/** Most answers (or foils) of a pair: all two-digit numbers are 100; stops one line asking for a whole vocabulary. */
export const MAX_ANSWERS = 1_000;

const text = z.string().min(1);
const alternatives = z.union([text, z.array(text).min(1).max(MAX_ANSWERS)]);

/** Schema of {@link PairSpec}; an unknown key is refused. */
export const pairSpecSchema: z.ZodType<PairSpec> = z.strictObject({
  clean: text,
  corrupt: text,
  answer: alternatives.optional(),
  foil: alternatives.optional(),
  id: text.optional(),
});

/** Two prompts that differ in one respect, and what the model should say after each. Text counts exactly as typed. */
export interface PairSpec {
  readonly clean: string;
  readonly corrupt: string;
  /** Right after the clean prompt; several are alternatives. Only the KL metrics do without. */
  readonly answer?: string | readonly string[] | undefined;
  /** Right after the corrupt prompt. */
  readonly foil?: string | readonly string[] | undefined;
  /** Name of the pair in results; its index where not given. */
  readonly id?: string | undefined;
}

/** What each key of a pair holds, in the words of an error. */
const wantedByKey: { readonly [K in keyof PairSpec]-?: string } = {
  clean: "a non-empty string",
  corrupt: "a non-empty string",
  answer: `a non-empty string or a list of 1 to ${MAX_ANSWERS} of them`,
  foil: `a non-empty string or a list of 1 to ${MAX_ANSWERS} of them`,
  id: "a non-empty string",
};
const keys: readonly string[] = Object.keys(wantedByKey);

/** Pairs with the place each came from, for messages. */
export interface LocatedPairs {
  readonly specs: readonly PairSpec[];
  /** `file:line` of each spec. */
  readonly where: readonly string[];
}

/**
 * Reads a file of pairs: one JSON object a line (JSONL), blank lines skipped. `where` names the file.
 * @throws InputError naming every bad line.
 */
export function readPairs(jsonl: string, where: string): LocatedPairs {
  const specs: PairSpec[] = [];
  const places: string[] = [];
  const faults: Fault[] = [];
  const lines = jsonl.replace(/^\uFEFF/, "").split("\n");
  let count = 0;
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const place = `${where}:${index + 1}`;
    if (++count > MAX_PAIRS) {
      faults.push({
        where: place,
        found: "one more pair",
        wanted: `at most ${MAX_PAIRS}`,
        fix: "Split the file.",
      });
      break;
    }
    const parsed = parseLine(line, place);
    for (const fault of parsed.faults) faults.push(fault);
    if (parsed.spec === undefined) continue;
    specs.push(parsed.spec);
    places.push(place);
  }
  if (count === 0) faults.push({ where, found: "no pair", wanted: "one JSON object a line" });
  refuse(faults);
  return { specs, where: places };
}

/** Checks one value against the schema; `where` names its place. */
export function parsePairSpec(value: unknown, where: string): { spec?: PairSpec; faults: readonly Fault[] } {
  const parsed = pairSpecSchema.safeParse(value);
  const faults = parsed.success
    ? loneSurrogates(parsed.data, where)
    : parsed.error.issues.flatMap((issue) => issueFaults(issue, { value, where }));
  return parsed.success && faults.length === 0 ? { spec: parsed.data, faults } : { faults };
}

function parseLine(line: string, where: string): { spec?: PairSpec; faults: readonly Fault[] } {
  if (line.length > MAX_LINE_CHARACTERS) {
    return {
      faults: [
        { where, found: `${line.length} characters`, wanted: `at most ${MAX_LINE_CHARACTERS} a line` },
      ],
    };
  }
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return {
      faults: [{ where, found: `what is not JSON: ${excerpt(line)}`, wanted: "one JSON object a line" }],
    };
  }
  return parsePairSpec(value, where);
}

function issueFaults(issue: z.core.$ZodIssue, at: { value: unknown; where: string }): Fault[] {
  const { value, where } = at;
  const object = `a JSON object with the keys ${keys.join(", ")}`;
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      where,
      found: `the unknown key ${excerpt(JSON.stringify(key))}`,
      wanted: `only ${keys.join(", ")}`,
      fix: "Correct its spelling or remove it.",
    }));
  }
  const key = issue.path[0];
  if (!isKey(key)) return [{ where, found: describe(value), wanted: object }];
  const held = Object.entries(value ?? {}).find(([name]) => name === key)?.[1];
  return [{ where: `${where}, ${key}`, found: describe(held), wanted: wantedByKey[key] }];
}

/** JSON can spell half of a surrogate pair, which no UTF-8 text holds: the tokenizer would see another character. */
function loneSurrogates(spec: PairSpec, where: string): Fault[] {
  return Object.entries(spec).flatMap(([key, held]) =>
    listOf(held).some((part) => /\p{Surrogate}/u.test(part))
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

/** One or several as a list; none as an empty one. */
export function listOf(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === "string" ? [value] : value;
}

function isKey(key: unknown): key is keyof PairSpec {
  return typeof key === "string" && keys.includes(key);
}

/** A value in a few words; never its whole text, which may be a megabyte. */
function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === "") return "an empty string";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  return excerpt(JSON.stringify(value));
}

function excerpt(line: string): string {
  const most = 60;
  return line.length <= most ? line : `${line.slice(0, most)}…`;
}
