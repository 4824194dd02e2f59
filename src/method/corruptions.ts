/**
 * @file Corruption comparison: the same cells restored in runs that were corrupted by noise, by other tokens, by a mean
 * or by nothing. Where do they find the same, and how far off the data is each?
 * Source: Zhang & Nanda 2024, "Towards best practices of activation patching in language models".
 */

import { milliseconds } from "../core/clock.ts";
import { refuse } from "../core/errors.ts";
import {
  bytes,
  callback,
  flag,
  type OptionChecks,
  oneOf,
  optionFaults,
  sequences,
  signal,
  someOf,
  texts,
  whole,
} from "../core/options.ts";
import { metrics as known } from "../metric/metric.ts";
import { baselineWarnings } from "../metric/normalise.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset } from "../result/result.ts";
import { agreementOf, compare, type Effects } from "./corruption-agreement.ts";
import { layOut } from "./corruption-cells.ts";
import type { Compared } from "./corruption-compared.ts";
import { offData } from "./corruption-distance.ts";
import {
  type CorruptionOptions,
  corrupt,
  corruptionChecks,
  defaultSamples,
  strayFaults,
} from "./corruption-kinds.ts";
import { comparisonDataset } from "./corruption-summary.ts";
import {
  type ComparedMetric,
  type ComparedValues,
  comparedMetrics,
  signOf,
  sweepCorruptions,
} from "./corruption-sweep.ts";
import { unitsOver } from "./corruption-units.ts";
import { pairFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";
import { DEFAULT_VERIFIED } from "./verify.ts";

export interface ComparisonOptions extends CorruptionOptions {
  /** What is restored: resid_pre, mlp_out, attn_out if absent; `z` head by head at all tokens. */
  readonly sites?: readonly string[] | undefined;
  /** Layers of outputs restored together, once for each number. Default 1 and 5. */
  readonly windows?: readonly number[] | undefined;
  /** The first is that of the verdict. Default logit_diff, prob, kl where the pairs have foils, else prob, kl. */
  readonly metrics?: readonly ComparedMetric[] | undefined;
  /** Every pair in its reverse too: corrupt prompt as clean, foil as answer. */
  readonly symmetric?: boolean | undefined;
  /** Token ids of natural prompts that distances are from; the other pairs' prompts if absent. */
  readonly references?: readonly (readonly number[])[] | undefined;
  /** Random cells computed again by whole forward passes. Default 4. */
  readonly verify?: number | undefined;
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

const comparisonChecks: OptionChecks<ComparisonOptions> = {
  ...corruptionChecks,
  sites: texts,
  windows: someOf(whole(1), "whole numbers"),
  metrics: someOf(oneOf(comparedMetrics), "metrics"),
  symmetric: flag,
  references: sequences,
  verify: whole(0),
  stateBytes: bytes,
  onProgress: callback,
  signal,
};

/**
 * Compares corruptions of the tokens at which the prompts of each pair differ, by what restoring single cells from the
 * clean run brings back.
 *
 * @returns for each grid (`mlp_out`, `mlp_out_window_5`, …) and metric, over (corruption, layer, role): `<grid>_<metric>`,
 * the metric of the restored run; `…_effect`, its change towards the clean run (for KL: its fall), with 95 % intervals over
 * pairs, or over samples of one pair; `…_normalized`, its share of what the corruption took, with intervals; `…_detected`,
 * 1 or −1 beyond two standard deviations over the grid's cells. Over (metric, corruption): `taken_share` of what the
 * reference took. Over (grid, metric, corruption): `peak_share`, `peak_ratio`, `detections`; `rank_agreement` with every
 * other corruption. Over (corruption, layer, role): `distance`, `norm_ratio`,
 * `entropy_shift` of the corrupted runs. `attrs.verdict` says in sentences where the methods part and what that rests on.
 * @throws InputError for unknown sites, pairs that a metric is not defined on, resampling without anything to draw from.
 */
export async function corruptionComparison(
  model: Model,
  pairs: readonly Pair[],
  options: ComparisonOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, comparisonChecks), ...pairFaults(pairs)]);
  refuse(strayFaults(options));
  const { seed = 0 } = options;
  const all = options.symmetric ? bothWays(pairs) : pairs;
  const metrics = options.metrics ?? defaultMetrics(pairs);
  const layout = layOut(model, all, options);
  const corrupted = await corrupt(model, all, {
    ...options,
    samples: options.samples ?? defaultSamples(pairs.length),
  });
  const { corruptions } = corrupted;
  const off = await offData(model, all, { layout, corrupted, references: options.references, seed });
  const values = await sweepCorruptions(model, {
    pairs: all,
    layout,
    corrupted,
    metrics,
    distanceOf: off.distanceOf,
    ownDistance: off.corrupted.map((list) => list.map((samples) => samples[0]?.lastDistance ?? Number.NaN)),
    verify: options.verify ?? DEFAULT_VERIFIED,
    seed,
    stateBytes: options.stateBytes,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  const step = options.symmetric ? 2 : 1;
  const units = unitsOver(
    corrupted.runs[0]?.map((samples) => samples.length) ?? [],
    Array.from({ length: all.length / step }, (_, group) =>
      Array.from({ length: step }, (__, way) => group * step + way),
    ),
  );
  const replacement = corruptions.findIndex(({ kind }) => kind === "replacement");
  const reference = replacement < 0 ? corruptions.length - 1 : replacement;
  const effects = layout.grids.map((_, grid) =>
    metrics.map((__, metric) =>
      corruptions.map((___, corruption) =>
        effectsOf({ values, layout, units, metrics }, { grid, metric, corruption }),
      ),
    ),
  );
  const compared: Compared = {
    model,
    metrics,
    corrupted,
    layout,
    units,
    off,
    values,
    reference,
    byMetric: effects.map((list, grid) =>
      list.map((own) => compare(own, { cells: layout.grids[grid]?.size ?? 0, reference, seed })),
    ),
    byCorruption: effects.map((list, grid) =>
      corruptions.map((_, corruption) =>
        agreementOf(
          list.map((own) => own[corruption] as Effects),
          layout.grids[grid]?.size ?? 0,
        ),
      ),
    ),
    seed,
  };
  return comparisonDataset(compared, {
    pairs,
    symmetric: options.symmetric ?? false,
    warnings: [
      ...corrupted.warnings,
      ...(replacement < 0 ? [] : pairWarnings(all, { values, corruption: replacement, metrics })),
      ...(off.natural.from === "none"
        ? ["distances are left out: too few natural states; give more pairs, or prompts with --reference"]
        : []),
    ],
    made: await provenance(model, pairs),
    seconds: (milliseconds() - started) / 1000,
  });
}

function defaultMetrics(pairs: readonly Pair[]): ComparedMetric[] {
  return pairs.some(({ foils }) => foils.length > 0) ? ["logit_diff", "prob", "kl"] : ["prob", "kl"];
}

/** Each pair followed by its reverse. @throws InputError naming every pair without a foil. */
function bothWays(pairs: readonly Pair[]): Pair[] {
  refuse(
    pairs
      .filter(({ foils }) => foils.length === 0)
      .map(({ where }) => ({
        where: `${where}, foil`,
        found: "none",
        wanted: "the corrupt prompt's own answer for --symmetric",
      })),
  );
  return pairs.flatMap((pair) => [
    pair,
    {
      ...pair,
      id: `${pair.id}, reversed`,
      where: `${pair.where}, reversed`,
      clean: pair.corrupt,
      corrupt: pair.clean,
      answers: pair.foils,
      foils: pair.answers,
    },
  ]);
}

function effectsOf(
  {
    values,
    layout,
    units,
    metrics,
  }: Pick<Compared, "layout" | "units" | "metrics"> & { readonly values: ComparedValues },
  {
    grid,
    metric,
    corruption,
  }: { readonly grid: number; readonly metric: number; readonly corruption: number },
): Effects {
  const size = layout.grids[grid]?.size ?? 0;
  const sign = signOf(metrics[metric] ?? "prob");
  const baseOf = (pair: number, sample: number): number =>
    values.corrupted[pair]?.[corruption]?.[sample]?.[metric] ?? Number.NaN;
  return {
    data: units.rows(corruption, size, (pair, sample) => {
      const found = values.restored[pair]?.[corruption]?.[sample]?.[grid];
      const base = baseOf(pair, sample);
      return (found ?? new Float64Array(0))
        .subarray(metric * size, (metric + 1) * size)
        .map((value) => sign * (value - base));
    }),
    gaps: units.rows(corruption, 1, (pair, sample) =>
      Float64Array.of(sign * ((values.clean[metric]?.[pair] ?? Number.NaN) - baseOf(pair, sample))),
    ),
  };
}

function pairWarnings(
  pairs: readonly Pair[],
  {
    values,
    corruption,
    metrics,
  }: {
    readonly values: ComparedValues;
    readonly corruption: number;
    readonly metrics: readonly ComparedMetric[];
  },
): readonly string[] {
  const [metric = "prob"] = metrics;
  if (!known[metric].higherIsClean) return [];
  const baselines = pairs.map((_, pair) => ({
    clean: values.clean[0]?.[pair] ?? Number.NaN,
    corrupt: mean((values.corrupted[pair]?.[corruption] ?? []).map((list) => list[0] ?? Number.NaN)),
  }));
  return baselineWarnings(pairs, baselines, metric);
}
