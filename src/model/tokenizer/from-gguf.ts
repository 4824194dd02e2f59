/**
 * @file A tokenizer from a GGUF file's metadata, written as the tokenizer.json that the same checkpoint has:
 * byte-level BPE (`gpt2`) with the pre-tokenizer the file names, or SentencePiece (`llama`) with its scores.
 */

import { type Fault, refuse } from "../../core/errors.ts";
import { Faults, type JsonObject, MAX_TEMPLATE_LENGTH, MAX_TOKENS, show } from "./definition.ts";
import { fromTokenizerJson } from "./from-tokenizer-json.ts";
import { ggufPreTokenizers } from "./gguf-pre-tokenizers.ts";
import { split } from "./pattern.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** What a GGUF's key-value section holds: a Map or an object, integers as numbers or bigints. */
export type GgufMetadata = ReadonlyMap<string, unknown> | Readonly<Record<string, unknown>>;

/** `tokenizer.ggml.token_type`. Source: llama.cpp, gguf-py `TokenType`. */
const TOKEN_TYPE = { unknown: 2, control: 3, userDefined: 4, byte: 6 } as const;

const SPACE = "▁";

/**
 * Makes the tokenizer that a GGUF file describes.
 *
 * @throws InputError with every fault: missing or mistyped keys, an unknown `tokenizer.ggml.model` or
 * `tokenizer.ggml.pre`, lists of unequal length, tokens given twice, ids out of range.
 */
export function fromGguf(metadata: GgufMetadata): Tokenizer {
  const reader = new MetadataReader(metadata);
  const model = reader.string("tokenizer.ggml.model");
  const idOfToken = reader.tokens();
  const tokens = [...idOfToken.keys()];
  const types = reader.numbers("tokenizer.ggml.token_type", tokens.length) ?? [];
  const kind = model === undefined || !Object.hasOwn(kinds, model) ? undefined : kinds[model];
  if (kind === undefined && model !== undefined)
    reader.faults.add(
      reader.where("tokenizer.ggml.model"),
      show(model),
      `one of ${Object.keys(kinds).join(", ")}`,
      "Use the checkpoint's safetensors and tokenizer.json instead.",
    );
  const made = kind?.({ reader, tokens, idOfToken, types });
  const config = readConfig(reader, tokens, made?.addBos ?? false);
  refuse(reader.faults.list);
  return fromTokenizerJson({ ...made?.definition, added_tokens: addedTokens(tokens, types) }, config.json, {
    file: "GGUF tokenizer.ggml",
    configFile: "GGUF tokenizer",
    eosIds: config.eosIds,
  });
}

interface KindParts {
  readonly reader: MetadataReader;
  readonly tokens: readonly string[];
  readonly idOfToken: ReadonlyMap<string, number>;
  readonly types: readonly number[];
}

interface Kind {
  /** A tokenizer.json without added tokens. */
  readonly definition: JsonObject;
  /** Where `tokenizer.ggml.add_bos_token` is absent. */
  readonly addBos: boolean;
}

const kinds: Readonly<Record<string, (parts: KindParts) => Kind | undefined>> = {
  gpt2: byteLevelBpe,
  llama: sentencePiece,
};

function byteLevelBpe({ reader, idOfToken }: KindParts): Kind | undefined {
  const key = "tokenizer.ggml.pre";
  const name = reader.string(key);
  const merges = reader.array("tokenizer.ggml.merges");
  const known =
    name !== undefined && Object.hasOwn(ggufPreTokenizers, name) ? ggufPreTokenizers[name] : undefined;
  if (known === undefined && name !== undefined)
    reader.faults.add(reader.where(key), show(name), `one of ${Object.keys(ggufPreTokenizers).join(", ")}`);
  if (known === undefined || merges === undefined) return undefined;
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
  return {
    definition: {
      model: { type: "BPE", vocab: idOfToken, merges, ignore_merges: known.ignoreMerges },
      normalizer: known.normalizer === undefined ? null : { type: known.normalizer },
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [...known.patterns.map((pattern) => split(pattern, "Isolated")), byteLevel],
      },
      decoder: { type: "ByteLevel" },
    },
    addBos: known.addBos,
  };
}

/** As llama.cpp: every stretch of text between special tokens gets the space prefix, even one that has a space. */
function sentencePiece({ reader, tokens, idOfToken, types }: KindParts): Kind | undefined {
  const scores = reader.numbers("tokenizer.ggml.scores", tokens.length);
  if (scores === undefined) {
    reader.faults.add(reader.where("tokenizer.ggml.scores"), "nothing", "one score for each token");
    return undefined;
  }
  const prefixed = reader.boolean("tokenizer.ggml.add_space_prefix") ?? true;
  const unknown = tokens[reader.id("tokenizer.ggml.unknown_token_id", tokens.length) ?? -1];
  // Bytes and control tokens are never made from text. Source: google/sentencepiece, `Model::InitializePieces`.
  const reserved = new Set<number | undefined>([TOKEN_TYPE.unknown, TOKEN_TYPE.control, TOKEN_TYPE.byte]);
  const mergeable = tokens.flatMap((token, i) =>
    reserved.has(types[i]) ? [] : [[token, scores[i] ?? 0] as const],
  );
  const replaceSpace = { type: "Replace", pattern: { String: " " }, content: SPACE };
  return {
    definition: {
      model: {
        type: "BPE",
        vocab: idOfToken,
        scores: new Map(mergeable),
        unk_token: unknown ?? null,
        fuse_unk: true,
        byte_fallback: true,
      },
      normalizer: {
        type: "Sequence",
        normalizers: prefixed ? [{ type: "Prepend", prepend: SPACE }, replaceSpace] : [replaceSpace],
      },
      pre_tokenizer: null,
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: SPACE }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          ...(prefixed ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
        ],
      },
    },
    addBos: true,
  };
}

