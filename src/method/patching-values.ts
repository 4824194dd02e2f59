/** @file The numbers of activation patching: every cell measured in one sweep. */

import type { Model } from "../model/model.ts";
import type { SweepPlan } from "../run/plan.ts";
import type { RecordLog } from "../run/records.ts";
import { measure } from "./measure.ts";
import type { PatchingOptions, PatchingSetup } from "./patching-setup.ts";
import type { PatchingVariants } from "./patching-variants.ts";

/** All numbers of one run of the method, before they are summarised. */
export interface PatchedValues {
  /** Metric of the unedited runs, by pair. */
  readonly clean: Float64Array;
  readonly corrupt: Float64Array;
  /** [pair, cell] metric of the edited runs, one array a grid. */
  readonly values: readonly Float64Array[];
  /** Edited runs that cannot differ from their base run, so that they were not run. */
  readonly exact: number;
  /** Seconds that waves kept by earlier runs took. */
  readonly earlierSeconds: number;
}

interface Evaluation {
  readonly variants: PatchingVariants;
  readonly plan: SweepPlan;
  readonly log: RecordLog | undefined;
  readonly options: PatchingOptions;
}

/** Runs the sweep, and averages over the draws of each cell. */
export async function patchedValues(
  model: Model,
  setup: PatchingSetup,
  { variants, plan, log, options }: Evaluation,
): Promise<PatchedValues> {
  const { pairs, plans, draws, grids: laid } = setup;
  const found = await measure(model, {
    ...options,
    plans,
    input: { runs: setup.runs, ...variants },
    plan,
    pairOf: (index) => variants.place(index).pair,
    log,
  });
  // In the order of the draws, whatever that of the waves.
  const cells = laid.reduce((sum, { size }) => sum + size, 0);
  const values = laid.map(({ size }) => new Float64Array(size * pairs.length));
  for (let cell = 0; cell < cells * pairs.length; cell++) {
    const place = variants.place(cell * draws);
    let sum = 0;
    for (let draw = 0; draw < draws; draw++) sum += (found.values[cell * draws + draw] ?? 0) / draws;
    values[place.grid]?.set([sum], place.pair * (laid[place.grid]?.size ?? 0) + place.cell);
  }
  return {
    ...found,
    values,
    exact: found.unchanged,
  };
}
