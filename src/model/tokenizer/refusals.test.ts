/** @file What a tokenizer refuses, in which words, and that nothing else escapes on damaged input. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Json, mutate } from "../../../test/support/json-mutations.ts";
import { InputError } from "../../core/errors.ts";
import { random } from "../../core/random.ts";
import { fromGguf } from "./from-gguf.ts";
import { fromTokenizerJson } from "./from-tokenizer-json.ts";

const goldens = new URL("../../../test/goldens/tokenizer/", import.meta.url);
const read = (path: string) => JSON.parse(readFileSync(new URL(path, goldens), "utf8"));

/** Letters a to c and one merge; the smallest BPE with everything optional left out. */
const letters = { model: { type: "BPE", vocab: { a: 0, b: 1, c: 2, ab: 3 }, merges: [["a", "b"]] } };

/** The message of the InputError that `make` throws. */
function refusal(make: () => unknown): string {
  try {
    make();
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return "nothing was refused";
}

describe("fromTokenizerJson", () => {
  test("names file, field, what was found and what was wanted, all at once", () => {
    const json = {
      model: { type: "BPE", vocab: { a: 0, b: -1, c: 4e9 }, merges: [], dropout: 0.1 },
      normalizer: { type: "Precompiled", precompiled_charsmap: "" },
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [{ type: "Split", pattern: {}, behavior: "Isolated" }],
      },
      decoder: { type: "CTC" },
    };
    const bounded = "an id from 0 to 999999";
    expect(
      refusal(() => fromTokenizerJson(json, { bos_token: 7 }, { file: "m/tokenizer.json" })).split("\n"),
    ).toEqual([
      "tokenizer_config.json.bos_token: found 7; wanted a token, or an object with its `content`.",
      "m/tokenizer.json:model.dropout: found 0.1; wanted none: a random encoding cannot be reproduced.",
      `m/tokenizer.json:model.vocab["b"]: found -1; wanted ${bounded}.`,
      `m/tokenizer.json:model.vocab["c"]: found 4000000000; wanted ${bounded}.`,
      'm/tokenizer.json:normalizer.type: found "Precompiled"; wanted one of Sequence, BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, StripAccents.',
      'm/tokenizer.json:pre_tokenizer.pretokenizers[0].pattern: found an object; wanted { "String": … } or { "Regex": … } of at most 8192 characters.',
      'm/tokenizer.json:decoder.type: found "CTC"; wanted one of Sequence, BPEDecoder, ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Strip, WordPiece.',
    ]);
  });

  test("lists eight faults of a kind and counts the others", () => {
    const vocab = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`t${i}`, 7]));
    const lines = refusal(() => fromTokenizerJson({ model: { type: "BPE", vocab, merges: [] } })).split("\n");
    expect(lines).toHaveLength(9);
    expect(lines[0]).toBe(
      'tokenizer.json:model.vocab["t1"]: found id 7 a second time; wanted one token per id.',
    );
    expect(lines[8]).toBe("tokenizer.json:model.vocab: found 11 more faults of this kind; wanted none.");
  });

  test("refuses a merge whose parts or result are no tokens", () => {
    const json = { model: { ...letters.model, merges: ["a b", "b c", "a x"] } };
    expect(refusal(() => fromTokenizerJson(json)).split("\n")).toEqual([
      'tokenizer.json:model.merges[1]: found "bc"; wanted tokens of `vocab`.',
      'tokenizer.json:model.merges[2]: found "x", "ax"; wanted tokens of `vocab`.',
    ]);
  });

  test("refuses an added token that takes another token's id", () => {
    expect(refusal(() => fromTokenizerJson({ ...letters, added_tokens: [{ id: 2, content: "<s>" }] }))).toBe(
      'tokenizer.json:added_tokens[0].id: found 2, the id of "c"; wanted an id of its own.',
    );
  });

  test("names a pattern that does not compile", () => {
    const pre_tokenizer = { type: "Split", pattern: { Regex: "(?<x" }, behavior: "Isolated", invert: false };
    expect(refusal(() => fromTokenizerJson({ ...letters, pre_tokenizer }))).toMatch(
      /^tokenizer\.json: found a definition that does not compile \(Invalid regular expression/,
    );
  });
});

