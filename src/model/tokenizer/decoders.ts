/** @file From tokens back to text: a tokenizer.json's decoder, for a whole text and for one token's label. */

import { z } from "zod";
import { bytesOfToken, fallbackByte } from "./byte-alphabet.ts";
import { MAX_STEPS, MAX_TOKEN_LENGTH, readSteps, type Step } from "./definition.ts";
import { pattern } from "./pattern.ts";
import { decodeUtf8, hexEscapes, replacementCharacter } from "./utf8.ts";

/** One step of decoding. */
export interface DecoderStep {
  /** The tokens of a text, rewritten; the last step's are joined. */
  readonly rewrite: (tokens: readonly string[]) => readonly string[];
  /** A token by itself, for a label: keeps its leading space, shows bytes that are no text as `\xNN`. */
  readonly label: (token: string) => string;
}

const same = (token: string): string => token;

/**
 * Byte-level tokens. A token with a character outside the alphabet is text already.
 * Source: huggingface/tokenizers, `pre_tokenizers/byte_level.rs`, `decode_chain`.
 */
const byteLevel: DecoderStep = {
  rewrite(tokens) {
    const texts: string[] = [];
    let pending: number[] = [];
    for (const token of tokens) {
      const bytes = bytesOfToken(token);
      if (bytes !== undefined) {
        pending.push(...bytes);
        continue;
      }
      texts.push(decodeUtf8(pending, replacementCharacter), token);
      pending = [];
    }
    return [...texts, decodeUtf8(pending, replacementCharacter)];
  },
  label(token) {
    const bytes = bytesOfToken(token);
    return bytes === undefined ? token : decodeUtf8(bytes, hexEscapes);
  },
};

/**
 * Runs of `<0xNN>` tokens. A run that is not wholly UTF-8 becomes one U+FFFD per byte.
 * Source: huggingface/tokenizers, `decoders/byte_fallback.rs`.
 */
const byteFallback: DecoderStep = {
  rewrite(tokens) {
    const texts: string[] = [];
    let run: number[] = [];
    const flush = () => {
      let isText = true;
      const text = decodeUtf8(run, () => {
        isText = false;
        return "";
      });
      if (run.length > 0) texts.push(isText ? text : "\ufffd".repeat(run.length));
      run = [];
    };
    for (const token of tokens) {
      const byte = fallbackByte(token);
      if (byte !== undefined) {
        run.push(byte);
        continue;
      }
      flush();
      texts.push(token);
    }
    flush();
    return texts;
  },
  label(token) {
    const byte = fallbackByte(token);
    return byte === undefined ? token : decodeUtf8([byte], hexEscapes);
  },
};

const fuse: DecoderStep = { rewrite: (tokens) => [tokens.join("")], label: same };

/** Source: huggingface/tokenizers, `pre_tokenizers/metaspace.rs`, `decode_chain`: the first token loses its marks. */
function metaspace(replacement: string, hasPrefix: boolean): DecoderStep {
  return {
    rewrite: (tokens) =>
      tokens.map((token, i) => token.replaceAll(replacement, i === 0 && hasPrefix ? "" : " ")),
    label: (token) => token.replaceAll(replacement, " "),
  };
}

/** Source: huggingface/tokenizers, `decoders/strip.rs`: at most `start` and `stop` copies off each token's ends. */
function strip(
  content: string,
  { start, stop }: { readonly start: number; readonly stop: number },
): DecoderStep {
  const cut = (token: string): string => {
    const characters = [...token];
    let from = 0;
    while (from < start && characters[from] === content) from++;
    let to = characters.length;
    while (characters.length - to < stop && to > from && characters[to - 1] === content) to--;
    return characters.slice(from, to).join("");
  };
  return { rewrite: (tokens) => tokens.map(cut), label: same };
}

/** Contractions and punctuation that word splitting set apart. Source: huggingface/tokenizers, `decoders/wordpiece.rs`. */
const SET_APART: readonly (readonly [string, string])[] = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" do not", " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

function wordPiece(prefix: string, cleanup: boolean): DecoderStep {
  const join = (token: string, i: number): string => {
    if (i === 0) return token;
    return prefix !== "" && token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
  };
  const clean = (token: string): string =>
    cleanup
      ? SET_APART.reduce((cleaned, [apart, together]) => cleaned.replaceAll(apart, together), token)
      : token;
  return { rewrite: (tokens) => tokens.map((token, i) => clean(join(token, i))), label: same };
}

const text = z.string().max(MAX_TOKEN_LENGTH);
const replaceOptions = z.object({ pattern, content: text });
const stripOptions = z.object({
  content: z.string().min(1).max(2),
  start: z.int().min(0).max(MAX_STEPS),
  stop: z.int().min(0).max(MAX_STEPS),
});
const wordPieceOptions = z.object({ prefix: text, cleanup: z.boolean() });
const suffixOptions = z.object({ suffix: text.min(1) });
const metaspaceOptions = z.object({
  replacement: z.string().min(1).max(2).default("▁"),
  prepend_scheme: z.enum(["always", "first", "never"]).optional(),
  add_prefix_space: z.boolean().optional(),
});

/** Reads one step's options with its schema and makes the step. */
function reader<T>(schema: z.ZodType<T>, make: (options: T) => DecoderStep) {
  return ({ value, where, faults }: Step): readonly DecoderStep[] | undefined => {
    const options = faults.parse(schema, value, where);
    return options === undefined ? undefined : [make(options)];
  };
}

const readers: Readonly<Record<string, (step: Step) => readonly DecoderStep[] | undefined>> = {
  BPEDecoder: reader(suffixOptions, ({ suffix }) => ({
    rewrite: (tokens) =>
      tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? "" : " ")),
    label: same,
  })),
  ByteFallback: () => [byteFallback],
  ByteLevel: () => [byteLevel],
  Fuse: () => [fuse],
  Metaspace: reader(metaspaceOptions, ({ replacement, prepend_scheme, add_prefix_space }) =>
    metaspace(
      replacement,
      prepend_scheme === undefined ? add_prefix_space !== false : prepend_scheme !== "never",
    ),
  ),
  Replace: ({ value, where, faults }) => {
    const options = faults.parse(replaceOptions, value, where);
    if (options === undefined) return undefined;
    let regex: RegExp;
    try {
      regex = new RegExp(options.pattern, "gu");
    } catch {
      return faults.add(`${where}.pattern`, options.pattern, "a pattern that JavaScript's engine compiles");
    }
    const replace = (token: string): string => token.replace(regex, () => options.content);
    return [{ rewrite: (tokens) => tokens.map(replace), label: replace }];
  },
  Strip: reader(stripOptions, ({ content, ...counts }) => strip(content, counts)),
  WordPiece: reader(wordPieceOptions, ({ prefix, cleanup }) => wordPiece(prefix, cleanup)),
};

/** The steps of a tokenizer.json's `decoder`; undefined if it has none (tokens are then joined by spaces). */
export function readDecoder(
  step: Omit<Step, "value"> & { readonly value: unknown },
): readonly DecoderStep[] | undefined {
  if (step.value === null || step.value === undefined) return undefined;
  return readSteps(readers, "decoders", step) ?? [];
}
