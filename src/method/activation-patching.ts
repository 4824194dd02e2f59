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
import { random } from "../core/random.ts";
import { sizeOf } from "../core/tensor.ts";
import { evaluateMetric, metrics } from "../metric/metric.ts";
import type { Averaging, Direction } from "../metric/normalise.ts";
import { baselineWarnings } from "../metric/normalise.ts";
import type { MetricName, MetricPlan } from "../metric/plan.ts";
import { defaultMetric, metricPlans } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Json } from "../result/result.ts";
import type { Edit, EditValue } from "../run/edit.ts";
import { planSweep, type SweepPlan } from "../run/plan.ts";
import type { Reading } from "../run/read.ts";
import type { RecordLog } from "../run/records.ts";
import type { SiteName } from "../run/site.ts";
import type { SweepInput, Variant } from "../run/variant.ts";
import type { Ablation, Means } from "./ablation.ts";
import { drawReferences, referenceMeans } from "./ablation.ts";
import type { Chosen, Grid } from "./grid.ts";
import { cellAt, grids } from "./grid.ts";
import type { SweepWork } from "./measure.ts";
import {
  cleanRun,
  corruptRun,
  measure,
  measuredAgainst,
  pairRuns,
  planAttributes,
  requireAgreement,
  workOf,
} from "./measure.ts";
import { provenance } from "./provenance.ts";
import { hasSingleComponents, selfRepair } from "./self-repair.ts";
import { summarise } from "./summary.ts";
import { DEFAULT_VERIFIED, plainReading } from "./verify.ts";

export interface PatchingOptions extends SweepWork {
  /** Sites to patch, one after the other: `resid_pre`, `z`, … or TransformerLens names. */
  readonly sites: readonly string[];
  /** What tells cells apart: some of layer, pos, head, neuron, dst, src. What is not named is patched all together. */
  readonly by: readonly string[];
  /** Labels to take along a dim, e.g. `{ neuron: [12, 900], layer: [3] }`. */
  readonly choose?: Chosen | undefined;
  /** `denoise` (default for source values) or `noise` (default for the other ablations). */
  readonly direction?: Direction | undefined;
  /** What is put in: the source run's values unless told otherwise. */
  readonly ablate?: Ablation | undefined;
  /** All sites in each cell at once. */
  readonly joint?: boolean | undefined;
  /** Keys and values of each query head by itself where several share one. */
  readonly ungroup?: boolean | undefined;
  /** `logit_diff` where the pairs have a foil, else `logprob`. */
  readonly metric?: MetricName | undefined;
  readonly averaging?: Averaging | undefined;
  /** Scores between the baselines; asks that they differ. Default true. */
  readonly normalize?: boolean | undefined;
  /** Every pair's own values, with dim `pair`. */
  readonly perPair?: boolean | undefined;
  /** Token ids of the prompts that means and draws are taken from; the pairs' corrupt prompts if absent. */
  readonly references?: readonly (readonly number[])[] | undefined;
  /** Random cells computed again by whole forward passes. Default 4. */
  readonly verify?: number | undefined;
  /** Of draws, intervals and verification. Default 0. */
  readonly seed?: number | undefined;
}

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

/**
 * Patches every cell of every site on every pair.
 *
 * @returns a dataset with, for each site, `<site>` (metric of the edited run; mean over pairs), `<site>_effect`
 * (difference from the base run), `<site>_normalized` (0–1 between the baselines) and, with several pairs,
 * `<site>_ci_low` and `<site>_ci_high` (95 % bootstrap interval of the mean over pairs).
 * @throws InputError for unknown sites or dims, pairs that the metric is not defined on, baselines that do not differ.
 */
export async function activationPatching(
  model: Model,
  pairs: readonly Pair[],
  options: PatchingOptions,
): Promise<Dataset> {
  const started = milliseconds();
  const setup = prepare(model, pairs, options);
  const { metric, direction } = setup;
  const variants = await variantsOf(model, setup);
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
  const found = await evaluate(model, setup, { variants, plan, log: kept?.log, options });
  const checked = await verify(model, setup, { variants, found, options });
  const repair = await repairOf(model, setup, { variants, found });
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
    baseline_clean: mean(found.clean),
    baseline_corrupt: mean(found.corrupt),
    cells: setup.grids.reduce((sum, grid) => sum + grid.size, 0) * pairs.length,
    cells_unchanged: found.exact,
    plan: planAttributes(plan),
    ...checked,
    ...(repair === undefined ? {} : { self_repair: repair.found }),
    warnings: [...baselineWarnings(pairs, baselines, metric), ...(repair?.warnings ?? [])],
    ...made,
    seconds,
  };
  return { ...summary, attrs: { ...attrs, ...summary.attrs } };
}

