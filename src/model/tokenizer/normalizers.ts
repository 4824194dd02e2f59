/** @file Normalizers of a tokenizer.json, as steps that @huggingface/tokenizers computes exactly. */

import { z } from "zod";
import { MAX_TOKEN_LENGTH, readSteps, type Step } from "./definition.ts";
import { type LibraryStep, pattern } from "./pattern.ts";

const replace = z.object({ pattern, content: z.string().max(MAX_TOKEN_LENGTH) });
const prepend = z.object({ prepend: z.string().max(MAX_TOKEN_LENGTH) });
const strip = z.object({ strip_left: z.boolean().default(true), strip_right: z.boolean().default(true) });
const bert = z.object({
  clean_text: z.boolean().default(true),
  handle_chinese_chars: z.boolean().default(true),
  strip_accents: z.boolean().nullish(),
  lowercase: z.boolean().default(true),
});

/** A replacement of every match; the library hands the content to `replaceAll`, where `$` is special. */
const replacement = (regex: string, content: string): LibraryStep => ({
  type: "Replace",
  pattern: { Regex: regex },
  content: content.replaceAll("$", "$$$$"),
});

const plain = ({ value }: Step): readonly LibraryStep[] => [{ type: value.type }];

/** `Precompiled`, `Nmt` and `ByteLevel` are absent: the library approximates or lacks them. */
const readers: Readonly<Record<string, (step: Step) => readonly LibraryStep[] | undefined>> = {
  BertNormalizer: ({ value, where, faults }) => {
    const options = faults.parse(bert, value, where);
    return (
      options && [{ type: "BertNormalizer", ...options, strip_accents: options.strip_accents ?? undefined }]
    );
  },
  Lowercase: plain,
  NFC: plain,
  NFD: plain,
  NFKC: plain,
  NFKD: plain,
  Prepend: ({ value, where, faults }) => {
    const options = faults.parse(prepend, value, where);
    return options && [{ type: "Prepend", prepend: options.prepend }];
  },
  Replace: ({ value, where, faults }) => {
    const options = faults.parse(replace, value, where);
    return options && [replacement(options.pattern, options.content)];
  },
  // The library trims what JavaScript calls white space, which includes U+FEFF.
  Strip: ({ value, where, faults }) => {
    const options = faults.parse(strip, value, where);
    return (
      options && [
        ...(options.strip_left ? [replacement("\\A\\s+", "")] : []),
        ...(options.strip_right ? [replacement("\\s+\\z", "")] : []),
      ]
    );
  },
  StripAccents: plain,
};

/** The library's normalizer for a tokenizer.json's `normalizer`. */
export function readNormalizer(step: Omit<Step, "value"> & { readonly value: unknown }): LibraryStep | null {
  const steps = readSteps(readers, "normalizers", step) ?? [];
  return steps.length === 0 ? null : { type: "Sequence", normalizers: steps };
}
