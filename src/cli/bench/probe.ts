/** @file Peak memory: a sweep in a process of its own, which then tells its largest resident set. */
import { spawn } from "node:child_process";
import { load } from "../../model/load.node.ts";
import type { PairSpec } from "../../model/pair-spec.ts";
import { eapPairs, estimateEdges } from "./eap.ts";
import { sweepRow } from "./own.ts";
import { forgetPeak, peakResidentBytes } from "./peak.ts";
import { axesOf, type RowKind, seededPairs } from "./rows.ts";

/** What the process is asked to do, as JSON on its command line. */
export interface ProbeTask {
  readonly model: string;
  readonly kind: RowKind | "eap";
  readonly threads: number;
  /** One pair of prompts, or seeded pairs. */
  readonly on: { readonly spec: PairSpec } | { readonly tokens: number; readonly pairs: number };
  /** Only the first cells along the first dim. */
  readonly labels?: number | undefined;
  /** Bytes of the budget that `--memory` sets. */
  readonly memory?: number | undefined;
}

export interface ProbeResult {
  /** Of the second sweep; the first opened weights and compiled programs. */
  readonly seconds: number;
  readonly cells: number;
  readonly peakBytes: number;
  readonly weightBytes: number;
  readonly values: readonly (readonly number[])[];
}

/** In the process: does the task. */
export async function probe(task: ProbeTask): Promise<ProbeResult> {
  const { on, kind, threads, memory } = task;
  const model = await load(task.model, { threads, memory });
  if (kind === "eap") {
    await estimateEdges(model, eapPairs(model));
    forgetPeak(); // opening and decoding weights is no part of it, on either side
    const { seconds, values, edges } = await estimateEdges(model, eapPairs(model));
    const weightBytes = model.weights.totalBytes;
    await model.close();
    return { seconds, cells: edges, peakBytes: peakResidentBytes(), weightBytes, values: [values] };
  }
  const pairs = "spec" in on ? [model.pair(on.spec)] : seededPairs(model.architecture.vocabulary, on);
  const all = axesOf(kind, model.architecture, pairs[0]?.clean.ids.length ?? 0);
  const axes = all.map((axis, index) => (index === 0 ? axis.slice(0, task.labels) : axis));
  const row = { kind, axes, pairs };
  await sweepRow(model, row);
  const { seconds, values } = await sweepRow(model, row);
  const result = {
    seconds,
    values,
    cells: axes.reduce((product, axis) => product * axis.length, pairs.length),
    peakBytes: peakResidentBytes(),
    weightBytes: model.weights.totalBytes,
  };
  await model.close();
  return result;
}

/** Outside: runs this program again with the task. */
export function inProcess(task: ProbeTask): Promise<ProbeResult> {
  const [node = "", program = ""] = process.argv;
  return new Promise((resolve, reject) => {
    const child = spawn(node, [program, "bench", "--probe", JSON.stringify(task)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += String(chunk);
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(text) as ProbeResult);
      else reject(new Error(`the sweep for peak memory ended with ${code}`));
    });
  });
}
