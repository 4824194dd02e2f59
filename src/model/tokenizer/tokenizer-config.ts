/** @file What tokenizer_config.json adds to a tokenizer.json: named special tokens, BOS and EOS settings, a template. */

import { z } from "zod";
import { type Faults, MAX_TEMPLATE_LENGTH, MAX_TOKEN_LENGTH, MAX_TOKENS } from "./definition.ts";

const name = z
  .union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)], {
    error: "a token, or an object with its `content`",
  })
  .pipe(z.string().max(MAX_TOKEN_LENGTH))
  .nullish();
const template = z.string().max(MAX_TEMPLATE_LENGTH);
const namedTemplates = z.array(z.object({ name: z.string(), template })).max(64); // at most five seen

const config = z.object({
  bos_token: name,
  eos_token: name,
  unk_token: name,
  pad_token: name,
  sep_token: name,
  cls_token: name,
  add_bos_token: z.boolean().nullish(),
  add_eos_token: z.boolean().nullish(),
  chat_template: z
    .union([template, namedTemplates], { error: "a template, or an array of named ones" })
    .nullish(),
  added_tokens_decoder: z.record(z.string().regex(/^\d{1,9}$/), z.looseObject({})).nullish(),
});

/** The read settings; a field that the file lacks is undefined. */
export interface TokenizerConfig {
  /** By name, e.g. `bos_token`. */
  readonly specialTokens: Readonly<Record<string, string>>;
  readonly addBos: boolean | undefined;
  readonly addEos: boolean | undefined;
  readonly chatTemplate: string | undefined;
  /** Added tokens in the form of a tokenizer.json's. */
  readonly addedTokens: readonly Readonly<Record<string, unknown>>[];
}

/** Reads a tokenizer_config.json; undefined (the file does not exist) has no settings. */
export function readTokenizerConfig(value: unknown, where: string, faults: Faults): TokenizerConfig {
  const read = (value === undefined ? undefined : faults.parse(config, value, where)) ?? {};
  const { add_bos_token, add_eos_token, chat_template, added_tokens_decoder, ...names } = read as z.infer<
    typeof config
  >;
  const added = Object.entries(added_tokens_decoder ?? {});
  if (added.length > MAX_TOKENS)
    faults.add(`${where}.added_tokens_decoder`, `${added.length} tokens`, `at most ${MAX_TOKENS}`);
  return {
    specialTokens: Object.fromEntries(
      Object.entries(names).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
    ),
    addBos: add_bos_token ?? undefined,
    addEos: add_eos_token ?? undefined,
    chatTemplate: chooseTemplate(chat_template ?? undefined, where, faults),
    addedTokens: added.slice(0, MAX_TOKENS).map(([id, token]) => ({ ...token, id: Number(id) })),
  };
}

/** Of several named templates the one called `default`. */
function chooseTemplate(
  given: string | z.infer<typeof namedTemplates> | undefined,
  where: string,
  faults: Faults,
): string | undefined {
  if (!Array.isArray(given)) return given;
  const found = given.find((entry) => entry.name === "default");
  return (
    found?.template ??
    faults.add(
      `${where}.chat_template`,
      given.map((entry) => entry.name).join(", "),
      "a template named default",
    )
  );
}