/** What single ablations of a clean run may hide; undefined where the question does not arise. */
async function repairOf(
  model: Model,
  { pairs, metric, direction, grids: laid, ablate, drawn, runs }: Setup,
  { variants, found }: { readonly variants: Variants; readonly found: PatchedValues },
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

/** Attributes that say what was asked. */
function attributesOf(options: PatchingOptions, { metric, direction, ablate }: Setup): Record<string, Json> {
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

/** Everything that is decided before anything runs. */
interface Setup {
  readonly pairs: readonly Pair[];
  readonly plans: readonly MetricPlan[];
  readonly metric: MetricName;
  readonly direction: Direction;
  readonly ablate: Ablation;
  readonly grids: readonly Grid[];
  /** Runs of the sweep: clean and corrupt of each pair, then reference prompts. */
  readonly runs: SweepInput["runs"];
  /** Resample ablation: for each pair, the runs it draws from. */
  readonly drawn: readonly (readonly number[])[];
  /** Edited runs of each cell whose effects are averaged. */
  readonly draws: number;
  readonly references: readonly (readonly number[])[];
}

function prepare(model: Model, pairs: readonly Pair[], options: PatchingOptions): Setup {
  const { ablate = { kind: "source" }, metric = defaultMetric(pairs) } = options;
  const direction = options.direction ?? (ablate.kind === "source" ? "denoise" : "noise");
  const plans = metricPlans(pairs, metric);
  const lengths = new Set(pairs.map(({ clean }, i) => clean.ids.length + (plans[i]?.appended.length ?? 0)));
  const [positions] = lengths;
  const laid = grids(model, { ...options, positions: lengths.size === 1 ? positions : undefined });

  const own = pairRuns(pairs, plans);
  const references = options.references ?? own.filter((_, index) => index % 2 === 1).map(({ ids }) => ids);
  if (ablate.kind !== "resample") {
    return {
      pairs,
      plans,
      metric,
      direction,
      ablate,
      grids: laid,
      runs: own,
      drawn: [],
      draws: 1,
      references,
    };
  }
  const bases = pairs.map(({ where }, i) => ({ where, ids: own[baseRun(i, direction)]?.ids ?? [] }));
  const drawn = drawReferences(bases, references, ablate).map((list) =>
    list.map((index) => own.length + index),
  );
  const runs = [...own, ...references.map((ids) => ({ ids, read: [] }))];
  return {
    pairs,
    plans,
    metric,
    direction,
    ablate,
    grids: laid,
    runs,
    drawn,
    draws: ablate.draws,
    references,
  };
}

const baseRun = (pair: number, direction: Direction): number =>
  direction === "denoise" ? corruptRun(pair) : cleanRun(pair);
const sourceRun = (pair: number, direction: Direction): number =>
  direction === "denoise" ? cleanRun(pair) : corruptRun(pair);

/** The variants of all pairs, grids, cells and draws, in that order. */
interface Variants {
  readonly count: number;
  readonly variant: (index: number) => Variant;
  readonly place: (index: number) => { readonly pair: number; readonly grid: number; readonly cell: number };
  /** What is put in by mean ablation. */
  readonly means: Means | undefined;
}

async function variantsOf(model: Model, setup: Setup): Promise<Variants> {
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

interface Evaluation {
  readonly variants: Variants;
  readonly plan: SweepPlan;
  readonly log: RecordLog | undefined;
  readonly options: PatchingOptions;
}

async function evaluate(
  model: Model,
  setup: Setup,
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

/** Computes random cells again the plain way; a difference beyond rounding fails the run. */
async function verify(
  model: Model,
  setup: Setup,
  {
    variants,
    found,
    options,
  }: { readonly variants: Variants; readonly found: PatchedValues; readonly options: PatchingOptions },
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
      clean = await read({ run: cleanRun(pair), edits: [] }, (reading) =>
        reading.map((position) => ({
          ...position,
          ...(position.logits && { logits: position.logits.slice() }),
        })),
      );
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
