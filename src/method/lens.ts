/**
 * @file The logit lens: the final norm and the unembedding applied to the residual stream, or to what a module adds to
 * it, at every layer and position, as if the model ended there.
 * Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, InputError, inputError, merged, refuse } from "../core/errors.ts";
import { callback, flag, type OptionChecks, oneOf, optionFaults, seed, texts } from "../core/options.ts";
import { evaluateMetric, metrics, readLogits } from "../metric/metric.ts";
import { metricPlans } from "../metric/plan.ts";
import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { rankOf, softmax, topLogits } from "../numeric/logits.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { forward } from "../run/forward.ts";
import { readRows } from "../run/read.ts";
import { parseSite, SITES, type SiteName, sitesOf } from "../run/site.ts";
import { answered } from "./answers.ts";
import { meanOver, type Sample } from "./mean-over.ts";
import { promptFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";

/** Metrics of one run by itself. */
export const lensMetrics = ["logit_diff", "logprob", "prob", "loss"] as const;
export type LensMetric = (typeof lensMetrics)[number];

export interface LensOptions {
  /** Sites of the width of the stream; all that are there of resid_pre, resid_mid and resid_post if absent. */
  readonly sites?: readonly string[] | undefined;
  /** `logit_diff` with a foil, else `logprob`; of the answer, whatever the position. */
  readonly metric?: LensMetric | undefined;
  readonly perPair?: boolean | undefined;
  readonly seed?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export const lensChecks: OptionChecks<LensOptions> = {
  sites: texts,
  metric: oneOf(lensMetrics),
  perPair: flag,
  seed,
  onProgress: callback,
};

/** Sites that show all there is of the stream. */
export const STREAM: readonly SiteName[] = ["resid_pre", "resid_mid", "resid_post"];
/** Prompts captured at once: bounds what their activations take. */
const BATCH = 8;

/**
 * Reads the answer off every layer and position.
 *
 * @returns a dataset with, for each site, `<site>` (dims layer, pos): the metric of the answer there; `<site>_rank`: its
 * rank among all tokens, 1 for the most probable; `<site>_top` and `<site>_top_prob`: the most probable token. Over
 * several prompts of different lengths `pos` counts back from the last, which is -1 by its label, as far as all reach.
 * @throws InputError for unknown sites, sites that are not of the stream's width, answers of several tokens.
 */
export async function lens(
  model: Model,
  prompts: readonly Prompted[],
  options: LensOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, lensChecks), ...promptFaults(prompts)]);
  const sites = sitesFor(model, options.sites);
  const complete = (await answered(model, prompts)).map(({ prompt }) => prompt);
  const metric =
    options.metric ?? (complete.some(({ foils }) => foils.length > 0) ? "logit_diff" : "logprob");
  refuse(severalTokens(complete));
  const plans = metricPlans(complete, metric);
  const layers = model.architecture.layers.length;
  const width = model.architecture.dModel;
  const length = Math.min(...complete.map(({ clean }) => clean.ids.length));

  const samples: Sample[] = [];
  const tops: { readonly ids: Int32Array; readonly probs: Float64Array }[] = sites.map(() => ({
    ids: new Int32Array(layers * length),
    probs: new Float64Array(layers * length),
  }));
  for (let start = 0; start < complete.length; start += BATCH) {
    const batch = complete.slice(start, start + BATCH);
    const { caches } = await forward(
      model,
      batch.map(({ clean }) => clean.ids),
      { capture: sites.map((site) => ({ site })) },
    );
    for (const [index, cache] of caches.entries()) {
      const plan = plans[start + index] as (typeof plans)[number];
      const sample: Record<string, Sample[string]> = {};
      for (const [at, site] of sites.entries()) {
        const value = new Float64Array(layers * length);
        const rank = new Float64Array(layers * length);
        const rows = Array.from({ length: layers * length }, (_, cell) => {
          const position = cache.ids.length - length + (cell % length);
          const { data } = cache.get(site, Math.floor(cell / length));
          return { cell, residual: data.slice(position * width, (position + 1) * width) };
        });
        await readRows(model, rows, {
          reads: () => [{ readout: { logits: true } }],
          onReading({ cell }, [read]) {
            const logits = read?.logits ?? model.backend.allocate(0);
            const input = readLogits(plan, [logits]);
            value[cell] = evaluateMetric(plan, input, input);
            const answer = plan.answers[0]?.[0];
            rank[cell] = rankOf(logits, plan.positions[0]?.columns[answer ?? -1] ?? -1);
            if (complete.length > 1) return;
            const [top] = topLogits(logits, 1);
            tops[at]?.ids.set([top?.index ?? 0], cell);
            tops[at]?.probs.set([softmax(logits)[top?.index ?? 0] ?? Number.NaN], cell);
          },
        });
        const dims = ["layer", "pos"];
        sample[site] = { dims, data: value };
        sample[`${site}_rank`] = { dims, data: rank };
      }
      samples.push(sample);
      options.onProgress?.(samples.length, complete.length);
    }
  }

  const unit = metrics[metric].unit;
  const means = meanOver(samples, { unit, perSample: options.perPair ?? false, seed: options.seed ?? 0 });
  const only = complete.length === 1 ? complete[0] : undefined;
  const labels = Array.from({ length }, (_, pos) => (only === undefined ? pos - length : pos));
  return dataset({
    attrs: {
      method: "lens",
      metric,
      unit,
      question: "What would the model say if it ended here?",
      options: { sites: [...sites], seed: options.seed ?? 0 },
      ...means.attrs,
      ...(await provenance(model, complete)),
      seconds: (milliseconds() - started) / 1000,
    },
    dims: { layer: layers, pos: length, ...means.dims },
    coords: {
      pos: { dims: ["pos"], data: labels, attrs: {} },
      ...(only === undefined ? {} : { token: { dims: ["pos"], data: [...only.clean.pieces], attrs: {} } }),
      ...means.coords(complete),
    },
    dataVars: {
      ...ranked(means.dataVars),
      ...(only === undefined ? {} : topVariables(model, { sites, tops })),
    },
  });
}

