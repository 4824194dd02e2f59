/** @file A tokenizer of whole words for tests, and files of pairs to mutate. */
import type { Random } from "../core/random.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

/** How a tokenizer of the field cuts numbers: digit by digit (SmolLM2), in twos (GPT-2's years), in threes (Llama 3). */
export type DigitRule = "each" | "twos" | "threes";

const digitPatterns: { readonly [K in DigitRule]: string } = {
  each: " (?=\\d)|\\d",
  twos: " ?\\d{1,2}",
  threes: " (?=\\d)|\\d{1,3}",
};

/**
 * A tokenizer with one token per word, the space before it included; numbers are cut by `digits`, and a word for which
 * `cutsInTwo` holds (it gets the word with its space) becomes two tokens. Ids are given in order of first use.
 */
export function wordTokenizer(
  options: {
    readonly digits?: DigitRule;
    readonly cutsInTwo?: (word: string) => boolean;
    readonly bos?: boolean;
  } = {},
): Tokenizer {
  const pattern = new RegExp(
    `${digitPatterns[options.digits ?? "each"]}| ?\\p{L}+| ?[^\\s\\p{L}\\d]|\\s`,
    "gu",
  );
  const cutsInTwo = options.cutsInTwo ?? (() => false);
  const addsBos = options.bos ?? false;
  const bosPiece = "<s>";
  const vocabulary = [bosPiece];
  const idOf = (piece: string): number => {
    const known = vocabulary.indexOf(piece);
    return known >= 0 ? known : vocabulary.push(piece) - 1;
  };
  const piecesOf = (text: string): string[] =>
    (text.match(pattern) ?? []).flatMap((word) =>
      cutsInTwo(word) ? [word.slice(0, -1), word.slice(-1)].filter((part) => part !== "") : [word],
    );
  const decode = (ids: readonly number[]): string[] => ids.map((id) => vocabulary[id] ?? "");
  return {
    size: 100_000,
    bosId: 0,
    eosIds: [],
    addsBos,
    encode: (text, { bos = addsBos } = {}) => [...(bos ? [0] : []), ...piecesOf(text).map(idOf)],
    decode: (ids) => decode(ids).join(""),
    pieces: decode,
    chat: () => {
      throw new Error("the word tokenizer has no chat template");
    },
  };
}

/** A valid file of pairs, drawn at random: the seed of a fuzz of the reader. */
export function drawPairsFile(source: Random): string {
  const words = ["When", " Mary", " é", " 日本", ' "quoted"', "\\back", "\n", "\u2028", " 17", "👩‍🔬"];
  const text = (): string =>
    Array.from({ length: 1 + source.integer(6) }, () => words[source.integer(words.length)]).join("");
  const line = (): string => {
    const alternatives =
      source.uniform() < 0.3 ? Array.from({ length: 1 + source.integer(3) }, text) : text();
    return JSON.stringify({
      clean: text(),
      corrupt: text(),
      answer: alternatives,
      ...(source.uniform() < 0.5 ? { foil: text() } : {}),
      ...(source.uniform() < 0.3 ? { id: text() } : {}),
    });
  };
  const ends = ["\n", "\r\n", "\n\n"];
  return Array.from({ length: 1 + source.integer(4) }, () => line() + ends[source.integer(ends.length)]).join(
    "",
  );
}

/** The file with a few edits at random places: characters dropped, doubled, swapped for JSON's own, or a tail cut off. */
export function mutatePairsFile(file: string, source: Random): string {
  const inserts = [
    '"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\\",
    "\\ud800",
    "null",
    "1e999",
    "-",
    "\u0000",
    '"__proto__":',
    '"clean":',
    "\n",
    "[".repeat(5000),
  ];
  let mutated = file;
  for (let edit = 1 + source.integer(3); edit > 0; edit--) {
    const at = source.integer(mutated.length + 1);
    const dropped = source.integer(4) * source.integer(8);
    const inserted =
      source.uniform() < 0.6
        ? (inserts[source.integer(inserts.length)] ?? "")
        : mutated.slice(at, at + dropped);
    mutated =
      source.uniform() < 0.1
        ? mutated.slice(0, at)
        : mutated.slice(0, at) + inserted + mutated.slice(at + dropped);
  }
  return mutated;
}
