/**
 * @file Causal tracing: noise on the subject's token embeddings takes a fact away; which single state, put back as it
 * was without noise, brings it back?
 * Source: Meng et al. 2022 (ROME), section 2 and appendix B; windows and severed runs as in its released code.
 */

import { milliseconds } from "../core/clock.ts";
import { metrics } from "../metric/metric.ts";
import type { Fact } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { meanOver } from "./mean-over.ts";
import { provenance } from "./provenance.ts";
import { ROLES } from "./tracing-cells.ts";
import { prepareTracing, type TracingOptions } from "./tracing-setup.ts";
import { byFact, bySample, coordsOf, totalEffect } from "./tracing-summary.ts";
import { trace, verifyTraced } from "./tracing-values.ts";

export { type TracingOptions, tracingChecks } from "./tracing-setup.ts";

/**
 * Traces one fact over layers and positions, or several over layers and the positions' roles.
 *
 * @returns a dataset with, for each site, `<site>`: the metric with that state restored, mean over noise samples, over
 * (layer, pos) for one fact and (layer, role) for several; `<site>_effect`: the same less the noised run's; intervals of
 * both over noise samples of one fact, over facts of several.
 * @throws InputError for facts without a subject, unknown sites, noise of another shape, facts of which none is known.
 */
export async function causalTracing(
  model: Model,
  facts: readonly Fact[],
  options: TracingOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  const setup = await prepareTracing(model, facts, options);
  const found = await trace(model, setup, options);
  const checked = await verifyTraced(model, setup, { found, options });
  const { known, metric, samples, sites } = setup;
  const unit = metrics[metric].unit;
  const seed = options.seed ?? 0;
  const single = known.length === 1;
  const summary = meanOver(single ? bySample(setup, found) : byFact(model, setup, found), {
    unit,
    quantity: "metric",
    perSample: !single && (options.perPair ?? false),
    seed,
    over: single ? "noise samples" : "facts",
  });
  const corrupt = found.noised.map(mean);
  return dataset({
    attrs: {
      method: "causal-tracing",
      metric,
      unit,
      baseline_clean: mean(found.clean),
      baseline_corrupt: mean(corrupt),
      ...totalEffect(found.clean, corrupt, seed),
      sigma: setup.sigma,
      samples,
      ...(options.sever === undefined ? {} : { severed: options.sever }),
      cells: setup.count / samples,
      cells_unchanged: found.exact / samples,
      ...checked,
      warnings: [...setup.warnings],
      skipped: [...setup.skipped],
      options: {
        sites: [...sites],
        factor: setup.factor,
        spread: options.spread ?? "table",
        distribution: options.noise === undefined ? (options.distribution ?? "gaussian") : "given",
        antithetic: options.antithetic ?? false,
        window: setup.window.layers,
        window_before: setup.window.before,
        sever: options.sever ?? null,
        seed,
      },
      ...summary.attrs,
      ...(await provenance(model, known)),
      subjects: known.map(({ subject }) => [...subject]),
      seconds: (milliseconds() - started) / 1000,
    },
    dims: {
      layer: model.architecture.layers.length,
      ...(single ? { pos: known[0]?.clean.ids.length ?? 0 } : { role: ROLES.length }),
      ...summary.dims,
    },
    coords: { ...coordsOf(known), ...summary.coords(known) },
    dataVars: summary.dataVars,
  });
}
