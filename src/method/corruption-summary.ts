/** @file A corruption comparison as a labelled result. */

import { metrics as known } from "../metric/metric.ts";
import type { Pair } from "../model/pair.ts";
import type { Ranged } from "../numeric/jackknife.ts";
import { columnMeans } from "../numeric/resampled.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { Finding } from "./corruption-agreement.ts";
import type { Compared } from "./corruption-compared.ts";
import { offVariables } from "./corruption-off.ts";
import { verdict } from "./corruption-verdict.ts";

interface Parts {
  readonly pairs: readonly Pair[];
  /** Whether pairs were taken in their reverse too. */
  readonly symmetric: boolean;
  readonly warnings: readonly string[];
  readonly made: Readonly<Record<string, Json>>;
  readonly seconds: number;
}

/** The dataset of a comparison. */
export function comparisonDataset(compared: Compared, parts: Parts): Dataset {
  const { model, metrics, corrupted, layout, off, values, reference, units } = compared;
  const { corruptions } = corrupted;
  const [metric = "prob"] = metrics;
  const dataVars: Record<string, Variable> = {
    ...cellVariables(compared),
    ...summaryVariables(compared),
    ...offVariables(compared),
  };
  const isOverHeads = layout.grids.some(({ over }) => over === "head");
  const { natural } = off;
  const found = dataset({
    attrs: {
      method: "corruptions",
      question: `Do ${corruptions.map(({ name }) => name).join(", ")} find the same when single parts are restored?`,
      metric,
      unit: known[metric].unit,
      metric_units: Object.fromEntries(metrics.map((name) => [name, known[name].unit])),
      direction: "denoise",
      baseline_clean: mean(values.clean[0] ?? []),
      baselines_clean: Object.fromEntries(metrics.map((name, i) => [name, mean(values.clean[i] ?? [])])),
      reference: corruptions[reference]?.name ?? "",
      sigma: corruptions.flatMap(({ name, factor }): Json[] =>
        factor === undefined ? [] : [{ corruption: name, sigma: factor * corrupted.spread }],
      ),
      intervals_over: units.over,
      natural_states: {
        from: natural.from,
        prompts: natural.prompts,
        states: natural.states,
        shrinkage: Number.isNaN(natural.shrinkage) ? null : natural.shrinkage,
        estimator:
          "Mahalanobis distance, covariance shrunk to its mean variance by Ledoit & Wolf's estimate; first tokens left out",
      },
      cells: values.cells,
      cells_unchanged: values.unchanged,
      ...values.verified,
      warnings: [...parts.warnings],
      options: {
        sites: [...new Set(layout.grids.map(({ site }) => site))],
        windows: [...new Set(layout.grids.map(({ window }) => window))],
        metrics: [...metrics],
        corruptions: corruptions.map(({ name }) => name),
        samples: corruptions.map((_, i) => corrupted.runs[0]?.[i]?.length ?? 0),
        symmetric: parts.symmetric,
        seed: compared.seed,
      },
      ...parts.made,
      corrupted_positions: parts.pairs.map(({ differing }) => [...differing]),
      seconds: parts.seconds,
    },
    dims: {
      corruption: corruptions.length,
      layer: model.architecture.layers.length,
      role: layout.roles.length,
      ...(isOverHeads ? { head: model.architecture.heads } : {}),
      grid: layout.grids.length,
      metric: metrics.length,
      other_corruption: corruptions.length,
      other_metric: metrics.length,
    },
    coords: {
      ...Object.fromEntries(
        ["corruption", "other_corruption"].map((dim) => [
          dim,
          labels(
            dim,
            corruptions.map(({ name }) => name),
          ),
        ]),
      ),
      role: labels("role", layout.roles),
      grid: labels(
        "grid",
        layout.grids.map(({ name }) => name),
      ),
      metric: labels("metric", metrics),
      other_metric: labels("other_metric", metrics),
    },
    dataVars,
  });
  const { sentences, table } = verdict(found);
  return { ...found, attrs: { ...found.attrs, verdict: [...sentences], verdicts: [...table] } };
}

function labels(dim: string, data: readonly string[]): Variable {
  return { dims: [dim], data: [...data], attrs: {} };
}

