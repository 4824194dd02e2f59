/** @file The options of `attention`. */
import { type AttendedFrom, attendedFrom } from "../../method/attention-targets.ts";
import { MAX_PAIRS } from "../../model/pair-spec.ts";
import { choice, heads, whole } from "../fields.ts";
import type { CommandOptions, OptionFault } from "./entry.ts";
import { DEFAULT_TASK_PAIRS, type PromptOptions, promptFaults, promptsWith } from "./prompts.ts";
import { type MachineOptions, machine, type OutputOptions, outputs, perPair, showFaults } from "./shared.ts";

/** Random tokens of half a sequence: patterns of the whole fit in memory. */
const MAX_REPEATED = 4096;

/** Sequences of random tokens where `n` is not given. */
export const DEFAULT_SEQUENCES = 8;

export interface AttentionOptions extends OutputOptions, MachineOptions, PromptOptions {
  /** Random tokens of a sequence, said twice. */
  readonly repeat?: number;
  readonly from?: AttendedFrom;
  /** Heads, such as 9.6, or all. */
  readonly patterns?: readonly string[];
  readonly example?: number;
  readonly "per-pair"?: boolean;
}

const prompts = promptsWith("answer", "foil", "subject", "roles");

export const attention: CommandOptions<AttentionOptions> = {
  table: {
    ...prompts,
    answer: { ...prompts.answer, help: "what should follow: its token in the prompt is a role" },
    foil: { ...prompts.foil, help: `${prompts.foil.help}: likewise` },
    n: {
      ...prompts.n,
      help: `pairs of the task (default ${DEFAULT_TASK_PAIRS}), sequences of --repeat (${DEFAULT_SEQUENCES})`,
    },
    repeat: {
      read: whole(2, MAX_REPEATED),
      takes: "<tokens>",
      under: "prompts",
      help: "instead: so many random tokens, said twice: what tells induction heads apart",
    },
    from: {
      read: choice(attendedFrom),
      takes: "<rows>",
      under: "measure",
      help: "attention to roles: from the last position (last, default), or all",
    },
    patterns: {
      read: heads("all"),
      takes: "<heads>",
      under: "measure",
      help: "heads whose patterns are shown, e.g. 9.6,9.9, or all (default: the two strongest of each score)",
    },
    example: {
      read: whole(0, MAX_PAIRS),
      takes: "<n>",
      under: "measure",
      help: "the prompt that they are of, from 0 (default 0)",
    },
    "per-pair": perPair("prompt's own scores too"),
    ...machine,
    ...outputs,
  },
  together(options) {
    const { repeat } = options;
    const faults: OptionFault[] = [...showFaults(options)];
    if (repeat === undefined) faults.push(...promptFaults(options));
    else {
      for (const option of OTHER_PROMPTS) {
        if (options[option] === undefined) continue;
        faults.push({ option, found: "--repeat", wanted: "one of the two" });
      }
    }
    return faults;
  },
};

/** Where prompts may come from beside `repeat`. */
const OTHER_PROMPTS = ["prompt", "prompts", "answer", "foil", "clean", "corrupt", "pairs", "task"] as const;
