/** @file A text with its tokens, by itself and right after another. */
import { flag, type OptionChecks } from "../core/options.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

/** A text and its tokens. */
export interface Tokens {
  readonly text: string;
  /** [pos] */
  readonly ids: readonly number[];
  /** [pos] the text of each token by itself. */
  readonly pieces: readonly string[];
}

/** Encodes a text as it is given. */
export function tokensOf(text: string, tokenizer: Tokenizer, { bos }: { readonly bos: boolean }): Tokens {
  return withPieces(text, tokenizer.encode(text, { bos }), tokenizer);
}

/** How prompts become tokens. */
export interface PromptForm {
  /** Whether BOS goes in front; the tokenizer's own setting where not given. */
  readonly bos?: boolean | undefined;
  /** Prompts are a user's message in the model's chat template, up to where the answer begins. */
  readonly chat?: boolean | undefined;
}

export const formChecks: OptionChecks<PromptForm> = { bos: flag, chat: flag };

/**
 * A prompt as it is given, or in the chat template, and whether BOS went in front.
 * @throws InputError where the model has no chat template.
 */
export function promptTokens(
  text: string,
  tokenizer: Tokenizer,
  { bos, chat = false }: PromptForm,
): { readonly tokens: Tokens; readonly bos: boolean } {
  const written = chat
    ? tokenizer.chat([{ role: "user", content: text }], { addGenerationPrompt: true })
    : text;
  const isFirst = bos ?? (tokenizer.addsBos && !(chat && beginsWithBos(written, tokenizer)));
  return { tokens: tokensOf(written, tokenizer, { bos: isFirst }), bos: isFirst };
}

/** Most templates write BOS themselves; a second one would be another prompt. */
function beginsWithBos(text: string, tokenizer: Tokenizer): boolean {
  const [bos = ""] = tokenizer.bosId === undefined ? [] : tokenizer.pieces([tokenizer.bosId]);
  return bos !== "" && text.startsWith(bos);
}

/**
 * The tokens that `text` has right after a prompt: those that follow the prompt's own in the encoding of both together,
 * which is what the model sees. Where the two merge across the seam there is no such thing; `atBoundary` is then false
 * and the tokens are those of the text by itself, and `spacedBegins` says whether a space before it would mend that.
 */
export function continuation(
  text: string,
  tokenizer: Tokenizer,
  { prompt, bos }: { readonly prompt: Tokens; readonly bos: boolean },
): { readonly tokens: Tokens; readonly atBoundary: boolean; readonly spacedBegins: boolean } {
  const together = tokenizer.encode(prompt.text + text, { bos });
  const atBoundary = beginsWith(together, prompt.ids);
  const ids = atBoundary ? together.slice(prompt.ids.length) : tokenizer.encode(text, { bos: false });
  const spacedBegins =
    !atBoundary && beginsWith(tokenizer.encode(`${prompt.text} ${text}`, { bos }), prompt.ids);
  return { tokens: withPieces(text, ids, tokenizer), atBoundary, spacedBegins };
}

/** Whether the prompt's tokens are the first of these, and there are more. */
function beginsWith(ids: readonly number[], prompt: readonly number[]): boolean {
  return ids.length > prompt.length && prompt.every((id, pos) => id === ids[pos]);
}

/** A text's tokens, as `[" Mar" "y"]`. */
export function showTokens({ pieces }: Tokens): string {
  return `[${pieces.map((piece) => JSON.stringify(piece)).join(" ")}]`;
}

function withPieces(text: string, ids: readonly number[], tokenizer: Tokenizer): Tokens {
  return { text, ids, pieces: tokenizer.pieces(ids) };
}
