/** @file Greater-than: "The war lasted from the year 1732 to the year 17" → a later year of the century. */
import { inputError } from "../core/errors.ts";
import { continuation, showTokens, tokensOf } from "../model/pair-tokens.ts";
import type { Tokenizer } from "../model/tokenizer/tokenizer.ts";
import { type Candidates, choices, pick, type Task } from "./task.ts";
import { durations } from "./words.ts";

/** Hanna et al. use the 12th to 18th century. */
const centuries: readonly string[] = ["11", "12", "13", "14", "15", "16", "17"];

/** How the tokenizer goes on after the century: one token for both digits, or one for each. */
type YearTokens = "two-digit" | "digit";

/**
 * Two-digit tokens: answers are all years of the century after the start, foils the others. Single digits: answers are
 * the digits above the tens digit of the start, foils those below; the tens digit itself decides nothing and is in neither.
 * The corrupt prompt starts in year 01, after which almost any year is later.
 */
export const greaterThan: Task = {
  description: "End a span of years after its start",
  source: "Hanna et al. 2023, How does GPT-2 compute greater-than?, arXiv:2305.00586",
  defaultMetric: "prob",
  candidates(tokenizer, { bos }): Candidates {
    const kind = yearTokens(tokenizer, bos);
    const first = kind === "two-digit" ? 2 : 10;
    const last = kind === "two-digit" ? 98 : 89;
    const endings = kind === "two-digit" ? range(0, 99).map(twoDigits) : range(0, 9).map(String);
    const radices = [durations.length, centuries.length, last - first + 1];
    return {
      size: radices.reduce((size, radix) => size * radix, 1),
      // In GPT-2's vocabulary a few whole years (" 1800") are one token; the paper counts the two-digit token there too.
      answersAtBoundary: false,
      at(index) {
        const [noun = 0, century = 0, offset = 0] = choices(index, radices);
        const start = first + offset;
        const threshold = kind === "two-digit" ? start : Math.floor(start / 10);
        const span = { noun: pick(durations, noun), century: pick(centuries, century) };
        return {
          clean: prompt({ ...span, start: twoDigits(start) }),
          corrupt: prompt({ ...span, start: "01" }),
          answer: endings.slice(threshold + 1),
          foil: endings.slice(0, kind === "two-digit" ? threshold + 1 : threshold),
        };
      },
    };
  },
};

function prompt({ noun, century, start }: { noun: string; century: string; start: string }): string {
  return `The ${noun} lasted from the year ${century}${start} to the year ${century}`;
}

/** What most years become. @throws InputError where neither rule holds for more than half of them. */
function yearTokens(tokenizer: Tokenizer, bos: boolean): YearTokens {
  const before = tokensOf(prompt({ noun: pick(durations, 0), century: "17", start: "32" }), tokenizer, {
    bos,
  });
  const years = range(2, 98).map(twoDigits);
  const counts = { "two-digit": 0, digit: 0 };
  for (const year of years) {
    const { tokens, atBoundary } = continuation(year, tokenizer, { prompt: before, bos });
    if (atBoundary && tokens.ids.length === 1) counts["two-digit"]++;
    if (atBoundary && tokens.ids.length === 2) counts.digit++;
  }
  for (const kind of ["two-digit", "digit"] as const) if (counts[kind] > years.length / 2) return kind;
  const sample = tokensOf("the year 1732", tokenizer, { bos: false });
  throw inputError(
    "task greater-than",
    `years cut otherwise: ${showTokens(sample)}`,
    'a tokenizer that goes on after "the year 17" with one token for two digits, or with one for each digit',
  );
}

function twoDigits(year: number): string {
  return String(year).padStart(2, "0");
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
