/** @file From a parsed command line to an experiment. */
import type { Command } from "commander";
import type { Fault } from "../core/errors.ts";
import type { Experiment } from "../job/experiment.ts";
import type { CommandName } from "../job/options.ts";
import { readOptions } from "../job/read-options.ts";
import { typedOptions } from "./options.ts";

/** Help of the argument that every command has. */
export const MODEL =
  "a .gguf file, a directory with config.json and safetensors, hf:owner/name[@revision], or one that comes along: pocket, pocket-v1, pocket-aligned";

export interface Request {
  readonly experiment: Experiment;
  /** What is wrong with the options so far. */
  readonly faults: readonly Fault[];
  /** How the user gave an option. */
  readonly whereOf: (option: string) => string;
}

const flagOf = (option: string): string => `--${option}`;

/** What was typed, as an experiment. */
export function requestOf(name: CommandName, model: string, command: Command): Request {
  const { options, faults } = readOptions(name, typedOptions(command), flagOf);
  return { experiment: { command: name, model, options } as Experiment, faults, whereOf: flagOf };
}
