/** @file Running an experiment, whether typed or read from a file: check, load, compute, write. */
import { readFile, stat } from "node:fs/promises";
import type { Device } from "../backend/ort/node.node.ts";
import { type Fault, inputError, refuse } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { attentionJob } from "../job/attention.ts";
import { attributeJob } from "../job/attribute.ts";
import { corruptionsJob } from "../job/corruptions.ts";
import { formatBytes, formatFlops } from "../job/cost.ts";
import { directJob } from "../job/direct.ts";
import { edgesJob } from "../job/edges.ts";
import type { Experiment, ExperimentOf } from "../job/experiment.ts";
import { hydraJob } from "../job/hydra.ts";
import { describeModel } from "../job/info.ts";
import type { JobContext } from "../job/input.ts";
import { mcqJob } from "../job/mcq.ts";
import { type CellOptions, nameFaults } from "../job/options/cells.ts";
import type { MachineOptions, OutputOptions } from "../job/options/shared.ts";
import type { CommandName, OptionsOf } from "../job/options.ts";
import { patchJob } from "../job/patch.ts";
import { redundancyJob } from "../job/redundancy.ts";
import { runJob } from "../job/run.ts";
import { traceJob } from "../job/trace.ts";
import { type LoadedModel, load } from "../model/load.node.ts";
import { openFile } from "../model/weights/byte-source.node.ts";
import { openSafetensors } from "../model/weights/safetensors.ts";
import type { Dataset } from "../result/result.ts";
import { writeWhole } from "../result/store.node.ts";
import { formatInfo } from "./info-text.ts";
import { columnsOf, type Io } from "./io.ts";
import { emit, outputFaults } from "./output.ts";
import { inputPaths } from "./paths.ts";
import { progress } from "./progress.ts";
import type { Request } from "./request.ts";
import { type RunDirectory, takeDirectory } from "./run-directory.ts";

/** A file of pairs of the most that are read, with prompts of a page each. */
const MAX_INPUT_BYTES = 512 * 2 ** 20;

/**
 * Runs an experiment and writes what comes of it.
 * @throws InputError with all faults of options and files, then with all of what they say; before anything is computed or written, except where the two unedited runs turn out the same.
 */
export async function execute({ experiment, faults, whereOf }: Request, io: Io): Promise<void> {
  const first = [
    ...faults,
    ...(await inputFaults(experiment, whereOf)),
    ...(await outputFaults(experiment.options, whereOf)),
  ];
  // By themselves, names are read with the model, which knows its own and reads the prompts too.
  const { site, by } = experiment.options as CellOptions; // most commands have none of them
  if (first.length > 0) refuse([...first, ...nameFaults({ site, by }, whereOf)]);
  const model = await open(experiment, io);
  let directory: RunDirectory | undefined;
  try {
    if (experiment.command === "info") return await showInfo(experiment, model, io);
    const made = pinned(experiment, model);
    const { out }: OutputOptions = made.options;
    directory =
      out === undefined ? undefined : await takeDirectory(out, { experiment: made, where: whereOf("out") });
    const { result, isThere } = await compute(experiment, model, { io, directory });
    warn(result, io);
    const fingerprint = directory?.fingerprint();
    const attrs = isThere
      ? result.attrs
      : {
          ...result.attrs,
          ...(fingerprint === undefined ? {} : { fingerprint }),
          load_seconds: model.loadSeconds,
        };
    const onWritten = async (): Promise<void> => directory?.finish();
    await emit(made, { ...result, attrs }, { io, isThere, onWritten });
  } finally {
    await directory?.close();
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

async function open({ command, model, options }: Experiment, io: Io): Promise<LoadedModel> {
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
      memory,
      ahead: command === "info" ? undefined : command === "run" ? "all" : "layers",
      onDownload: ({ bytes, totalBytes }) => shown.update(bytes, totalBytes),
    });
  } finally {
    shown.stop();
  }
}

/** What runs a command, and what its progress counts. */
interface Job<C extends CommandName> {
  readonly label: string;
  /** Sweeps count FLOPs, other work its own steps. */
  readonly counts: "flops" | "steps";
  readonly run: (model: LoadedModel, options: OptionsOf[C], context: JobContext) => Promise<Dataset>;
}

type Computed = Exclude<CommandName, "info">;

/** Complete by type. */
const jobs: { readonly [C in Computed]: Job<C> } = {
  run: { label: "generating", counts: "steps", run: runJob },
  patch: { label: "patching", counts: "flops", run: patchJob },
  attribute: { label: "estimating", counts: "steps", run: attributeJob },
  corruptions: { label: "comparing", counts: "flops", run: corruptionsJob },
  edges: { label: "scoring", counts: "steps", run: edgesJob },
  trace: { label: "tracing", counts: "flops", run: traceJob },
  redundancy: { label: "cutting", counts: "steps", run: redundancyJob },
  hydra: { label: "ablating", counts: "steps", run: hydraJob },
  mcq: { label: "asking", counts: "steps", run: mcqJob },
  attention: { label: "reading", counts: "steps", run: attentionJob },
  direct: { label: "splitting", counts: "steps", run: directJob },
};

async function compute<C extends Computed>(
  { command, options }: { readonly command: C; readonly options: OptionsOf[C] },
  model: LoadedModel,
  { io, directory }: { readonly io: Io; readonly directory: RunDirectory | undefined },
): Promise<{ readonly result: Dataset; readonly isThere: boolean }> {
  const { label, counts, run }: Job<C> = jobs[command];
  let isThere = false;
  const quiet = options.quiet ?? false;
  const shown = progress(io.stderr, { label, quiet, ...(counts === "flops" ? { format: formatFlops } : {}) });
  const context: JobContext = {
    readText,
    readTensors,
    writeBytes: (path, bytes) => io.uninterrupted(() => writeWhole(path, bytes)),
    onPlan: quiet ? undefined : (plan) => io.stderr.write(`${plan}\n`),
    keep:
      directory &&
      (async (work) => {
        const kept = await directory.keep(work);
        isThere = kept.kind === "finished";
        io.onInterruption?.(() => interruption(options.out, directory.waves()));
        return kept;
      }),
    onResume: (kept, waves) => quiet || io.stderr.write(`resumed: ${kept} of ${waves} waves kept\n`),
    onProgress: (done, total) => shown.update(done, total),
  };
  try {
    return { result: await run(model, options, context), isThere };
  } finally {
    shown.stop();
  }
}

async function readTensors(path: string): Promise<ReadonlyMap<string, Tensor<Float32Array>>> {
  const source = await openSafetensors(await openFile(path));
  try {
    return await source.read([...source.tensors.keys()]);
  } finally {
    await source.close();
  }
}

function interruption(out: string | undefined, waves: number): string {
  const kept = waves === 1 ? "1 finished wave" : `${waves} finished waves`;
  return `interrupted: ${out} keeps ${kept}, and the same command goes on from there`;
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
