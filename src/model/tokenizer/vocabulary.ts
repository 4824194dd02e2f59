/** @file The vocabulary of a tokenizer.json: its model and its added tokens, checked before anything indexes by them. */

import { z } from "zod";
import type { Fault } from "../../core/errors.ts";
import {
  type Faults,
  isJsonObject,
  type JsonObject,
  MAX_MERGES,
  MAX_TOKEN_LENGTH,
  MAX_TOKENS,
  show,
} from "./definition.ts";

/** A token outside the model's own vocabulary, found in the text before the model sees it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

const id = z
  .int()
  .min(0)
  .max(MAX_TOKENS - 1);
const token = z.string().max(MAX_TOKEN_LENGTH);
const addedToken = z
  .object({
    id,
    content: token.min(1),
    single_word: z.literal(false, "false: whole-word matching is not supported").default(false),
    lstrip: z.boolean().default(false),
    rstrip: z.boolean().default(false),
    normalized: z.boolean().optional(),
    special: z.boolean().default(false),
  })
  .transform((added) => ({ ...added, normalized: added.normalized ?? !added.special }));

/** A model ready for the library, with what each id spells. */
export interface Vocabulary {
  readonly model: JsonObject;
  readonly idOfToken: ReadonlyMap<string, number>;
}

const unknown = token.nullish();
const absent = z.literal("", 'none: only "" or null is supported').nullish();
const bpeOptions = z.object({
  dropout: z.literal(0, "none: a random encoding cannot be reproduced").nullish(),
  unk_token: unknown,
  continuing_subword_prefix: absent,
  end_of_word_suffix: token.nullish(),
  fuse_unk: z.boolean().nullish(),
  byte_fallback: z.boolean().nullish(),
  ignore_merges: z.boolean().nullish(),
});
const wordPieceOptions = z.object({
  unk_token: token,
  continuing_subword_prefix: token,
  max_input_chars_per_word: z.int().min(1).max(MAX_TOKEN_LENGTH),
});

interface Part {
  readonly value: JsonObject;
  readonly where: string;
  readonly faults: Faults;
}

/** `{ token: id }`: at most {@link MAX_TOKENS} entries, each id once. */
function readIds({ value, where, faults }: Part): ReadonlyMap<string, number> | undefined {
  const { vocab } = value;
  if (!isJsonObject(vocab)) return faults.add(`${where}.vocab`, show(vocab), "an object of ids by token");
  const entries = Object.entries(vocab);
  if (entries.length > MAX_TOKENS)
    return faults.add(`${where}.vocab`, `${entries.length} tokens`, `at most ${MAX_TOKENS}`);
  const idOfToken = new Map<string, number>();
  const taken = new Set<unknown>();
  const bad: Fault[] = [];
  for (const [text, number] of entries) {
    const at = `${where}.vocab[${show(text)}]`;
    if (text.length > MAX_TOKEN_LENGTH)
      bad.push({ where: at, found: `${text.length} characters`, wanted: `at most ${MAX_TOKEN_LENGTH}` });
    if (typeof number !== "number" || !Number.isInteger(number) || number < 0 || number >= MAX_TOKENS)
      bad.push({ where: at, found: show(number), wanted: `an id from 0 to ${MAX_TOKENS - 1}` });
    else if (taken.has(number))
      bad.push({ where: at, found: `id ${number} a second time`, wanted: "one token per id" });
    else idOfToken.set(text, number);
    taken.add(number);
  }
  faults.addMany(`${where}.vocab`, bad);
  return bad.length > 0 ? undefined : idOfToken;
}

/** Pairs of tokens in order of rank; each pair and what it makes must be tokens. */
function readMerges({ value, where, faults }: Part, idOfToken: ReadonlyMap<string, number>) {
  const { merges } = value;
  if (!Array.isArray(merges) || merges.length > MAX_MERGES)
    return faults.add(`${where}.merges`, show(merges), `an array of at most ${MAX_MERGES} merges`);
  const bad: Fault[] = [];
  const pairs = merges.map((merge: unknown, i) => {
    const [left, right, ...rest] =
      typeof merge === "string" ? splitMerge(merge) : Array.isArray(merge) ? merge : [];
    if (typeof left !== "string" || typeof right !== "string" || rest.length > 0) {
      bad.push({ where: `${where}.merges[${i}]`, found: show(merge), wanted: "two tokens" });
      return ["", ""];
    }
    const missing = [left, right, left + right].filter((part) => !idOfToken.has(part));
    if (missing.length > 0)
      bad.push({
        where: `${where}.merges[${i}]`,
        found: missing.map(show).join(", "),
        wanted: "tokens of `vocab`",
      });
    return [left, right];
  });
  faults.addMany(`${where}.merges`, bad);
  return bad.length > 0 ? undefined : pairs;
}

/** "left right"; a token may itself begin with the space, as llama.cpp reads it. */
function splitMerge(merge: string): string[] {
  const space = merge.indexOf(" ", 1);
  return space < 0 ? [merge] : [merge.slice(0, space), merge.slice(space + 1)];
}

function checkUnknown(
  { where, faults }: Part,
  name: string | null | undefined,
  ids: ReadonlyMap<string, number>,
) {
  if (name !== null && name !== undefined && !ids.has(name))
    faults.add(`${where}.unk_token`, show(name), "a token of `vocab`, or null");
}

