/**
 * @file Attention layers, MLPs and heads that are ablated at the last position of prompts: what they add to the answer's
 * logit, what is put in their place, and what a sweep reads.
 */

import { type Fault, refuse } from "../core/errors.ts";
import { flag, type OptionChecks, oneKindOf, required, seed, sequences, whole } from "../core/options.ts";
import { random } from "../core/random.ts";
import type { FloatArray } from "../core/tensor.ts";
import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { dot } from "../numeric/projection.ts";
import { type Direction, directions, hasSoftcap, type LogitSum } from "../run/direction.ts";
import type { Edit, EditValue } from "../run/edit.ts";
import { type Cache, forward } from "../run/forward.ts";
import type { Reading } from "../run/read.ts";
import type { SiteName } from "../run/site.ts";
import type { SweepRun } from "../run/variant.ts";
import { MAX_DRAWS } from "./ablation.ts";
import { answered } from "./answers.ts";
import { answerFaults, capFaults, termsOf } from "./direct.ts";
import { shareCaptures, shares } from "./direct-shares.ts";

/** A part of the model that is ablated by itself. */
export type Unit =
  | { readonly kind: "attn" | "mlp"; readonly layer: number }
  | { readonly kind: "head"; readonly layer: number; readonly head: number };

/** What takes the place of a unit's output at the last position. */
export type UnitAblation =
  | { readonly kind: "zero" }
  /** The mean of its output at the last position of the reference prompts. */
  | { readonly kind: "mean" }
  /** Its output at the last position of `draws` reference prompts in turn; effects are averaged. */
  | { readonly kind: "resample"; readonly draws: number };

export interface AblationOptions {
  /** Default resample with 10 draws. */
  readonly ablation?: UnitAblation | undefined;
  /** Prompts that values are drawn from; those asked about if absent. */
  readonly references?: readonly (readonly number[])[] | undefined;
  /** Logits less their mean over the vocabulary; default true unless they pass through a soft cap. */
  readonly centred?: boolean | undefined;
  /** Of draws and intervals. Default 0. */
  readonly seed?: number | undefined;
}

export const unitAblationChecks: OptionChecks<AblationOptions> = {
  ablation: oneKindOf<UnitAblation>({
    zero: {},
    mean: {},
    resample: { draws: required(whole(1, MAX_DRAWS)) },
  }),
  references: sequences,
  centred: flag,
  seed,
};

/** What to do about prompts without another one to draw from, where references and other ablations may be asked for. */
export const REFERENCE_ADVICE = "Give more prompts, --reference FILE, or --ablate zero.";
/** Draws where none are asked for. */
export const DEFAULT_DRAWS = 10;
/** Prompts captured at once: bounds what their activations take. */
const BATCH = 8;

/** Prompts as they are, and how they are edited and read. */
export interface Ablated {
  readonly prompts: readonly Prompted[];
  readonly ablation: UnitAblation;
  readonly centred: boolean;
  readonly hasAttention: boolean;
  readonly hasMlp: boolean;
  /** Whether attention and MLP of a block read the same stream. */
  readonly parallel: boolean;
  /** One run a prompt, read at its last position. */
  readonly runs: readonly SweepRun[];
  /** Of each prompt: the way in which parts of the stream add to its sum of logits, the final norm's scale frozen. */
  readonly directions: readonly Direction[];
  /** Of each prompt, what every unit adds: [layer] of attention and MLPs, [layer, head]. */
  readonly shares: readonly {
    readonly attn: Float64Array;
    readonly mlp: Float64Array;
    readonly head: Float64Array;
  }[];
  /** How often each prompt is edited in the same way: once for every draw. */
  readonly draws: readonly number[];
  /** Of each prompt: the final residual stream at the last position [d]. */
  readonly residuals: readonly FloatArray[];
  /** What a unit puts out at a prompt's last position: the whole value of its site there. */
  readonly output: (unit: Unit, prompt: number) => FloatArray;
  /** The ablation of a unit of a prompt. */
  readonly edit: (unit: Unit, at: { readonly prompt: number; readonly draw: number }) => Edit;
  /** The sum of logits that a prompt is about. */
  readonly metric: (prompt: number, reading: Reading) => number;
}

const sitesOfUnits = { attn: "attn_out", mlp: "mlp_out", head: "z" } as const;

/**
 * Runs prompts and references once.
 * @throws InputError for answers of several tokens, and prompts without another one to draw from.
 */
