/** @file Prompt pairs as data: the schema of one pair, and files of them, one JSON object a line. */
import { z } from "zod";
import { type LineKind, type Located, objectParser, readLines } from "./jsonl.ts";

/** Most pairs in one file: at half a second a sweep, the least measured, these take fourteen hours. */
export const MAX_PAIRS = 100_000;
/** Most answers (or foils) of a pair: all two-digit numbers are 100; stops one line asking for a whole vocabulary. */
export const MAX_ANSWERS = 1_000;

const text = z.string().min(1);
const alternatives = z.union([text, z.array(text).min(1).max(MAX_ANSWERS)]);
/** What answers and foils are, in the words of an error. */
export const ALTERNATIVES: string = `a non-empty string or a list of 1 to ${MAX_ANSWERS} of them`;

const schema: z.ZodType<PairSpec> = z.strictObject({
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

/** Checks one value against the schema; `where` names its place. */
export const parsePairSpec: LineKind<PairSpec>["parse"] = objectParser(schema, {
  clean: "a non-empty string",
  corrupt: "a non-empty string",
  answer: ALTERNATIVES,
  foil: ALTERNATIVES,
  id: "a non-empty string",
});

/**
 * Reads a file of pairs: one JSON object a line (JSONL), blank lines skipped. `where` names the file.
 * @throws InputError naming every bad line.
 */
export function readPairs(jsonl: string, where: string): Located<PairSpec> {
  const wanted = "one JSON object a line";
  return readLines(jsonl, where, { one: "pair", most: MAX_PAIRS, wanted, parse: parsePairSpec });
}

/** One or several as a list; none as an empty one. */
export function listOf(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === "string" ? [value] : value;
}
