/** @file What is decided before anything is traced: which facts the model knows, how much noise, which runs. */

import { type Fault, inputError, refuse } from "../core/errors.ts";
import {
  atLeast,
  bytes,
  callback,
  flag,
  listOf,
  nested,
  type OptionChecks,
  oneOf,
  optionFaults,
  required,
  seed,
  signal,
  such,
  texts,
  whole,
} from "../core/options.ts";
import type { Tensor } from "../core/tensor.ts";
import { defaultMetric, type MetricName, type MetricPlan, metricNames, metricPlans } from "../metric/plan.ts";
import { type Fact, requireSubjects } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { isState, type SiteName } from "../run/site.ts";
import type { SweepRun, Variant } from "../run/variant.ts";
import { MAX_DRAWS } from "./ablation.ts";
import { answered } from "./answers.ts";
import {
  DEFAULT_FACTOR,
  DEFAULT_SAMPLES,
  type Distribution,
  deviationOf,
  distributions,
  drawNoise,
  embeddingSpread,
} from "./noise.ts";
import { promptFaults } from "./prompt-faults.ts";
import {
  DEFAULT_WINDOW,
  MAX_WINDOW,
  restoration,
  type Severed,
  severable,
  tracedSites,
  type Window,
} from "./tracing-cells.ts";

/** Whose embeddings set the scale of the noise: the whole table, or those of the subjects of all facts (ROME). */
export const spreads = ["table", "subjects"] as const;
export type Spread = (typeof spreads)[number];

