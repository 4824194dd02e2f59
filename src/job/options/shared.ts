/** @file Options that several commands take: where results go, the machine, what is measured. */

import { MAX_THREADS } from "../../backend/backend.ts";
import { MAX_SEED } from "../../core/random.ts";
import { MAX_DRAWS } from "../../method/ablation.ts";
import { MAX_STEPS, type StepRule, stepRules } from "../../method/attribution-gradients.ts";
import { DEFAULT_VERIFIED } from "../../method/verify.ts";
import { type Direction, directionNames } from "../../metric/normalise.ts";
import { type MetricName, metricNames } from "../../metric/plan.ts";
import { bytes, choice, flag, text, whole } from "../fields.ts";
import type { OptionEntry, OptionFault, OptionTable } from "./entry.ts";

/** Where results go; without any of these, the terminal. */
export interface OutputOptions {
  /** `-` is standard output. */
  readonly json?: string;
  readonly parquet?: string;
  readonly html?: string;
  readonly svg?: string;
  readonly png?: string;
  /** A directory for the result, its report, its figures and the experiment. */
  readonly out?: string;
  /** The terminal as well. */
  readonly show?: boolean;
  readonly quiet?: boolean;
}

/** The machine's part. */
export interface MachineOptions {
  readonly device?: string;
  readonly threads?: number;
  /** Bytes for decoded weights and the state of a sweep together. */
  readonly memory?: number;
}

export const outputs: OptionTable<OutputOptions> = {
  json: {
    read: text,
    takes: "<file>",
    file: "written",
    under: "output",
    help: "the result as JSON; - for standard output",
  },
  parquet: { read: text, takes: "<file>", file: "written", under: "output", help: "the result as a table" },
  html: {
    read: text,
    takes: "<file>",
    file: "written",
    under: "output",
    help: "a report that opens offline",
  },
  svg: { read: text, takes: "<file>", file: "written", under: "output", help: "the figure" },
  png: { read: text, takes: "<file>", file: "written", under: "output", help: "the figure" },
  out: {
    read: text,
    takes: "<directory>",
    file: "written",
    under: "output",
    help: "result, report, figures and an experiment that replays it",
  },
  show: { read: flag, under: "output", help: "the terminal too" },
  quiet: { read: flag, under: "output", help: "no plan, no progress" },
};

export const machine: OptionTable<MachineOptions> = {
  device: { read: text, takes: "<name>", under: "machine", help: "cpu (default), webgpu or cuda" },
  threads: {
    read: whole(1, MAX_THREADS),
    takes: "<n>",
    under: "machine",
    help: "threads inside one operation",
  },
  memory: {
    read: bytes,
    takes: "<size>",
    under: "machine",
    help: "what the program may hold in all, e.g. 4GB; weights beyond it are read again",
  },
};

/** @param of what is drawn by it */
export function seed(of: string, under: OptionEntry<number>["under"] = "measure"): OptionEntry<number> {
  return { read: whole(0, MAX_SEED), takes: "<n>", under, help: `of ${of} (default 0)` };
}

/** @param each what there is one of for each prompt */
export function perPair(each: string): OptionEntry<boolean> {
  return { read: flag, under: "measure", help: `every ${each}` };
}

export const metric: OptionEntry<MetricName> = {
  read: choice(metricNames),
  takes: "<name>",
  under: "measure",
  help: metricNames.join(", ").replace("logit_diff", "logit_diff (default with a foil)"),
};

/** @param help which way is the default, and what it means */
export function direction(help: string): OptionEntry<Direction> {
  return { read: choice(directionNames), takes: "<way>", under: "values", help };
}

/** @param what is computed twice */
export function verify(what = "cells"): OptionEntry<number> {
  return {
    read: whole(0),
    takes: "<n>",
    under: "measure",
    help: `${what} computed again by whole forward passes (default ${DEFAULT_VERIFIED})`,
  };
}

/** @param what is estimated */
export function verifyTop(what: string, byDefault: number): OptionEntry<number> {
  return {
    read: whole(0),
    takes: "<n>",
    under: "measure",
    help: `${what} with the largest estimates that are patched exactly (default ${byDefault})`,
  };
}

/** Of integrated gradients. @param of the methods that take steps */
export function steps(of: string, byDefault: number): OptionEntry<number> {
  return {
    read: whole(1, MAX_STEPS),
    takes: "<n>",
    under: "estimate",
    help: `of ${of} (default ${byDefault})`,
  };
}

/** Where steps of integrated gradients lie. */
export function rule(help: string): OptionEntry<StepRule> {
  return { read: choice(stepRules), takes: "<name>", under: "estimate", help };
}

/** @param what is drawn */
export function draws(what: string, byDefault: number): OptionEntry<number> {
  return {
    read: whole(1, MAX_DRAWS),
    takes: "<n>",
    under: "values",
    help: `${what} drawn by resample (default ${byDefault})`,
  };
}

/** File of reference prompts. @param byDefault what takes its place */
export function reference(byDefault: string): OptionEntry<string> {
  return {
    read: text,
    takes: "<file>",
    file: "read",
    under: "values",
    help: `prompts for mean and resample, one JSON string a line (default: ${byDefault})`,
  };
}

/** Two places for one standard output. */
export function showFaults({ json, show }: OutputOptions): OptionFault[] {
  if (json !== "-" || show !== true) return [];
  return [{ option: "show", found: "--json -", wanted: "standard output for one of them" }];
}

/** Options, each with the one that it means nothing without. */
export function needs<T extends object>(
  options: T,
  pairs: readonly (readonly [keyof T & string, keyof T & string])[],
): OptionFault[] {
  return pairs
    .filter(([option, other]) => options[option] !== undefined && options[other] === undefined)
    .map(([option, other]) => ({ option, found: `no --${other}`, wanted: `--${other} with it` }));
}
