/** @file Experiments as data: a command, a model and its options, so that a run can be saved, sent and replayed. */
import { type Fault, InputError } from "../core/errors.ts";
import { inWords } from "../core/excerpt.ts";
import type { Json } from "../result/result.ts";
import { type CommandName, commandOptions, type OptionsOf, optionsWhere } from "./options.ts";
import { readOptions } from "./read-options.ts";

/** `format` of every experiment; the number rises when a reader of the old form would misread the new one. */
export const EXPERIMENT_FORMAT = "crosspatch.experiment/1";

/** A command with what it is given. */
export type Experiment = { readonly [C in CommandName]: ExperimentOf<C> }[CommandName];
export interface ExperimentOf<C extends CommandName> {
  readonly command: C;
  readonly model: string;
  readonly options: OptionsOf[C];
}

const KEYS = ["format", "command", "model", "options"];

/**
 * Reads an experiment from parsed JSON. Options have the names they have on a command line, without the dashes.
 * @param where the file, for messages.
 * @returns the experiment with what is wrong with its options
 * @throws InputError with every fault, where it is no experiment at all.
 */
export function readExperiment(
  value: unknown,
  where: string,
): { readonly experiment: Experiment; readonly faults: readonly Fault[] } {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InputError([
      { where, found: inWords(value), wanted: `a JSON object with the keys ${KEYS.join(", ")}` },
    ]);
  }
  const { format, command, model, options = {} } = value as Readonly<Record<string, unknown>>;
  const faults: Fault[] = Object.keys(value)
    .filter((key) => !KEYS.includes(key))
    .map((key) => ({
      where: `${where}, ${key}`,
      found: "an unknown key",
      wanted: `only ${KEYS.join(", ")}`,
    }));
  const expect = (key: string, found: unknown, wanted: string): void => {
    faults.push({ where: `${where}, ${key}`, found: inWords(found), wanted });
  };
  if (format !== EXPERIMENT_FORMAT) expect("format", format, JSON.stringify(EXPERIMENT_FORMAT));
  if (typeof model !== "string" || model === "") expect("model", model, "a model's name");
  if (!isCommand(command)) expect("command", command, `one of ${Object.keys(commandOptions).join(", ")}`);
  const isObject = typeof options === "object" && options !== null && !Array.isArray(options);
  if (!isObject) expect("options", options, "an object");
  if (!isCommand(command) || !isObject) throw new InputError(faults);
  const read = readOptions(
    command,
    options as Record<string, unknown>,
    (name) => `${where}, options.${name}`,
  );
  return {
    experiment: { command, model: String(model), options: read.options } as Experiment,
    faults: [...faults, ...read.faults],
  };
}

function isCommand(value: unknown): value is CommandName {
  return typeof value === "string" && Object.hasOwn(commandOptions, value);
}

/** An experiment as JSON that {@link readExperiment} reads, without where results go and how loudly. */
export function experimentJson({ command, model, options }: Experiment): Json {
  const outputs = optionsWhere(command, ({ under, file }) => under === "output" || file === "written");
  const kept = Object.entries(options).filter(
    ([name, value]) => value !== undefined && !outputs.includes(name),
  );
  return { format: EXPERIMENT_FORMAT, command, model, options: Object.fromEntries(kept) };
}
