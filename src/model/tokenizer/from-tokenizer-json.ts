/**
 * @file A tokenizer from Hugging Face's tokenizer.json and tokenizer_config.json.
 *
 * @huggingface/tokenizers runs normalizers, pre-tokenizers and models. It is given a checked definition in which
 * every step is one that it computes as Hugging Face's own library does (pre-tokenizers.ts says where it would
 * not); special ids around a text, decoding and labels are done here. Patterns are the file's own: a hostile
 * one can still be slow.
 */

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { InputError, inputError, refuse } from "../../core/errors.ts";
import { type ChatTemplate, renderChat } from "./chat-template.ts";
import { type DecoderStep, readDecoder } from "./decoders.ts";
import { Faults, isJsonObject, show } from "./definition.ts";
import { readNormalizer } from "./normalizers.ts";
import { readPostProcessor, type Surround } from "./post-processor.ts";
import { readPreTokenizer } from "./pre-tokenizers.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { readTokenizerConfig, type TokenizerConfig } from "./tokenizer-config.ts";
import { readAddedTokens, readModel, type Vocabulary } from "./vocabulary.ts";

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
  const { file = "tokenizer.json", configFile = "tokenizer_config.json" } = options;
  if (!isJsonObject(tokenizerJson)) throw inputError(file, show(tokenizerJson), "a JSON object");
  const faults = new Faults();
  const part = (name: string) => ({ value: tokenizerJson[name], where: `${file}:${name}`, faults, depth: 0 });
  const config = readTokenizerConfig(tokenizerConfig, configFile, faults);
  const vocabulary = readModel(tokenizerJson.model, `${file}:model`, faults);
  const normalizer = readNormalizer(part("normalizer"));
  const preTokenizer = readPreTokenizer(part("pre_tokenizer"));
  const decoder = readDecoder(part("decoder"));
  const template = readPostProcessor(part("post_processor"));
  if (vocabulary === undefined) throw new InputError(faults.list);

  const scope = { faults, ids: vocabulary };
  const inFile = readAddedTokens(tokenizerJson.added_tokens, `${file}:added_tokens`, scope);
  const listed = new Set(inFile.map((token) => token.content));
  const rest = config.addedTokens.filter((token) => !listed.has(String(token.content)));
  const added = [...inFile, ...readAddedTokens(rest, `${configFile}:added_tokens_decoder`, scope)];
  const special = readSpecial({ config, configFile, template, idOfToken: vocabulary.idOfToken, faults });
  for (const id of [...special.prefix, ...special.suffix])
    if (vocabulary.tokenOfId[id] === undefined)
      faults.add(`${file}:post_processor`, `id ${id}`, "the id of a token");
  refuse(faults.list);

  const source = options.chatTemplate ?? config.chatTemplate;
  const where = options.chatTemplate === undefined ? `${configFile}:chat_template` : "chat_template.jinja";
  return makeTokenizer({
    encodeText: compile(file, vocabulary, { added_tokens: added, normalizer, pre_tokenizer: preTokenizer }),
    decoder,
    tokenOfId: vocabulary.tokenOfId,
    addedIds: new Set(added.map((token) => token.id)),
    wholeWords: hasWholeWords(vocabulary, listed),
    special,
    eosIds: [...new Set([...special.eosIds, ...(options.eosIds ?? [])])],
    chatTemplate: source === undefined ? undefined : { source, where, specialTokens: config.specialTokens },
  });
}

/** Whether words are looked up as wholes and nothing else, and there are any. */
function hasWholeWords({ onlyLooksUp, idOfToken }: Vocabulary, added: ReadonlySet<unknown>): boolean {
  return onlyLooksUp === true && [...idOfToken.keys()].some((token) => token.length > 1 && !added.has(token));
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

/** What is used of the library (its own declarations do not resolve under NodeNext: their imports lack endings). */
interface LibraryTokenizer {
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean },
  ): { readonly ids: readonly number[] };
  readonly model: {
    tokens_to_ids: Map<string, number>;
    unk_token_id?: number | undefined;
    bpe_ranks?: Map<string, number>;
  };
}

/**
 * The library's encoder, without anything around the text. A BPE model is built empty and then given the ids and
 * ranks that are there already: to build them itself takes it three times as long as all the rest.
 */
function compile(file: string, vocabulary: Vocabulary, parts: object): (text: string) => readonly number[] {
  const { model, idOfToken, pairRanks } = vocabulary;
  const unknown = model.unk_token as string | undefined;
  const definition = { ...parts, model, post_processor: null, decoder: null };
  let library: LibraryTokenizer;
  try {
    library = new Library(definition, { unk_token: unknown });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw inputError(
      file,
      `a definition that does not compile (${reason})`,
      "patterns of Oniguruma's syntax",
    );
  }
  if (pairRanks !== undefined) {
    library.model.tokens_to_ids = idOfToken;
    library.model.unk_token_id = unknown === undefined ? undefined : idOfToken.get(unknown);
    library.model.bpe_ranks = pairRanks;
  }
  return (text) => library.encode(text, { add_special_tokens: false }).ids;
}

interface Parts {
  readonly encodeText: (text: string) => readonly number[];
  readonly decoder: readonly DecoderStep[] | undefined;
  readonly tokenOfId: readonly (string | undefined)[];
  readonly addedIds: ReadonlySet<number>;
  readonly wholeWords: boolean;
  readonly special: Special;
  readonly eosIds: readonly number[];
  readonly chatTemplate: ChatTemplate | undefined;
}

function makeTokenizer(parts: Parts): Tokenizer {
  const { encodeText, decoder, tokenOfId, addedIds, chatTemplate } = parts;
  const { bosId, prefix, suffix } = parts.special;
  const addsBos = bosId !== undefined && prefix.includes(bosId);

  return {
    size: tokenOfId.length,
    bosId,
    eosIds: parts.eosIds,
    addsBos,
    wholeWords: parts.wholeWords,

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
        const token = tokenOfId[id];
        if (token === undefined)
          throw inputError(`ids[${i}]`, show(id), `the id of a token, below ${tokenOfId.length}`);
        return token;
      });
      if (decoder === undefined) return texts.join(" ");
      return decoder.reduce<readonly string[]>((rewritten, step) => step.rewrite(rewritten), texts).join("");
    },

    pieces: (ids) =>
      ids.map((id) => {
        const token = tokenOfId[id];
        if (token === undefined) return `<no token ${id}>`; // embeddings are often padded past the vocabulary
        if (addedIds.has(id)) return token;
        return (decoder ?? []).reduce((text, step) => step.label(text), token);
      }),

    chat: (messages, options) => renderChat(chatTemplate, messages, options),
  };
}
