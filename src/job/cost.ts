/** @file What a sweep will cost, in words, and said where it takes long. */
import type { Grid } from "../method/grid.ts";
import type { Model } from "../model/model.ts";
import { expectedSeconds, matmulRate } from "../run/calibrate.ts";
import type { SweepPlan } from "../run/plan.ts";
import type { JobContext } from "./input.ts";

/** Work of fewer FLOPs and fewer rows is done before a measurement of this machine could say how long it takes. */
const SHORT_FLOPS = 20e9;
const SHORT_ROWS = 50_000;
/** Work that is done sooner needs no announcement. */
const LONG_SECONDS = 3;

/** What a plan takes of this machine. */
export interface Expected {
  /** float32 bytes of all weights. */
  readonly weightBytes: number;
  /** Expected seconds. */
  readonly seconds: number;
  /** FLOP/s of this machine's matrix products. */
  readonly rate: number;
}

/** Says what is about to be done, where it takes long. */
export async function announce(
  model: Model,
  plan: SweepPlan,
  { onPlan, words }: Pick<JobContext, "onPlan"> & { readonly words: (expected: Expected) => string },
): Promise<void> {
  if (onPlan === undefined || (plan.flops < SHORT_FLOPS && plan.rows < SHORT_ROWS)) return;
  const rate = await matmulRate(model);
  const seconds = expectedSeconds(plan, rate);
  if (seconds < LONG_SECONDS) return;
  onPlan(words({ weightBytes: model.weights.totalBytes, seconds, rate }));
}

/** Cells of a grid: `4 layer × 14 pos of resid_pre`. */
function gridWords({ name, dims, labels }: Grid): string {
  const sizes = dims.map((dim, axis) => `${labels[axis]?.length ?? 0} ${dim}`).join(" × ");
  return `${sizes === "" ? "one cell" : sizes} of ${name}`;
}

/** Beside the plan, what a reader wants to see of it. */
export interface PlanWords extends Expected {
  readonly grids: readonly Grid[];
  readonly pairs: number;
  readonly draws: number;
}

/** A plan in two lines: what is asked, and what it takes. */
export function planWords(plan: SweepPlan, words: PlanWords): string {
  const { grids, pairs, draws, weightBytes } = words;
  const repeats = [
    ...(pairs > 1 ? [` × ${pairs} pairs`] : []),
    ...(draws > 1 ? [` × ${draws} draws`] : []),
  ].join("");
  return [
    `${counted(plan.variants, "cell")}: ${grids.map(gridWords).join(", ")}${repeats}${freeWords(plan)}`,
    `${workWords(plan)} · up to ${formatBytes(plan.stateBytes)} of states beside ` +
      `${formatBytes(weightBytes)} of weights · ${timeWords(words)}`,
  ].join("\n");
}

/** The plan of edges, likewise. */
export function edgeWords(plan: SweepPlan, expected: Expected): string {
  return `${counted(plan.variants, "edge")}, each patched${freeWords(plan)}\n${workWords(plan)} · ${timeWords(expected)}`;
}

const count = (value: number): string => value.toLocaleString("en-US");

const counted = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

const freeWords = ({ unchanged }: SweepPlan): string =>
  unchanged === 0 ? "" : ` · ${count(unchanged)} cannot differ from the unedited run`;

const workWords = ({ flops, waves }: SweepPlan): string =>
  `${formatFlops(flops)} in ${counted(waves.length, "wave")}`;

const timeWords = ({ seconds, rate }: Expected): string =>
  `about ${duration(seconds)} on this machine (${formatFlops(rate)}/s)`;

/** `8 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown time";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** `1.2 TFLOP`. */
export function formatFlops(flops: number): string {
  return scaled(flops, 1000, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"]);
}

/** `538 MB`, in powers of ten. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1000, ["bytes", "kB", "MB", "GB", "TB"]);
}

function scaled(value: number, base: number, units: readonly string[]): string {
  const power = value < base ? 0 : Math.min(units.length - 1, Math.floor(Math.log(value) / Math.log(base)));
  const number = value / base ** power;
  return `${power === 0 ? Math.round(number) : Number(number.toPrecision(3))} ${units[power]}`;
}
