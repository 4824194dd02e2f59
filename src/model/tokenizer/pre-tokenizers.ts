/**
 * @file Pre-tokenizers of a tokenizer.json, as steps that @huggingface/tokenizers computes exactly.
 *
 * The library's own versions of several types differ from Hugging Face's on some text: digits are ASCII only
 * in `Digits`, words are ASCII only in `Whitespace`, U+0085 is no white space in `ByteLevel`, runs of
 * punctuation stay together in `Punctuation`, and `Metaspace` never splits. All of them are patterns,
 * so all of them are written here as `Split` steps.
 */

import { z } from "zod";
import { readSteps, type Step } from "./definition.ts";
import { type Behavior, behaviors, type LibraryStep, literal, pattern, split } from "./pattern.ts";

/** GPT-2's words. Source: huggingface/tokenizers, `pre_tokenizers/byte_level.rs`; openai/gpt-2 src/encoder.py. */
export const GPT2_WORDS =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** ASCII symbols count as punctuation beside Unicode's P. Source: huggingface/tokenizers, `utils/unicode`. */
const PUNCTUATION = "[\\p{P}!-/:-@\\[-`{-~]";

const flag = (absent: boolean) => z.boolean().default(absent);
const behavior = (absent: Behavior) => z.enum(behaviors).default(absent);

const byteLevel = z.object({ add_prefix_space: flag(true), use_regex: flag(true) });
const digits = z.object({ individual_digits: flag(false) });
const punctuation = z.object({ behavior: behavior("Isolated") });
const splitStep = z.object({ pattern, behavior: z.enum(behaviors), invert: flag(false) });
const delimiter = z.object({ delimiter: z.string().min(1).max(2) });
const metaspace = z.object({
  replacement: z.string().min(1).max(2).default("▁"),
  prepend_scheme: z.enum(["always", "first", "never"]).optional(),
  add_prefix_space: z.boolean().optional(), // the older spelling of prepend_scheme
  split: flag(true),
});

/**
 * Puts a space in front of a piece that has none. It consumes the whole piece: an empty match at its start
 * would need a look-behind, and V8's look-behinds match inside surrogate pairs.
 */
const prefixSpace: LibraryStep = {
  type: "Replace",
  pattern: { Regex: " ([\\s\\S]*)|([\\s\\S]+)" },
  content: " $1$2",
};

/** Bytes as characters of the byte alphabet, without splitting. */
export const asBytes: LibraryStep = {
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: false,
  use_regex: false,
};

/** Reads one step's options with its schema and writes it as library steps. */
function reader<T>(schema: z.ZodType<T>, write: (options: T) => readonly LibraryStep[]) {
  return ({ value, where, faults }: Step): readonly LibraryStep[] | undefined => {
    const options = faults.parse(schema, value, where);
    return options === undefined ? undefined : write(options);
  };
}

const anything = z.unknown();

const readers: Readonly<Record<string, (step: Step) => readonly LibraryStep[] | undefined>> = {
  BertPreTokenizer: reader(anything, () => [split("\\s", "Removed"), split(PUNCTUATION, "Isolated")]),
  ByteLevel: reader(byteLevel, (options) => [
    ...(options.add_prefix_space ? [prefixSpace] : []),
    ...(options.use_regex ? [split(GPT2_WORDS, "Isolated")] : []),
    asBytes,
  ]),
  CharDelimiterSplit: reader(delimiter, (options) => [split(literal(options.delimiter), "Removed")]),
  Digits: reader(digits, (options) => [split(options.individual_digits ? "\\p{N}" : "\\p{N}+", "Isolated")]),
  Metaspace: reader(metaspace, (options) => [
    {
      type: "Metaspace",
      replacement: options.replacement,
      prepend_scheme: options.prepend_scheme ?? (options.add_prefix_space === false ? "never" : "always"),
    },
    ...(options.split ? [split(literal(options.replacement), "MergedWithNext")] : []),
  ]),
  Punctuation: reader(punctuation, (options) => [split(PUNCTUATION, options.behavior)]),
  Split: reader(splitStep, (options) => [split(options.pattern, options.behavior, options.invert)]),
  // In brackets: by itself the library's \w is Oniguruma's, with superscripts and fractions; this type is Rust's.
  Whitespace: reader(anything, () => [split("[\\w]+|[^\\w\\s]+", "Removed", true)]),
  WhitespaceSplit: reader(anything, () => [split("\\s", "Removed")]),
};

/** The library's pre-tokenizer for a tokenizer.json's `pre_tokenizer`. */
export function readPreTokenizer(
  step: Omit<Step, "value"> & { readonly value: unknown },
): LibraryStep | null {
  return asSequence(readSteps(readers, "pretokenizers", step) ?? []);
}

/** The steps one after the other; null if there are none. */
export function asSequence(steps: readonly LibraryStep[]): LibraryStep | null {
  return steps.length === 0 ? null : { type: "Sequence", pretokenizers: steps };
}