function addedTokens(tokens: readonly string[], types: readonly number[]): JsonObject[] {
  return tokens.flatMap((content, id) => {
    const type = types[id];
    const special = type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown;
    return special || type === TOKEN_TYPE.userDefined ? [{ id, content, special, normalized: false }] : [];
  });
}

/** The settings as a tokenizer_config.json has them, and the ids that end a generation. */
function readConfig(reader: MetadataReader, tokens: readonly string[], addBos: boolean) {
  const id = (name: string) => reader.id(`tokenizer.ggml.${name}_token_id`, tokens.length);
  const token = (name: string) => tokens[id(name) ?? -1];
  const bos = token("bos");
  const template = reader.optionalString("tokenizer.chat_template", MAX_TEMPLATE_LENGTH);
  return {
    json: {
      bos_token: bos,
      eos_token: token("eos"),
      unk_token: token("unknown"),
      pad_token: token("padding"),
      add_bos_token: reader.boolean("tokenizer.ggml.add_bos_token") ?? (addBos && bos !== undefined),
      add_eos_token: reader.boolean("tokenizer.ggml.add_eos_token") ?? false,
      chat_template: template,
    },
    eosIds: ["eos", "eot", "eom"].flatMap((name) => id(name) ?? []),
  };
}

/** Typed access to metadata; what is missing or of another type becomes a fault. */
class MetadataReader {
  readonly faults: Faults = new Faults();
  readonly #get: (key: string) => unknown;

  constructor(metadata: GgufMetadata) {
    this.#get = (key) =>
      metadata instanceof Map ? metadata.get(key) : (metadata as Readonly<Record<string, unknown>>)[key];
  }

  where(key: string): string {
    return `GGUF ${key}`;
  }

  optionalString(key: string, longest: number): string | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (typeof value === "string" && value.length <= longest) return value;
    return this.faults.add(this.where(key), show(value), `text of at most ${longest} characters`);
  }

  string(key: string): string | undefined {
    if (this.#get(key) === undefined) return this.faults.add(this.where(key), "nothing", "a name");
    return this.optionalString(key, 256); // names of models and pre-tokenizers: 20 characters
  }

  boolean(key: string): boolean | undefined {
    const value = this.#get(key);
    if (value === undefined || typeof value === "boolean") return value;
    return this.faults.add(this.where(key), show(value), "true or false");
  }

  array(key: string): readonly unknown[] | undefined {
    const value = this.#get(key);
    if (Array.isArray(value)) return value;
    return this.faults.add(this.where(key), show(value), "an array");
  }

  /** The id a key holds; undefined where the key is absent. */
  id(key: string, count: number): number | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    const id = typeof value === "bigint" ? Number(value) : value;
    if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < count) return id;
    return this.faults.add(this.where(key), show(value), `an id below ${count}`);
  }

  /** Numbers, one per token; undefined where the key is absent. */
  numbers(key: string, count: number): readonly number[] | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    const numbers =
      Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as ArrayLike<unknown>) : [];
    if (numbers.length === count && numbers.every((item) => typeof item === "number" && !Number.isNaN(item)))
      return numbers as number[];
    return this.faults.add(this.where(key), show(value), `${count} numbers, one for each token`);
  }

  /** Ids by token, in order of id; an empty token is renamed as llama.cpp does, each may be there once. */
  tokens(): ReadonlyMap<string, number> {
    const key = "tokenizer.ggml.tokens";
    const list = this.array(key) ?? [];
    const idOfToken = new Map<string, number>();
    if (list.length > MAX_TOKENS)
      this.faults.add(this.where(key), show(list), `at most ${MAX_TOKENS} tokens`);
    const bad: Fault[] = [];
    list.slice(0, MAX_TOKENS).forEach((token, id) => {
      const named = token === "" ? `[EMPTY_${id}]` : token;
      const complain = (found: string, wanted: string) =>
        bad.push({ where: `${this.where(key)}[${id}]`, found, wanted });
      if (typeof named !== "string") complain(show(token), "text");
      else if (idOfToken.has(named)) complain(`${show(named)} a second time`, "each token once");
      else idOfToken.set(named, id);
    });
    this.faults.addMany(this.where(key), bad);
    return idOfToken;
  }
}