export async function prepareAblation(
  model: Model,
  given: readonly Prompted[],
  options: AblationOptions & {
    /** What to do about prompts without another one to draw from, an imperative sentence. */
    readonly advice?: string | undefined;
  },
): Promise<Ablated> {
  const { ablation = { kind: "resample", draws: DEFAULT_DRAWS }, seed = 0, advice } = options;
  refuse([...referenceFaults(options), ...answerFaults(given)]);
  if (options.centred === true) refuse(await capFaults(model));
  const centred = options.centred ?? !(await hasSoftcap(model));
  const references = options.references ?? given.map(({ clean }) => clean.ids);
  const drawn =
    ablation.kind === "resample" ? drawLists(given, references, { ...ablation, seed, advice }) : [];
  const prompts = (await answered(model, given)).map(({ prompt }) => prompt);
  const sums = prompts.map((prompt): LogitSum => ({ terms: termsOf(prompt), centred }));
  const block = model.definition.blocks[0];
  const has = (site: SiteName): boolean => block?.sites.has(site) ?? false;
  const sites = Object.values(sitesOfUnits).filter(has);

  const own = await captured(model, { prompts, sums, sites });
  const pool =
    ablation.kind === "zero"
      ? []
      : options.references === undefined
        ? own.rows
        : await lastRows(model, references, sites);
  const means = ablation.kind === "mean" ? meanRows(pool) : new Map<string, EditValue>();
  return {
    prompts,
    ablation,
    centred,
    hasAttention: has("attn_out"),
    hasMlp: has("mlp_out"),
    parallel: !has("resid_mid"),
    runs: prompts.map(({ clean }, index) => ({
      ids: clean.ids,
      read: [{ position: clean.ids.length - 1, readout: readoutOf(sums[index]) }],
    })),
    directions: own.directions,
    shares: own.shares,
    draws: prompts.map((_, index) => drawn[index]?.length ?? 1),
    residuals: own.residuals,
    output(unit, prompt) {
      const rows = own.rows[prompt]?.get(`${unit.layer}.${sitesOfUnits[unit.kind]}`);
      if (rows === undefined) throw new RangeError(`no value of ${unit.kind} of layer ${unit.layer}`);
      return rows.data;
    },
    edit(unit, { prompt, draw }) {
      const site = sitesOfUnits[unit.kind];
      const last = (prompts[prompt]?.clean.ids.length ?? 0) - 1;
      const key = `${unit.layer}.${site}`;
      const rows = ablation.kind === "mean" ? means : pool[drawn[prompt]?.[draw] ?? -1];
      const value = ablation.kind === "zero" ? ({ kind: "fill", value: 0 } as const) : rows?.get(key);
      if (value === undefined) throw new RangeError(`no value of ${site} of layer ${unit.layer}`);
      const where = { pos: [last], ...(unit.kind === "head" ? { head: [unit.head] } : {}) };
      return { site, layer: unit.layer, where, action: "replace", value };
    },
    metric: (prompt, reading) => metricOf(sums[prompt], reading),
  };
}

/** Prompts that nothing is taken from. */
function referenceFaults({ ablation, references }: AblationOptions): Fault[] {
  if (references === undefined || ablation?.kind !== "zero") return [];
  const wanted = "options.ablation of the kind mean or resample with it";
  return [{ where: "options.references", found: "the ablation zero", wanted }];
}

/** A difference of logits is the same centred or not. */
function isShifted({ terms, centred }: LogitSum): boolean {
  return centred && Math.abs(terms.reduce((sum, { weight }) => sum + weight, 0)) > 1e-9;
}

function readoutOf(sum: LogitSum | undefined): SweepRun["read"][number]["readout"] {
  const columns = sum?.terms.map(({ id }) => id) ?? [];
  return sum !== undefined && isShifted(sum) ? { columns, mean: true } : { columns };
}

function metricOf(sum: LogitSum | undefined, [position]: Reading): number {
  if (sum === undefined || position === undefined) return Number.NaN;
  const weight = sum.terms.reduce((all, term) => all + term.weight, 0);
  const own = sum.terms.reduce(
    (all, term, index) => all + term.weight * (position.columns[index] ?? Number.NaN),
    0,
  );
  return isShifted(sum) ? own - weight * (position.mean ?? Number.NaN) : own;
}