function readBpe(part: Part): Vocabulary | undefined {
  const options = part.faults.parse(bpeOptions, part.value, part.where);
  const idOfToken = readIds(part);
  const merges = idOfToken && readMerges(part, idOfToken);
  if (options === undefined || idOfToken === undefined || merges === undefined) return undefined;
  const unk_token = options.unk_token === "" ? undefined : options.unk_token; // GPT-2's file writes "" for none
  checkUnknown(part, unk_token, idOfToken);
  return { model: { ...options, type: "BPE", unk_token, vocab: part.value.vocab, merges }, idOfToken };
}

function readWordPiece(part: Part): Vocabulary | undefined {
  const options = part.faults.parse(wordPieceOptions, part.value, part.where);
  const idOfToken = readIds(part);
  if (options === undefined || idOfToken === undefined) return undefined;
  checkUnknown(part, options.unk_token, idOfToken);
  return { model: { ...options, type: "WordPiece", vocab: part.value.vocab }, idOfToken };
}

function readWordLevel(part: Part): Vocabulary | undefined {
  const options = part.faults.parse(z.object({ unk_token: token }), part.value, part.where);
  const idOfToken = readIds(part);
  if (options === undefined || idOfToken === undefined) return undefined;
  checkUnknown(part, options.unk_token, idOfToken);
  // The library's name for it is no name: a model with a vocabulary and no type it knows looks words up.
  return { model: { ...options, type: "WordLevel", vocab: part.value.vocab }, idOfToken };
}

function readUnigram(part: Part): Vocabulary | undefined {
  const { value, where, faults } = part;
  const { vocab, unk_id } = value;
  if (value.byte_fallback === true)
    return faults.add(
      `${where}.byte_fallback`,
      "true",
      "false: unigram models with byte fallback are not supported",
    );
  if (!Array.isArray(vocab) || vocab.length === 0 || vocab.length > MAX_TOKENS)
    return faults.add(`${where}.vocab`, show(vocab), `an array of 1 to ${MAX_TOKENS} [token, score] pairs`);
  if (typeof unk_id !== "number" || !Number.isInteger(unk_id) || unk_id < 0 || unk_id >= vocab.length)
    return faults.add(`${where}.unk_id`, show(unk_id), `an index below ${vocab.length}`);
  const idOfToken = new Map<string, number>();
  const bad: Fault[] = [];
  vocab.forEach((entry: unknown, i) => {
    const [text, score, ...rest] = Array.isArray(entry) ? entry : [];
    if (
      typeof text !== "string" ||
      !Number.isFinite(score) ||
      rest.length > 0 ||
      text.length > MAX_TOKEN_LENGTH
    )
      bad.push({ where: `${where}.vocab[${i}]`, found: show(entry), wanted: "a [token, finite score] pair" });
    else if (idOfToken.has(text))
      bad.push({
        where: `${where}.vocab[${i}]`,
        found: `${show(text)} a second time`,
        wanted: "each token once",
      });
    else idOfToken.set(text, i);
  });
  faults.addMany(`${where}.vocab`, bad);
  return bad.length > 0 ? undefined : { model: { type: "Unigram", vocab, unk_id }, idOfToken };
}

const readers: Readonly<Record<string, (part: Part) => Vocabulary | undefined>> = {
  BPE: readBpe,
  Unigram: readUnigram,
  WordLevel: readWordLevel,
  WordPiece: readWordPiece,
};

/** The model of a tokenizer.json, by its declared type (BPE where an old file declares none but has merges). */
export function readModel(value: unknown, where: string, faults: Faults): Vocabulary | undefined {
  if (!isJsonObject(value)) return faults.add(where, show(value), "an object with a `type`");
  const type = value.type ?? ("merges" in value ? "BPE" : undefined);
  const reader = typeof type === "string" && Object.hasOwn(readers, type) ? readers[type] : undefined;
  if (reader === undefined)
    return faults.add(`${where}.type`, show(type), `one of ${Object.keys(readers).join(", ")}`);
  return reader({ value, where, faults });
}

/** Added tokens, each id and each content once and in agreement with the model's vocabulary. */
export function readAddedTokens(
  value: unknown,
  where: string,
  { faults, idOfToken }: { readonly faults: Faults; readonly idOfToken: ReadonlyMap<string, number> },
): readonly AddedToken[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_TOKENS) {
    faults.add(where, show(value), `an array of at most ${MAX_TOKENS} tokens`);
    return [];
  }
  const contentOfId = new Map([...idOfToken].map(([text, number]) => [number, text]));
  const seen = new Set<string>();
  const added: AddedToken[] = [];
  const bad: Fault[] = [];
  value.forEach((entry: unknown, i) => {
    const at = `${where}[${i}]`;
    const read = faults.list.length < 64 ? faults.parse(addedToken, entry, at) : undefined;
    if (read === undefined) return;
    const owner = contentOfId.get(read.id);
    const known = idOfToken.get(read.content);
    if (seen.has(read.content))
      bad.push({ where: at, found: `${show(read.content)} a second time`, wanted: "once" });
    if (owner !== undefined && owner !== read.content)
      bad.push({
        where: `${at}.id`,
        found: `${read.id}, the id of ${show(owner)}`,
        wanted: "an id of its own",
      });
    if (known !== undefined && known !== read.id)
      bad.push({ where: `${at}.id`, found: `${read.id}`, wanted: `${known}, as in the model's vocabulary` });
    seen.add(read.content);
    contentOfId.set(read.id, read.content);
    added.push(read);
  });
  faults.addMany(where, bad);
  return added;
}
