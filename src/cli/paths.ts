/** @file Paths of experiments: relative to the file that names them, so that a directory can be moved whole. */
import { stat } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import type { Experiment } from "../job/experiment.ts";
import { optionsWhere } from "../job/options.ts";
import { EMBEDDED } from "../model/load.node.ts";

/** An experiment whose paths, relative to `directory`, are taken from where the process is. */
export async function fromDirectory(experiment: Experiment, directory: string): Promise<Experiment> {
  const place = (path: string): string => (isAbsolute(path) ? path : join(directory, path));
  const outputs = mapped(experiment, "written", (path) => (path === "-" ? path : place(path)));
  const moved = mapped(outputs, "read", place);
  const { model } = moved;
  if (model.startsWith("hf:") || isAbsolute(model)) return moved;
  const isName = isEmbedded(model) && !(await exists(place(model)));
  return isName ? moved : { ...moved, model: place(model) };
}

/** An experiment as it is written into `directory`: its paths relative to it. */
export async function intoDirectory(experiment: Experiment, directory: string): Promise<Experiment> {
  const place = (path: string): string => relative(resolve(directory), resolve(path)).split(sep).join("/");
  const moved = mapped(experiment, "read", place);
  const { model } = moved;
  const isName = model.startsWith("hf:") || (isEmbedded(model) && !(await exists(model)));
  return isName ? moved : { ...moved, model: place(model) };
}

/** The files that an experiment reads besides its model, by option. */
export function inputPaths(experiment: Experiment): { readonly option: string; readonly path: string }[] {
  const inputs = filesOf(experiment, "read");
  return Object.entries(experiment.options).flatMap(([option, path]) =>
    typeof path === "string" && inputs.includes(option) ? [{ option, path }] : [],
  );
}

/** The options that name files. */
const filesOf = ({ command }: Experiment, file: "read" | "written"): readonly string[] =>
  optionsWhere(command, (entry) => entry.file === file);

function mapped(
  experiment: Experiment,
  file: "read" | "written",
  place: (path: string) => string,
): Experiment {
  const names = filesOf(experiment, file);
  const options = Object.fromEntries(
    Object.entries(experiment.options).map(([name, value]) => [
      name,
      names.includes(name) && typeof value === "string" ? place(value) : value,
    ]),
  );
  return { ...experiment, options } as Experiment;
}

const isEmbedded = (name: string): boolean => (EMBEDDED as readonly string[]).includes(name);

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
