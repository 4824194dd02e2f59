/** @file The options of `mcq`. */
import { MAX_RANK, MCQ_DEFAULTS } from "../../method/mcq.ts";
import { type LetterMetric, letterMetrics } from "../../method/mcq-scores.ts";
import { between, choice, heads, text, whole } from "../fields.ts";
import type { CommandOptions } from "./entry.ts";
import { bos, count } from "./prompts.ts";
import {
  draws,
  type MachineOptions,
  machine,
  type OutputOptions,
  outputs,
  seed,
  showFaults,
} from "./shared.ts";

/** Questions of the embedded world where `n` is not given: each of four letters eight times. */
export const DEFAULT_QUESTIONS = 32;

export interface McqOptions extends OutputOptions, MachineOptions {
  /** File of questions. */
  readonly questions?: string;
  readonly n?: number;
  readonly seed?: number;
  readonly bos?: boolean;
  readonly metric?: LetterMetric;
  readonly draws?: number;
  readonly keep?: number;
  readonly heads?: readonly string[];
  readonly rank?: number;
  readonly "max-rank"?: number;
}

export const mcq: CommandOptions<McqOptions> = {
  table: {
    questions: {
      read: text,
      takes: "<file>",
      file: "read",
      under: "prompts",
      help: 'JSON of {"questions": [{"question", "options": {"A": …}, "answer": "A"}], "shots", "prefix", "format"} (default: those that pocket was taught)',
    },
    n: count(`questions: of a file its first (default all), else (default ${DEFAULT_QUESTIONS})`),
    seed: seed("questions, labels, draws and intervals", "prompts"),
    bos,
    metric: {
      read: choice(letterMetrics),
      takes: "<name>",
      under: "measure",
      help: "of effects: logit_diff (default), the right letter less the mean of the others; loss, cross-entropy over the letters",
    },
    draws: draws("questions", MCQ_DEFAULTS.draws),
    keep: {
      read: between(0, 1),
      takes: "<share>",
      under: "measure",
      help: `of the metric, by the smallest set of nodes (default ${MCQ_DEFAULTS.share})`,
    },
    heads: {
      read: heads(),
      takes: "<heads>",
      under: "cells",
      help: "heads that are cut to low rank, e.g. 9.6,9.9 (default: those that find the right letter)",
    },
    rank: {
      read: whole(0, MAX_RANK),
      takes: "<r>",
      under: "cells",
      help: "at which labels are exchanged (default: one less than there are options)",
    },
    "max-rank": {
      read: whole(0, MAX_RANK),
      takes: "<r>",
      under: "cells",
      help: `up to which every rank is tried, and the whole beside (default ${MCQ_DEFAULTS.maxRank})`,
    },
    ...machine,
    ...outputs,
  },
  together: showFaults,
};
