/** @file The edited runs of activation patching: which cell of which pair each is, and its edits. */

import type { MetricPlan } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Edit, EditValue } from "../run/edit.ts";
import type { SiteName } from "../run/site.ts";
import type { Variant } from "../run/variant.ts";
import type { Means } from "./ablation.ts";
import { referenceMeans } from "./ablation.ts";
import type { Grid } from "./grid.ts";
import { cellAt } from "./grid.ts";
import { measuredAgainst } from "./measure.ts";
import { baseRun, type PatchingSetup, sourceRun } from "./patching-setup.ts";

/** The variants of all pairs, grids, cells and draws, in that order. */
export interface PatchingVariants {
  readonly count: number;
  readonly variant: (index: number) => Variant;
  readonly place: (index: number) => { readonly pair: number; readonly grid: number; readonly cell: number };
  /** What is put in by mean ablation. */
  readonly means: Means | undefined;
}

/** Works out means, where those are put in, and lays out the variants. */
export async function patchingVariants(model: Model, setup: PatchingSetup): Promise<PatchingVariants> {
  const { grids: laid, ablate, direction, draws, pairs } = setup;
  const sites = [...new Set<SiteName>(laid.flatMap((grid) => grid.sites.map(({ site }) => site)))];
  const means =
    ablate.kind === "mean"
      ? await referenceMeans(model, setup.references, { sites, over: ablate.over })
      : undefined;
  const starts = laid.map((_, index) => laid.slice(0, index).reduce((sum, { size }) => sum + size, 0));
  const cells = laid.reduce((sum, { size }) => sum + size, 0);

  const place = (index: number): { pair: number; grid: number; cell: number } => {
    const pair = Math.floor(index / (cells * draws));
    const within = Math.floor((index % (cells * draws)) / draws);
    const grid = starts.findLastIndex((start) => start <= within);
    return { pair, grid, cell: within - (starts[grid] ?? 0) };
  };
  const value = (pair: number, draw: number, key: string): EditValue => {
    switch (ablate.kind) {
      case "source":
        return { kind: "run", run: sourceRun(pair, direction) };
      case "zero":
        return { kind: "fill", value: 0 };
      case "mean":
        return means?.get(key) as EditValue;
      case "resample":
        return { kind: "run", run: setup.drawn[pair]?.[draw] ?? 0 };
    }
  };
  return {
    count: cells * draws * pairs.length,
    place,
    means,
    variant(index) {
      const { pair, grid, cell } = place(index);
      const at = laid[grid] as Grid;
      const labels = cellAt(at, cell);
      const edits = at.sites.flatMap(({ site, layers, where }) =>
        (labels.layer === undefined ? layers : [labels.layer]).map(
          (layer): Edit => ({
            site,
            layer,
            where: where(labels),
            action: "replace",
            value: value(pair, index % draws, `${layer}.${site}`),
          }),
        ),
      );
      const beside = measuredAgainst(setup.plans[pair] as MetricPlan, pair);
      return { run: baseRun(pair, direction), edits, beside };
    },
  };
}
