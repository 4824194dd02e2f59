/** @file From per-pair values of cells to a labelled result: means, effects, scores, intervals. */

import { metrics } from "../metric/metric.ts";
import type { Averaging, Direction } from "../metric/normalise.ts";
import { normaliseMean, normaliser, ratioParts } from "../metric/normalise.ts";
import type { MetricName } from "../metric/plan.ts";
import type { Pair } from "../model/pair.ts";
import type { Interval, Resamples } from "../numeric/statistics.ts";
import { bootstrapMean, bootstrapRatio, mean } from "../numeric/statistics.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { Grid } from "./grid.ts";
import { bootstrapOf, intervalVariables } from "./intervals.ts";

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

/** Puts grids of values into a dataset. */
export function summarise(found: Summarised, options: SummaryOptions): Dataset {
  const { pairs, grids, clean, corrupt } = found;
  const { metric, direction, normalize, seed } = options;
  const unit = metrics[metric].unit;
  if (normalize && options.averaging === "ratio-of-means") {
    normaliser({ clean: mean(clean), corrupt: mean(corrupt) }, { metric, direction }); // refuses before anything is built
  }
  const cells = grids.reduce((sum, { size }) => sum + size, 0);
  const bootstrap = bootstrapOf(cells, { count: pairs.length, seed });
  const drawn = bootstrap?.drawn(pairs.length);

  const told = quantities(found, options);
  const dataVars: Record<string, Variable> = {};
  for (const [index, grid] of grids.entries()) {
    const values = found.values[index] as Float64Array;
    for (const quantity of told) Object.assign(dataVars, variablesOf(quantity, { grid, values, drawn }));
    if (options.perPair) {
      dataVars[`${grid.name}_per_pair`] = {
        dims: ["pair", ...grid.dims],
        data: values,
        attrs: { unit, long_name: `${metric} of the edited run, by pair` },
      };
    }
  }
  return dataset({
    attrs: bootstrap?.attrs ?? {},
    dims: dimsOf(grids, options.perPair ? pairs.length : undefined),
    coords: coordsOf(found, options),
    dataVars,
  });
}

/** What is told of every cell, from its values by pair. */
interface Quantity {
  /** Of the variables' names, behind the site. */
  readonly suffix: string;
  readonly attrs: { readonly unit: string } & Readonly<Record<string, Json>>;
  readonly estimate: (column: Float64Array) => number;
  readonly interval: (column: Float64Array, drawn: Resamples) => Interval;
}

/** The metric, its difference from the base run and the score; intervals of the latter two go by pair, each against its own runs. */
function quantities({ pairs, clean, corrupt }: Summarised, options: SummaryOptions): Quantity[] {
  const { metric, direction, averaging } = options;
  const unit = metrics[metric].unit;
  const base = direction === "denoise" ? corrupt : clean;
  const differences = (column: Float64Array) =>
    column.map((value, pair) => value - (base[pair] ?? Number.NaN));
  const value: Quantity = {
    suffix: "",
    attrs: { unit, quantity: "metric", long_name: `${metric} of the edited run` },
    estimate: mean,
    interval: bootstrapMean,
  };
  const effect: Quantity = {
    suffix: "_effect",
    attrs: { unit, quantity: "effect", long_name: "difference from the base run" },
    estimate: (column) => mean(differences(column)),
    interval: (column, drawn) => bootstrapMean(differences(column), drawn),
  };
  const score: Quantity = {
    suffix: "_normalized",
    attrs: { unit: "1", long_name: scoreName(direction) },
    estimate: (column) =>
      normaliseMean({ clean, corrupt, value: column }, { metric, direction, averaging, pairs }),
    interval: (column, drawn) => {
      const parts = ratioParts({ clean, corrupt, value: column }, direction);
      if (averaging === "ratio-of-means") return bootstrapRatio(parts, drawn);
      const { numerators, denominators } = parts;
      return bootstrapMean(
        numerators.map((numerator, pair) => numerator / (denominators[pair] ?? Number.NaN)),
        drawn,
      );
    },
  };
  return options.normalize ? [value, effect, score] : [value, effect];
}

/** The variables of one quantity over one grid: estimates and, with draws, both ends of their intervals. */
function variablesOf(
  { suffix, attrs, estimate, interval }: Quantity,
  {
    grid,
    values,
    drawn,
  }: { readonly grid: Grid; readonly values: Float64Array; readonly drawn: Resamples | undefined },
): Record<string, Variable> {
  const { name: site, dims, size } = grid;
  // One cell's values at a time: a million small arrays would take more memory than the sweep did.
  const column = new Float64Array(values.length / size);
  const read = (cell: number): Float64Array => {
    for (let pair = 0; pair < column.length; pair++) column[pair] = values[pair * size + cell] ?? Number.NaN;
    return column;
  };
  const data = Float64Array.from({ length: size }, (_, cell) => estimate(read(cell)));
  const name = site + suffix;
  const variable = { [name]: { dims: [...dims], data, attrs } };
  if (drawn === undefined) return variable;
  const of = (cell: number): Interval => interval(read(cell), drawn);
  return {
    ...variable,
    ...intervalVariables(name, { dims, unit: attrs.unit, over: "pairs", cells: size, of }),
  };
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
