/**
 * @file Questions with other labels, and low-rank queries and keys taken over from the questions with their own: what tells
 * "the second item" from "the line labelled B".
 * Source: Lieberum et al. 2023, section 5.
 */

import type { Model } from "../model/model.ts";
import { sweep } from "../run/sweep.ts";
import type { Variant } from "../run/variant.ts";
import type { Item, Items, LabelKind } from "../task/question-items.ts";
import { type NodeRequest, sweepOptions } from "./mcq-effects.ts";
import { itemRun, type LetterScores, scoresOf } from "./mcq-scores.ts";
import { cutEdits, rowsOf, type Subspace } from "./mcq-subspace.ts";

/**
 * What becomes of queries and keys: `none` leaves them; `own` cuts both to the rank along the directions of the questions
 * with their own labels; `q`, `k` and `qk` cut both, and take these from the same question with its own labels.
 */
export const swaps = ["none", "own", "q", "k", "qk"] as const;
export type Swap = (typeof swaps)[number];

/** One run of a question. */
export interface Mutated extends LetterScores {
  /** Whether the answer is the one that a code of labels foresees; a code of places foresees the right one. */
  readonly byLabel: number;
  /** Whether the answer is the label that the right option bears with the questions' own labels; NaN where none does. */
  readonly asBefore: number;
}

/** [kind][swap][question] */
export async function mutations(
  model: Model,
  subspace: Subspace,
  {
    items,
    rank,
    ...options
  }: Pick<NodeRequest, "stateBytes" | "onProgress" | "signal"> & {
    readonly items: Items;
    readonly rank: number;
  },
): Promise<Readonly<Partial<Record<LabelKind, readonly (readonly Mutated[])[]>>>> {
  const { kinds } = items;
  const count = items.items.letters.length;
  const all = kinds.map((kind) => items.items[kind] ?? []);
  const own: Float64Array[][][] = [];
  for (const questions of all) own.push(await rowsOf(model, subspace.slots, questions));
  const found = kinds.map(() => swaps.map((): Mutated[] => []));
  const cutting = swaps.slice(1);
  const placeOf = (index: number) => ({
    run: Math.floor(index / cutting.length),
    swap: index % cutting.length,
  });
  const variant = (index: number): Variant => {
    const { run, swap } = placeOf(index);
    const [kind, question] = [Math.floor(run / count), run % count];
    const name = cutting[swap] ?? "own";
    const edits = cutEdits(subspace, all[kind]?.[question] as Item, {
      question,
      rank,
      valuesOf({ site }, at) {
        if (site === "v") return undefined;
        const from = name !== "own" && name.includes(site) ? subspace.rows : own[kind];
        return from?.[at]?.[question];
      },
    });
    return { run, edits };
  };
  const put = (run: number, swap: Swap, reading: Parameters<typeof scoresOf>[1]): void => {
    const [kind, question] = [Math.floor(run / count), run % count];
    const item = all[kind]?.[question] as Item;
    const original = items.items.letters[question] as Item;
    const scores = scoresOf(item, reading);
    const said = (place: number): number => (place < 0 ? Number.NaN : Number(scores.top === place));
    const into = found[kind]?.[swaps.indexOf(swap)];
    if (into === undefined) return;
    into[question] = {
      ...scores,
      byLabel: said(placeByLabel(item, original, swap)),
      asBefore: said(item.labels.indexOf(original.labels[item.correct] ?? "")),
    };
  };
  const runs = all.flatMap((questions) => questions.map(itemRun));
  await sweep(
    model,
    { runs, count: runs.length * cutting.length, variant },
    {
      ...sweepOptions(options),
      onRun: (run, reading) => put(run, "none", reading),
      onReading(index, reading) {
        const { run, swap } = placeOf(index);
        put(run, cutting[swap] ?? "own", reading);
      },
    },
  );
  return Object.fromEntries(kinds.map((kind, at) => [kind, found[at] ?? []]));
}

/**
 * The place whose label is read out if queries and keys stand for labels. A query taken over asks for the label that the
 * right option had before; keys taken over say that each line bears the label it had before. -1 where no line bears it.
 */
export function placeByLabel(
  item: Pick<Item, "labels" | "correct">,
  original: Pick<Item, "labels">,
  swap: Swap,
): number {
  const { labels, correct } = item;
  const asked = swap === "q" || swap === "qk" ? original.labels[correct] : labels[correct];
  const borne = swap === "k" || swap === "qk" ? original.labels : labels;
  return borne.indexOf(asked ?? "");
}
