/**
 * @file Self-repair: how much of a component's direct effect on the answer is lost when it is ablated, how much later
 * components make up for, and by which means. Signs are (ablated − clean) throughout: a component that argues for the
 * answer has a positive share and a negative direct effect.
 * Source: McGrath et al. 2023, "The Hydra Effect", sections 2 and 3; Rushing & Nanda 2024, "Explorations of Self-Repair
 * in Language Models", section 3 (split of self-repair).
 */

import { milliseconds } from "../core/clock.ts";
import { refuse } from "../core/errors.ts";
import { between, bytes, callback, flag, type OptionChecks, optionFaults, signal } from "../core/options.ts";
import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import {
  type Ablated,
  type AblationOptions,
  prepareAblation,
  REFERENCE_ADVICE,
  type Unit,
  unitAblationChecks,
} from "./ablated-units.ts";
import { type Clamp, type Effects, firstReached, type Table, unitEffects } from "./hydra-effects.ts";
import { breakdown, erasure, regressions } from "./hydra-statistics.ts";
import { meanOver, type Sample } from "./mean-over.ts";
import { promptFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";

export interface HydraOptions extends AblationOptions {
  /** Heads too, not attention layers and MLPs alone. Default true. */
  readonly heads?: boolean | undefined;
  /** Repeat every ablation with later attention, and with later MLPs, held at their clean outputs: three times the work. Default false. */
  readonly clamp?: boolean | undefined;
  /** Per cent of prompts, those with the largest share, that the breakdown of self-repair is over. Default 10. */
  readonly topPercent?: number | undefined;
  readonly perPair?: boolean | undefined;
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

export const hydraChecks: OptionChecks<HydraOptions> = {
  ...unitAblationChecks,
  heads: flag,
  clamp: flag,
  topPercent: between(0, 100),
  perPair: flag,
  stateBytes: bytes,
  onProgress: callback,
  signal,
};

export const DEFAULT_TOP_PERCENT = 10;
/** Direct effects below this many logits are too small for a share of them to mean anything. */
const SMALL_LOGITS = 0.1;
/** Largest difference of the parts' sum from the whole that passes for rounding, in logits and as a share of the logit. */
const TOLERANCE = 1e-3;

/**
 * Ablates every attention layer, MLP and head at the last position of each prompt.
 *
 * @returns a dataset of effects on the answer's logit (less the foil's), means over prompts with 95 % intervals. For each
 * kind, `attn` and `mlp` over dim layer, `head` over layer and head: `<kind>_share` (clean), `_direct`, `_by_attn`,
 * `_by_mlp`, `_compensation` (the last two together), `_norm`, `_total`, which is the sum of the direct effect, compensation and
 * norm; `_attn_clamped` and `_mlp_clamped`; of the prompts that it argues most in, `_top_attn`, `_top_mlp`, `_top_norm`;
 * `<kind>_slope`, `_intercept`, `_r2` of compensation on share. `<from>_to_<to>` over layer and to_layer is the change of
 * what each later part adds. `erasure_*` over layer is about MLPs that take back what earlier parts have written.
 * @throws InputError for answers of several tokens, prompts without another one to draw from.
 */
export async function hydra(
  model: Model,
  prompts: readonly Prompted[],
  options: HydraOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, hydraChecks), ...promptFaults(prompts)]);
  const { heads = true, clamp = false, topPercent = DEFAULT_TOP_PERCENT, seed = 0 } = options;
  const ablated = await prepareAblation(model, prompts, { ...options, advice: REFERENCE_ADVICE });
  const layers = model.definition.blocks.length;
  const units = unitsOf(model, ablated, heads);
  const clamps: readonly Clamp[] = clamp ? ["attn", "mlp"] : [];
  const { effects, clean } = await unitEffects(model, ablated, { ...options, units, clamps });
  const worst = requireSums(effects, { units: units.length, layers, clean });

  const tables = effects.map((own, prompt) => tablesOf(own, { ablated, prompt, units, layers, clamps }));
  const samples = tables.map((table) => sampleOf(table));
  const summary = meanOver(samples, { unit: "logit", perSample: options.perPair ?? false, seed });
  const kinds = Object.keys(tables[0] ?? {});
  const details: Record<string, Variable> = {};
  for (const kind of kinds) {
    const of = tables.map((table) => table[kind] as Table);
    Object.assign(details, breakdown(kind, of, topPercent), regressions(kind, of, seed));
  }
  if (ablated.hasMlp) Object.assign(details, erasure({ ablated, effects, units, layers, seed }));
  const foil = ablated.prompts.some((prompt) => prompt.foils.length > 0);
  const metric = foil ? "logit_diff" : ablated.centred ? "centred_logit" : "logit";
  const dataVars = Object.fromEntries(
    Object.entries(summary.dataVars).map(([name, found]) => [name, described(name, found)]),
  );
  return dataset({
    attrs: {
      method: "hydra",
      metric,
      unit: "logit",
      direction: "noise",
      baseline_clean: mean(clean),
      question: "What makes up for an ablated component, and how much of its direct effect?",
      position: "last",
      sum_max_abs_diff: worst,
      small_logits: SMALL_LOGITS,
      centred: ablated.centred,
      options: {
        ablate: ablated.ablation.kind,
        ...(ablated.ablation.kind === "resample" ? { draws: ablated.ablation.draws } : {}),
        references: options.references?.length ?? null,
        heads,
        clamp,
        top_percent: topPercent,
        seed,
      },
      draws_used: mean(ablated.draws),
      ...summary.attrs,
      ...(await provenance(model, ablated.prompts)),
      seconds: (milliseconds() - started) / 1000,
    },
    dims: {
      layer: layers,
      to_layer: layers,
      ...(kinds.includes("head") ? { head: model.architecture.heads } : {}),
      ...summary.dims,
    },
    coords: summary.coords(ablated.prompts),
    dataVars: { ...dataVars, ...repaired(dataVars, kinds), ...details },
  });
}

