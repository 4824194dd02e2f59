/** @file The options of `patch`. */
import { type Ablation, type MeanOver, meansOver } from "../../method/ablation.ts";
import { type Averaging, averagings, type Direction } from "../../metric/normalise.ts";
import type { MetricName } from "../../metric/plan.ts";
import { choice, flag } from "../fields.ts";
import { type CellOptions, cells } from "./cells.ts";
import type { CommandOptions, OptionFault } from "./entry.ts";
import { type PairOptions, pairFaults, pairs } from "./prompts.ts";
import {
  direction,
  draws,
  type MachineOptions,
  machine,
  metric,
  type OutputOptions,
  outputs,
  perPair,
  reference,
  showFaults,
  verify,
} from "./shared.ts";

/** Sites and dims where none are named. */
export const DEFAULT_PATCH_SITES: readonly string[] = ["resid_pre"];
export const DEFAULT_PATCH_BY: readonly string[] = ["layer", "pos"];
/** Prompts drawn by a resample ablation. */
export const DEFAULT_DRAWS = 10;

export interface PatchOptions extends OutputOptions, MachineOptions, PairOptions, CellOptions {
  readonly joint?: boolean;
  readonly direction?: Direction;
  readonly ablate?: Ablation["kind"];
  readonly mean?: MeanOver;
  readonly draws?: number;
  /** File of reference prompts. */
  readonly reference?: string;
  readonly metric?: MetricName;
  readonly averaging?: Averaging;
  readonly normalize?: boolean;
  readonly "per-pair"?: boolean;
  readonly verify?: number;
}

export const patch: CommandOptions<PatchOptions> = {
  table: {
    ...pairs,
    ...cells({
      site: `sites, e.g. ${DEFAULT_PATCH_SITES} (default) or z,mlp_out; TransformerLens names too`,
      by: `what tells cells apart, of layer,pos,head,kv_head,neuron,dst,src (default ${DEFAULT_PATCH_BY}; layer where prompts differ in length)`,
    }),
    joint: { read: flag, under: "cells", help: "all sites in each cell at once" },
    direction: direction("denoise (default): clean values into the corrupt run; noise: the reverse"),
    ablate: {
      read: choice(["source", "zero", "mean", "resample"]),
      takes: "<kind>",
      under: "values",
      help: "source (default): the other run's values; zero, mean, resample",
    },
    mean: {
      read: choice(meansOver),
      takes: "<over>",
      under: "values",
      help: "mean over each position by itself (position, default) or over all",
    },
    draws: draws("prompts", DEFAULT_DRAWS),
    reference: reference("the corrupt ones"),
    metric,
    averaging: {
      read: choice(averagings),
      takes: "<how>",
      under: "measure",
      help: "of scores over pairs: ratio-of-means (default) or mean-of-ratios",
    },
    normalize: { read: flag, under: "measure", negation: "only", help: "no scores between the baselines" },
    "per-pair": perPair("pair's own values"),
    verify: verify(),
    ...machine,
    ...outputs,
  },
  together(options) {
    const { ablate = "source" } = options;
    const faults: OptionFault[] = [...pairFaults(options), ...showFaults(options)];
    const onlyFor = (option: "mean" | "draws" | "reference", kinds: readonly Ablation["kind"][]): void => {
      if (options[option] === undefined || kinds.includes(ablate)) return;
      const wanted = kinds.map((kind) => `--ablate ${kind}`).join(" or ");
      faults.push({ option, found: `--ablate ${ablate}`, wanted: `${wanted} with it` });
    };
    onlyFor("mean", ["mean"]);
    onlyFor("draws", ["resample"]);
    onlyFor("reference", ["mean", "resample"]);
    return faults;
  },
};
