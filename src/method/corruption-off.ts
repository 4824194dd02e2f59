/** @file How far off the data each corruption is, as variables: by layer and kind of token, and in summary. */

import { metrics as known } from "../metric/metric.ts";
import type { Ranged } from "../numeric/jackknife.ts";
import { columnMeans } from "../numeric/resampled.ts";
import { bootstrapMean, drawResamples, mean } from "../numeric/statistics.ts";
import type { Variable } from "../result/result.ts";
import type { Compared, OffSummary } from "./corruption-compared.ts";
import type { RunStates } from "./corruption-distance.ts";

/** Distance, norm and entropy of the corrupted runs, and the metrics of these runs. */
export function offVariables(compared: Compared): Record<string, Variable> {
  const { layout, metrics, corrupted, off, values, units, model } = compared;
  const { corruptions } = corrupted;
  const summaries = corruptions.map((_, corruption) => offSummary(compared, corruption));
  const size = model.architecture.layers.length * layout.roles.length;
  const dims = ["corruption", "layer", "role"];
  const byLayer = (of: (states: RunStates, pair: number) => Float64Array): Float64Array =>
    Float64Array.from(
      corruptions.flatMap((_, corruption) =>
        Array.from(
          columnMeans(
            units.rows(corruption, size, (pair, sample) => {
              const states = off.corrupted[pair]?.[corruption]?.[sample];
              return states === undefined ? new Float64Array(size).fill(Number.NaN) : of(states, pair);
            }),
            size,
          ),
        ),
      ),
    );
  const variable = (
    of: readonly string[],
    data: Float64Array,
    [unit, longName]: readonly [string, string],
  ): Variable => ({
    dims: of,
    data,
    attrs: { unit, long_name: longName, detail: true },
  });
  const variables: Record<string, Variable> = {
    distance: variable(
      dims,
      byLayer(({ distance }) => distance),
      ["1", "Mahalanobis distance of resid_post from natural states"],
    ),
    distance_clean: variable(
      ["layer", "role"],
      columnMeans(Float64Array.from(off.clean.flatMap(({ distance }) => Array.from(distance))), size),
      ["1", "the same of the uncorrupted prompts, each held against other prompts"],
    ),
    norm_ratio: variable(dims, byLayer(({ logNorm }) => logNorm).map(Math.exp), [
      "1",
      "norm of resid_post over the clean run's, geometric mean",
    ]),
    entropy_shift: variable(
      dims,
      byLayer(({ entropyShift }) => entropyShift),
      ["nat", "entropy of attention less the clean run's, mean over heads"],
    ),
  };
  const add = (name: string, about: readonly [string, string], all: readonly Ranged[]): void => {
    variables[name] = variable(
      ["corruption", "role"],
      Float64Array.from(all, ({ value }) => value),
      about,
    );
    for (const side of ["low", "high"] as const) {
      variables[`${name}_ci_${side}`] = variable(
        ["corruption", "role"],
        Float64Array.from(all, (one) => one[side]),
        [about[0], `95 % bootstrap interval over ${units.over}, ${side}`],
      );
    }
  };
  add(
    "off_distance",
    ["1", "distance over the clean run's, mean over layers"],
    summaries.flatMap(({ distance }) => distance),
  );
  add(
    "off_norm",
    ["1", "norm over the clean run's, geometric mean over layers"],
    summaries.flatMap(({ norm }) => norm),
  );
  add(
    "off_entropy",
    ["nat", "entropy of attention less the clean run's, mean over layers"],
    summaries.flatMap(({ entropy }) => entropy),
  );
  for (const [metric, name] of metrics.entries()) {
    const rows = corruptions.map((_, corruption) =>
      units.rows(corruption, 1, (pair, sample) =>
        Float64Array.of(values.corrupted[pair]?.[corruption]?.[sample]?.[metric] ?? Number.NaN),
      ),
    );
    const all = rows.map((row) => rangedMean(row, compared.seed));
    for (const [suffix, of] of [
      ["", (one: Ranged) => one.value],
      ["_ci_low", (one: Ranged) => one.low],
      ["_ci_high", (one: Ranged) => one.high],
    ] as const) {
      variables[`baseline_${name}${suffix}`] = variable(["corruption"], Float64Array.from(all, of), [
        known[name].unit,
        suffix === "" ? `${name} of the corrupted run` : `95 % bootstrap interval over ${units.over}`,
      ]);
    }
  }
  return variables;
}

function rangedMean(values: Float64Array, seed: number): Ranged {
  const present = values.filter((value) => !Number.isNaN(value));
  const { estimate, low, high } = bootstrapMean(present, drawResamples(present.length, { seed }));
  return { value: estimate, low, high };
}

function offSummary({ units, off, layout, model, seed }: Compared, corruption: number): OffSummary {
  const roles = layout.roles.length;
  const layers = model.architecture.layers.length;
  const summarise = (of: (states: RunStates, at: number, pair: number) => number): Ranged[] => {
    const rows = units.rows(corruption, roles, (pair, sample) => {
      const states = off.corrupted[pair]?.[corruption]?.[sample];
      return Float64Array.from({ length: roles }, (_, role) =>
        states === undefined
          ? Number.NaN
          : mean(Array.from({ length: layers }, (__, layer) => of(states, layer * roles + role, pair))),
      );
    });
    return Array.from({ length: roles }, (_, role) =>
      rangedMean(
        rows.filter((__, i) => i % roles === role),
        seed,
      ),
    );
  };
  const norm = summarise(({ logNorm }, at) => logNorm[at] ?? Number.NaN);
  return {
    distance: summarise(
      ({ distance }, at, pair) =>
        (distance[at] ?? Number.NaN) / (off.clean[pair]?.distance[at] ?? Number.NaN),
    ),
    norm: norm.map(({ value, low, high }) => ({
      value: Math.exp(value),
      low: Math.exp(low),
      high: Math.exp(high),
    })),
    entropy: summarise(({ entropyShift }, at) => entropyShift[at] ?? Number.NaN),
  };
}