/** Attention layers, MLPs, and heads layer by layer. */
function unitsOf({ definition, architecture }: Model, ablated: Ablated, heads: boolean): Unit[] {
  const layers = [...definition.blocks.keys()];
  const hasHeads = heads && (definition.blocks[0]?.sites.has("z") ?? false);
  return [
    ...(ablated.hasAttention ? layers.map((layer): Unit => ({ kind: "attn", layer })) : []),
    ...(ablated.hasMlp ? layers.map((layer): Unit => ({ kind: "mlp", layer })) : []),
    ...(hasHeads
      ? layers.flatMap((layer) =>
          Array.from({ length: architecture.heads }, (_, head): Unit => ({ kind: "head", layer, head })),
        )
      : []),
  ];
}

/** With the scale frozen, changes of all parts sum to that of the logits: exactly, but for rounding. */
function requireSums(
  effects: readonly Effects[],
  {
    units,
    layers,
    clean,
  }: { readonly units: number; readonly layers: number; readonly clean: readonly number[] },
): number {
  let worst = 0;
  for (const [prompt, { frozen, attn, mlp }] of effects.entries()) {
    for (let unit = 0; unit < units; unit++) {
      let sum = 0;
      for (let cell = unit * layers; cell < (unit + 1) * layers; cell++)
        sum += (attn[cell] ?? 0) + (mlp[cell] ?? 0);
      const off = Math.abs(sum - (frozen[unit] ?? Number.NaN));
      if (!(off <= TOLERANCE * Math.max(1, Math.abs(clean[prompt] ?? 0), Math.abs(sum)))) {
        throw new Error(
          `parts change by ${sum}, the logit by ${frozen[unit]}. This is a defect of crosspatch: please report it.`,
        );
      }
      worst = Math.max(worst, off);
    }
  }
  return worst;
}

interface TablePart {
  readonly ablated: Ablated;
  readonly prompt: number;
  readonly units: readonly Unit[];
  readonly layers: number;
  readonly clamps: readonly Clamp[];
}

