/** @file What every tokenizer offers, whichever file it came from. */

/** One message of a chat. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Number of ids, added tokens included. */
  readonly size: number;
  /** Id put in front of every prompt when `bos` is asked for; undefined if the tokenizer has none. */
  readonly bosId: number | undefined;
  /** Ids that end a generation. */
  readonly eosIds: readonly number[];
  /** Whether the tokenizer's own setting puts BOS in front. */
  readonly addsBos: boolean;
  /** Whether words are tokens as wholes only, having no merges: one that the vocabulary lacks is spelled byte by byte. */
  readonly wholeWords?: boolean;
  /** Encodes the text exactly as given (leading spaces count); `bos` defaults to {@link addsBos}. */
  encode(text: string, options?: { readonly bos?: boolean }): number[];
  /** Decodes ids, special tokens included as text. */
  decode(ids: readonly number[]): string;
  /** The text of each token by itself, for labels: a leading space is shown as a space; incomplete UTF-8 as `\xNN`. */
  pieces(ids: readonly number[]): string[];
  /** Renders a conversation with the checkpoint's chat template; an InputError if it has none. */
  chat(messages: readonly ChatMessage[], options?: { readonly addGenerationPrompt?: boolean }): string;
}