export interface TracingOptions {
  /** What is restored: residual states one at a time, anything else in windows. resid_post, mlp_out, attn_out if absent. */
  readonly sites?: readonly string[] | undefined;
  /** Standard deviation of the noise over that of the embeddings. Default 3. */
  readonly factor?: number | undefined;
  /** Default `table`. */
  readonly spread?: Spread | undefined;
  readonly distribution?: Distribution | undefined;
  /** Noised runs of each fact. Default 10. */
  readonly samples?: number | undefined;
  /** Samples in pairs of opposite sign. */
  readonly antithetic?: boolean | undefined;
  /** Noise to use instead of drawing it: [samples, subject tokens, d]. */
  readonly noise?: Tensor | undefined;
  /** Layers of MLP or attention outputs restored together. Default 10. */
  readonly window?: number | undefined;
  /** How many of them lie before the layer that labels the cell. Default ⌊window / 2⌋. */
  readonly windowBefore?: number | undefined;
  /** Holds this module's outputs at the restored position at their noised values. */
  readonly sever?: Severed | undefined;
  /** `logit_diff` where facts have a foil, else `logprob`; ROME has `prob`. */
  readonly metric?: MetricName | undefined;
  /** Every fact's own values. */
  readonly perPair?: boolean | undefined;
  /** Random cells computed again by whole forward passes. Default 4. */
  readonly verify?: number | undefined;
  /** Of noise, intervals and verification. Default 0. */
  readonly seed?: number | undefined;
  readonly stateBytes?: number | undefined;
  /** Called with the noise of each fact, [samples, subject tokens, d], before anything is computed. */
  readonly onNoise?: ((noise: Float64Array, shape: readonly number[]) => void) | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

export const tracingChecks: OptionChecks<TracingOptions> = {
  sites: texts,
  factor: atLeast(0),
  spread: oneOf(spreads),
  distribution: oneOf(distributions),
  samples: whole(1, MAX_DRAWS),
  antithetic: flag,
  noise: nested<Tensor>({
    shape: required(listOf(whole(1), "whole numbers")),
    data: required(
      such<Tensor["data"]>("a typed array, such as a Float32Array", (given) => ArrayBuffer.isView(given)),
    ),
  }),
  window: whole(1, MAX_WINDOW),
  windowBefore: whole(0, MAX_WINDOW),
  sever: oneOf(severable),
  metric: oneOf(metricNames),
  perPair: flag,
  verify: whole(0),
  seed,
  stateBytes: bytes,
  onNoise: callback,
  onProgress: callback,
  signal,
};

/** What noise that is given leaves no room for. */
const DRAWN = ["factor", "spread", "distribution", "samples", "antithetic"] as const;

function besideNoise(options: TracingOptions): Fault[] {
  if (options.noise === undefined) return [];
  return DRAWN.filter((option) => options[option] !== undefined).map((option) => ({
    where: `options.${option}`,
    found: "options.noise beside it",
    wanted: "one of the two",
  }));
}

/** Everything that is decided before anything is traced. */
export interface TracingSetup {
  readonly known: readonly Fact[];
  readonly plans: readonly MetricPlan[];
  readonly metric: MetricName;
  readonly sites: readonly SiteName[];
  readonly window: Window;
  readonly samples: number;
  /** Whether samples were drawn in pairs of opposite sign. */
  readonly antithetic: boolean;
  readonly factor: number;
  readonly sigma: number;
  /** For each fact its clean run, then its noised ones. */
  readonly runs: readonly SweepRun[];
  readonly count: number;
  readonly place: (index: number) => Place;
  readonly variant: (index: number) => Variant;
  readonly warnings: readonly string[];
  readonly skipped: readonly { readonly id: string; readonly says: string }[];
}

interface Place {
  readonly fact: number;
  readonly site: number;
  readonly layer: number;
  readonly pos: number;
  readonly sample: number;
}

/** @throws InputError as `causalTracing` does. */
export async function prepareTracing(
  model: Model,
  facts: readonly Fact[],
  options: TracingOptions,
): Promise<TracingSetup> {
  refuse([...optionFaults(options, tracingChecks), ...promptFaults(facts)]);
  const { factor = DEFAULT_FACTOR, seed = 0, antithetic = false, distribution = "gaussian" } = options;
  requireSubjects(facts);
  const sites = tracedSites(model, { sites: options.sites, sever: options.sever });
  const samples = options.noise?.shape[0] ?? options.samples ?? DEFAULT_SAMPLES;
  const layers = options.window ?? DEFAULT_WINDOW;
  const window = { layers, before: options.windowBefore ?? Math.floor(layers / 2) };
  refuse([
    ...besideNoise(options),
    ...noiseFaults(model, facts, { ...options, samples }),
    ...windowFaults(window),
  ]);

  const all = await answered(model, facts);
  const unknown = all.filter(({ known }) => !known);
  // One fact is traced whether the model knows it or not; of several, an unknown one has nothing to lose.
  const kept = (facts.length === 1 ? all : all.filter(({ known }) => known)).map(({ prompt }) => prompt);
  if (kept.length === 0) {
    throw inputError(
      "facts",
      `none whose answer is the model's most probable token; it says ${unknown.map(({ top }) => JSON.stringify(top.piece)).join(", ")}`,
      "at least one",
    );
  }
  const count = model.architecture.layers.length;
  const warnings = [
    ...unknown.map(
      ({ prompt, top }) =>
        `${prompt.where}: the model says ${JSON.stringify(top.piece)}${facts.length === 1 ? "" : "; left out"}`,
    ),
    ...windowWarnings(window, { count, sites }),
  ];
  const metric = options.metric ?? defaultMetric(kept);
  const plans = metricPlans(kept, metric);

  const ids =
    options.spread === "subjects"
      ? facts.flatMap((fact) => fact.subject.map((at) => fact.clean.ids[at] ?? 0))
      : undefined;
  const sigma =
    options.noise === undefined
      ? factor * (await embeddingSpread(model, ids))
      : deviationOf(options.noise.data);
  const runs: SweepRun[] = [];
  for (const [index, fact] of kept.entries()) {
    const plan = plans[index] as MetricPlan;
    const read = plan.positions.map(({ pos, columns, logsumexp, fullLogits }) => ({
      position: pos,
      readout: { columns, logsumexp, logits: fullLogits },
    }));
    const own = { ids: [...fact.clean.ids, ...plan.appended], read };
    const tokens = fact.subject.length;
    const noise =
      options.noise?.data ??
      (await drawNoise(model, { distribution, sigma, factor, samples, tokens, antithetic, seed }));
    const size = tokens * model.architecture.dModel;
    options.onNoise?.(Float64Array.from(noise), [samples, tokens, model.architecture.dModel]);
    runs.push(own);
    for (let sample = 0; sample < samples; sample++) {
      const values = noise.slice(sample * size, (sample + 1) * size);
      runs.push({ ...own, offset: { positions: fact.subject, values } });
    }
  }
  const cells = cellsOf(model, { kept, sites, samples });
  return {
    known: kept,
    plans,
    metric,
    sites,
    window,
    samples,
    antithetic: antithetic && options.noise === undefined,
    factor,
    sigma,
    runs,
    ...cells,
    variant(index) {
      const { fact, site, layer, pos, sample } = cells.place(index);
      const clean = fact * (samples + 1);
      const noised = clean + 1 + sample;
      const name = sites[site] as SiteName;
      return {
        run: noised,
        edits: restoration({ site: name, layer, pos, window, sever: options.sever, clean, noised, count }),
      };
    },
    warnings,
    skipped: facts.length === 1 ? [] : unknown.map(({ prompt, top }) => ({ id: prompt.id, says: top.piece })),
  };
}

function noiseFaults(
  { architecture }: Model,
  facts: readonly Fact[],
  { noise, antithetic, samples }: TracingOptions & { readonly samples: number },
): Fault[] {
  const faults: Fault[] = [];
  if (noise !== undefined) {
    for (const { where, subject } of facts) {
      const wanted = [samples, subject.length, architecture.dModel];
      if (noise.shape.join() === wanted.join()) continue;
      faults.push({
        where: `${where}, --noise`,
        found: `shape [${noise.shape.join(", ")}]`,
        wanted: `[samples, subject tokens, d_model] = [any, ${subject.length}, ${architecture.dModel}]`,
      });
    }
  } else if (antithetic && samples % 2 === 1) {
    faults.push({ where: "--samples", found: String(samples), wanted: "an even number for --antithetic" });
  }
  return faults;
}

/** A window that ends before the layer that labels it would leave the first layers with nothing restored. */
function windowFaults({ layers, before }: Window): Fault[] {
  if (before < layers) return [];
  const wanted = `less than the window of ${layers}, which has the layer itself in it`;
  return [{ where: "--window-before", found: String(before), wanted }];
}

/** Windows so long that neighbouring cells restore nearly the same layers. */
function windowWarnings(
  { layers }: Window,
  { count, sites }: { count: number; sites: readonly SiteName[] },
): string[] {
  const windowed = sites.filter((site) => !isState(site));
  if (windowed.length === 0 || 2 * layers <= count) return [];
  return [
    `--window: windows of ${layers} layers in a model of ${count}: cells of ${windowed.join(", ")} in neighbouring layers restore nearly the same; ask for fewer layers`,
  ];
}

function cellsOf(
  { architecture }: Model,
  {
    kept,
    sites,
    samples,
  }: { readonly kept: readonly Fact[]; readonly sites: readonly SiteName[]; readonly samples: number },
): Pick<TracingSetup, "count" | "place"> {
  const layers = architecture.layers.length;
  const sizes = kept.map(({ clean }) => sites.length * layers * clean.ids.length * samples);
  const starts = sizes.map((_, index) => sizes.slice(0, index).reduce((sum, size) => sum + size, 0));
  return {
    count: sizes.reduce((sum, size) => sum + size, 0),
    place(index) {
      const fact = starts.findLastIndex((start) => start <= index);
      const length = kept[fact]?.clean.ids.length ?? 1;
      const within = index - (starts[fact] ?? 0);
      const cell = Math.floor(within / samples);
      return {
        fact,
        sample: within % samples,
        pos: cell % length,
        layer: Math.floor(cell / length) % layers,
        site: Math.floor(cell / (length * layers)),
      };
    },
  };
}
