/**
 * @file A tokenizer from Hugging Face's tokenizer.json and tokenizer_config.json.
 *
 * @huggingface/tokenizers runs normalizers, pre-tokenizers and models. It is given a checked definition in which
 * every step is one that it computes as Hugging Face's own library does (pre-tokenizers.ts says where it would
 * not); special ids around a text, decoding and labels are done here. Patterns are the file's own: a hostile
 * one can still be slow.
 */

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { inputError, refuse } from "../../core/errors.ts";
import { type ChatTemplate, renderChat } from "./chat-template.ts";
import { type DecoderStep, readDecoder } from "./decoders.ts";
import { Faults, isJsonObject, show } from "./definition.ts";
import { readNormalizer } from "./normalizers.ts";
import { readPostProcessor, type Surround } from "./post-processor.ts";
import { readPreTokenizer } from "./pre-tokenizers.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { readTokenizerConfig, type TokenizerConfig } from "./tokenizer-config.ts";
import { readAddedTokens, readModel } from "./vocabulary.ts";

export interface TokenizerOptions {
  /** Names the definition in messages; `tokenizer.json` if absent. */
  readonly file?: string;
  /** Names the settings in messages; `tokenizer_config.json` if absent. */
  readonly configFile?: string;
  /** The text of a chat_template.jinja; it takes precedence over the one in the settings. */
  readonly chatTemplate?: string;
  /** Further ids that end a generation, e.g. those of generation_config.json. */
  readonly eosIds?: readonly number[];
}

/** Ranks of SentencePiece: what a pair may merge to, best first; pairs are then not listed (see sentencepiece.ts). */
interface InternalOptions extends TokenizerOptions {
  readonly pairRanks?: Map<string, number>;
}

/**
 * Makes a tokenizer of parsed JSON: a tokenizer.json, and a tokenizer_config.json where there is one.
 *
 * @throws InputError with every fault: fields of a wrong type, unknown or inexact components, ids out of range
 * or given twice, merges of unknown tokens, patterns that do not compile.
 */
export function fromTokenizerJson(
  tokenizerJson: unknown,
  tokenizerConfig?: unknown,
  options: TokenizerOptions = {},
): Tokenizer {
  return assemble(tokenizerJson, tokenizerConfig, options);
}

/** {@link fromTokenizerJson} for definitions made from other formats. */
export function assemble(json: unknown, configJson: unknown, options: InternalOptions): Tokenizer {
  const { file = "tokenizer.json", configFile = "tokenizer_config.json" } = options;
  if (!isJsonObject(json)) throw inputError(file, show(json), "a JSON object");
  const faults = new Faults();
  const part = (name: string) => ({ value: json[name], where: `${file}:${name}`, faults, depth: 0 });
  const config = readTokenizerConfig(configJson, configFile, faults);
  const vocabulary = readModel(json.model, `${file}:model`, faults);
  const normalizer = readNormalizer(part("normalizer"));
  const preTokenizer = readPreTokenizer(part("pre_tokenizer"));
  const decoder = readDecoder(part("decoder"));
  const template = readPostProcessor(part("post_processor"));
  const idOfToken = new Map(vocabulary?.idOfToken);
  const inFile = readAddedTokens(json.added_tokens, `${file}:added_tokens`, { faults, idOfToken });
  for (const token of inFile) idOfToken.set(token.content, token.id);
  const listed = new Set(inFile.map((token) => token.content));
  const inConfig = readAddedTokens(
    config.addedTokens.filter((token) => !listed.has(String(token.content))),
    `${configFile}:added_tokens_decoder`,
    { faults, idOfToken },
  );
  for (const token of inConfig) idOfToken.set(token.content, token.id);
  const added = [...inFile, ...inConfig];
  const special = readSpecial({ config, configFile, template, idOfToken, faults });
  checkIds([...special.prefix, ...special.suffix], `${file}:post_processor`, { faults, idOfToken });
  refuse(faults.list);

  const encodeText = compile(file, options.pairRanks, {
    model: vocabulary?.model,
    added_tokens: added,
    normalizer,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: null,
  });
  const source = options.chatTemplate ?? config.chatTemplate;
  const templateWhere =
    options.chatTemplate === undefined ? `${configFile}:chat_template` : "chat_template.jinja";
  return makeTokenizer({
    encodeText,
    decoder,
    idOfToken,
    addedIds: new Set(added.map((token) => token.id)),
    special,
    eosIds: [...new Set([...special.eosIds, ...(options.eosIds ?? [])])],
    chatTemplate:
      source === undefined
        ? undefined
        : { source, where: templateWhere, specialTokens: config.specialTokens },
  });
}

interface Special extends Surround {
  readonly bosId: number | undefined;
  readonly eosIds: readonly number[];
}

