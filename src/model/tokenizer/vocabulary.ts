/** @file The vocabulary of a tokenizer.json: its model and its added tokens, checked before anything indexes by them. */

import { z } from "zod";
import type { Fault } from "../../core/errors.ts";
import {
  type Faults,
  isJsonObject,
  type JsonObject,
  MAX_LISTED,
  MAX_MERGES,
  MAX_TOKEN_LENGTH,
  MAX_TOKENS,
  show,
} from "./definition.ts";
import { ListedRanks, scoreRanks } from "./merge-ranks.ts";

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

/** Ids by token and tokens by id; an id may be without a token. */
export interface Ids {
  readonly idOfToken: Map<string, number>;
  readonly tokenOfId: (string | undefined)[];
}

/** A model ready for the library. */
export interface Vocabulary extends Ids {
  readonly model: JsonObject;
  /** BPE: what the library's model is given once it stands (see merge-ranks.ts). */
  readonly pairRanks?: Map<string, number>;
  /** BPE without merges, so that a token of several characters is only ever a whole word looked up (`ignore_merges`). */
  readonly onlyLooksUp?: boolean;
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

/** `{ token: id }`, or a Map where no JSON was between: at most {@link MAX_TOKENS} entries, each id once. */
function readIds({ value, where, faults }: Part): Ids | undefined {
  const { vocab } = value;
  if (!isJsonObject(vocab)) return faults.add(`${where}.vocab`, show(vocab), "an object of ids by token");
  const entries: Iterable<[string, unknown]> & { length?: number; size?: number } =
    vocab instanceof Map ? (vocab as Map<string, unknown>) : Object.entries(vocab);
  const count = entries.length ?? entries.size ?? 0;
  if (count > MAX_TOKENS) return faults.add(`${where}.vocab`, `${count} tokens`, `at most ${MAX_TOKENS}`);
  const idOfToken = new Map<string, number>();
  const tokenOfId: (string | undefined)[] = [];
  const bad: Fault[] = [];
  for (const [text, id] of entries) {
    const complain = (found: string, wanted: string) =>
      bad.push({ where: `${where}.vocab[${show(text)}]`, found, wanted });
    if (text.length > MAX_TOKEN_LENGTH) complain(`${text.length} characters`, `at most ${MAX_TOKEN_LENGTH}`);
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= MAX_TOKENS)
      complain(show(id), `an id from 0 to ${MAX_TOKENS - 1}`);
    else if (tokenOfId[id] !== undefined) complain(`id ${id} a second time`, "one token per id");
    else {
      idOfToken.set(text, id);
      tokenOfId[id] = text;
    }
  }
  faults.addMany(`${where}.vocab`, bad);
  return bad.length > 0 ? undefined : { idOfToken, tokenOfId };
}

/** Pairs of tokens in order of rank; each pair and what it makes must be tokens. */
function readMerges({ value, where, faults }: Part, idOfToken: ReadonlyMap<string, number>) {
  const { merges } = value;
  if (!Array.isArray(merges) || merges.length > MAX_MERGES)
    return faults.add(`${where}.merges`, show(merges), `an array of at most ${MAX_MERGES} merges`);
  const bad: Fault[] = [];
  const ranks = new ListedRanks(idOfToken);
  merges.forEach((merge: unknown, i) => {
    const complain = (found: string, wanted: string) =>
      bad.push({ where: `${where}.merges[${i}]`, found, wanted });
    const [left, right, ...rest] =
      typeof merge === "string" ? splitMerge(merge) : Array.isArray(merge) ? merge : [];
    if (typeof left !== "string" || typeof right !== "string" || rest.length > 0)
      complain(show(merge), "two tokens");
    else if (!ranks.add({ left, right, rank: i }) || !idOfToken.has(left + right)) {
      const missing = [left, right, left + right].filter((part) => !idOfToken.has(part));
      complain(missing.map(show).join(", "), "tokens of `vocab`");
    }
  });
  faults.addMany(`${where}.merges`, bad);
  return ranks;
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
  const ids = readIds(part);
  const scores = part.value.scores; // never in JSON: a Map of scores by token stands for merges
  const pairRanks = ids && (scores instanceof Map ? scoreRanks(scores) : readMerges(part, ids.idOfToken));
  if (options === undefined || ids === undefined || pairRanks === undefined) return undefined;
  const unk_token = options.unk_token === "" ? undefined : options.unk_token; // GPT-2's file writes "" for none
  checkUnknown(part, unk_token, ids.idOfToken);
  const { merges } = part.value;
  const onlyLooksUp =
    options.ignore_merges === true &&
    Array.isArray(merges) &&
    merges.length === 0 &&
    !(scores instanceof Map);
  return {
    model: { ...options, type: "BPE", unk_token, vocab: {}, merges: [] },
    ...ids,
    pairRanks,
    onlyLooksUp,
  };
}

function readWordPiece(part: Part): Vocabulary | undefined {
  const options = part.faults.parse(wordPieceOptions, part.value, part.where);
  const ids = readIds(part);
  if (options === undefined || ids === undefined) return undefined;
  checkUnknown(part, options.unk_token, ids.idOfToken);
  return { model: { ...options, type: "WordPiece", vocab: part.value.vocab }, ...ids };
}

function readWordLevel(part: Part): Vocabulary | undefined {
  const options = part.faults.parse(z.object({ unk_token: token }), part.value, part.where);
  const ids = readIds(part);
  if (options === undefined || ids === undefined) return undefined;
  checkUnknown(part, options.unk_token, ids.idOfToken);
  // The library has no class for this type: a model with a vocabulary and a type it does not know looks words up.
  return { model: { ...options, type: "WordLevel", vocab: part.value.vocab }, ...ids };
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
  if (bad.length > 0) return undefined;
  return { model: { type: "Unigram", vocab, unk_id }, idOfToken, tokenOfId: [...idOfToken.keys()] };
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

/**
 * Added tokens, each id and each content once and in agreement with the model's vocabulary, to which they are
 * added.
 */
export function readAddedTokens(
  value: unknown,
  where: string,
  { faults, ids: { idOfToken, tokenOfId } }: { readonly faults: Faults; readonly ids: Ids },
): readonly AddedToken[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_TOKENS) {
    faults.add(where, show(value), `an array of at most ${MAX_TOKENS} tokens`);
    return [];
  }
  const seen = new Set<string>();
  const bad: Fault[] = [];
  const added = value.flatMap((entry: unknown, i) => {
    const at = `${where}[${i}]`;
    const read = faults.list.length < MAX_LISTED ** 2 ? faults.parse(addedToken, entry, at) : undefined;
    if (read === undefined) return [];
    const owner = tokenOfId[read.id];
    const known = idOfToken.get(read.content);
    if (seen.has(read.content))
      bad.push({ where: at, found: `${show(read.content)} a second time`, wanted: "once" });
    else if (known !== undefined && known !== read.id)
      bad.push({ where: `${at}.id`, found: `${read.id}`, wanted: `${known}, as in the model's vocabulary` });
    else if (owner !== undefined && owner !== read.content)
      bad.push({
        where: `${at}.id`,
        found: `${read.id}, the id of ${show(owner)}`,
        wanted: "an id of its own",
      });
    seen.add(read.content);
    idOfToken.set(read.content, read.id);
    tokenOfId[read.id] = read.content;
    return [read];
  });
  faults.addMany(where, bad);
  return added;
}
