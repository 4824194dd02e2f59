/** @file What a run of the multiple-choice procedure says, in sentences. */

import { at, type Cell, labelsOf } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { formatNumber, unitOf } from "../result/words.ts";
import { type StepRecord, stepOf } from "./mcq-steps.ts";

const percent = ({ value, ciLow, ciHigh }: Cell): string => {
  const rounded = (share: number): string => String(Math.round(100 * share));
  if (ciLow === undefined || ciHigh === undefined) return `${rounded(value)} %`;
  return `${rounded(value)} % [${rounded(ciLow)}, ${rounded(ciHigh)}]`;
};

/** One sentence for each question that has an answer. */
export function mcqVerdict(result: Dataset): string[] {
  const chance = Number(stepOf(result, "metric")?.chance);
  const accuracy = at(result, "accuracy", {});
  if (!((accuracy.ciLow ?? accuracy.value) > chance)) {
    return [
      `The model says the right letter ${percent(accuracy)} of the time, not above chance (${percent({ value: chance })}): there is no finding of the answer here to be taken apart.`,
    ];
  }
  const verdict: string[] = [];
  const set = stepOf(result, "set");
  const untold = untoldShare(result);
  if (untold !== undefined) verdict.push(untold);
  else if (set !== undefined) {
    const kept = at(result, "set_faithfulness", { size: Number(set.needed) });
    verdict.push(
      `${set.needed} of ${set.nodes} nodes at the last position keep ${percent(kept)} of the metric while all others come from other questions.`,
    );
  }
  const ranks = stepOf(result, "ranks");
  if (ranks !== undefined) verdict.push(rankWords(ranks));
  if (stepOf(result, "mutations") !== undefined) verdict.push(...codeWords(result, chance));
  return verdict;
}

/** Why no share of the metric that nodes keep can be told; undefined where it can. */
export function untoldShare(result: Dataset): string | undefined {
  const set = stepOf(result, "set");
  if (set === undefined || set.needed !== null) return undefined;
  const { change, ci_low, ci_high } = set.all_resampled as Readonly<Record<string, number>>;
  const [value, low, high] = [change, ci_low, ci_high].map((own = Number.NaN) =>
    formatNumber(Number(own.toPrecision(2))),
  );
  return `With all ${set.nodes} nodes at the last position from other questions the metric changes by ${value} ${unitOf(result)} [${low}, ${high}], an interval with 0 in it: no share that some of them keep can be told.`;
}

/** Names of heads in a sentence; the tables have them all. */
const MAX_HEADS = 5;

function rankWords(ranks: StepRecord): string {
  const heads = ranks.heads as readonly string[];
  const needed = ranks.needed as Readonly<Record<string, number | null>>;
  const words = (
    [
      ["qk", "queries and keys"],
      ["v", "values"],
    ] as const
  ).map(([cut, what]) => {
    const rank = needed[cut];
    return rank === null || rank === undefined
      ? `${what} can be cut to rank 0, their mean, at no loss that shows`
      : `${what} need rank ${rank}`;
  });
  const more = heads.length > MAX_HEADS ? ` and ${heads.length - MAX_HEADS} more` : "";
  const named = heads.slice(0, MAX_HEADS).join(", ") + more;
  const which = heads.length === 1 ? "head that is cut" : "heads that are cut";
  return `Of the ${which} (${named}), ${words.join("; ")}.`;
}

/** Whether a query taken over from the questions' own labels finds a place or a label. */
function codeWords(result: Dataset, chance: number): string[] {
  const cell = (name: string, swap: string): Cell =>
    at(result, `mutation_${name}`, { labels: "shuffled", swap });
  if (!labelsOf(result, "labels").includes("shuffled")) return [];
  const [right, before] = [cell("accuracy", "none"), cell("as_before", "none")];
  if (!((right.ciLow ?? right.value) > chance)) {
    return (before.ciLow ?? before.value) > chance
      ? [
          `With its labels in another order the model still says the letter that the right place had before (${percent(before)}; the letter that it has now: ${percent(right)}): it goes by places and does not read the labels.`,
        ]
      : [
          `With its labels in another order the model is not above chance (${percent(right)}): places and labels cannot be told apart.`,
        ];
  }
  const [place, label] = [cell("accuracy", "q"), cell("by_label", "q")];
  const figures = `with queries from the unshuffled question the answer is at the same place ${percent(place)}, on the line with the same label ${percent(label)} of the time`;
  if ((label.ciLow ?? label.value) > (place.ciHigh ?? place.value))
    return [`The code is of labels: ${figures}.`];
  if ((place.ciLow ?? place.value) > (label.ciHigh ?? label.value))
    return [`The code is of places: ${figures}.`];
  return [`Places and labels both count, or neither: ${figures}.`];
}
