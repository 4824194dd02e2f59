/** @file What is read of a multiple-choice question: the labels' logits at the last position, the right one first. */

import { logSumExp } from "../numeric/logits.ts";
import type { Reading } from "../run/read.ts";
import type { SweepRun } from "../run/variant.ts";
import type { Item } from "../task/question-items.ts";

/** What effects are on. */
export const letterMetrics = ["logit_diff", "loss"] as const;
export type LetterMetric = (typeof letterMetrics)[number];

/** Units of the metrics. */
export const letterUnits: { readonly [M in LetterMetric]: string } = { logit_diff: "logit", loss: "nat" };

/** Scores of one run of a question. */
export interface LetterScores {
  /** Right label's logit less the mean of the others'. */
  readonly logit_diff: number;
  /** Cross-entropy over the labels alone, in nats. */
  readonly loss: number;
  /** 1 where the right label has the largest logit. */
  readonly accuracy: number;
  /** Place of the label with the largest logit. */
  readonly top: number;
}

/** A question as a run of a sweep, read at its last position. */
export function itemRun({ clean, correct, letters }: Item): SweepRun {
  const columns = [letters[correct] ?? -1, ...letters.filter((_, place) => place !== correct)];
  return { ids: clean.ids, read: [{ position: clean.ids.length - 1, readout: { columns } }] };
}

/** Scores of a reading of {@link itemRun}. */
export function scoresOf({ correct }: Item, [position]: Reading): LetterScores {
  const [right = Number.NaN, ...others] = position?.columns ?? [];
  const best = Math.max(...others);
  const place = others.indexOf(best);
  return {
    logit_diff: right - others.reduce((sum, logit) => sum + logit, 0) / others.length,
    loss: logSumExp(Float64Array.from([right, ...others])) - right,
    accuracy: right > best ? 1 : 0,
    top: right > best ? correct : place < correct ? place : place + 1,
  };
}