/**
 * BOS, EOS and what goes around a text: the post-processor says, and where there is none, `add_bos_token` and
 * `add_eos_token` (transformers 5 drops both settings when it loads a tokenizer.json).
 */
function readSpecial(parts: {
  readonly config: TokenizerConfig;
  readonly configFile: string;
  /** Undefined where there is no post-processor. */
  readonly template: Surround | undefined;
  readonly idOfToken: ReadonlyMap<string, number>;
  readonly faults: Faults;
}): Special {
  const { config, configFile, template, idOfToken, faults } = parts;
  const named = (name: string): number | undefined => {
    const token = config.specialTokens[name];
    if (token === undefined) return undefined;
    return (
      idOfToken.get(token) ?? faults.add(`${configFile}.${name}`, show(token), "a token of the vocabulary")
    );
  };
  const bosId = named("bos_token") ?? template?.prefix[0];
  const eosId = named("eos_token");
  const eosIds = eosId === undefined ? [] : [eosId];
  if (template !== undefined) return { ...template, bosId, eosIds };
  if (config.addBos === true && bosId === undefined)
    faults.add(`${configFile}.add_bos_token`, "true", "a `bos_token` with it");
  if (config.addEos === true && eosId === undefined)
    faults.add(`${configFile}.add_eos_token`, "true", "an `eos_token` with it");
  return {
    prefix: config.addBos === true && bosId !== undefined ? [bosId] : [],
    suffix: config.addEos === true ? eosIds : [],
    bosId,
    eosIds,
  };
}

/** Special ids must be ids of tokens. */
function checkIds(
  ids: readonly number[],
  where: string,
  { faults, idOfToken }: { readonly faults: Faults; readonly idOfToken: ReadonlyMap<string, number> },
): void {
  const known = new Set(idOfToken.values());
  for (const id of ids) if (!known.has(id)) faults.add(where, `id ${id}`, "the id of a token");
}

/** What is used of the library (its own declarations do not resolve under NodeNext: their imports lack endings). */
interface LibraryTokenizer {
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean },
  ): { readonly ids: readonly number[] };
  readonly model: { bpe_ranks?: Map<string, number> };
}

/** The library's encoder, without anything around the text. */
function compile(file: string, pairRanks: Map<string, number> | undefined, definition: object) {
  const { model } = definition as { readonly model: { readonly unk_token?: string } };
  let library: LibraryTokenizer;
  try {
    library = new Library(definition, { unk_token: model.unk_token });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw inputError(
      file,
      `a definition that does not compile (${reason})`,
      "patterns of Oniguruma's syntax",
    );
  }
  if (pairRanks !== undefined) library.model.bpe_ranks = pairRanks;
  return (text: string): readonly number[] => library.encode(text, { add_special_tokens: false }).ids;
}

interface Parts {
  readonly encodeText: (text: string) => readonly number[];
  readonly decoder: readonly DecoderStep[] | undefined;
  readonly idOfToken: ReadonlyMap<string, number>;
  readonly addedIds: ReadonlySet<number>;
  readonly special: Special;
  readonly eosIds: readonly number[];
  readonly chatTemplate: ChatTemplate | undefined;
}

function makeTokenizer(parts: Parts): Tokenizer {
  const { encodeText, decoder, idOfToken, addedIds, chatTemplate } = parts;
  const { bosId, prefix, suffix } = parts.special;
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of idOfToken) tokens[id] = token;
  const addsBos = bosId !== undefined && prefix.includes(bosId);

  return {
    size: tokens.length,
    bosId,
    eosIds: parts.eosIds,
    addsBos,

    encode(text, { bos = addsBos } = {}) {
      if (/\p{Surrogate}/u.test(text))
        throw inputError(
          "text",
          "half of a surrogate pair",
          "well-formed Unicode",
          "Repair the text's encoding.",
        );
      if (bos && bosId === undefined)
        throw inputError("bos", "true", "a tokenizer with a BOS token", "Leave BOS out for this model.");
      const others = prefix.filter((id) => id !== bosId);
      return [...(bos && bosId !== undefined ? [bosId] : []), ...others, ...encodeText(text), ...suffix];
    },

    decode(ids) {
      const texts = ids.map((id, i) => {
        const token = tokens[id];
        if (token === undefined)
          throw inputError(`ids[${i}]`, show(id), `the id of one of ${idOfToken.size} tokens`);
        return token;
      });
      if (decoder === undefined) return texts.join(" ");
      return decoder.reduce<readonly string[]>((rewritten, step) => step.rewrite(rewritten), texts).join("");
    },

    pieces: (ids) =>
      ids.map((id) => {
        const token = tokens[id];
        if (token === undefined) return `<no token ${id}>`; // embeddings are often padded past the vocabulary
        if (addedIds.has(id)) return token;
        return (decoder ?? []).reduce((text, step) => step.label(text), token);
      }),

    chat: (messages, options) => renderChat(chatTemplate, messages, options),
  };
}
