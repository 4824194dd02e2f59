/** @file Bootstrap intervals of the cells of a result: as many resamples as can be afforded, both ends of every interval. */
import type { Interval, Resamples } from "../numeric/statistics.ts";
import { DEFAULT_RESAMPLES, drawResamples } from "../numeric/statistics.ts";
import type { Json, Variable } from "../result/result.ts";

/** Draws of all intervals of a result together: about ten seconds of work. */
const MAX_DRAWS = 2e9;
/** Fewer resamples than this give an interval that is mostly noise; none is then reported. */
const MIN_RESAMPLES = 200;

/** What intervals are made with: resamples, and the attributes by which a result says so. */
export interface Bootstrap {
  readonly resamples: number;
  readonly attrs: Readonly<Record<string, Json>>;
  /** Resamples of `count` values, drawn once for each count. */
  readonly drawn: (count: number) => Resamples;
}

/**
 * Resamples for `intervals` intervals, each of at most `count` values: {@link DEFAULT_RESAMPLES} or as many as can be
 * afforded. Undefined where a single value has no spread, or where there are too many intervals for resamples enough.
 */
export function bootstrapOf(
  intervals: number,
  { count, seed }: { readonly count: number; readonly seed: number },
): Bootstrap | undefined {
  const resamples = Math.min(DEFAULT_RESAMPLES, Math.floor(MAX_DRAWS / (intervals * count)));
  if (count < 2 || resamples < MIN_RESAMPLES) return undefined;
  const known = new Map<number, Resamples>();
  const drawn = (size: number): Resamples => {
    const found = known.get(size) ?? drawResamples(size, { seed, resamples });
    known.set(size, found);
    return found;
  };
  return { resamples, attrs: { interval: 0.95, bootstrap_resamples: resamples }, drawn };
}

/** `<name>_ci_low` and `<name>_ci_high`: the ends of every cell's interval. */
export function intervalVariables(
  name: string,
  {
    dims,
    unit,
    over,
    cells,
    of,
  }: {
    readonly dims: readonly string[];
    readonly unit: Json;
    /** What was resampled: "pairs", "prompts". */
    readonly over: string;
    readonly cells: number;
    readonly of: (cell: number) => Interval;
  },
): Record<string, Variable> {
  const [low, high] = [new Float64Array(cells), new Float64Array(cells)];
  for (let cell = 0; cell < cells; cell++) {
    const ends = of(cell);
    low[cell] = ends.low;
    high[cell] = ends.high;
  }
  const end = (side: string, data: Float64Array): Variable => ({
    dims: [...dims],
    data,
    attrs: { unit, long_name: `95 % bootstrap interval over ${over}, ${side}` },
  });
  return { [`${name}_ci_low`]: end("low", low), [`${name}_ci_high`]: end("high", high) };
}
