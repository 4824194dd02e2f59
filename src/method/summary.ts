/** @file From per-pair values of cells to a labelled result: means, effects, scores, intervals. */

import { metrics } from "../metric/metric.ts";
import type { Averaging, Direction } from "../metric/normalise.ts";
import { normaliseMean, normaliser, ratioParts } from "../metric/normalise.ts";
import type { MetricName } from "../metric/plan.ts";
import type { Pair } from "../model/pair.ts";
import type { Resamples } from "../numeric/statistics.ts";
import {
  bootstrapMean,
  bootstrapRatio,
  DEFAULT_RESAMPLES,
  drawResamples,
  mean,
} from "../numeric/statistics.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { Grid } from "./grid.ts";

export interface Summarised {
  readonly pairs: readonly Pair[];
  readonly grids: readonly Grid[];
  readonly clean: Float64Array;
  readonly corrupt: Float64Array;
  /** [pair, cell], one array a grid. */
  readonly values: readonly Float64Array[];
}

export interface SummaryOptions {
  readonly metric: MetricName;
  readonly direction: Direction;
  readonly averaging: Averaging;
  readonly normalize: boolean;
  readonly perPair: boolean;
  readonly seed: number;
}

/** Draws of all intervals together: about ten seconds of work. */
const MAX_DRAWS = 2e9;
/** Fewer resamples than this give an interval that is mostly noise; none is then reported. */
const MIN_RESAMPLES = 200;

/** Puts grids of values into a dataset. */
export function summarise(found: Summarised, options: SummaryOptions): Dataset {
  const { pairs, grids, clean, corrupt } = found;
  const { metric, direction, normalize, seed } = options;
  const unit = metrics[metric].unit;
  if (normalize && options.averaging === "ratio-of-means") {
    normaliser({ clean: mean(clean), corrupt: mean(corrupt) }, { metric, direction }); // refuses before anything is built
  }
  const cells = grids.reduce((sum, { size }) => sum + size, 0);
  const affordable = Math.floor(MAX_DRAWS / (cells * pairs.length));
  const resamples = Math.min(DEFAULT_RESAMPLES, affordable);
  const drawn =
    pairs.length > 1 && resamples >= MIN_RESAMPLES
      ? drawResamples(pairs.length, { seed, resamples })
      : undefined;

  const dataVars: Record<string, Variable> = {};
  for (const [index, grid] of grids.entries()) {
    const values = found.values[index] as Float64Array;
    // One cell's values at a time: a million small arrays would take more memory than the sweep did.
    const column = new Float64Array(pairs.length);
    const add = (suffix: string, attrs: Record<string, Json>, of: (column: Float64Array) => number): void => {
      const data = new Float64Array(grid.size);
      for (let cell = 0; cell < grid.size; cell++) {
        for (let pair = 0; pair < pairs.length; pair++) {
          column[pair] = values[pair * grid.size + cell] ?? Number.NaN;
        }
        data[cell] = of(column);
      }
      dataVars[grid.name + suffix] = { dims: [...grid.dims], data, attrs };
    };
    const base = direction === "denoise" ? corrupt : clean;
    add("", { unit, quantity: "metric", long_name: `${metric} of the edited run` }, mean);
    add("_effect", { unit, quantity: "effect", long_name: "difference from the base run" }, (column) =>
      mean(column.map((value, i) => value - (base[i] ?? 0))),
    );
    if (normalize) {
      add("_normalized", { unit: "1", long_name: scoreName(direction) }, (column) =>
        normaliseMean(
          { clean, corrupt, value: column },
          { metric, direction, averaging: options.averaging, pairs },
        ),
      );
    }
    if (drawn !== undefined) addIntervals({ add, drawn, unit, found, options });
    if (options.perPair) {
      dataVars[`${grid.name}_per_pair`] = {
        dims: ["pair", ...grid.dims],
        data: values,
        attrs: { unit, long_name: `${metric} of the edited run, by pair` },
      };
    }
  }
  return dataset({
    attrs: drawn === undefined ? {} : { interval: 0.95, bootstrap_resamples: resamples },
    dims: dimsOf(grids, options.perPair ? pairs.length : undefined),
    coords: coordsOf(found, options),
    dataVars,
  });
}

function addIntervals(how: {
  readonly add: (suffix: string, attrs: Record<string, Json>, of: (column: Float64Array) => number) => void;
  readonly drawn: Resamples;
  readonly unit: string;
  readonly found: Summarised;
  readonly options: SummaryOptions;
}): void {
  const { add, drawn, unit, found, options } = how;
  const { clean, corrupt } = found;
  const { direction } = options;
  for (const [suffix, side] of [
    ["_ci_low", "low"],
    ["_ci_high", "high"],
  ] as const) {
    add(
      suffix,
      { unit, long_name: `95 % bootstrap interval over pairs, ${side}` },
      (column) => bootstrapMean(column, drawn)[side],
    );
    if (!options.normalize) continue;
    add(
      `_normalized${suffix}`,
      { unit: "1", long_name: `95 % bootstrap interval over pairs, ${side}` },
      (column) => {
        const parts = ratioParts({ clean, corrupt, value: column }, direction);
        if (options.averaging === "ratio-of-means") return bootstrapRatio(parts, drawn)[side];
        return bootstrapMean(
          parts.numerators.map((numerator, i) => numerator / (parts.denominators[i] ?? Number.NaN)),
          drawn,
        )[side];
      },
    );
  }
}

function scoreName(direction: Direction): string {
  return direction === "denoise" ? "restored share: 0 corrupt, 1 clean" : "damage: 0 clean, 1 corrupt";
}

/** Sizes of the grids' dims, and of the pairs where a number is given. */
export function dimsOf(grids: readonly Grid[], pairs: number | undefined): Record<string, number> {
  const dims: Record<string, number> = pairs === undefined ? {} : { pair: pairs };
  for (const grid of grids)
    for (const [axis, dim] of grid.dims.entries()) dims[dim] = grid.labels[axis]?.length ?? 0;
  return dims;
}

/** Labels of the grids' dims, the tokens at positions of a single pair, and with `perPair` the pairs and their baselines. */
export function coordsOf(
  { pairs, grids, clean, corrupt }: Summarised,
  { perPair, metric }: Pick<SummaryOptions, "perPair" | "metric">,
): Record<string, Variable> {
  const coords: Record<string, Variable> = {};
  for (const grid of grids) {
    for (const [axis, dim] of grid.dims.entries()) {
      const labels = grid.labels[axis] ?? [];
      coords[dim] = { dims: [dim], data: labels, attrs: {} };
      if (dim !== "pos" && dim !== "dst" && dim !== "src") continue;
      const [pair] = pairs;
      if (pair === undefined || pairs.length > 1) continue;
      const name = dim === "pos" ? "token" : `token_${dim}`;
      // Teacher-forced positions lie behind the prompt and have the answer's tokens; they carry no label of the pair.
      for (const [side, pieces] of [
        ["clean", pair.clean.pieces],
        ["corrupt", pair.corrupt.pieces],
      ] as const) {
        coords[`${name}_${side}`] = {
          dims: [dim],
          data: labels.map((label) => pieces[label] ?? ""),
          attrs: {},
        };
      }
    }
  }
  if (perPair) {
    const unit = metrics[metric].unit;
    coords.pair = { dims: ["pair"], data: pairs.map(({ id }) => id), attrs: {} };
    coords.baseline_clean = { dims: ["pair"], data: clean, attrs: { unit } };
    coords.baseline_corrupt = { dims: ["pair"], data: corrupt, attrs: { unit } };
  }
  return coords;
}
