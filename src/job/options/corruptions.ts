/** @file The options of `corruptions`. */
import { MAX_DRAWS } from "../../method/ablation.ts";
import { DEFAULT_SITES, DEFAULT_WINDOWS } from "../../method/corruption-cells.ts";
import {
  type CorruptionKind,
  corruptionKinds,
  DEFAULT_DRAWS,
  DEFAULT_FACTORS,
  LEAST_SAMPLES,
  SINGLE_SAMPLES,
  TOTAL_SAMPLES,
} from "../../method/corruption-kinds.ts";
import { type ComparedMetric, comparedMetrics } from "../../method/corruption-sweep.ts";
import { choices, flag, indices, numbers, text, whole } from "../fields.ts";
import { site } from "./cells.ts";
import type { CommandOptions, OptionFault } from "./entry.ts";
import { type PairOptions, pairFaults, pairs } from "./prompts.ts";
import {
  draws,
  type MachineOptions,
  machine,
  type OutputOptions,
  outputs,
  showFaults,
  verify,
} from "./shared.ts";

export interface CorruptionsOptions extends OutputOptions, MachineOptions, PairOptions {
  readonly corruption?: readonly CorruptionKind[];
  /** Of the noise, over that of the embeddings, one after the other. */
  readonly sigma?: readonly number[];
  readonly samples?: number;
  readonly draws?: number;
  readonly symmetric?: boolean;
  readonly site?: readonly string[];
  readonly window?: readonly number[];
  readonly metric?: readonly ComparedMetric[];
  /** File of natural prompts. */
  readonly reference?: string;
  readonly verify?: number;
}

export const corruptions: CommandOptions<CorruptionsOptions> = {
  table: {
    ...pairs,
    corruption: {
      read: choices(corruptionKinds),
      takes: "<kinds>",
      under: "corrupted",
      help: `some of ${corruptionKinds} (default: all)`,
    },
    sigma: {
      read: numbers(0),
      takes: "<factors>",
      under: "corrupted",
      help: `deviations of the noise over that of the embeddings (default ${DEFAULT_FACTORS})`,
    },
    samples: {
      read: whole(1, MAX_DRAWS),
      takes: "<n>",
      under: "corrupted",
      help: `noised runs of each pair and deviation (default: ${SINGLE_SAMPLES} of one pair; of several as many as make ${TOTAL_SAMPLES}, at least ${LEAST_SAMPLES})`,
    },
    draws: { ...draws("other pairs", DEFAULT_DRAWS), under: "corrupted" },
    symmetric: { read: flag, under: "corrupted", help: "every pair in its reverse too: the foil as answer" },
    site: site(`what is restored (default ${DEFAULT_SITES}); z head by head`),
    window: {
      read: indices,
      takes: "<sizes>",
      under: "cells",
      help: `layers of outputs restored together (default ${DEFAULT_WINDOWS})`,
    },
    metric: {
      read: choices(comparedMetrics),
      takes: "<names>",
      under: "measure",
      help: "some of logit_diff,prob,kl,logprob (default the first three); the verdict is under the first",
    },
    reference: {
      read: text,
      takes: "<file>",
      file: "read",
      under: "measure",
      help: "natural prompts that distances are from, one JSON string a line (default: the other pairs')",
    },
    verify: verify(),
    ...machine,
    ...outputs,
  },
  together(options) {
    const { corruption } = options;
    const faults: OptionFault[] = [...pairFaults(options), ...showFaults(options)];
    for (const [option, kind] of [
      ["sigma", "noise"],
      ["samples", "noise"],
      ["draws", "resample"],
    ] as const) {
      if (options[option] === undefined || corruption === undefined || corruption.includes(kind)) continue;
      faults.push({ option, found: `--corruption ${corruption.join(",")}`, wanted: `${kind} among them` });
    }
    if (options.window?.includes(0)) faults.push({ option: "window", found: "0", wanted: "1 layer or more" });
    return faults;
  },
};