/** Ranks are counts, and details of the variable they belong to. */
function ranked(variables: Readonly<Record<string, Variable>>): Record<string, Variable> {
  return Object.fromEntries(
    Object.entries(variables).map(([name, variable]) => {
      if (!/_rank(_|$)/.test(name)) return [name, variable];
      const attrs: Record<string, Json> = { ...variable.attrs, unit: "1", detail: true };
      return [
        name,
        { ...variable, attrs: { ...attrs, long_name: "rank of the answer, 1 is the most probable" } },
      ];
    }),
  );
}

function topVariables(
  { tokenizer }: Model,
  {
    sites,
    tops,
  }: {
    readonly sites: readonly SiteName[];
    readonly tops: readonly { readonly ids: Int32Array; readonly probs: Float64Array }[];
  },
): Record<string, Variable> {
  const dims = ["layer", "pos"];
  return Object.fromEntries(
    sites.flatMap((site, at): [string, Variable][] => {
      const { ids, probs } = tops[at] ?? { ids: new Int32Array(0), probs: new Float64Array(0) };
      return [
        [
          `${site}_top`,
          { dims, data: tokenizer.pieces([...ids]), attrs: { long_name: "most probable token" } },
        ],
        [`${site}_top_prob`, { dims, data: probs, attrs: { unit: "1", detail: true } }],
      ];
    }),
  );
}

function sitesFor(model: Model, asked: readonly string[] | undefined): SiteName[] {
  const block = model.definition.blocks[0];
  if (block === undefined) throw new Error("a model without layers");
  const wide = sitesOf(block).filter((site) => SITES[site].axes.join() === "pos,d_model");
  if (asked === undefined) return STREAM.filter((site) => wide.includes(site));
  const faults: Fault[] = [];
  const sites = new Set<SiteName>();
  for (const name of asked) {
    try {
      const { site, layer } = parseSite(name, block);
      if (!wide.includes(site) || layer !== undefined)
        throw inputError("--site", name, `a site of the stream's width, without a layer: ${wide.join(", ")}`);
      sites.add(site);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      faults.push(...error.faults.map((fault) => ({ ...fault, where: "--site" })));
    }
  }
  refuse(merged(faults));
  return [...sites];
}

function severalTokens(prompts: readonly Prompted[]): Fault[] {
  return prompts.flatMap(({ where, answers, foils }) =>
    [...answers, ...foils]
      .filter(({ ids }) => ids.length > 1)
      .map(({ text, ids }) => ({
        where,
        found: `${JSON.stringify(text)}, ${ids.length} tokens`,
        wanted: "an answer of one token",
      })),
  );
}
