/** @file What a sweep will cost, in words. */
import type { Grid } from "../method/grid.ts";
import type { SweepPlan } from "../run/plan.ts";

/** Cells of a grid: `4 layer × 14 pos of resid_pre`. */
function gridWords({ name, dims, labels }: Grid): string {
  const sizes = dims.map((dim, axis) => `${labels[axis]?.length ?? 0} ${dim}`).join(" × ");
  return `${sizes === "" ? "one cell" : sizes} of ${name}`;
}

/** Beside the plan, what a reader wants to see of it. */
export interface PlanWords {
  readonly grids: readonly Grid[];
  readonly pairs: number;
  readonly draws: number;
  /** float32 bytes of all weights. */
  readonly weightBytes: number;
  /** Expected seconds. */
  readonly seconds: number;
  /** FLOP/s of this machine's matrix products. */
  readonly rate: number;
}

/** A plan in two lines: what is asked, and what it takes. */
export function planWords(plan: SweepPlan, words: PlanWords): string {
  const { grids, pairs, draws, weightBytes, seconds, rate } = words;
  const count = (value: number): string => value.toLocaleString("en-US");
  const repeats = [
    ...(pairs > 1 ? [` × ${pairs} pairs`] : []),
    ...(draws > 1 ? [` × ${draws} draws`] : []),
  ].join("");
  const free = plan.unchanged === 0 ? "" : ` · ${count(plan.unchanged)} cannot differ from the unedited run`;
  const waves = plan.waves.length === 1 ? "1 wave" : `${count(plan.waves.length)} waves`;
  return [
    `${count(plan.variants)} ${plan.variants === 1 ? "cell" : "cells"}: ${grids.map(gridWords).join(", ")}${repeats}${free}`,
    `${formatFlops(plan.flops)} in ${waves} · up to ${formatBytes(plan.stateBytes)} of states beside ` +
      `${formatBytes(weightBytes)} of weights · about ${duration(seconds)} on this machine (${formatFlops(rate)}/s)`,
  ].join("\n");
}

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