/** Variables of cells, by grid and metric. */
function cellVariables({
  layout,
  metrics,
  byMetric,
  corrupted,
  values,
  units,
}: Compared): Record<string, Variable> {
  const variables: Record<string, Variable> = {};
  for (const [grid, { name, over, size }] of layout.grids.entries()) {
    const dims = ["corruption", "layer", over];
    for (const [at, metric] of metrics.entries()) {
      const { findings = [] } = byMetric[grid]?.[at] ?? {};
      const { unit } = known[metric];
      const add = (
        suffix: string,
        attrs: Record<string, Json>,
        of: (finding: Finding, index: number) => ArrayLike<number>,
      ): void => {
        const data = Float64Array.from(findings.flatMap((finding, index) => Array.from(of(finding, index))));
        variables[`${name}_${metric}${suffix}`] = { dims, data, attrs };
      };
      // One metric is enough for whoever lists or draws the result in general.
      const detail = at === 0 ? {} : { detail: true };
      const toward = metric === "kl" ? "fall of KL(clean ‖ edited)" : `rise of ${metric}`;
      add(
        "",
        { unit, quantity: "metric", long_name: `${metric} of the restored run`, ...detail },
        (_, corruption) => {
          const rows = units.rows(corruption, size, (pair, sample) =>
            (values.restored[pair]?.[corruption]?.[sample]?.[grid] ?? new Float64Array(0)).subarray(
              at * size,
              (at + 1) * size,
            ),
          );
          return columnMeans(rows, size);
        },
      );
      add(
        "_effect",
        { unit, quantity: "effect", long_name: `${toward} over the corrupted run`, ...detail },
        ({ effect }) => effect,
      );
      const interval = (side: string): Record<string, Json> => ({
        unit,
        long_name: `95 % bootstrap interval over ${units.over}, ${side}`,
        detail: true,
      });
      add("_effect_ci_low", interval("low"), ({ effectEnds }) => effectEnds.low);
      add("_effect_ci_high", interval("high"), ({ effectEnds }) => effectEnds.high);
      add(
        "_normalized",
        { unit: "1", long_name: "restored share: 0 corrupted, 1 clean", ...detail },
        ({ share }) => share,
      );
      const ofShare = (side: string): Record<string, Json> => ({
        ...interval(side),
        unit: "1",
        long_name: `95 % bootstrap interval over ${units.over}, ${side}; effect and gap resampled together`,
      });
      add("_normalized_ci_low", ofShare("low"), ({ shareEnds }) => shareEnds.low);
      add("_normalized_ci_high", ofShare("high"), ({ shareEnds }) => shareEnds.high);
      add(
        "_detected",
        {
          unit: "1",
          long_name: "1, −1: more than two standard deviations above, below the mean over cells",
          detail: true,
        },
        ({ detected }) => Float64Array.from(detected),
      );
      add(
        "_detected_share",
        { unit: "1", long_name: "share of resamples in which the cell is detected", detail: true },
        ({ detectedShare }) => detectedShare,
      );
    }
    variables[`${name}_distance`] = {
      dims,
      data: Float64Array.from(
        corrupted.corruptions.flatMap((_, corruption) =>
          Array.from(
            columnMeans(
              Float64Array.from(
                values.distances.flatMap((pair) => Array.from(pair[corruption]?.[grid] ?? [])),
              ),
              size,
            ),
          ),
        ),
      ),
      attrs: {
        unit: "1",
        long_name: "Mahalanobis distance of the restored run's last stream from natural ones, first sample",
        detail: true,
      },
    };
  }
  return variables;
}

/** What is said of a whole grid. */
function summaryVariables(compared: Compared): Record<string, Variable> {
  const { layout, metrics, byMetric, byCorruption, corrupted, model } = compared;
  const { corruptions } = corrupted;
  const variables: Record<string, Variable> = {};
  const flat = <T>(of: (finding: Finding, grid: number, index: number) => T): T[] =>
    layout.grids.flatMap((_, grid) =>
      metrics.flatMap((__, metric) =>
        (byMetric[grid]?.[metric]?.findings ?? []).map((finding, i) => of(finding, grid, i)),
      ),
    );
  const dims = ["grid", "metric", "corruption"];
  const add = (
    name: string,
    longName: string,
    data: readonly number[] | readonly string[],
    over = dims,
  ): void => {
    const numeric = typeof data[0] === "number";
    variables[name] = {
      dims: over,
      data: numeric ? Float64Array.from(data as readonly number[]) : data,
      attrs: { ...(numeric ? { unit: "1" } : {}), long_name: longName, detail: true },
    };
  };
  const addRanged = (name: string, longName: string, all: readonly Ranged[], over = dims): void => {
    add(
      name,
      longName,
      all.map(({ value }) => value),
      over,
    );
    for (const side of ["low", "high"] as const) {
      const about = `95 % jackknife interval over ${compared.units.over}, ${side}`;
      add(
        `${name}_ci_${side}`,
        about,
        all.map((one) => one[side]),
        over,
      );
    }
  };
  const placesOf = (grid: number): number =>
    layout.grids[grid]?.over === "head" ? model.architecture.heads : layout.roles.length;
  addRanged(
    "taken_share",
    "what the corruption took over what the reference took",
    // The gaps are those of the runs, whatever the grid.
    (byMetric[0] ?? []).flatMap(({ findings }) => findings.map(({ taken }) => taken)),
    ["metric", "corruption"],
  );
  addRanged(
    "peak_share",
    "largest effect over what the corruption took",
    flat(({ peakShare }) => peakShare),
  );
  addRanged(
    "peak_ratio",
    "largest effect over the reference's",
    flat(({ peakRatio }) => peakRatio),
  );
  addRanged(
    "peak_share_ratio",
    "largest share over the reference's",
    flat(({ peakShareRatio }) => peakShareRatio),
  );
  add(
    "peak_layer",
    "layer of the largest effect",
    flat(({ peakCell }, grid) => Math.floor(peakCell / placesOf(grid))),
  );
  add(
    "peak_place",
    "token or head of the largest effect",
    flat(({ peakCell }, grid) => {
      const place = peakCell % placesOf(grid);
      return layout.grids[grid]?.over === "head" ? `head ${place}` : (layout.roles[place] ?? "");
    }),
  );
  add(
    "detections",
    "cells beyond two standard deviations",
    flat(({ detected }) => detected.filter((sign) => sign !== 0).length),
  );
  add(
    "detections_shared",
    "of them with the same sign in the reference",
    flat(({ sharedDetections }) => sharedDetections),
  );
  addRanged(
    "rank_agreement",
    "Spearman's correlation of all cells' effects with those under another corruption",
    layout.grids.flatMap((_, grid) =>
      metrics.flatMap((__, metric) => (byMetric[grid]?.[metric]?.agreement ?? []).flat()),
    ),
    [...dims, "other_corruption"],
  );
  addRanged(
    "metric_agreement",
    "Spearman's correlation of all cells' effects with those under another metric",
    layout.grids.flatMap((_, grid) =>
      corruptions.flatMap((__, corruption) => (byCorruption[grid]?.[corruption] ?? []).flat()),
    ),
    ["grid", "corruption", "metric", "other_metric"],
  );
  return variables;
}
