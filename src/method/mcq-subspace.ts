/**
 * @file Queries at the last position and keys and values at the options of some heads, cut down to their first principal
 * directions. Directions are those of the other half of the questions, so that no question is cut along its own.
 * Source: Lieberum et al. 2023, section 5.
 */

import type { Model } from "../model/model.ts";
import { cutToRank, type Directions, principalDirections } from "../numeric/svd.ts";
import type { Edit } from "../run/edit.ts";
import { forward } from "../run/forward.ts";
import { sweep } from "../run/sweep.ts";
import type { Variant } from "../run/variant.ts";
import type { Item } from "../task/question-items.ts";
import type { HeadName } from "./backups.ts";
import { type NodeRequest, sweepOptions } from "./mcq-effects.ts";
import { itemRun, type LetterScores, scoresOf } from "./mcq-scores.ts";

/** A head that reads the right option, and where it finds the keys. */
export interface LetterHead extends HeadName {
  readonly readsLabels: boolean;
}

/** Sites that are cut, before rotary embedding. */
type CutSite = "q" | "k" | "v";
/** Which of them together. */
export const cuts = ["q", "k", "qk", "v", "qkv"] as const;

/** A vector, or one for each option, of one head. Heads that share keys and values share a slot. */
interface Slot {
  readonly site: CutSite;
  readonly layer: number;
  /** Query head of `q`, key-value head of `k` and `v`. */
  readonly head: number;
  readonly readsLabels: boolean;
}

/** What the heads' vectors are on questions, and the directions they are cut along. */
export interface Subspace {
  readonly slots: readonly Slot[];
  /** [slot][question] rows [vector, d_head]. */
  readonly rows: readonly (readonly Float64Array[])[];
  /** [slot][fold] */
  readonly directions: readonly (readonly Directions[])[];
  /** [question] the fold whose directions cut it: those fitted to the questions of the other one. */
  readonly folds: readonly number[];
}

/** Questions captured at once. */
const BATCH = 8;

/** Collects vectors on the questions and fits directions to either half of them. */
export async function fitSubspace(
  model: Model,
  heads: readonly LetterHead[],
  items: readonly Item[],
): Promise<Subspace> {
  const slots = slotsOf(model, heads);
  const rows = await rowsOf(model, slots, items);
  const folds = foldsOf(items);
  const width = model.architecture.dHead;
  const directions = rows.map((own) =>
    [0, 1].map((fold) => {
      const fitted = own.filter((_, index) => folds[index] !== fold);
      return principalDirections(Float64Array.from(fitted.flatMap((part) => [...part])), width);
    }),
  );
  return { slots, rows, directions, folds };
}

/** The questions of each right place in turn, so that the halves differ by one question at most, in each place and in all. */
function foldsOf(items: readonly Pick<Item, "correct">[]): number[] {
  const folds = items.map(() => 0);
  let ahead: number | undefined; // the half that has one more
  for (const place of new Set(items.map(({ correct }) => correct))) {
    const own = [...items.keys()].filter((index) => items[index]?.correct === place);
    const first = ahead === undefined ? place % 2 : 1 - ahead;
    for (const [turn, index] of own.entries()) folds[index] = (first + turn) % 2;
    if (own.length % 2 === 1) ahead = ahead === undefined ? first : undefined;
  }
  return folds;
}

function slotsOf({ architecture }: Model, heads: readonly LetterHead[]): Slot[] {
  const group = architecture.heads / architecture.kvHeads;
  const slots = heads.map(({ layer, head, readsLabels }): Slot => ({ site: "q", layer, head, readsLabels }));
  const shared = new Map<string, Slot>();
  for (const { layer, head, readsLabels } of heads) {
    const kvHead = Math.floor(head / group);
    for (const site of ["k", "v"] as const) {
      const key = `${site}${layer}.${kvHead}.${readsLabels}`;
      if (!shared.has(key)) shared.set(key, { site, layer, head: kvHead, readsLabels });
    }
  }
  return [...slots, ...shared.values()];
}

/** Positions of a slot's vectors on a question. */
function positionsOf({ site, readsLabels }: Slot, { clean, labelAt, textAt }: Item): readonly number[] {
  if (site === "q") return [clean.ids.length - 1];
  return readsLabels ? labelAt : textAt;
}

