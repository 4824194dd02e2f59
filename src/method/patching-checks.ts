/** @file What stands beside patched values: cells computed again the plain way, and what single ablations may hide. */

import { random } from "../core/random.ts";
import { sizeOf } from "../core/tensor.ts";
import { evaluateMetric } from "../metric/metric.ts";
import type { MetricPlan } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Json } from "../result/result.ts";
import type { Reading } from "../run/read.ts";
import { isState } from "../run/site.ts";
import { lastingReading } from "../run/sweep.ts";
import type { Variant } from "../run/variant.ts";
import { type Grid, lengthsOf } from "./grid.ts";
import { cleanRun, requireAgreement } from "./measure.ts";
import { baseRun, type PatchingOptions, type PatchingSetup, sourceRun } from "./patching-setup.ts";
import type { PatchedValues } from "./patching-values.ts";
import type { PatchingVariants } from "./patching-variants.ts";
import { hasSingleComponents, selfRepair } from "./self-repair.ts";
import { DEFAULT_VERIFIED, plainReading } from "./verify.ts";

/** Computes random cells again the plain way; a difference beyond rounding fails the run. */
export async function verifyPatched(
  model: Model,
  setup: PatchingSetup,
  {
    variants,
    found,
    options,
  }: {
    readonly variants: PatchingVariants;
    readonly found: PatchedValues;
    readonly options: PatchingOptions;
  },
): Promise<Record<string, Json>> {
  const { pairs, plans, direction, draws, grids: laid } = setup;
  const cells = sizeOf([pairs.length, laid.reduce((sum, { size }) => sum + size, 0)]);
  const wanted = Math.min(options.verify ?? DEFAULT_VERIFIED, cells);
  const source = random((options.seed ?? 0) + 1);
  const chosen = new Set<number>();
  while (chosen.size < wanted) chosen.add(source.integer(cells));

  let worst = 0;
  let floor = 0;
  const cleanOf = new Map<number, Reading>();
  for (const cellIndex of chosen) {
    const { pair, grid, cell } = variants.place(cellIndex * draws);
    const plan = plans[pair] as MetricPlan;
    const read = <T>(variant: Variant, use: (reading: Reading) => T): Promise<T> =>
      plainReading(model, setup, { variant, use });
    let clean = cleanOf.get(pair);
    if (clean === undefined) {
      clean = await read({ run: cleanRun(pair), edits: [] }, lastingReading);
      cleanOf.set(pair, clean);
      const base = await read({ run: baseRun(pair, direction), edits: [] }, (reading) =>
        evaluateMetric(plan, reading, clean as Reading),
      );
      floor = Math.max(
        floor,
        Math.abs(base - ((direction === "denoise" ? found.corrupt : found.clean)[pair] ?? 0)),
      );
    }
    let value = 0;
    for (let draw = 0; draw < draws; draw++) {
      const reference: Reading = clean;
      value +=
        (await read(variants.variant(cellIndex * draws + draw), (reading) =>
          evaluateMetric(plan, reading, reference),
        )) / draws;
    }
    const swept = found.values[grid]?.[pair * (laid[grid]?.size ?? 0) + cell] ?? 0;
    worst = Math.max(worst, Math.abs(value - swept));
  }
  requireAgreement(worst, found);
  return { verify_cells: wanted, verify_max_abs_diff: worst, noise_floor: floor };
}

/**
 * Cells that are the other run whatever the model does: those that put in its residual stream at every position, as all
 * that follows is computed from it.
 */
export function wholeStreamWarnings({
  pairs,
  plans,
  direction,
  ablate,
  grids: laid,
}: PatchingSetup): string[] {
  if (ablate.kind !== "source") return [];
  const isWhole = ({ dims, sites }: Grid): boolean =>
    !dims.includes("pos") &&
    sites.some(({ site, where }) => isState(site) && Object.keys(where({})).length === 0);
  const add = lengthsOf(pairs, plans).positions === undefined ? "" : "add pos to --by, or ";
  const run = direction === "denoise" ? "clean" : "corrupt";
  return laid
    .filter(isWhole)
    .map(
      ({ name, dims }) =>
        `${name} by ${dims} alone replaces the whole stream: every cell is the ${run} run by construction; ${add}take attn_out, mlp_out or z`,
    );
}

/** What single ablations of a clean run may hide; undefined where the question does not arise. */
export async function patchingRepair(
  model: Model,
  { pairs, metric, direction, grids: laid, ablate, drawn, runs }: PatchingSetup,
  { variants, found }: { readonly variants: PatchingVariants; readonly found: PatchedValues },
): Promise<Awaited<ReturnType<typeof selfRepair>> | undefined> {
  if (direction !== "noise" || metric !== "logit_diff" || !hasSingleComponents(laid)) return undefined;
  const idsOf = (run: number): readonly number[] => runs[run]?.ids ?? [];
  const sources = (pair: number): readonly number[] =>
    ablate.kind === "resample" ? (drawn[pair] ?? []) : [sourceRun(pair, direction)];
  const { means } = variants;
  const replacement =
    ablate.kind === "zero"
      ? ({ kind: "zero" } as const)
      : means === undefined
        ? ({ kind: "runs", of: pairs.map((_, pair) => sources(pair).map(idsOf)) } as const)
        : ({ kind: "means", means } as const);
  return selfRepair(model, { pairs, grids: laid, replacement, clean: found.clean, values: found.values });
}
