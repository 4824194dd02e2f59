/**
 * @file What heads look at from the last position of questions, by value-weighted attention, and the classes that follow.
 * Source: Lieberum et al. 2023, section 4.
 */

import type { Model } from "../model/model.ts";
import { mean } from "../numeric/statistics.ts";
import type { Item } from "../task/question-items.ts";
import { readAttention } from "./attention-scores.ts";
import type { NodeRequest } from "./mcq-effects.ts";

/** Classes of heads; a head that none fits has the empty one. */
export const headClasses = [
  "correct letter",
  "content gatherer",
  "single letter",
  "uniform",
  "amplification",
] as const;
export type HeadClass = (typeof headClasses)[number] | "";

/** What a head must have to be of a class; shares of value-weighted attention, means over questions. */
export const classThresholds = {
  /** On options or, for amplification, on what follows them. */
  least: 0.4,
  /** Of what is on options: on the right one, or on the same one always. */
  most: 0.5,
  /** Of what is on options: no place has more than so many times an even share, and the right one neither. */
  even: 1.5,
} as const;

/** Shares of one head's value-weighted attention from the last position, on one question. */
export interface LastShares {
  /** [option, head] on all tokens of the option. */
  readonly option: Float64Array;
  /** [head] on all labels, and on all options' texts with what separates them. */
  readonly label: Float64Array;
  readonly text: Float64Array;
  /** [head] on the tokens behind the options. */
  readonly tail: Float64Array;
}

/** [question][layer] */
export async function lastShares(
  model: Model,
  { items, onProgress, signal }: Pick<NodeRequest, "items" | "onProgress" | "signal">,
): Promise<LastShares[][]> {
  const { heads } = model.architecture;
  const found = items.map((): LastShares[] => []);
  await readAttention(model, {
    sequences: items.map(({ clean }) => clean.ids),
    standings: false,
    onProgress,
    signal,
    onLayer({ prompt, layer, valuePattern }) {
      const { optionOf, labelAt, clean } = items[prompt] as Item;
      const length = clean.ids.length;
      const behind = optionOf.findLastIndex((option) => option >= 0) + 1;
      const shares: LastShares = {
        option: new Float64Array(labelAt.length * heads),
        label: new Float64Array(heads),
        text: new Float64Array(heads),
        tail: new Float64Array(heads),
      };
      for (let head = 0; head < heads; head++) {
        const row = valuePattern.subarray((head * length + length - 1) * length, (head + 1) * length ** 2);
        const whole = row.reduce((sum, value) => sum + value, 0);
        for (const [position, value] of row.entries()) {
          const share = whole === 0 ? Number.NaN : value / whole;
          const option = optionOf[position] ?? -1;
          const add = (into: Float64Array, at: number): void => {
            into[at] = (into[at] ?? 0) + share;
          };
          if (option >= 0) {
            add(shares.option, option * heads + head);
            add(labelAt.includes(position) ? shares.label : shares.text, head);
          } else if (position >= behind) add(shares.tail, head);
        }
      }
      (found[prompt] as LastShares[])[layer] = shares;
    },
  });
  return found;
}

/** Means over questions of one head's shares. */
export interface HeadShares {
  /** On all options. */
  readonly options: number;
  /** On the right one. */
  readonly correct: number;
  /** [place] */
  readonly places: readonly number[];
  readonly tail: number;
  /** Whether more is on labels than on texts. */
  readonly readsLabels: boolean;
}

export function headShares(
  found: readonly (readonly LastShares[])[],
  items: readonly Item[],
  { layer, head, heads }: { readonly layer: number; readonly head: number; readonly heads: number },
): HeadShares {
  const over = (of: (shares: LastShares, item: Item) => number): number =>
    mean(
      found.flatMap((layers, index) => {
        const value = of(layers[layer] as LastShares, items[index] as Item);
        return Number.isNaN(value) ? [] : [value];
      }),
    );
  const count = items[0]?.labels.length ?? 0;
  const places = Array.from({ length: count }, (_, place) =>
    over(({ option }) => option[place * heads + head] ?? Number.NaN),
  );
  return {
    places,
    options: places.reduce((sum, value) => sum + value, 0),
    correct: over(({ option }, { correct }) => option[correct * heads + head] ?? Number.NaN),
    tail: over(({ tail }) => tail[head] ?? Number.NaN),
    readsLabels:
      over(({ label }) => label[head] ?? Number.NaN) >= over(({ text }) => text[head] ?? Number.NaN),
  };
}

/**
 * The class of a head by {@link classThresholds}. Of those that look at the right option, the ones that argue for its letter
 * themselves are called after it; the others gather what later ones say.
 */
export function classOf(
  { options, correct, places, tail }: HeadShares,
  { writes }: { readonly writes: boolean },
): HeadClass {
  const { least, most, even } = classThresholds;
  if (options >= least) {
    const largest = Math.max(...places) / options;
    const right = correct / options;
    if (right >= most && right >= largest) return writes ? "correct letter" : "content gatherer";
    if (largest >= most) return "single letter";
    if (Math.max(largest, right) <= even / places.length) return "uniform";
    return "";
  }
  return tail >= least ? "amplification" : "";
}
