/** @file Exact values beside estimates: cells patched through the sweep, and random subsets of cells patched together. */

import { bytes, callback, type OptionChecks, signal } from "../core/options.ts";
import { random } from "../core/random.ts";
import { evaluateMetric } from "../metric/metric.ts";
import type { MetricPlan } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import { upperBound } from "../numeric/welch.ts";
import type { Edit } from "../run/edit.ts";
import type { Reading } from "../run/read.ts";
import { sweep } from "../run/sweep.ts";
import type { SweepRun, Variant } from "../run/variant.ts";
import type { LayerCells } from "./attribution-cells.ts";
import { cellAt } from "./grid.ts";

/** A pair as the sweep runs it: the base that is edited, the source of values, and the clean run that distances are from. */
export interface ExactPair {
  readonly plan: MetricPlan;
  readonly clean: readonly number[];
  readonly corrupt: readonly number[];
  readonly base: "clean" | "corrupt";
}

/** A cell of one of the grids. */
export interface CellPlace {
  readonly grid: number;
  readonly cell: number;
}

export interface SweepHow {
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

export const sweepHowChecks: OptionChecks<SweepHow> = { stateBytes: bytes, onProgress: callback, signal };

/** The edits that patch a cell of a pair with its source's values. */
export function cellEdits(cells: readonly LayerCells[], { grid, cell }: CellPlace, source: number): Edit[] {
  const laid = cells[grid]?.grid;
  if (laid === undefined) throw new RangeError(`grid ${grid}`);
  const labels = cellAt(laid, cell);
  return laid.sites.flatMap(({ site, layers, where }) =>
    (labels.layer === undefined ? layers : [labels.layer]).map(
      (layer): Edit => ({
        site,
        layer,
        where: where(labels),
        action: "replace",
        value: { kind: "run", run: source },
      }),
    ),
  );
}

/** [pair, cell] exact change of the metric from the base run, for the cells listed. */
export async function exactEffects(
  model: Model,
  pairs: readonly ExactPair[],
  options: SweepHow & { readonly cells: readonly LayerCells[]; readonly places: readonly CellPlace[] },
): Promise<Float64Array> {
  const { cells, places } = options;
  return await variantEffects(model, pairs, {
    ...options,
    count: places.length * pairs.length,
    pairOf: (index) => Math.floor(index / places.length),
    edits: (index, source) => cellEdits(cells, places[index % places.length] as CellPlace, source),
  });
}

interface VariantOptions extends SweepHow {
  readonly count: number;
  readonly pairOf: (index: number) => number;
  readonly edits: (index: number, source: number) => readonly Edit[];
}

/** Change of the metric from the base run, for variants of any pairs. */
async function variantEffects(
  model: Model,
  pairs: readonly ExactPair[],
  options: VariantOptions,
): Promise<Float64Array> {
  const { count, pairOf, edits } = options;
  const effects = new Float64Array(count);
  if (count === 0) return effects;
  const runs = pairs.flatMap(({ plan, clean, corrupt }): SweepRun[] => {
    const read = plan.positions.map(({ pos, columns, logsumexp, fullLogits }) => ({
      position: pos,
      readout: { columns, logsumexp, logits: fullLogits },
    }));
    return [clean, corrupt].map((ids) => ({ ids, read }));
  });
  const baseOf = (pair: number): number => 2 * pair + (pairs[pair]?.base === "corrupt" ? 1 : 0);
  const sourceOf = (pair: number): number => 2 * pair + (pairs[pair]?.base === "corrupt" ? 0 : 1);
  const own = new Map<number, Reading>();
  const metricOf = (pair: number, reading: Reading): number =>
    evaluateMetric((pairs[pair] as ExactPair).plan, reading, own.get(2 * pair) ?? reading);
  const { stateBytes, onProgress, signal } = options;
  await sweep(
    model,
    {
      runs,
      count,
      variant(index): Variant {
        const pair = pairOf(index);
        return { run: baseOf(pair), edits: edits(index, sourceOf(pair)) };
      },
    },
    {
      ...(stateBytes === undefined ? {} : { stateBytes }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(signal === undefined ? {} : { signal }),
      onRun(run, reading) {
        if (!own.has(run)) own.set(run, reading);
      },
      onReading(index, reading) {
        effects[index] = metricOf(pairOf(index), reading);
      },
    },
  );
  for (const index of effects.keys()) {
    const pair = pairOf(index);
    effects[index] = (effects[index] ?? 0) - metricOf(pair, own.get(baseOf(pair)) as Reading);
  }
  return effects;
}

export interface SubsetBound {
  /** Forward passes spent. */
  readonly samples: number;
  /** Cells that were not verified. */
  readonly cells: number;
  readonly confidence: number;
  /** With this confidence no remaining cell has a mean effect of this size or more, if cells do not interact. */
  readonly bound: number;
}

/**
 * Bounds what cells that were not verified can hide: random subsets of them, each cell in or out with even odds, are
 * patched together; a cell's effect is the difference of the means with and without it, and Welch's t says how large
 * it can be (AtP*, section 3.3). Unbiased where cells do not interact; else it bounds the mean effect in random company.
 */
export async function subsetBound(
  model: Model,
  pairs: readonly ExactPair[],
  options: SweepHow & {
    readonly cells: readonly LayerCells[];
    readonly places: readonly CellPlace[];
    readonly samples: number;
    readonly confidence: number;
    readonly seed: number;
  },
): Promise<SubsetBound> {
  const { cells, places, samples, confidence, seed } = options;
  const source = random(seed);
  const inside = Array.from({ length: samples }, () => places.map(() => source.uniform() < 0.5));
  const results = await variantEffects(model, pairs, {
    ...options,
    count: samples,
    pairOf: (index) => index % pairs.length,
    edits: (index, run) =>
      merged(places.flatMap((place, i) => (inside[index]?.[i] ? cellEdits(cells, place, run) : []))),
  });
  let bound = 0;
  for (const place of places.keys()) {
    const withCell: number[] = [];
    const without: number[] = [];
    for (const [index, result] of results.entries())
      (inside[index]?.[place] ? withCell : without).push(result);
    bound = Math.max(bound, upperBound(withCell, without, confidence));
  }
  return { samples, cells: places.length, confidence, bound };
}

/** One edit for all cells of a site that differ along one axis only. */
function merged(edits: readonly Edit[]): Edit[] {
  const found = new Map<string, Edit>();
  for (const edit of edits) {
    const entries = Object.entries(edit.where);
    const [last, ...others] = entries.toReversed();
    const key = JSON.stringify([edit.site, edit.layer, last?.[0], others]);
    const known = found.get(key);
    if (known === undefined || last === undefined) found.set(key, edit);
    else {
      const [axis, indices] = last;
      const before = (known.where as Record<string, readonly number[] | undefined>)[axis] ?? [];
      found.set(key, { ...known, where: { ...known.where, [axis]: [...before, ...(indices ?? [])] } });
    }
  }
  return [...found.values()];
}
