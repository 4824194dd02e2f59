/** @file The command line: one program, one file for each command, exit statuses. */
import { Command, CommanderError, type Option } from "commander";
import { InputError } from "../core/errors.ts";
import { VERSION } from "../version.ts";
import { addAbilities } from "./abilities.ts";
import { addAttention } from "./attention.ts";
import { addAttribute } from "./attribute.ts";
import { addBench } from "./bench.ts";
import { addCorruptions } from "./corruptions.ts";
import { addDirect } from "./direct.ts";
import { addEdges } from "./edges.ts";
import { execute } from "./execute.ts";
import { addExperiment } from "./experiment.ts";
import { addHydra } from "./hydra.ts";
import { addInfo } from "./info.ts";
import { columnsOf, type Io } from "./io.ts";
import { addMcq } from "./mcq.ts";
import { addPatch } from "./patch.ts";
import { addRedundancy } from "./redundancy.ts";
import type { Request } from "./request.ts";
import { addRun } from "./run.ts";
import { addTrace } from "./trace.ts";

/** Exit statuses. */
const DONE = 0;
const FAILED = 1;
const BAD_INPUT = 2;

/**
 * Runs a command line.
 * @param argv what follows the program's name
 * @returns the exit status: 0 done; 2 bad input, nothing computed or written; 1 anything else.
 */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  try {
    await programOf(io).parseAsync([...argv], { from: "user" });
    return DONE;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : BAD_INPUT;
    if (error instanceof InputError) {
      io.stderr.write(`${error.message}\n`);
      return BAD_INPUT;
    }
    const debug = argv.includes("--debug");
    const text =
      error instanceof Error ? (debug ? (error.stack ?? error.message) : error.message) : String(error);
    io.stderr.write(`crosspatch: ${debug ? text : `${text.split("\n")[0]} (--debug shows where)`}\n`);
    return FAILED;
  }
}

/** Help of an option with the default that commander fills in, as the other options' own texts have it. */
function optionDescription({ description, defaultValue }: Option): string {
  const isValue = typeof defaultValue === "string" || typeof defaultValue === "number";
  return isValue ? `${description} (default ${defaultValue})` : description;
}

function programOf(io: Io): Command {
  const program = new Command("crosspatch")
    .description("Exact activation patching and causal analysis of transformer models.")
    .version(VERSION)
    .option("--debug", "show where an error came from")
    .showHelpAfterError("(crosspatch --help lists what there is)")
    .exitOverride()
    .configureHelp({ optionDescription })
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => columnsOf(io.stdout, io.env),
      getErrHelpWidth: () => columnsOf(io.stderr, io.env),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  const act = (request: Request): Promise<void> => execute(request, io);
  addInfo(program, act);
  addRun(program, act);
  addPatch(program, act);
  addAttribute(program, act);
  addEdges(program, act);
  addTrace(program, act);
  addCorruptions(program, act);
  addDirect(program, act);
  addAttention(program, act);
  addRedundancy(program, act);
  addHydra(program, act);
  addMcq(program, act);
  addExperiment(program, act);
  addAbilities(program, io);
  addBench(program, io);
  for (const command of program.commands) {
    command
      .option("--debug", "show where an error came from")
      .showHelpAfterError(`(crosspatch ${command.name()} --help lists the options)`);
  }
  return program;
}
