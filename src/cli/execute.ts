/** @file Running an experiment, whether typed or read from a file: check, load, compute, write. */
import { readFile, stat } from "node:fs/promises";
import type { Device } from "../backend/ort/node.node.ts";
import { type Fault, inputError, refuse } from "../core/errors.ts";
import { formatBytes } from "../job/cost.ts";
import type { Experiment, ExperimentOf } from "../job/experiment.ts";
import { describeModel } from "../job/info.ts";
import type { JobContext } from "../job/input.ts";
import { weightBytes } from "../job/memory.ts";
import type { MachineOptions } from "../job/options.ts";
import { patchJob } from "../job/patch.ts";
import { runJob } from "../job/run.ts";
import { type LoadedModel, load } from "../model/load.node.ts";
import type { Dataset } from "../result/result.ts";
import { writeWhole } from "../result/store.node.ts";
import { formatInfo } from "./info-text.ts";
import { columnsOf, type Io } from "./io.ts";
import { emit, outputFaults } from "./output.ts";
import { inputPaths } from "./paths.ts";
import { progress } from "./progress.ts";
import type { Request } from "./request.ts";

/** A file of pairs of the most that are read, with prompts of a page each. */
const MAX_INPUT_BYTES = 512 * 2 ** 20;

/**
 * Runs an experiment and writes what comes of it.
 * @throws InputError with all faults of options and files, then with all of what they say; before anything is computed or written, except where the two unedited runs turn out the same.
 */
export async function execute({ experiment, faults, whereOf }: Request, io: Io): Promise<void> {
  refuse([
    ...faults,
    ...(await inputFaults(experiment, whereOf)),
    ...(await outputFaults(experiment.options, whereOf)),
  ]);
  const model = await open(experiment, io);
  try {
    if (experiment.command === "info") return await showInfo(experiment, model, io);
    const result = await compute(experiment, model, io);
    const attrs = { ...result.attrs, load_seconds: model.loadSeconds };
    warn(result, io);
    await emit(pinned(experiment, model), { ...result, attrs }, io);
  } finally {
    await model.close();
  }
}

async function inputFaults(experiment: Experiment, whereOf: (option: string) => string): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (const { option, path } of inputPaths(experiment)) {
    const found = await stat(path).catch(() => undefined);
    const where = whereOf(option);
    const name = JSON.stringify(path);
    if (found === undefined) faults.push({ where, found: `${name}, which does not exist`, wanted: "a file" });
    else if (!found.isFile()) faults.push({ where, found: `${name}, no file`, wanted: "a file" });
    else if (found.size > MAX_INPUT_BYTES) {
      const wanted = `at most ${formatBytes(MAX_INPUT_BYTES)}`;
      faults.push({ where, found: `${name}, ${formatBytes(found.size)}`, wanted });
    }
  }
  return faults;
}

async function open({ model, options }: Experiment, io: Io): Promise<LoadedModel> {
  const { device, threads, memory }: MachineOptions = options as MachineOptions; // info has none of them
  const shown = progress(io.stderr, {
    label: "downloading",
    quiet: options.quiet ?? false,
    format: formatBytes,
  });
  try {
    return await load(model, {
      device: device as Device | undefined, // refused by name where it is none
      threads,
      weightBytes: memory === undefined ? undefined : weightBytes(memory),
      onDownload: ({ bytes, totalBytes }) => shown.update(bytes, totalBytes),
    });
  } finally {
    shown.stop();
  }
}

async function compute(
  experiment: ExperimentOf<"run"> | ExperimentOf<"patch">,
  model: LoadedModel,
  io: Io,
): Promise<Dataset> {
  const quiet = experiment.options.quiet ?? false;
  const isPatch = experiment.command === "patch";
  const shown = progress(io.stderr, { label: isPatch ? "patching" : "generating", quiet });
  // A sweep counts a cell once for every layer.
  const steps = isPatch ? model.architecture.layers.length : 1;
  const context: JobContext = {
    readText,
    onPlan: (plan) => quiet || io.stderr.write(`${plan}\n`),
    onProgress: (done, total) => shown.update(done / steps, total / steps),
  };
  try {
    return experiment.command === "patch"
      ? await patchJob(model, experiment.options, context)
      : await runJob(model, experiment.options, context);
  } finally {
    shown.stop();
  }
}

async function readText(path: string): Promise<string> {
  const bytes = await readFile(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw inputError(path, "bytes that are no UTF-8", "UTF-8 text");
  }
}

function warn({ attrs }: Dataset, { stderr }: Io): void {
  if (!Array.isArray(attrs.warnings)) return;
  for (const warning of attrs.warnings) stderr.write(`warning: ${String(warning)}\n`);
}

/** A branch of the hub moves; the commit that it stood at does not. */
function pinned(experiment: Experiment, { source }: LoadedModel): Experiment {
  const { model } = experiment;
  if (!model.startsWith("hf:") || source.revision === undefined) return experiment;
  return { ...experiment, model: `${model.split("@")[0]}@${source.revision}` };
}

async function showInfo({ options }: ExperimentOf<"info">, model: LoadedModel, io: Io): Promise<void> {
  const { json, quiet = false } = options;
  const info = describeModel(model, options);
  if (json === undefined) io.stdout.write(formatInfo(info, columnsOf(io.stdout, io.env)));
  else if (json === "-") io.stdout.write(`${JSON.stringify(info, undefined, 2)}\n`);
  else {
    await io.uninterrupted(() => writeWhole(json, `${JSON.stringify(info, undefined, 2)}\n`));
    if (!quiet) io.stderr.write(`wrote ${json}\n`);
  }
}