/** References of each prompt: all other ones where there are no more than draws, else drawn with replacement. */
function drawLists(
  prompts: readonly Prompted[],
  references: readonly (readonly number[])[],
  {
    draws,
    seed,
    advice = "Give more prompts.",
  }: { readonly draws: number; readonly seed: number; readonly advice: string | undefined },
): number[][] {
  const source = random(seed);
  const faults: Fault[] = [];
  const lists = prompts.map(({ clean, where }) => {
    const own = clean.ids.join();
    const others = [...references.keys()].filter((index) => references[index]?.join() !== own);
    if (others.length === 0) {
      faults.push({
        where,
        found: "no other prompt to draw from",
        wanted: "at least one",
        fix: advice,
      });
    }
    if (others.length <= draws) return others;
    return Array.from({ length: draws }, () => others[source.integer(others.length)] ?? 0);
  });
  refuse(faults);
  return lists;
}

/** Values of sites at a last position by `layer.site`, as an edit takes them. */
type LastRows = ReadonlyMap<
  string,
  Extract<EditValue, { readonly kind: "given" }> & { readonly data: FloatArray }
>;

function rowsOfCache(model: Model, cache: Cache, sites: readonly SiteName[]): LastRows {
  const rows = new Map<
    string,
    Extract<EditValue, { readonly kind: "given" }> & { readonly data: FloatArray }
  >();
  for (const layer of model.definition.blocks.keys()) {
    for (const site of sites) {
      const { data, shape } = cache.get(site, layer);
      const width = data.length / (shape[0] ?? 1);
      const given = { kind: "given", shape: [1, ...shape.slice(1)], data: data.slice(-width) } as const;
      rows.set(`${layer}.${site}`, given);
    }
  }
  return rows;
}

async function lastRows(
  model: Model,
  sequences: readonly (readonly number[])[],
  sites: readonly SiteName[],
): Promise<LastRows[]> {
  const rows: LastRows[] = [];
  for (let start = 0; start < sequences.length; start += BATCH) {
    const { caches } = await forward(model, sequences.slice(start, start + BATCH), {
      capture: sites.map((site) => ({ site })),
    });
    for (const cache of caches) rows.push(rowsOfCache(model, cache, sites));
  }
  return rows;
}

function meanRows(pool: readonly LastRows[]): Map<string, EditValue> {
  return new Map(
    [...(pool[0] ?? [])].map(([key, { shape, data }]) => {
      const sum = new Float64Array(data.length);
      for (const rows of pool) {
        const own = rows.get(key)?.data ?? [];
        for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (own[i] ?? 0) / pool.length;
      }
      return [key, { kind: "given", shape, data: sum }] as const;
    }),
  );
}

interface Captured {
  readonly prompts: readonly Prompted[];
  readonly sums: readonly LogitSum[];
  readonly sites: readonly SiteName[];
}

/** The prompts' own runs: values at the last position, directions and shares. */
async function captured(
  model: Model,
  { prompts, sums, sites }: Captured,
): Promise<Pick<Ablated, "directions" | "shares" | "residuals"> & { readonly rows: readonly LastRows[] }> {
  const width = model.architecture.dModel;
  const asked = { sources: false, neuronLayers: [] };
  const heads = sites.includes("z");
  const extra = heads ? shareCaptures(model, asked).map(({ site }) => site) : [];
  const found = {
    directions: [] as Direction[],
    shares: [] as Ablated["shares"][number][],
    residuals: [] as FloatArray[],
    rows: [] as LastRows[],
  };
  for (let start = 0; start < prompts.length; start += BATCH) {
    const sequences = prompts.slice(start, start + BATCH).map(({ clean }) => clean.ids);
    const { caches, residuals } = await forward(model, sequences, {
      capture: [...new Set([...sites, ...extra])].map((site) => ({ site })),
    });
    const last = model.backend.allocate(sequences.length * width);
    for (const [index, residual] of residuals.entries()) last.set(residual.slice(-width), index * width);
    const ways = await directions(model, last, sums.slice(start, start + BATCH));
    const split = heads
      ? await shares(
          model,
          caches.map((cache, index) => ({
            cache,
            position: cache.ids.length - 1,
            direction: ways[index] as Direction,
          })),
          asked,
        )
      : [];
    for (const [index, cache] of caches.entries()) {
      const rows = rowsOfCache(model, cache, sites);
      const weights = ways[index]?.weights ?? new Float64Array(width);
      const along = (site: SiteName): Float64Array =>
        Float64Array.from(model.definition.blocks, (_, layer) =>
          dot(rows.get(`${layer}.${site}`)?.data ?? [], weights),
        );
      found.rows.push(rows);
      found.shares.push({
        attn: along("attn_out"),
        mlp: along("mlp_out"),
        head: split[index]?.head ?? new Float64Array(0),
      });
    }
    found.directions.push(...ways);
    found.residuals.push(...residuals.map((residual) => residual.slice(-width)));
  }
  return found;
}