function tablesOf(
  { total, frozen, attn, mlp, clamped }: Effects,
  { ablated, prompt, units, layers, clamps }: TablePart,
): Readonly<Record<string, Table>> {
  const tables: Record<string, Table> = {};
  for (const kind of ["attn", "mlp", "head"] as const) {
    const rows = units.flatMap((unit, row) => (unit.kind === kind ? [row] : []));
    if (rows.length === 0) continue;
    const pick = (from: ArrayLike<number>): Float64Array => Float64Array.from(rows, (row) => from[row] ?? 0);
    const later = (row: number, clamp: Clamp): number => {
      const from = firstReached(units[row] as Unit, ablated.parallel)[clamp];
      const changes = clamp === "attn" ? attn : mlp;
      let sum = 0;
      for (let layer = from; layer < layers; layer++) sum += changes[row * layers + layer] ?? 0;
      return sum;
    };
    const own = kind === "mlp" ? mlp : attn;
    const by_attn = Float64Array.from(rows, (row) => later(row, "attn"));
    const by_mlp = Float64Array.from(rows, (row) => later(row, "mlp"));
    const matrix = (from: Float64Array): Float64Array =>
      Float64Array.from(rows.flatMap((row) => [...from.subarray(row * layers, (row + 1) * layers)]));
    const whole = pick(total);
    tables[kind] = {
      dims: kind === "head" ? ["layer", "head"] : ["layer"],
      share: ablated.shares[prompt]?.[kind] ?? new Float64Array(rows.length),
      direct: Float64Array.from(rows, (row) => own[row * layers + (units[row]?.layer ?? 0)] ?? 0),
      by_attn,
      by_mlp,
      compensation: by_attn.map((value, index) => value + (by_mlp[index] ?? 0)),
      norm: pick(frozen).map((value, index) => (whole[index] ?? 0) - value),
      total: whole,
      ...(clamps.includes("attn") ? { attn_clamped: pick(clamped.attn) } : {}),
      ...(clamps.includes("mlp") ? { mlp_clamped: pick(clamped.mlp) } : {}),
      ...(kind === "head" || !ablated.hasAttention ? {} : { to_attn: matrix(attn) }),
      ...(kind === "head" || !ablated.hasMlp ? {} : { to_mlp: matrix(mlp) }),
    };
  }
  return tables;
}

function sampleOf(tables: Readonly<Record<string, Table>>): Sample {
  const sample: Record<string, Sample[string]> = {};
  for (const [kind, { dims, ...columns }] of Object.entries(tables)) {
    for (const [name, data] of Object.entries(columns)) {
      const own = name.startsWith("to_") ? ["layer", "to_layer"] : dims;
      sample[`${kind}_${name}`] = { dims: own, data };
    }
  }
  return sample;
}

/** In words; only the effects that the question is about are in the figure. */
function described(name: string, { dims, data, attrs }: Variable): Variable {
  const shown = /^(attn|mlp|head)_(direct|total)$/.test(name) || name === "head_compensation";
  const [, column = ""] = /^(?:attn|mlp|head)_(.*?)(?:_ci_low|_ci_high|_per_pair)?$/.exec(name) ?? [];
  const words: Record<string, Json> = { ...attrs, ...(shown ? {} : { detail: true }) };
  const long = LONG_NAMES[column];
  if (long !== undefined && words.long_name === undefined) words.long_name = long;
  return { dims, data, attrs: words };
}

const LONG_NAMES: Readonly<Record<string, string>> = {
  share: "what it adds to the logit in the clean run",
  direct: "change of what it adds itself, all else as it was",
  by_attn: "change of what later attention adds",
  by_mlp: "change of what later MLPs add",
  compensation: "change of what later attention and MLPs add",
  norm: "change through the final norm's scale, and a soft cap where there is one",
  total: "change of the logit",
  attn_clamped: "change of the logit with later attention outputs as in the clean run",
  mlp_clamped: "change of the logit with later MLP outputs as in the clean run",
  to_attn: "change of what the attention of to_layer adds",
  to_mlp: "change of what the MLP of to_layer adds",
};

/** Share of the mean direct effect that does not arrive at the logit; NaN where there is next to none. */
function repaired(
  variables: Readonly<Record<string, Variable>>,
  kinds: readonly string[],
): Record<string, Variable> {
  return Object.fromEntries(
    kinds.flatMap((kind): [string, Variable][] => {
      const [direct, total] = [variables[`${kind}_direct`], variables[`${kind}_total`]];
      if (direct === undefined || total === undefined) return [];
      const data = Array.from(direct.data, Number).map((value, index) =>
        Math.abs(value) < SMALL_LOGITS ? Number.NaN : 1 - Number(total.data[index]) / value,
      );
      const attrs = {
        unit: "1",
        detail: true,
        long_name: `1 − total/direct of the means, where the direct effect is at least ${SMALL_LOGITS} logits`,
      };
      return [[`${kind}_repaired`, { dims: direct.dims, data, attrs }]];
    }),
  );
}
