/** @file `crosspatch experiment`: runs what an experiment file says. */
import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Command } from "commander";
import { inputError, refuse } from "../core/errors.ts";
import { repeatedKeyFaults } from "../core/repeated-keys.ts";
import { type Experiment, readExperiment } from "../job/experiment.ts";
import { readOptions } from "../job/read-options.ts";
import { addOptions, outputNames, typedOptions } from "./options.ts";
import { fromDirectory } from "./paths.ts";
import type { Request } from "./request.ts";

/** Experiments are a few lines; the longest prompts of the longest context in use take half a megabyte. */
const MAX_EXPERIMENT_BYTES = 16 * 2 ** 20;

const FORMAT = `
The file:
  { "format": "crosspatch.experiment/1", "command": "patch", "model": "pocket",
    "options": { "task": "ioi", "n": 20, "site": ["z"], "by": ["layer", "head"] } }
Options have the names they have here, without the dashes. Paths are relative to the file.
Every run directory that --out makes has one.`;

export function addExperiment(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("experiment")
    .argument("<file>", "an experiment as JSON")
    .summary("run an experiment file: any of the above, as data")
    .description("Runs what an experiment file says. Output options given here take the place of the file's.")
    .addHelpText("after", FORMAT);
  addOptions(command, "patch", outputNames).action(async (file: string) => {
    const { experiment, faults } = readExperiment(await parse(file), file);
    const placed = await fromDirectory(experiment, dirname(file));
    const typed = typedOptions(command);
    const options = { ...(placesOutput(typed) ? withoutOutputs(placed.options) : placed.options), ...typed };
    const read = readOptions(placed.command, options, (option) => `--${option}`);
    await act({
      experiment: { ...placed, options: read.options } as Experiment,
      // The file's own options have been read once already, under the file's name.
      faults: [...faults, ...read.faults.filter(({ where }) => where.slice(2) in typed)],
      whereOf: (option) => (option in typed ? `--${option}` : `${file}, options.${option}`),
    });
  });
}

/** Whether a place was typed; `--quiet` is none. */
function placesOutput(typed: Readonly<Record<string, unknown>>): boolean {
  return Object.keys(typed).some((option) => option !== "quiet");
}

function withoutOutputs(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([option]) => !outputNames.includes(option)));
}

async function parse(file: string): Promise<unknown> {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) {
    throw inputError("file", `${JSON.stringify(file)}, which is no file`, "an experiment as JSON");
  }
  if (found.size > MAX_EXPERIMENT_BYTES) {
    throw inputError(file, `${found.size} bytes`, `at most ${MAX_EXPERIMENT_BYTES}`);
  }
  const text = (await readFile(file, "utf8")).replace(/^\uFEFF/, "");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw inputError(file, (error as Error).message, "JSON");
  }
  refuse(repeatedKeyFaults(text, file));
  return value;
}