describe("BOS", () => {
  const template = {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    special_tokens: { "<s>": { id: "<s>", ids: [4], tokens: ["<s>"] } },
  };
  const json = { ...letters, added_tokens: [{ id: 4, content: "<s>", special: true }] };

  test("follows the post-processor, and can be forced or left out", () => {
    const tokenizer = fromTokenizerJson({ ...json, post_processor: template });
    expect(tokenizer.addsBos).toBe(true);
    expect(tokenizer.encode("abc")).toEqual([4, 3, 2]);
    expect(tokenizer.encode("abc", { bos: true })).toEqual([4, 3, 2]);
    expect(tokenizer.encode("abc", { bos: false })).toEqual([3, 2]);
  });

  test("follows add_bos_token where there is no post-processor", () => {
    const tokenizer = fromTokenizerJson(json, { bos_token: "<s>", add_bos_token: true });
    expect(tokenizer.encode("abc")).toEqual([4, 3, 2]);
    expect(fromTokenizerJson(json, { bos_token: "<s>" }).encode("abc")).toEqual([3, 2]);
    expect(fromTokenizerJson(json, { bos_token: "<s>" }).encode("abc", { bos: true })).toEqual([4, 3, 2]);
  });

  test("is refused where the tokenizer has none", () => {
    expect(refusal(() => fromTokenizerJson(letters).encode("a", { bos: true }))).toBe(
      "bos: found true; wanted a tokenizer with a BOS token. Leave BOS out for this model.",
    );
  });
});

describe("a tokenizer's own refusals", () => {
  const tokenizer = fromTokenizerJson(read("byte-bpe/tokenizer.json"));

  test("half a surrogate pair has no encoding", () => {
    expect(refusal(() => tokenizer.encode("a\ud83d"))).toBe(
      "text: found half of a surrogate pair; wanted well-formed Unicode. Repair the text's encoding.",
    );
  });

  test("an id beyond the vocabulary has no text, but a label", () => {
    expect(refusal(() => tokenizer.decode([0, 512]))).toBe(
      "ids[1]: found 512; wanted the id of a token, below 512.",
    );
    expect(tokenizer.pieces([512])).toEqual(["<no token 512>"]);
  });

  test("there is no chat without a template, and a template's own complaint is passed on", () => {
    const messages = [{ role: "user", content: "Hi" }];
    expect(refusal(() => tokenizer.chat(messages))).toMatch(/^chat template: found none;/);
    const strict = fromTokenizerJson(letters, { chat_template: "{{ raise_exception('system first') }}" });
    expect(refusal(() => strict.chat(messages))).toBe(
      'tokenizer_config.json:chat_template: found a template that stops with "system first"; wanted one that renders these messages.',
    );
  });

  test("a chat_template.jinja takes precedence over the settings", () => {
    const settings = { chat_template: "settings", bos_token: "a" };
    const options = { chatTemplate: "{{ bos_token }}{{ messages[0].content }}" };
    expect(fromTokenizerJson(letters, settings, options).chat([{ role: "user", content: "Hi" }])).toBe("aHi");
  });
});

describe("labels", () => {
  test("show a leading space, incomplete UTF-8 as bytes, special tokens as they are", () => {
    const tokenizer = fromTokenizerJson(read("byte-bpe/tokenizer.json"));
    expect(tokenizer.pieces(tokenizer.encode(" Mary<|im_end|>"))).toEqual([" Mary", "<|im_end|>"]);
    expect(tokenizer.pieces(tokenizer.encode("\u2728"))).toEqual(["\\xE2", "\\x9C", "\\xA8"]);
  });

  test("show SentencePiece's spaces and bytes in the same way", () => {
    const tokenizer = fromTokenizerJson(read("spm-bpe/tokenizer.json"));
    expect(tokenizer.pieces(tokenizer.encode("Mary \u2728", { bos: false }))).toEqual([
      " Mary",
      " ",
      "\\xE2",
      "\\x9C",
      "\\xA8",
    ]);
  });
});

