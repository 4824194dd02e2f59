/** @file Means of like-shaped variables over prompts, with bootstrap intervals and, where asked for, every prompt's own. */

import type { Resamples } from "../numeric/statistics.ts";
import { bootstrapMean, DEFAULT_RESAMPLES, drawResamples, mean } from "../numeric/statistics.ts";
import type { Json, Variable } from "../result/result.ts";

/** The variables of one prompt. A NaN is a value that the prompt does not have; the mean is over those that do. */
export type Sample = Readonly<
  Record<string, { readonly dims: readonly string[]; readonly data: Float64Array }>
>;

export interface MeanOptions {
  readonly unit: string;
  /** `attrs.quantity` of the variables; none if absent. */
  readonly quantity?: string | undefined;
  /** Each sample's own values as `<name>_per_pair`, dim `pair`. */
  readonly perSample: boolean;
  readonly seed: number;
  /** What the samples are, for the variables' names of intervals; prompts if absent. */
  readonly over?: string | undefined;
}

export interface Means {
  readonly attrs: Readonly<Record<string, Json>>;
  readonly dims: Readonly<Record<string, number>>;
  readonly coords: (named: readonly { readonly id: string }[]) => Record<string, Variable>;
  readonly dataVars: Readonly<Record<string, Variable>>;
}

/** Draws of all intervals together: about ten seconds of work. */
const MAX_DRAWS = 2e9;
/** Fewer resamples than this give an interval that is mostly noise; none is then reported. */
const MIN_RESAMPLES = 200;

/** Puts samples together: `<name>` with `<name>_ci_low` and `<name>_ci_high` where there are several. */
export function meanOver(samples: readonly Sample[], options: MeanOptions): Means {
  const { unit, quantity, over = "prompts" } = options;
  const [first = {}] = samples;
  const cells = Object.values(first).reduce((sum, { data }) => sum + data.length, 0);
  const resamples = Math.min(
    DEFAULT_RESAMPLES,
    Math.floor(MAX_DRAWS / (cells * Math.max(1, samples.length))),
  );
  const spread = samples.length > 1 && resamples >= MIN_RESAMPLES;
  const drawn = new Map<number, Resamples>();
  const drawsOf = (count: number): Resamples => {
    const found = drawn.get(count) ?? drawResamples(count, { seed: options.seed, resamples });
    drawn.set(count, found);
    return found;
  };
  const dataVars: Record<string, Variable> = {};
  for (const [name, { dims, data }] of Object.entries(first)) {
    const columns = Array.from(data, (_, cell) =>
      Float64Array.from(samples, (sample) => sample[name]?.data[cell] ?? Number.NaN).filter(
        (value) => !Number.isNaN(value),
      ),
    );
    const attrs: Record<string, Json> = { unit, ...(quantity === undefined ? {} : { quantity }) };
    dataVars[name] = { dims: [...dims], data: Float64Array.from(columns, mean), attrs };
    for (const side of spread ? (["low", "high"] as const) : []) {
      dataVars[`${name}_ci_${side}`] = {
        dims: [...dims],
        data: Float64Array.from(columns, (column) =>
          column.length < 2 ? Number.NaN : bootstrapMean(column, drawsOf(column.length))[side],
        ),
        attrs: { unit, long_name: `95 % bootstrap interval over ${over}, ${side}` },
      };
    }
    if (!options.perSample) continue;
    const whole = new Float64Array(samples.length * data.length);
    for (const [index, sample] of samples.entries()) {
      whole.set(sample[name]?.data ?? [], index * data.length);
    }
    dataVars[`${name}_per_pair`] = { dims: ["pair", ...dims], data: whole, attrs: { unit } };
  }
  return {
    attrs: spread ? { interval: 0.95, bootstrap_resamples: resamples } : {},
    dims: options.perSample ? { pair: samples.length } : {},
    coords: (named) =>
      options.perSample ? { pair: { dims: ["pair"], data: named.map(({ id }) => id), attrs: {} } } : {},
    dataVars,
  };
}
