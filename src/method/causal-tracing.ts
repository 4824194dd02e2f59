/**
 * @file Causal tracing: noise on the subject's token embeddings takes a fact away; which single state, put back as it
 * was without noise, brings it back?
 * Source: Meng et al. 2022 (ROME), section 2 and appendix B; windows and severed runs as in its released code.
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, inputError, refuse } from "../core/errors.ts";
import { random } from "../core/random.ts";
import type { Tensor } from "../core/tensor.ts";
import { evaluateMetric, metrics } from "../metric/metric.ts";
import { defaultMetric, type MetricName, type MetricPlan, metricPlans } from "../metric/plan.ts";
import { type Fact, requireSubjects } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { bootstrapMean, drawResamples, mean } from "../numeric/statistics.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { Reading } from "../run/read.ts";
import type { SiteName } from "../run/site.ts";
import { sweep } from "../run/sweep.ts";
import type { SweepInput, SweepRun, Variant } from "../run/variant.ts";
import { answered } from "./answers.ts";
import { meanOver, type Sample } from "./mean-over.ts";
import {
  DEFAULT_FACTOR,
  DEFAULT_SAMPLES,
  type Distribution,
  deviationOf,
  drawNoise,
  embeddingSpread,
} from "./noise.ts";
import { provenance } from "./provenance.ts";
import {
  DEFAULT_WINDOW,
  ROLES,
  restoration,
  rolePositions,
  type Severed,
  tracedSites,
  type Window,
} from "./tracing-cells.ts";
import { DEFAULT_VERIFIED, plainReading } from "./verify.ts";

export interface TracingOptions {
  /** What is restored: residual states one at a time, anything else in windows. resid_post, mlp_out, attn_out if absent. */
  readonly sites?: readonly string[] | undefined;
  /** Standard deviation of the noise over that of the embeddings. Default 3. */
  readonly factor?: number | undefined;
  /** Whose embeddings set the scale: the whole `table` (default) or the `subjects` of all facts (ROME). */
  readonly spread?: "table" | "subjects" | undefined;
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

/** Largest difference from the plain path that passes for rounding, as a share of the metric's scale. */
const VERIFY_TOLERANCE = 1e-3;

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
  const setup = await prepare(model, facts, options);
  const found = await evaluate(model, setup, options);
  const checked = await verify(model, setup, { found, options });
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

