/** @file Where results go: files, a run directory, standard output, the terminal. */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Fault } from "../core/errors.ts";
import { type Experiment, experimentJson } from "../job/experiment.ts";
import type { OutputOptions } from "../job/options/shared.ts";
import { agreementLines } from "../plot/attribution-text.ts";
import { edgeAgreementLines } from "../plot/edges-text.ts";
import { wrap } from "../plot/labels.ts";
import type { FileFormat } from "../plot/save.node.ts";
import { terminal } from "../plot/terminal.ts";
import { colorDepth } from "../plot/terminal-color.ts";
import { jsonPieces } from "../result/json.ts";
import type { Dataset } from "../result/result.ts";
import { formatNumber, unitOf } from "../result/words.ts";
import { columnsOf, type Io } from "./io.ts";
import { intoDirectory } from "./paths.ts";

const FORMATS: readonly FileFormat[] = ["json", "parquet", "html", "svg", "png"];

/** Files that the options name, with their form. */
function filesOf(options: OutputOptions): { readonly format: FileFormat; readonly path: string }[] {
  return FORMATS.flatMap((format) => {
    const path = options[format];
    return path === undefined || path === "-" ? [] : [{ format, path }];
  });
}

/** What stands in the way of writing where the options say: to be asked before anything is computed. */
export async function outputFaults(
  options: OutputOptions & { readonly circuit?: string },
  whereOf: (option: string) => string,
): Promise<Fault[]> {
  const faults: Fault[] = [];
  const taken = new Map<string, string>();
  const files: { readonly option: string; readonly path: string }[] = filesOf(options).map(
    ({ format, path }) => ({ option: format, path }),
  );
  if (options.circuit !== undefined) files.push({ option: "circuit", path: options.circuit });
  for (const { option, path } of files) {
    const where = whereOf(option);
    const found = await stat(path).catch(() => undefined);
    const other = taken.get(resolve(path));
    if (other !== undefined)
      faults.push({ where, found: `${path}, as --${other}`, wanted: "a file of its own" });
    else if (found?.isDirectory())
      faults.push({ where, found: `${path}, a directory`, wanted: "a file's name" });
    else faults.push(...(await parentFaults(where, path)));
    taken.set(resolve(path), option);
  }
  for (const format of ["parquet", "html", "svg", "png"] as const) {
    if (options[format] !== "-") continue;
    faults.push({ where: whereOf(format), found: "-", wanted: "a file's name (only --json takes -)" });
  }
  if (options.out !== undefined) {
    const found = await stat(options.out).catch(() => undefined);
    const where = whereOf("out");
    if (found !== undefined && !found.isDirectory())
      faults.push({
        where,
        found: `${options.out}, a file`,
        wanted: "a directory, which is made if need be",
      });
    else faults.push(...(await parentFaults(where, `${options.out}/result.json`)));
  }
  return faults;
}

/** Directories on the way to a file are made when it is written; the nearest that exists must allow it. */
async function parentFaults(where: string, path: string): Promise<Fault[]> {
  let directory = dirname(resolve(path));
  for (;;) {
    const found = await stat(directory).catch(() => undefined);
    if (found !== undefined) {
      const writable = await access(directory, constants.W_OK).then(
        () => true,
        () => false,
      );
      if (found.isDirectory() && writable) return [];
      const what = found.isDirectory() ? "a directory that cannot be written to" : "a file";
      return [{ where, found: `${directory}, ${what}`, wanted: "a directory to write into" }];
    }
    directory = dirname(directory);
  }
}

/** Where a result goes besides what its options say. */
export interface EmitOptions {
  /** The run directory has it already. */
  readonly isThere: boolean;
  /** Called when the run directory has it. */
  readonly onWritten: () => Promise<void>;
}

/** Writes a result everywhere it should go. */
export async function emit(
  experiment: Experiment,
  dataset: Dataset,
  { io, isThere, onWritten }: EmitOptions & { readonly io: Io },
): Promise<void> {
  const options: OutputOptions = experiment.options;
  const { json, out, show = false, quiet = false } = options;
  const files = filesOf(options);
  const written: string[] = [];
  if (files.length > 0 || out !== undefined) {
    const { save, saveRun } = await import("../plot/save.node.ts"); // brings Vega, which takes a while to load
    await io.uninterrupted(async () => {
      for (const { format, path } of files) {
        await save(dataset, path, format);
        written.push(path);
      }
      if (out === undefined) return;
      if (isThere) return await onWritten();
      await saveRun(dataset, out, experimentJson(await intoDirectory(experiment, out)));
      written.push(out);
      await onWritten();
    });
  }
  if (json === "-") for (const piece of jsonPieces(dataset)) io.stdout.write(piece);
  else if (show || (files.length === 0 && out === undefined)) io.stdout.write(terminalText(dataset, io));
  else if (!quiet) for (const line of checks(dataset)) io.stderr.write(`${line}\n`);
  const { circuit }: { readonly circuit?: string } = experiment.options as { readonly circuit?: string };
  if (circuit !== undefined) written.push(circuit); // by the job itself
  if (!quiet && isThere) io.stderr.write(`${out} holds this result already: nothing was computed\n`);
  if (!quiet && written.length > 0) io.stderr.write(`wrote ${written.join(", ")}\n`);
}

/** Everything there is to say about a result in a terminal. */
function terminalText(dataset: Dataset, { stdout, env }: Io): string {
  const color = colorDepth(env, { isTerminal: stdout.isTTY === true });
  const columns = columnsOf(stdout, env);
  const lines = [terminal(dataset, { columns, color })];
  const { text } = dataset.attrs;
  if (typeof text === "string") lines.push("\n", `continues with: ${JSON.stringify(text)}\n`);
  const checked = checks(dataset).flatMap((line) => wrap(line, columns));
  if (checked.length > 0) lines.push("\n", ...checked.map((line) => `${line}\n`));
  return lines.join("");
}

/** How far the result was checked, and how long it took: `4 random cells recomputed …: largest difference 2.1e-5 logit`. */
function checks(dataset: Dataset): string[] {
  const {
    verify_cells: cells,
    verify_max_abs_diff: difference,
    cells: all,
    cells_unchanged: free,
    seconds,
  } = dataset.attrs;
  const parts: string[] = [...agreementLines(dataset), ...edgeAgreementLines(dataset)];
  if (typeof cells === "number" && cells > 0 && typeof difference === "number") {
    const unit = unitOf(dataset);
    const random = cells === 1 ? "1 random cell" : `${cells} random cells`;
    parts.push(
      `${random} recomputed by whole forward passes: largest difference ${formatNumber(difference)}${unit === "" ? "" : ` ${unit}`}`,
    );
  }
  if (typeof all === "number" && typeof seconds === "number") {
    const exact = typeof free === "number" && free > 0 ? `, ${free} of them unchanged and so not run` : "";
    parts.push(`${all} cells in ${formatNumber(Number(seconds.toPrecision(2)))} s${exact}`);
  }
  return parts;
}
