/** @file Pairs of token ids, for models without a tokenizer. */
import type { Pair } from "../../src/model/pair.ts";
import type { Tokens } from "../../src/model/pair-tokens.ts";

export const idTokens = (ids: readonly number[]): Tokens => ({
  text: ids.join(),
  ids,
  pieces: ids.map((id) => `<${id}>`),
});

/** A pair of prompts of ids, with the ids of the answer and, where there is one, of the foil. */
export function idPair(
  clean: readonly number[],
  corrupt: readonly number[],
  { answer, foil, id = "0" }: { readonly answer: number; readonly foil?: number; readonly id?: string },
): Pair {
  return {
    id,
    where: `pair ${id}`,
    clean: idTokens(clean),
    corrupt: idTokens(corrupt),
    answers: [idTokens([answer])],
    foils: foil === undefined ? [] : [idTokens([foil])],
    differing: clean.flatMap((token, position) => (token === corrupt[position] ? [] : [position])),
  };
}