interface Setup {
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

async function prepare(model: Model, facts: readonly Fact[], options: TracingOptions): Promise<Setup> {
  const { factor = DEFAULT_FACTOR, seed = 0, antithetic = false, distribution = "gaussian" } = options;
  requireSubjects(facts);
  const sites = tracedSites(model, { sites: options.sites, sever: options.sever });
  const samples = options.noise?.shape[0] ?? options.samples ?? DEFAULT_SAMPLES;
  refuse(noiseFaults(model, facts, { ...options, samples }));
  const layers = options.window ?? DEFAULT_WINDOW;
  const window = { layers, before: options.windowBefore ?? Math.floor(layers / 2) };

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
  const warnings = unknown.map(
    ({ prompt, top }) =>
      `${prompt.where}: the model says ${JSON.stringify(top.piece)}${facts.length === 1 ? "" : "; left out"}`,
  );
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
      const count = model.architecture.layers.length;
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

function cellsOf(
  { architecture }: Model,
  {
    kept,
    sites,
    samples,
  }: { readonly kept: readonly Fact[]; readonly sites: readonly SiteName[]; readonly samples: number },
): Pick<Setup, "count" | "place"> {
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

interface Found {
  /** [fact] */
  readonly clean: Float64Array;
  /** [fact][sample] */
  readonly noised: readonly Float64Array[];
  /** [fact][site] → [layer, pos, sample] */
  readonly values: readonly (readonly Float64Array[])[];
  readonly exact: number;
}

async function evaluate(model: Model, setup: Setup, options: TracingOptions): Promise<Found> {
  const { known, plans, sites, samples, runs } = setup;
  const layers = model.architecture.layers.length;
  const own = new Map<number, Reading>();
  const values = known.map(({ clean }) =>
    sites.map(() => new Float64Array(layers * clean.ids.length * samples)),
  );
  let exact = 0;
  const metricOf = (fact: number, reading: Reading): number => {
    const clean = own.get(fact * (samples + 1));
    if (clean === undefined) throw new Error("a variant was read before its fact's clean run");
    return evaluateMetric(plans[fact] as MetricPlan, reading, clean);
  };
  await sweep(
    model,
    { runs, count: setup.count, variant: setup.variant },
    {
      ...(options.stateBytes === undefined ? {} : { stateBytes: options.stateBytes }),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onRun(run, reading) {
        const kept = reading.map((at) => ({ ...at, ...(at.logits && { logits: at.logits.slice() }) }));
        own.set(run, kept);
      },
      onReading(index, reading, unchanged) {
        const { fact, site, layer, pos, sample } = setup.place(index);
        const length = known[fact]?.clean.ids.length ?? 0;
        const target = values[fact]?.[site];
        target?.set([metricOf(fact, reading)], (layer * length + pos) * samples + sample);
        if (unchanged) exact += 1;
      },
    },
  );
  const read = (fact: number, run: number): number =>
    metricOf(fact, own.get(fact * (samples + 1) + run) ?? []);
  return {
    clean: Float64Array.from(known, (_, fact) => read(fact, 0)),
    noised: known.map((_, fact) =>
      Float64Array.from({ length: samples }, (__, sample) => read(fact, 1 + sample)),
    ),
    values,
    exact,
  };
}

async function verify(
  model: Model,
  setup: Setup,
  { found, options }: { readonly found: Found; readonly options: TracingOptions },
): Promise<Record<string, Json>> {
  const { samples, plans, runs, count } = setup;
  const wanted = Math.min(options.verify ?? DEFAULT_VERIFIED, count);
  const source = random((options.seed ?? 0) + 1);
  const chosen = new Set<number>();
  while (chosen.size < wanted) chosen.add(source.integer(count));
  const input: Pick<SweepInput, "runs"> = { runs };
  let worst = 0;
  for (const index of chosen) {
    const { fact, site, layer, pos, sample } = setup.place(index);
    const plan = plans[fact] as MetricPlan;
    const clean = await plainReading(model, input, {
      variant: { run: fact * (samples + 1), edits: [] },
      use: (reading) => reading.map((at) => ({ ...at, ...(at.logits && { logits: at.logits.slice() }) })),
    });
    const value = await plainReading(model, input, {
      variant: setup.variant(index),
      use: (reading) => evaluateMetric(plan, reading, clean),
    });
    const length = setup.known[fact]?.clean.ids.length ?? 0;
    const swept = found.values[fact]?.[site]?.[(layer * length + pos) * samples + sample] ?? Number.NaN;
    worst = Math.max(worst, Math.abs(value - swept));
  }
  const scale = Math.max(
    1e-3,
    ...found.clean.map((clean, fact) => Math.abs(clean - mean(found.noised[fact] ?? []))),
  );
  if (!(worst <= VERIFY_TOLERANCE * scale)) {
    throw new Error(
      `verification failed: a cell computed by a whole forward pass differs by ${worst} from the sweep, ` +
        `${VERIFY_TOLERANCE * scale} at most is rounding. This is a defect of crosspatch: please report it.`,
    );
  }
  return { verify_cells: wanted, verify_max_abs_diff: worst };
}

/** One fact: a sample of the mean for every draw of noise; the two of opposite sign are one draw. */
function bySample({ sites, samples, antithetic }: Setup, found: Found): Sample[] {
  const pairs = antithetic ? samples / 2 : samples;
  const dims = ["layer", "pos"];
  return Array.from({ length: pairs }, (_, draw) => {
    const draws = pairs === samples ? [draw] : [draw, draw + pairs];
    const base = mean(draws.map((sample) => found.noised[0]?.[sample] ?? Number.NaN));
    const entries = sites.flatMap((site, at): [string, Sample[string]][] => {
      const values = found.values[0]?.[at] ?? new Float64Array(0);
      const data = Float64Array.from({ length: values.length / samples }, (__, cell) =>
        mean(draws.map((sample) => values[cell * samples + sample] ?? Number.NaN)),
      );
      return [
        [site, { dims, data }],
        [`${site}_effect`, { dims, data: data.map((value) => value - base) }],
      ];
    });
    return Object.fromEntries(entries);
  });
}

/** Several facts: each fact's mean over noise samples and over the positions of a role. */
function byFact({ architecture }: Model, { sites, samples, known }: Setup, found: Found): Sample[] {
  const layers = architecture.layers.length;
  const dims = ["layer", "role"];
  return known.map((fact, index) => {
    const length = fact.clean.ids.length;
    const roles = rolePositions(fact);
    const base = mean(found.noised[index] ?? []);
    const entries = sites.flatMap((site, at): [string, Sample[string]][] => {
      const values = found.values[index]?.[at] ?? new Float64Array(0);
      const data = Float64Array.from({ length: layers * roles.length }, (_, cell) => {
        const layer = Math.floor(cell / roles.length);
        const positions = roles[cell % roles.length] ?? [];
        return mean(
          positions.map((pos) => {
            const from = (layer * length + pos) * samples;
            return mean(values.subarray(from, from + samples));
          }),
        );
      });
      return [
        [site, { dims, data }],
        [`${site}_effect`, { dims, data: data.map((value) => value - base) }],
      ];
    });
    return Object.fromEntries(entries);
  });
}

function totalEffect(clean: Float64Array, corrupt: readonly number[], seed: number): Record<string, Json> {
  const effects = clean.map((value, fact) => value - (corrupt[fact] ?? Number.NaN));
  if (effects.length < 2) return { total_effect: mean(effects) };
  const { estimate, low, high } = bootstrapMean(effects, drawResamples(effects.length, { seed }));
  return { total_effect: estimate, total_effect_ci_low: low, total_effect_ci_high: high };
}

function coordsOf(known: readonly Fact[]): Record<string, Variable> {
  const [fact] = known;
  if (fact === undefined || known.length > 1)
    return { role: { dims: ["role"], data: [...ROLES], attrs: {} } };
  const { clean, subject } = fact;
  return {
    token: { dims: ["pos"], data: [...clean.pieces], attrs: {} },
    is_subject: {
      dims: ["pos"],
      data: clean.ids.map((_, pos) => (subject.includes(pos) ? 1 : 0)),
      attrs: {},
    },
  };
}
