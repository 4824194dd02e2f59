/** @file What can be wrong, or odd, with the tokens of one pair. */
import type { Fault } from "../core/errors.ts";
import { renderAlignment } from "./pair-alignment.ts";
import { showTokens, type Tokens } from "./pair-tokens.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

// Letters of the scripts that put a space between words.
const endsInWord = /[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}]$/u;
const startsWord = /^[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}]/u;

/** Both prompts need the same number of tokens, and at least one that differs. */
export function alignmentFaults(at: {
  readonly clean: Tokens;
  readonly corrupt: Tokens;
  readonly differing: readonly number[];
  readonly where: string;
}): Fault[] {
  const { clean, corrupt, differing, where } = at;
  if (clean.ids.length !== corrupt.ids.length) {
    return [
      {
        where,
        found: `${clean.ids.length} tokens in clean, ${corrupt.ids.length} in corrupt`,
        wanted: "the same number, token below token",
        fix: `Reword one of them:\n${renderAlignment(clean.pieces, corrupt.pieces)}`,
      },
    ];
  }
  if (differing.length > 0) return [];
  const same = clean.text === corrupt.text ? "the same text" : "texts with the same tokens";
  return [
    { where, found: `${same} in clean and corrupt`, wanted: "prompts that differ in at least one token" },
  ];
}

/** Alternatives must exclude one another: the probability of "any of them" is then a sum. */
export function answerFaults(answers: readonly Tokens[], foils: readonly Tokens[], where: string): Fault[] {
  const options = [
    ...answers.map((option) => ({ ...option, key: "answer" })),
    ...foils.map((option) => ({ ...option, key: "foil" })),
  ];
  return options.flatMap((option, index): Fault[] => {
    const at = `${where}, ${option.key}`;
    if (option.ids.length === 0)
      return [{ where: at, found: `${quote(option)}, no token`, wanted: "at least one token" }];
    const twin = options.slice(0, index).find((other) => overlaps(option.ids, other.ids));
    if (twin === undefined) return [];
    const both = `${quote(option)} ${showTokens(option)} and the ${twin.key} ${quote(twin)} ${showTokens(twin)}`;
    return [{ where: at, found: both, wanted: "answers and foils of which none equals or begins another" }];
  });
}

/** What is odd about the seam between a prompt and what is to follow it. */
export function seamWarnings(at: {
  where: string;
  prompt: Tokens;
  text: string;
  atBoundary: boolean;
  spacedBegins: boolean;
}): string[] {
  const { where, prompt, text, atBoundary, spacedBegins } = at;
  const last = JSON.stringify(prompt.pieces.at(-1) ?? "");
  const isMidWord = endsInWord.test(prompt.text) && startsWord.test(text);
  if (!atBoundary) {
    const fix = /\s$/.test(prompt.text)
      ? "; move the space at the prompt's end to the start of the answer"
      : isMidWord && spacedBegins
        ? `; did you mean ${JSON.stringify(` ${text}`)}?`
        : "";
    const seam = `${JSON.stringify(text)} does not begin a token after ${last}`;
    return [`${where}: ${seam}, so its tokens are those of the text by itself${fix}`];
  }
  if (!isMidWord) return [];
  return [
    `${where}: ${JSON.stringify(text)} goes on the word that ends in ${last}; does it lack a leading space?`,
  ];
}

/** Words that a message names. */
const MAX_NAMED = 5;

/** Words of a prompt that a vocabulary of whole words lacks: the model has seen none of them. */
export function unknownWordWarnings({ ids, pieces }: Tokens, tokenizer: Tokenizer, where: string): string[] {
  if (tokenizer.wholeWords !== true) return [];
  const words = new Set<string>();
  for (let start = 0, end = 0; start < ids.length; start = Math.max(end, start + 1)) {
    for (end = start; isSpelled(pieces[end]); end++);
    if (end - start > 1) words.add(tokenizer.decode(ids.slice(start, end)));
  }
  if (words.size === 0) return [];
  const named = [...words].slice(0, MAX_NAMED).map((word) => JSON.stringify(word));
  const more = words.size > named.length ? ` and ${words.size - named.length} more` : "";
  const lacks = `the model's vocabulary, which is of whole words, lacks ${named.join(", ")}${more}`;
  return [`${where}: ${lacks}; a word spelled letter by letter means nothing to it`];
}

/** A letter, or a byte of one; two of them in a row are of one word. */
function isSpelled(piece: string | undefined): boolean {
  return piece !== undefined && /^(\p{L}|(\\x[0-9a-f]{2})+)$/iu.test(piece);
}

function quote({ text }: Tokens): string {
  return JSON.stringify(text);
}

/** Whether one list of ids is the beginning of the other, or all of it. */
function overlaps(ids: readonly number[], others: readonly number[]): boolean {
  const length = Math.min(ids.length, others.length);
  if (length === 0) return false;
  for (let i = 0; i < length; i++) if (ids[i] !== others[i]) return false;
  return true;
}
