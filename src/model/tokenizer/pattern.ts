/**
 * @file Splitting patterns, and the five ways in which Hugging Face's `Split` uses one, as the two ways that
 * @huggingface/tokenizers computes exactly: keep the matches only, or keep matches and gaps ("isolated").
 *
 * The library (0.2.0) rewrites Oniguruma syntax to JavaScript's (`\s` as White_Space, `(?i:…)` for ASCII
 * letters, possessive quantifiers as greedy ones) and ignores the merging behaviours.
 */

import { z } from "zod";
import { MAX_PATTERN_LENGTH } from "./definition.ts";

const patternText = z.string().min(1).max(MAX_PATTERN_LENGTH);

/** `{ "String": … }` or `{ "Regex": … }`, as a regular expression. */
export const pattern: z.ZodType<string> = z
  .union([z.object({ String: patternText }), z.object({ Regex: patternText })], {
    error: `{ "String": … } or { "Regex": … } of at most ${MAX_PATTERN_LENGTH} characters`,
  })
  .transform((value) => ("Regex" in value ? value.Regex : literal(value.String)));

/** A regular expression for exactly this text. */
export const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

export const behaviors = [
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
] as const;
export type Behavior = (typeof behaviors)[number];

/** A step of the library's pre-tokenizer. */
export type LibraryStep = Readonly<Record<string, unknown>>;

const keepMatches = (regex: string): LibraryStep => ({
  type: "Split",
  pattern: { Regex: regex },
  behavior: "Removed",
  invert: true,
});

const keepGaps = (regex: string): LibraryStep => ({
  type: "Split",
  pattern: { Regex: withoutCaptures(regex) },
  behavior: "Removed",
  invert: false,
});

const keepAll = (regex: string): LibraryStep => ({
  type: "Split",
  pattern: { Regex: regex },
  behavior: "Isolated",
  invert: false,
});

/** JavaScript's `split` returns what groups captured along with the gaps, so no group may capture. */
function withoutCaptures(regex: string): string {
  let classDepth = 0;
  return regex.replace(/\\[\s\S]|\[|\]|\((?:\?<(?![=!])[^>]*>)?(?!\?)/g, (found) => {
    if (found === "[") classDepth++;
    if (found === "]") classDepth--;
    return found.startsWith("(") && classDepth === 0 ? "(?:" : found;
  });
}

/**
 * Hugging Face's `Split`: where its regex matches (with `invert`: where it does not) is the delimiter,
 * and the behaviour says what becomes of delimiters.
 * Source: huggingface/tokenizers, `SplitDelimiterBehavior` and `NormalizedString::split`.
 */
export function split(regex: string, behavior: Behavior, invert = false): LibraryStep {
  const match = `(?:${regex})`;
  const gap = `(?:(?!${regex})[\\s\\S])+`; // only where a match was consumed just before, or at the start
  const [delimiter, text] = invert ? [gap, match] : [match, gap];
  switch (behavior) {
    case "Isolated":
      return keepAll(regex);
    case "Removed":
      return invert ? keepMatches(regex) : keepGaps(regex);
    case "MergedWithPrevious":
      return keepMatches(`${text}${delimiter}|${text}|${delimiter}`);
    case "MergedWithNext":
      return keepMatches(`${delimiter}${text}|${delimiter}|${text}`);
    case "Contiguous":
      return keepAll(`${match}+`);
  }
}
