/** @file What attribution refuses, all of it at once and before anything runs. */

import type { Fault } from "../core/errors.ts";
import { gather, InputError } from "../core/errors.ts";
import type { Direction } from "../metric/normalise.ts";
import type { MetricName } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { LayerCells } from "./attribution-cells.ts";
import { layerCells } from "./attribution-cells.ts";
import type { GridOptions } from "./grid.ts";
import { grids } from "./grid.ts";

/** The parts of an attribution's options that can be wrong, defaults filled in. */
export interface CheckedOptions extends Omit<GridOptions, "joint"> {
  readonly metric: MetricName;
  readonly direction: Direction;
}

/** A metric that nothing can be estimated of, as its gradient at the clean run is 0. */
function flatFaults({ metric, direction }: CheckedOptions): Fault[] {
  if (direction !== "noise" || (metric !== "kl" && metric !== "kl_reverse")) return [];
  return [
    {
      where: "--metric",
      found: `${metric} with --direction noise`,
      wanted: "a metric whose gradient at the clean run is not 0",
      fix: "A divergence from the clean run is least there: use --direction denoise, or logit_diff.",
    },
  ];
}

/**
 * The cells that the options name.
 * @throws InputError with every fault of the options, of sites and dims among them.
 */
export function checkedCells(model: Model, options: CheckedOptions): LayerCells[] {
  const faults = flatFaults(options);
  const cells = gather(faults, () => layerCells(model, grids(model, options)));
  if (cells === undefined || faults.length > 0) throw new InputError(faults);
  return cells;
}
