/** @file Means of like-shaped variables over prompts, with bootstrap intervals and, where asked for, every prompt's own. */

import type { Interval } from "../numeric/statistics.ts";
import { bootstrapMean, mean } from "../numeric/statistics.ts";
import type { Json, Variable } from "../result/result.ts";
import { bootstrapOf, intervalVariables } from "./intervals.ts";

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

/** Puts samples together: `<name>` with `<name>_ci_low` and `<name>_ci_high` where there are several. */
export function meanOver(samples: readonly Sample[], options: MeanOptions): Means {
  const { unit, quantity, over = "prompts" } = options;
  const [first = {}] = samples;
  const cells = Object.values(first).reduce((sum, { data }) => sum + data.length, 0);
  const bootstrap = bootstrapOf(cells, { count: samples.length, seed: options.seed });
  const dataVars: Record<string, Variable> = {};
  for (const [name, { dims, data }] of Object.entries(first)) {
    const columns = Array.from(data, (_, cell) =>
      Float64Array.from(samples, (sample) => sample[name]?.data[cell] ?? Number.NaN).filter(
        (value) => !Number.isNaN(value),
      ),
    );
    const attrs: Record<string, Json> = { unit, ...(quantity === undefined ? {} : { quantity }) };
    dataVars[name] = { dims: [...dims], data: Float64Array.from(columns, mean), attrs };
    if (bootstrap !== undefined) {
      const of = (cell: number): Interval => {
        const column = columns[cell] ?? new Float64Array(0);
        return bootstrapMean(column, bootstrap.drawn(column.length));
      };
      Object.assign(dataVars, intervalVariables(name, { dims, unit, over, cells: data.length, of }));
    }
    if (!options.perSample) continue;
    const whole = new Float64Array(samples.length * data.length);
    for (const [index, sample] of samples.entries()) {
      whole.set(sample[name]?.data ?? [], index * data.length);
    }
    dataVars[`${name}_per_pair`] = { dims: ["pair", ...dims], data: whole, attrs: { unit } };
  }
  return {
    attrs: bootstrap?.attrs ?? {},
    dims: options.perSample ? { pair: samples.length } : {},
    coords: (named) =>
      options.perSample ? { pair: { dims: ["pair"], data: named.map(({ id }) => id), attrs: {} } } : {},
    dataVars,
  };
}
