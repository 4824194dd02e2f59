/** @file The variables of a result of attribution patching. */
import type { Pair } from "../model/pair.ts";
import type { Interval } from "../numeric/statistics.ts";
import { bootstrapMean, mean } from "../numeric/statistics.ts";
import type { Json, Variable } from "../result/result.ts";
import type { LayerCells } from "./attribution-cells.ts";
import type { Estimates } from "./attribution-estimate.ts";
import type { CellPlace } from "./attribution-exact.ts";
import { type Bootstrap, intervalVariables } from "./intervals.ts";

const NO_INTERVAL: Interval = { estimate: Number.NaN, low: Number.NaN, high: Number.NaN };

/** Estimates of every cell and exact effects of those in `top`: means over pairs, with intervals of both where there are several. */
export function estimateVariables(
  { cells, pairs }: { readonly cells: readonly LayerCells[]; readonly pairs: readonly Pair[] },
  found: Pick<Estimates, "signed" | "score">,
  how: {
    readonly top: readonly CellPlace[];
    /** [cell of top][pair] */
    readonly exactByPair: readonly (readonly number[])[];
    readonly unit: string;
    readonly bootstrap: Bootstrap | undefined;
    readonly perPair: boolean;
  },
): Record<string, Variable> {
  const { top, exactByPair, unit, bootstrap, perPair } = how;
  const dataVars: Record<string, Variable> = {};
  for (const [index, { grid }] of cells.entries()) {
    const signed = found.signed[index] ?? new Float64Array(0);
    const score = found.score[index] ?? new Float64Array(0);
    const column = (values: Float64Array, cell: number): Float64Array =>
      Float64Array.from(pairs, (_, pair) => values[pair * grid.size + cell] ?? Number.NaN);
    const add = (suffix: string, attrs: Record<string, Json>, of: (cell: number) => number): void => {
      const data = Float64Array.from({ length: grid.size }, (_, cell) => of(cell));
      dataVars[grid.name + suffix] = { dims: [...grid.dims], data, attrs: { unit, ...attrs } };
    };
    add("", { quantity: "estimate", long_name: "estimated effect of patching" }, (cell) =>
      mean(column(signed, cell)),
    );
    add("_score", { detail: true, long_name: "mean size of the estimate over pairs: the ranking" }, (cell) =>
      mean(column(score, cell)),
    );
    const intervals = (name: string, valuesOf: (cell: number) => readonly number[] | Float64Array): void => {
      if (bootstrap === undefined) return;
      const drawn = bootstrap.drawn(pairs.length);
      const of = (cell: number): Interval => {
        const own = valuesOf(cell);
        return own.length === 0 ? NO_INTERVAL : bootstrapMean(own, drawn);
      };
      const { dims, size } = grid;
      Object.assign(dataVars, intervalVariables(name, { dims, unit, over: "pairs", cells: size, of }));
    };
    intervals(grid.name, (cell) => column(signed, cell));
    if (top.length > 0) {
      const known = new Map(
        top.flatMap((place, i) =>
          place.grid === index ? [[place.cell, exactByPair[i] ?? []] as const] : [],
        ),
      );
      const valuesOf = (cell: number): readonly number[] => known.get(cell) ?? [];
      add("_exact", { long_name: "exact effect of patching, where verified" }, (cell) =>
        mean(valuesOf(cell)),
      );
      intervals(`${grid.name}_exact`, valuesOf);
    }
    if (perPair) {
      dataVars[`${grid.name}_per_pair`] = {
        dims: ["pair", ...grid.dims],
        data: signed,
        attrs: { unit, detail: true, long_name: "estimated effect of patching, by pair" },
      };
    }
  }
  return dataVars;
}