describe("fromGguf", () => {
  const good = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["a", "b", "ab", "<s>"],
    "tokenizer.ggml.token_type": [1, 1, 1, 3],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 3,
  };

  test("reads a Map as it reads an object", () => {
    expect(fromGguf(new Map(Object.entries(good))).encode("<s>ab")).toEqual(fromGguf(good).encode("<s>ab"));
    expect(fromGguf(good).encode("<s>ab")).toEqual([3, 2]);
  });

  test("adds BOS where the file says so", () => {
    expect(fromGguf({ ...good, "tokenizer.ggml.add_bos_token": true }).encode("ab")).toEqual([3, 2]);
    expect(fromGguf({ ...good, "tokenizer.ggml.pre": "llama-bpe" }).encode("ab")).toEqual([3, 2]);
    expect(fromGguf(good).encode("ab")).toEqual([2]);
  });

  test("ends a generation at every id the file names", () => {
    const ends = { "tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.eot_token_id": 3n };
    expect(fromGguf({ ...good, ...ends }).eosIds).toEqual([0, 3]);
  });

  test("lists the pre-tokenizers it knows, and every other fault with them", () => {
    const bad = {
      ...good,
      "tokenizer.ggml.pre": "mystery",
      "tokenizer.ggml.bos_token_id": 4,
      "tokenizer.ggml.token_type": [1],
    };
    expect(refusal(() => fromGguf(bad)).split("\n")).toEqual([
      "GGUF tokenizer.ggml.token_type: found an array of 1; wanted 4 numbers, one for each token.",
      'GGUF tokenizer.ggml.pre: found "mystery"; wanted one of default, gpt-2, phi-2, olmo, smollm, starcoder, llama-bpe, llama-v3, llama3, dbrx, smaug-bpe, qwen2.',
      "GGUF tokenizer.ggml.bos_token_id: found 4; wanted an id below 4.",
    ]);
  });

  test("refuses other kinds of tokenizer", () => {
    expect(refusal(() => fromGguf({ ...good, "tokenizer.ggml.model": "t5" }))).toBe(
      'GGUF tokenizer.ggml.model: found "t5"; wanted one of gpt2, llama. Use the checkpoint\'s safetensors and tokenizer.json instead.',
    );
  });
});

/** Loads, then uses what was loaded: all may refuse, none may fail in another way or give ids without a token. */
function survive(load: () => ReturnType<typeof fromTokenizerJson>): boolean {
  try {
    const tokenizer = load();
    const ids = tokenizer.encode("Mary gave 12 \u20ac<|im_end|> ");
    for (const id of ids)
      if (!(Number.isInteger(id) && id >= 0 && id < tokenizer.size)) throw new Error(`id ${id}`);
    tokenizer.pieces(ids);
    tokenizer.decode(ids);
    return true;
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return false;
  }
}

describe("damaged input is loaded or refused, never a crash", () => {
  // Patterns that take exponential time are not among the damages.
  test.each(["byte-bpe", "split-bpe", "spm-bpe", "unigram"])("tokenizer.json: %s", (name) => {
    const [json, config]: [Json, Json] = [
      read(`${name}/tokenizer.json`),
      read(`${name}/tokenizer_config.json`),
    ];
    const source = random(name.length);
    let loaded = 0;
    const cases = 150;
    for (let i = 0; i < cases; i++) {
      const damaged = mutate(json, source);
      const damagedConfig = i % 3 === 0 ? mutate(config, source) : config;
      if (survive(() => fromTokenizerJson(damaged, damagedConfig))) loaded++;
    }
    // Both outcomes must be frequent, or the damage is too harmless or too gross to test anything.
    expect(loaded).toBeGreaterThan(cases / 20);
    expect(loaded).toBeLessThan((cases * 19) / 20);
  });

  test("GGUF metadata", () => {
    const { metadata }: { metadata: Json } = read("sentencepiece.json").tables[0];
    const source = random(3);
    const outcomes = Array.from({ length: 200 }, () =>
      survive(() => fromGguf(mutate(metadata, source) as object as Record<string, unknown>)),
    );
    expect(new Set(outcomes)).toEqual(new Set([true, false]));
  });
});