/** [slot][question] vectors of unedited runs. */
export async function rowsOf(
  model: Model,
  slots: readonly Slot[],
  items: readonly Item[],
): Promise<Float64Array[][]> {
  const { heads, kvHeads, dHead } = model.architecture;
  const layers = [...new Set(slots.map(({ layer }) => layer))];
  const rows = slots.map((): Float64Array[] => []);
  for (let start = 0; start < items.length; start += BATCH) {
    const batch = items.slice(start, start + BATCH);
    const { caches } = await forward(
      model,
      batch.map(({ clean }) => clean.ids),
      {
        capture: (["q", "k", "v"] as const).map((site) => ({ site, layers })),
        stopAfter: Math.max(...layers) + 1,
      },
    );
    for (const [index, item] of batch.entries()) {
      for (const [at, slot] of slots.entries()) {
        const data = caches[index]?.get(slot.site, slot.layer).data ?? [];
        const count = slot.site === "q" ? heads : kvHeads;
        const positions = positionsOf(slot, item);
        const own = new Float64Array(positions.length * dHead);
        for (const [row, position] of positions.entries()) {
          const from = (position * count + slot.head) * dHead;
          for (let i = 0; i < dHead; i++) own[row * dHead + i] = data[from + i] ?? Number.NaN;
        }
        rows[at]?.push(own);
      }
    }
  }
  return rows;
}

/** A slot's vectors cut to a rank, put in their places on a question. */
export function cutEdits(
  { slots, directions, folds }: Pick<Subspace, "slots" | "directions" | "folds">,
  item: Item,
  {
    question,
    rank,
    valuesOf,
  }: {
    readonly question: number;
    readonly rank: number;
    /** Vectors to cut; undefined leaves the slot as it is. */
    readonly valuesOf: (slot: Slot, at: number) => Float64Array | undefined;
  },
): Edit[] {
  return slots.flatMap((slot, at): Edit[] => {
    const values = valuesOf(slot, at);
    const along = directions[at]?.[folds[question] ?? 0];
    if (values === undefined || along === undefined) return [];
    const cut = cutToRank(along, values, rank);
    const { site, layer, head, readsLabels: _ } = slot;
    return positionsOf(slot, item).map((position, row): Edit => {
      const data = cut.subarray(row * along.width, (row + 1) * along.width);
      const where = { pos: [position], ...(site === "q" ? { head: [head] } : { kv_head: [head] }) };
      const value = { kind: "given", shape: [1, 1, along.width], data } as const;
      return { site, layer, where, action: "replace", value };
    });
  });
}

/** Scores at every rank. */
export interface RankCurves {
  /** [question] */
  readonly clean: readonly LetterScores[];
  /** [cut][rank][question] */
  readonly scores: readonly (readonly (readonly LetterScores[])[])[];
}

/** Runs every question with queries, keys and values cut to each rank. */
export async function rankCurves(
  model: Model,
  subspace: Subspace,
  {
    items,
    ranks,
    ...options
  }: Pick<NodeRequest, "items" | "stateBytes" | "onProgress" | "signal"> & {
    readonly ranks: readonly number[];
  },
): Promise<RankCurves> {
  const clean: LetterScores[] = [];
  const scores = cuts.map(() => ranks.map((): LetterScores[] => []));
  const placeOf = (index: number) => ({
    question: Math.floor(index / (cuts.length * ranks.length)),
    cut: Math.floor(index / ranks.length) % cuts.length,
    rank: index % ranks.length,
  });
  const variant = (index: number): Variant => {
    const { question, cut, rank } = placeOf(index);
    const edits = cutEdits(subspace, items[question] as Item, {
      question,
      rank: ranks[rank] ?? 0,
      valuesOf: ({ site }, at) => (cuts[cut]?.includes(site) ? subspace.rows[at]?.[question] : undefined),
    });
    return { run: question, edits };
  };
  await sweep(
    model,
    { runs: items.map(itemRun), count: items.length * cuts.length * ranks.length, variant },
    {
      ...sweepOptions(options),
      onRun(run, reading) {
        clean[run] = scoresOf(items[run] as Item, reading);
      },
      onReading(index, reading) {
        const { question, cut, rank } = placeOf(index);
        const into = scores[cut]?.[rank];
        if (into) into[question] = scoresOf(items[question] as Item, reading);
      },
    },
  );
  return { clean, scores };
}
