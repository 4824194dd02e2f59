/** @file The options of `run` and `info`. */
import { DEFAULT_TOP } from "../../method/next-token.ts";
import { type EditOn, editOnWords, MAX_GENERATED } from "../../run/generate.ts";
import { atLeast, choice, text, whole } from "../fields.ts";
import type { CommandOptions } from "./entry.ts";
import { bos, chat, prompt } from "./prompts.ts";
import {
  type MachineOptions,
  machine,
  needs,
  type OutputOptions,
  outputs,
  seed,
  showFaults,
} from "./shared.ts";

/** Tokens of the classic prompt on indirect objects. */
export const DEFAULT_INFO_TOKENS = 14;

/** The plan of a sweep over so many tokens takes seconds; its time grows with their square. */
const MAX_INFO_TOKENS = 8_192;

export interface InfoOptions extends Pick<OutputOptions, "json" | "quiet"> {
  /** Length of the prompt that shapes and costs are given for. */
  readonly tokens?: number;
}

export const info: CommandOptions<InfoOptions> = {
  table: {
    tokens: {
      read: whole(1, MAX_INFO_TOKENS),
      takes: "<n>",
      under: "measure",
      help: `length of prompt for shapes and costs (default ${DEFAULT_INFO_TOKENS})`,
    },
    json: outputs.json,
    quiet: outputs.quiet,
  },
  together: () => [],
};

export interface RunOptions extends OutputOptions, MachineOptions {
  readonly prompt?: string;
  readonly chat?: boolean;
  readonly bos?: boolean;
  readonly top?: number;
  readonly generate?: number;
  readonly temperature?: number;
  readonly "top-k"?: number;
  readonly seed?: number;
  /** File of edits. */
  readonly edit?: string;
  readonly "edit-on"?: EditOn;
}

export const run: CommandOptions<RunOptions> = {
  table: {
    prompt,
    chat,
    bos,
    top: {
      read: whole(1),
      takes: "<n>",
      under: "measure",
      help: `how many of the most probable tokens (default ${DEFAULT_TOP})`,
    },
    generate: {
      read: whole(1, MAX_GENERATED),
      takes: "<n>",
      under: "measure",
      help: "continue the prompt by at most n tokens",
    },
    temperature: {
      read: atLeast(0),
      takes: "<t>",
      under: "measure",
      help: "sample; 0 (default) takes the most probable token",
    },
    "top-k": {
      read: whole(1),
      takes: "<k>",
      under: "measure",
      help: "sample among the k most probable tokens",
    },
    seed: seed("sampling"),
    edit: {
      read: text,
      takes: "<file>",
      file: "read",
      under: "values",
      help: 'interventions: {"edits": […], "runs": ["prompt", …]}',
    },
    "edit-on": {
      read: choice(editOnWords),
      takes: "<when>",
      under: "values",
      help: "prefill (default): edit the prompt; every-step: what is generated too",
    },
    ...machine,
    ...outputs,
  },
  together(options) {
    const faults = needs(options, [
      ["temperature", "generate"],
      ["top-k", "generate"],
      ["edit-on", "edit"],
      ["edit-on", "generate"],
    ]);
    if (options.prompt === undefined) {
      faults.push({ option: "prompt", found: "none", wanted: "a text", fix: "Give --prompt TEXT." });
    }
    return [...faults, ...showFaults(options)];
  },
};
