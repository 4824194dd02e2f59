/** @file What attribution refuses, all of it at once and before anything runs. */

import type { Fault } from "../core/errors.ts";
import { formatFault, InputError } from "../core/errors.ts";
import type { Direction } from "../metric/normalise.ts";
import type { MetricName } from "../metric/plan.ts";
import { metricNames } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { LayerCells } from "./attribution-cells.ts";
import { layerCells } from "./attribution-cells.ts";
import type { GridOptions } from "./grid.ts";
import { grids } from "./grid.ts";

/** The parts of an attribution's options that can be wrong, defaults filled in. */
export interface CheckedOptions extends Omit<GridOptions, "joint"> {
  readonly metric: MetricName;
  readonly direction: Direction;
  readonly verifyTop?: number | undefined;
  readonly samples?: number | undefined;
  readonly confidence?: number | undefined;
  readonly seed?: number | undefined;
  /** Of integrated gradients. */
  readonly steps?: number | undefined;
}

/** Runs a step; bad input that it refuses joins the faults, each once, and any other error goes on. */
export function gather<T>(faults: Fault[], step: () => T): T | undefined {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const known = new Set(faults.map(formatFault));
    for (const fault of error.faults) {
      if (!known.has(formatFault(fault))) faults.push(fault);
      known.add(formatFault(fault));
    }
    return undefined;
  }
}

/** What is wrong with the options apart from their sites and dims: library users have no command line to check them. */
function settingFaults({
  metric,
  direction,
  confidence = 0.95,
  ...counts
}: Omit<CheckedOptions, keyof GridOptions>): Fault[] {
  const faults: Fault[] = [];
  if (!metricNames.includes(metric))
    faults.push({
      where: "--metric",
      found: JSON.stringify(metric),
      wanted: `one of ${metricNames.join(", ")}`,
    });
  if (direction !== "denoise" && direction !== "noise")
    faults.push({
      where: "--direction",
      found: JSON.stringify(direction),
      wanted: "one of denoise, noise",
    });
  if (direction === "noise" && (metric === "kl" || metric === "kl_reverse")) {
    faults.push({
      where: "--metric",
      found: `${metric} with --direction noise`,
      wanted: "a metric whose gradient at the clean run is not 0",
      fix: "A divergence from the clean run is least there: use --direction denoise, or logit_diff.",
    });
  }
  const { verifyTop = 0, samples = 0, seed = 0, steps = 1 } = counts;
  for (const [where, found, least] of [
    ["--verify-top", verifyTop, 0],
    ["--samples", samples, 0],
    ["--seed", seed, 0],
    ["--steps", steps, 1],
  ] as const) {
    if (Number.isSafeInteger(found) && found >= least) continue;
    faults.push({ where, found: String(found), wanted: `a whole number of at least ${least}` });
  }
  if (!(confidence >= 0.5 && confidence < 1))
    faults.push({
      where: "--confidence",
      found: String(confidence),
      wanted: "a number of at least 0.5 and below 1",
    });
  return faults;
}

/** Pairs that were not prepared by the library's own functions can be anything. */
export function pairFaults(pairs: readonly Pair[]): Fault[] {
  if (pairs.length === 0) return [{ where: "pairs", found: "none", wanted: "at least one pair" }];
  return pairs
    .filter(({ clean, corrupt }) => clean.ids.length !== corrupt.ids.length || clean.ids.length === 0)
    .map(({ where, clean, corrupt }) => ({
      where,
      found: `${clean.ids.length} tokens in clean, ${corrupt.ids.length} in corrupt`,
      wanted: "the same number in both, and at least one",
    }));
}

/**
 * The cells that the options name.
 * @throws InputError with every fault of the options, of sites and dims among them.
 */
export function checkedCells(model: Model, options: CheckedOptions): LayerCells[] {
  const faults = settingFaults(options);
  const cells = gather(faults, () => layerCells(model, grids(model, options)));
  if (cells === undefined || faults.length > 0) throw new InputError(faults);
  return cells;
}
