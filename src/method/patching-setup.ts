/** @file What is decided before activation patching runs anything: prompts, grids of cells, and what is put in. */

import { type Fault, refuse } from "../core/errors.ts";
import {
  flag,
  nested,
  type OptionChecks,
  oneOf,
  optionFaults,
  required,
  seed,
  sequences,
  texts,
  whole,
} from "../core/options.ts";
import { type Averaging, averagings, type Direction, directionNames } from "../metric/normalise.ts";
import type { MetricName, MetricPlan } from "../metric/plan.ts";
import { defaultMetric, metricNames, metricPlans } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { SweepInput } from "../run/variant.ts";
import type { Ablation } from "./ablation.ts";
import { ablationCheck, drawReferences } from "./ablation.ts";
import type { Chosen, Grid } from "./grid.ts";
import { chosenChecks, grids, lengthsOf } from "./grid.ts";
import type { SweepWork } from "./measure.ts";
import { cleanRun, corruptRun, pairRuns, sweepWorkChecks } from "./measure.ts";
import { pairFaults } from "./prompt-faults.ts";

export interface PatchingOptions extends SweepWork {
  /** Sites to patch, one after the other: `resid_pre`, `z`, … or TransformerLens names. */
  readonly sites: readonly string[];
  /** What tells cells apart: some of layer, pos, head, neuron, dst, src. What is not named is patched all together. */
  readonly by: readonly string[];
  /** Labels to take along a dim, e.g. `{ neuron: [12, 900], layer: [3] }`. */
  readonly choose?: Chosen | undefined;
  /** `denoise` (default for source values) or `noise` (default for the other ablations). */
  readonly direction?: Direction | undefined;
  /** What is put in: the source run's values unless told otherwise. */
  readonly ablate?: Ablation | undefined;
  /** All sites in each cell at once. */
  readonly joint?: boolean | undefined;
  /** Keys and values of each query head by itself where several share one. */
  readonly ungroup?: boolean | undefined;
  /** `logit_diff` where the pairs have a foil, else `logprob`. */
  readonly metric?: MetricName | undefined;
  readonly averaging?: Averaging | undefined;
  /** Scores between the baselines; asks that they differ. Default true. */
  readonly normalize?: boolean | undefined;
  /** Every pair's own values, with dim `pair`. */
  readonly perPair?: boolean | undefined;
  /** Token ids of the prompts that means and draws are taken from; the pairs' corrupt prompts if absent. */
  readonly references?: readonly (readonly number[])[] | undefined;
  /** Random cells computed again by whole forward passes. Default 4. */
  readonly verify?: number | undefined;
  /** Of draws, intervals and verification. Default 0. */
  readonly seed?: number | undefined;
}

export const patchingChecks: OptionChecks<PatchingOptions> = {
  sites: required(texts),
  by: required(texts),
  choose: nested(chosenChecks),
  direction: oneOf(directionNames),
  ablate: ablationCheck,
  joint: flag,
  ungroup: flag,
  metric: oneOf(metricNames),
  averaging: oneOf(averagings),
  normalize: flag,
  perPair: flag,
  references: sequences,
  verify: whole(0),
  seed,
  ...sweepWorkChecks,
};

/** Prompts that nothing is taken from. */
function referenceFaults({ ablate: { kind } = { kind: "source" }, references }: PatchingOptions): Fault[] {
  if (references === undefined || kind === "mean" || kind === "resample") return [];
  const wanted = "options.ablate of the kind mean or resample with it";
  return [{ where: "options.references", found: `the ablation ${kind}`, wanted }];
}

/** Everything that is decided before anything runs. */
export interface PatchingSetup {
  readonly pairs: readonly Pair[];
  readonly plans: readonly MetricPlan[];
  readonly metric: MetricName;
  readonly direction: Direction;
  readonly ablate: Ablation;
  readonly grids: readonly Grid[];
  /** Runs of the sweep: clean and corrupt of each pair, then reference prompts. */
  readonly runs: SweepInput["runs"];
  /** Resample ablation: for each pair, the runs it draws from. */
  readonly drawn: readonly (readonly number[])[];
  /** Edited runs of each cell whose effects are averaged. */
  readonly draws: number;
  readonly references: readonly (readonly number[])[];
}

/** @throws InputError as `activationPatching` does. */
export function preparePatching(
  model: Model,
  pairs: readonly Pair[],
  options: PatchingOptions,
): PatchingSetup {
  refuse([...optionFaults(options, patchingChecks), ...pairFaults(pairs)]);
  refuse(referenceFaults(options));
  const { ablate = { kind: "source" }, metric = defaultMetric(pairs) } = options;
  const direction = options.direction ?? (ablate.kind === "source" ? "denoise" : "noise");
  const plans = metricPlans(pairs, metric);
  const laid = grids(model, { ...options, ...lengthsOf(pairs, plans) });

  const own = pairRuns(pairs, plans);
  const references = options.references ?? own.filter((_, index) => index % 2 === 1).map(({ ids }) => ids);
  const common = { pairs, plans, metric, direction, ablate, grids: laid, references };
  if (ablate.kind !== "resample") return { ...common, runs: own, drawn: [], draws: 1 };
  const bases = pairs.map(({ where }, i) => ({ where, ids: own[baseRun(i, direction)]?.ids ?? [] }));
  const drawn = drawReferences(bases, references, ablate).map((list) =>
    list.map((index) => own.length + index),
  );
  const runs = [...own, ...references.map((ids) => ({ ids, read: [] }))];
  return { ...common, runs, drawn, draws: ablate.draws };
}

/** The run that is edited. */
export const baseRun = (pair: number, direction: Direction): number =>
  direction === "denoise" ? corruptRun(pair) : cleanRun(pair);
/** The run that values are taken from. */
export const sourceRun = (pair: number, direction: Direction): number =>
  direction === "denoise" ? cleanRun(pair) : corruptRun(pair);
