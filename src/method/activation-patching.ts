/**
 * @file Exact activation patching: every chosen site is replaced in turn, and the metric of the edited run is what a
 * whole forward pass would give.
 *
 * Denoising puts clean values into the corrupt run, and asks what is enough to restore the behaviour; noising puts
 * corrupt values (or zeros, means, other prompts') into the clean run, and asks what the behaviour needs.
 * Source: Vig et al. 2020; Meng et al. 2022 (ROME), section 2; Zhang & Nanda 2024, "Towards best practices of
 * activation patching".
 */

import { milliseconds } from "../core/clock.ts";
import { metrics } from "../metric/metric.ts";
import { baselineWarnings } from "../metric/normalise.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Dataset, Json } from "../result/result.ts";
import { planSweep } from "../run/plan.ts";
import { baselineAttributes } from "./baselines.ts";
import { planAttributes, workOf } from "./measure.ts";
import { patchingRepair, verifyPatched, wholeStreamWarnings } from "./patching-checks.ts";
import { type PatchingOptions, type PatchingSetup, preparePatching } from "./patching-setup.ts";
import { patchedValues } from "./patching-values.ts";
import { patchingVariants } from "./patching-variants.ts";
import { provenance } from "./provenance.ts";
import { summarise } from "./summary.ts";

export type { PatchingOptions } from "./patching-setup.ts";

/**
 * Patches every cell of every site on every pair.
 *
 * @returns a dataset with, for each site, `<site>` (metric of the edited run; mean over pairs), `<site>_effect`
 * (difference from the base run), `<site>_normalized` (0–1 between the baselines) and, with several pairs,
 * `<site>_ci_low` and `<site>_ci_high` (95 % bootstrap interval of the mean over pairs), and the same of the other two.
 * @throws InputError for unknown sites or dims, pairs that the metric is not defined on, baselines that do not differ.
 */
export async function activationPatching(
  model: Model,
  pairs: readonly Pair[],
  options: PatchingOptions,
): Promise<Dataset> {
  const started = milliseconds();
  const setup = preparePatching(model, pairs, options);
  const { metric, direction } = setup;
  const variants = await patchingVariants(model, setup);
  const plan = planSweep(model, { runs: setup.runs, ...variants }, options);
  const planned = milliseconds();
  await options.onPlan?.(plan);
  const asked = attributesOf(options, setup);
  const made = await provenance(model, pairs);
  const { runs, references } = setup;
  const kept = await options.keep?.(workOf({ asked: { ...asked, references }, made, runs, plan }));
  if (kept?.kind === "finished") return kept.result;
  const prepared = planned - started;
  const begun = milliseconds(); // hashing weights and opening records is none of the work
  const found = await patchedValues(model, setup, { variants, plan, log: kept?.log, options });
  const checked = await verifyPatched(model, setup, { variants, found, options });
  const repair = await patchingRepair(model, setup, { variants, found });
  const seconds = found.earlierSeconds + (prepared + milliseconds() - begun) / 1000;
  const summary = summarise(
    { pairs, grids: setup.grids, ...found },
    {
      metric,
      direction,
      averaging: options.averaging ?? "ratio-of-means",
      normalize: options.normalize ?? true,
      perPair: options.perPair ?? false,
      seed: options.seed ?? 0,
    },
  );
  const baselines = Array.from(found.clean, (clean, i) => ({
    clean,
    corrupt: found.corrupt[i] ?? Number.NaN,
  }));
  const attrs: Record<string, Json> = {
    ...asked,
    ...baselineAttributes(found, { seed: options.seed ?? 0 }),
    cells: setup.grids.reduce((sum, grid) => sum + grid.size, 0) * pairs.length,
    cells_unchanged: found.exact,
    plan: planAttributes(plan),
    ...checked,
    ...(repair === undefined ? {} : { self_repair: repair.found }),
    warnings: [
      ...baselineWarnings(pairs, baselines, metric),
      ...wholeStreamWarnings(setup),
      ...(repair?.warnings ?? []),
    ],
    ...made,
    seconds,
  };
  return { ...summary, attrs: { ...attrs, ...summary.attrs } };
}

/** Attributes that say what was asked. */
function attributesOf(
  options: PatchingOptions,
  { metric, direction, ablate }: PatchingSetup,
): Record<string, Json> {
  return {
    method: "activation-patching",
    metric,
    unit: metrics[metric].unit,
    direction,
    options: {
      sites: [...options.sites],
      by: [...options.by],
      choose: Object.fromEntries(
        Object.entries(options.choose ?? {}).map(([dim, labels]) => [dim, [...(labels ?? [])]]),
      ),
      ablate: { ...ablate },
      joint: options.joint ?? false,
      ungroup: options.ungroup ?? false,
      averaging: options.averaging ?? "ratio-of-means",
      seed: options.seed ?? 0,
    },
  };
}
