/**
 * @file The smallest set of last-position nodes that keeps the metric while all others there come from another question.
 * Source: Lieberum et al. 2023, section 3.
 */

import type { Model } from "../model/model.ts";
import { bootstrapMean, bootstrapRatio, drawResamples, type Interval } from "../numeric/statistics.ts";
import type { Edit } from "../run/edit.ts";
import { sweep } from "../run/sweep.ts";
import type { Variant } from "../run/variant.ts";
import type { Item } from "../task/question-items.ts";
import type { Ablated } from "./ablated-units.ts";
import { type Node, type NodeRequest, sweepOptions } from "./mcq-effects.ts";
import { type LetterScores, scoresOf } from "./mcq-scores.ts";

export interface SetRequest extends NodeRequest {
  /** In the order in which nodes are kept. */
  readonly ranked: readonly Node[];
  /** Of the metric, to be kept. */
  readonly share: number;
  readonly clean: readonly LetterScores[];
  readonly seed: number;
}

/** The curve at the sizes tried. */
export interface KeepCurve {
  /** Numbers of nodes kept, ascending. */
  readonly sizes: readonly number[];
  /** [size][question] the metric, mean over draws. */
  readonly values: readonly (readonly number[])[];
  /** [size][question] accuracy, mean over draws. */
  readonly accuracies: readonly (readonly number[])[];
  /** The metric with all resampled less that as it is. */
  readonly change: Interval;
  /** [size] share of the way from all resampled to none; NaN where the interval of the change between the two has 0 in it. */
  readonly faithfulness: readonly Interval[];
  /** The smallest size tried that keeps the share; null where no share can be told. */
  readonly needed: number | null;
}

/** Up to so many nodes every size is tried. */
const ALL_SIZES = 64;
/** Sizes between those of the coarse curve that are tried around the place where it crosses the share. */
const REFINED = 32;
/** Sizes of the coarse curve grow by this factor. */
const GROWTH = 1.3;

/** Keeps more and more of the ranked nodes. */
export async function keepCurve(model: Model, ablated: Ablated, request: SetRequest): Promise<KeepCurve> {
  const { ranked, share } = request;
  const points = new Map<number, Point>();
  const coarse = sizesUpTo(ranked.length);
  for (const [size, point] of await measured(model, ablated, { ...request, sizes: coarse }))
    points.set(size, point);
  const { change, shareOf } = sharesOf(points, request);
  const isTold = change.low > 0 || change.high < 0;
  const reaches = (size: number): boolean => isTold && shareOf(size).estimate >= share;
  const first = isTold ? (coarse.find(reaches) ?? ranked.length) : 0;
  const before = coarse[coarse.indexOf(first) - 1] ?? first;
  const between = Array.from({ length: Math.max(0, first - before - 1) }, (_, index) => before + 1 + index);
  const step = Math.max(1, Math.ceil(between.length / REFINED));
  const fine = between.filter((_, index) => index % step === 0);
  if (fine.length > 0) {
    const { onProgress: _, ...rest } = request;
    for (const [size, point] of await measured(model, ablated, { ...rest, sizes: fine }))
      points.set(size, point);
  }
  const sizes = [...points.keys()].sort((a, b) => a - b);
  return {
    sizes,
    values: sizes.map((size) => points.get(size)?.values ?? []),
    accuracies: sizes.map((size) => points.get(size)?.accuracies ?? []),
    change,
    faithfulness: sizes.map((size) => (isTold ? shareOf(size) : NONE)),
    needed: isTold ? (sizes.find(reaches) ?? ranked.length) : null,
  };
}

function sizesUpTo(count: number): number[] {
  if (count <= ALL_SIZES) return Array.from({ length: count + 1 }, (_, size) => size);
  const sizes = [0];
  for (let size = 1; size < count; size = Math.max(size + 1, Math.round(size * GROWTH))) sizes.push(size);
  return [...sizes, count];
}

/** [question] means over the draws read so far. */
interface Point {
  readonly values: number[];
  readonly accuracies: number[];
  readonly draws: number[];
}

const NONE: Interval = { estimate: Number.NaN, low: Number.NaN, high: Number.NaN };

/** None kept − as it is, and by size (kept − none kept) / (as it is − none kept): means over questions. */
function sharesOf(
  points: ReadonlyMap<number, Point>,
  { clean, metric, seed }: Pick<SetRequest, "clean" | "metric" | "seed">,
): { readonly change: Interval; readonly shareOf: (size: number) => Interval } {
  const none = points.get(0)?.values ?? [];
  const less = (values: readonly number[]): number[] =>
    values.map((value, i) => value - (none[i] ?? Number.NaN));
  const denominators = less(clean.map((scores) => scores[metric]));
  const resamples = drawResamples(clean.length, { seed });
  return {
    change: bootstrapMean(
      denominators.map((value) => 0 - value), // no -0
      resamples,
    ),
    shareOf: (size) =>
      bootstrapRatio({ numerators: less(points.get(size)?.values ?? []), denominators }, resamples),
  };
}

async function measured(
  model: Model,
  ablated: Ablated,
  { items, ranked, metric, sizes, ...options }: SetRequest & { readonly sizes: readonly number[] },
): Promise<ReadonlyMap<number, Point>> {
  const points = sizes.map((): Point => {
    const zeros = (): number[] => items.map(() => 0);
    return { values: zeros(), accuracies: zeros(), draws: zeros() };
  });
  const starts = [0];
  for (const draws of ablated.draws) starts.push((starts.at(-1) ?? 0) + draws * sizes.length);
  const placeOf = (index: number) => {
    const prompt = starts.findLastIndex((start) => start <= index);
    const rest = index - (starts[prompt] ?? 0);
    return { prompt, at: rest % sizes.length, draw: Math.floor(rest / sizes.length) };
  };
  const variant = (index: number): Variant => {
    const { prompt, at, draw } = placeOf(index);
    return { run: prompt, edits: others(ablated, ranked.slice(sizes[at]), { prompt, draw }) };
  };
  await sweep(
    model,
    { runs: ablated.runs, count: starts.at(-1) ?? 0, variant },
    {
      ...sweepOptions(options),
      onReading(index, reading) {
        const { prompt, at } = placeOf(index);
        const scores = scoresOf(items[prompt] as Item, reading);
        const { values, accuracies, draws } = points[at] as Point;
        const count = (draws[prompt] ?? 0) + 1;
        // Running means: those of equal values are that value to the bit, which a sum of shares is not.
        const add = (means: number[], value: number): void => {
          const before = means[prompt] ?? 0;
          means[prompt] = before + (value - before) / count;
        };
        add(values, scores[metric]);
        add(accuracies, scores.accuracy);
        draws[prompt] = count;
      },
    },
  );
  return new Map(sizes.map((size, at) => [size, points[at] as Point]));
}

/** The nodes that are not kept, resampled together: heads of a layer in one edit. */
function others(
  ablated: Ablated,
  nodes: readonly Node[],
  place: { readonly prompt: number; readonly draw: number },
): Edit[] {
  const heads = new Map<number, number[]>();
  const edits: Edit[] = [];
  for (const node of nodes) {
    if (node.kind === "mlp") edits.push(ablated.edit(node, place));
    else heads.set(node.layer, [...(heads.get(node.layer) ?? []), node.head]);
  }
  for (const [layer, head] of heads) {
    const edit = ablated.edit({ kind: "head", layer, head: head[0] ?? 0 }, place);
    edits.push({ ...edit, where: { ...edit.where, head } });
  }
  return edits;
}
