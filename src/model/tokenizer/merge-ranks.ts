/**
 * @file Which pair BPE merges next. The library's model merges the pair of the lowest rank, the leftmost of
 * equals, and asks for a rank by `JSON.stringify([left, right])`. Both kinds here answer that question without
 * a table of such keys, which would take longer to build than all the rest of a tokenizer.
 */

import { MAX_TOKENS } from "./definition.ts";

const pairOf = (key: string): readonly [string, string] => JSON.parse(key) as [string, string];

/** Ranks of the pairs of a list of merges. */
export class ListedRanks extends Map<string, number> {
  readonly #idOfToken: ReadonlyMap<string, number>;
  readonly #rankOfIds = new Map<number, number>();

  constructor(idOfToken: ReadonlyMap<string, number>) {
    super();
    this.#idOfToken = idOfToken;
  }

  /** The two ids as one number, exact below 2^53; undefined unless both are tokens. */
  #ids(left: string, right: string): number | undefined {
    const first = this.#idOfToken.get(left);
    const second = this.#idOfToken.get(right);
    return first === undefined || second === undefined ? undefined : first * MAX_TOKENS + second;
  }

  /** Gives a pair its rank, of several the last; false unless both are tokens. */
  add({
    left,
    right,
    rank,
  }: {
    readonly left: string;
    readonly right: string;
    readonly rank: number;
  }): boolean {
    const ids = this.#ids(left, right);
    if (ids !== undefined) this.#rankOfIds.set(ids, rank);
    return ids !== undefined;
  }

  override get(key: string): number | undefined {
    const ids = this.#ids(...pairOf(key));
    return ids === undefined ? undefined : this.#rankOfIds.get(ids);
  }
}

/**
 * SentencePiece's ranks: any pair may merge whose concatenation is a token, the token of the highest score first.
 * A list of merges could not say the same: two ways to make one token would get two ranks, and a character that
 * is no token could not be merged.
 *
 * Source: google/sentencepiece, `bpe_model.cc` (`Model::SampleEncode`); llama.cpp, `llm_tokenizer_spm_session`.
 */
class ScoreRanks extends Map<string, number> {
  readonly #rankOfToken: ReadonlyMap<string, number>;

  constructor(rankOfToken: ReadonlyMap<string, number>) {
    super();
    this.#rankOfToken = rankOfToken;
  }

  override get(key: string): number | undefined {
    const [left, right] = pairOf(key);
    return this.#rankOfToken.get(left + right);
  }
}

/** Ranks for the scores of tokens; tokens of equal score share a rank. */
export function scoreRanks(scores: ReadonlyMap<string, number>): Map<string, number> {
  const descending = [...new Set(scores.values())].sort((a, b) => b - a);
  const rankOfScore = new Map(descending.map((score, rank) => [score, rank]));
  return new ScoreRanks(new Map([...scores].map(([token, score]) => [token, rankOfScore.get(score) ?? 0])));
}
