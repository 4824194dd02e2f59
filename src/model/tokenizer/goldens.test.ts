/** @file Tokenizers against what Hugging Face's and SentencePiece's own libraries make of the same text. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gguf } from "@huggingface/gguf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromGguf } from "./from-gguf.ts";
import { fromTokenizerJson } from "./from-tokenizer-json.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const goldens = join(root, "test/goldens/tokenizer");
const read = (...path: string[]) => JSON.parse(readFileSync(join(goldens, ...path), "utf8"));
const trained = ["byte-bpe", "split-bpe", "spm-bpe", "unigram"] as const;
const load = (name: (typeof trained)[number]) =>
  fromTokenizerJson(read(name, "tokenizer.json"), read(name, "tokenizer_config.json"));

interface Case {
  readonly text: string;
  readonly ids: number[];
  readonly plain: number[];
  readonly decoded: string;
}

describe.each(trained)("%s", (name) => {
  const table = read(name, "cases.json");
  const tokenizer = load(name);

  test("encodes as Hugging Face does, special tokens around the text included", () => {
    const cases: Case[] = table.cases;
    const found = cases.map(({ text }) => ({ text, ids: tokenizer.encode(text) }));
    expect(found).toEqual(cases.map(({ text, ids }) => ({ text, ids })));
  });

  test("decodes as Hugging Face does", () => {
    const cases: Case[] = table.cases;
    const found = cases.map(({ plain }) => tokenizer.decode(plain));
    expect(found).toEqual(cases.map(({ decoded }) => decoded));
  });

  test("knows its size, BOS and EOS", () => {
    expect([tokenizer.size, tokenizer.bosId ?? null, tokenizer.eosIds]).toEqual([
      table.size,
      table.bos,
      [table.eos],
    ]);
  });
});

test("a chat template renders as Hugging Face renders it", () => {
  const { chat } = read("byte-bpe", "cases.json");
  const tokenizer = load("byte-bpe");
  expect(tokenizer.chat(chat.messages)).toBe(chat.text);
  expect(tokenizer.chat(chat.messages, { addGenerationPrompt: true })).toBe(chat.prompted);
});

describe("components, each by itself", () => {
  interface Component<Example> {
    readonly config: object;
    readonly cases: readonly Example[];
  }
  const components: {
    readonly pre_tokenizers: readonly Component<[text: string, pieces: string[]]>[];
    readonly normalizers: readonly Component<[text: string, normalized: string]>[];
    readonly decoders: readonly Component<[tokens: string[], text: string]>[];
  } = read("components.json");
  const named = <Example>(list: readonly Component<Example>[]) =>
    list.map((component) => ({ ...component, name: JSON.stringify(component.config) }));
  const unknown = "<unk>";

  /** A tokenizer that looks whole words up: its tokens are what the component made of the text. */
  function lookUp(part: object, words: readonly string[]) {
    const vocab = Object.fromEntries([...new Set([unknown, ...words])].map((word, id) => [word, id]));
    return fromTokenizerJson({ model: { type: "WordLevel", vocab, unk_token: unknown }, ...part });
  }

  test.each(named(components.pre_tokenizers))("pre-tokenizer $name", ({ config, cases }) => {
    const words = cases.flatMap(([, pieces]) => pieces);
    const tokenizer = lookUp({ pre_tokenizer: config }, words);
    const found = cases.map(([text]) => [text, tokenizer.pieces(tokenizer.encode(text))]);
    expect(found).toEqual(cases);
  });

  test.each(named(components.normalizers))("normalizer $name", ({ config, cases }) => {
    const words = cases.map(([, text]) => text);
    const tokenizer = lookUp({ normalizer: config }, words);
    const found = cases.map(([text]) => [text, tokenizer.pieces(tokenizer.encode(text)).join("")]);
    expect(found).toEqual(cases);
  });

  test.each(named(components.decoders))("decoder $name", ({ config, cases }) => {
    const words = [...new Set([unknown, ...cases.flatMap(([tokens]) => tokens)])];
    const tokenizer = lookUp({ decoder: config }, words);
    const found = cases.map(([tokens]) => [
      tokens,
      tokenizer.decode(tokens.map((token) => words.indexOf(token))),
    ]);
    expect(found).toEqual(cases);
  });
});

describe("SentencePiece in a GGUF", () => {
  const { tables }: { tables: { metadata: Record<string, unknown>; cases: Case[] }[] } =
    read("sentencepiece.json");

  test.each(tables)(
    "encodes as SentencePiece does (space prefix or none: table %#)",
    ({ metadata, cases }) => {
      const tokenizer = fromGguf(metadata);
      const found = cases.map(({ text }) => ({ text, ids: tokenizer.encode(text, { bos: false }) }));
      expect(found).toEqual(cases.map(({ text, ids }) => ({ text, ids })));
      expect(tokenizer.addsBos).toBe(true);
    },
  );
});

const file = "SmolLM2-135M-Instruct.Q4_1.gguf";
const models = process.env.CROSSPATCH_MODELS ?? join(root, "../shared/models");
const path = join(models, file);
const reason = existsSync(path) ? "" : ` (skipped: no ${file} in CROSSPATCH_MODELS or ../shared/models)`;

describe.skipIf(reason !== "")(`SmolLM2 from its GGUF${reason}`, () => {
  const table = read("smollm2.json");
  const tokenizer = gguf(path, { allowLocalFile: true }).then(({ metadata }) => fromGguf({ ...metadata }));

  test("encodes and decodes as Hugging Face does", async () => {
    const { encode, decode } = await tokenizer;
    const cases: Case[] = table.cases;
    const found = cases.map(({ text, ids }) => ({ text, ids: encode(text), decoded: decode(ids) }));
    expect(found).toEqual(cases);
  });

  test("renders a chat as Hugging Face does", async () => {
    const { chat } = await tokenizer;
    expect(chat(table.chat.messages)).toBe(table.chat.text);
    expect(chat(table.chat.messages, { addGenerationPrompt: true })).toBe(table.chat.prompted);
  });

  test("adds no BOS of its own, and puts it in front when asked", async () => {
    const { addsBos, encode, bosId, eosIds } = await tokenizer;
    expect([addsBos, bosId, eosIds]).toEqual([false, table.bos, [table.eos]]);
    expect(encode("a", { bos: true })).toEqual([table.bos, ...encode("a")]);
  });
});

describe("byte-level BPE", () => {
  test("decoding the encoding of any text gives the text", () => {
    const tokenizer = load("byte-bpe");
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  test("the labels of a text's tokens join to the text where they are whole characters", () => {
    const tokenizer = load("byte-bpe");
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii", maxLength: 60 }), (text) => {
        expect(tokenizer.pieces(tokenizer.encode(text)).join("")).toBe(text);
      }),
      { numRuns: 200, seed: 1 },
    );
  });
});
