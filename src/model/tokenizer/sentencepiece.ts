/**
 * @file SentencePiece's own merging: of all neighbouring pairs whose concatenation is a token, the pair that makes
 * the token of the highest score is merged first, the leftmost of equals; until no pair makes a token.
 *
 * Source: google/sentencepiece, `bpe_model.cc` (`Model::SampleEncode`); llama.cpp, `llm_tokenizer_spm_session`.
 */

/**
 * Ranks of pairs, for the library's BPE, which merges the pair of the lowest rank, the leftmost of equals, and
 * looks pairs up by `JSON.stringify([left, right])`. A list of merges could not say the same: two ways to make
 * one token would get two ranks, and a character that is no token could not be merged.
 */
class ScoreRanks extends Map<string, number> {
  readonly #rankOfToken: ReadonlyMap<string, number>;

  constructor(rankOfToken: ReadonlyMap<string, number>) {
    super();
    this.#rankOfToken = rankOfToken;
  }

  override get(pair: string): number | undefined {
    const [left, right] = JSON.parse(pair) as [string, string];
    return this.#rankOfToken.get(left + right);
  }
}

/** Ranks for tokens and their scores, token i having score i; tokens of equal score share a rank. */
export function scoreRanks(tokens: readonly string[], scores: readonly number[]): Map<string, number> {
  const descending = [...new Set(scores)].sort((a, b) => b - a);
  const rankOfScore = new Map(descending.map((score, rank) => [score, rank]));
  const rankOfToken = new Map<string, number>();
  tokens.forEach((token, i) => {
    const rank = rankOfScore.get(scores[i] ?? Number.NaN);
    if (rank !== undefined) rankOfToken.set(token, rank);
  });
  return new ScoreRanks(rankOfToken);
}
