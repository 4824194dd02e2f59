/**
 * @file The sweep behind `hydra`: every unit ablated by itself, what each later part then adds to the answer's logit more
 * or less than before, and the same with later attention or later MLPs held as they were.
 */

import type { Model } from "../model/model.ts";
import { dot } from "../numeric/projection.ts";
import { type Edit, patch } from "../run/edit.ts";
import { sweep } from "../run/sweep.ts";
import type { CapturedRows, Variant } from "../run/variant.ts";
import type { Ablated, Unit } from "./ablated-units.ts";

/** What is held at its clean value while a unit is ablated. */
export type Clamp = "attn" | "mlp";

/** Effects on one prompt, each (ablated − clean), mean over draws. Rows are units. */
export interface Effects {
  /** Change of the sum of logits. */
  readonly total: Float64Array;
  /** The same with the final norm's scale frozen. */
  readonly frozen: Float64Array;
  /** [unit, layer] change of what attention and MLPs add to it, scale frozen; the unit's own layer included. */
  readonly attn: Float64Array;
  readonly mlp: Float64Array;
  /** Total with later attention, or later MLPs, at their clean values. */
  readonly clamped: { readonly [C in Clamp]: Float64Array };
}

/** The effects of the units of one kind on one prompt. */
export interface Table {
  readonly dims: readonly string[];
  readonly share: Float64Array;
  readonly direct: Float64Array;
  readonly by_attn: Float64Array;
  readonly by_mlp: Float64Array;
  readonly compensation: Float64Array;
  readonly norm: Float64Array;
  readonly total: Float64Array;
  readonly attn_clamped?: Float64Array;
  readonly mlp_clamped?: Float64Array;
  /** [layer, to_layer]; of layers only. */
  readonly to_attn?: Float64Array;
  readonly to_mlp?: Float64Array;
}

export interface EffectOptions {
  readonly units: readonly Unit[];
  readonly clamps: readonly Clamp[];
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

/** Where a variant of the sweep comes from. */
interface Place {
  readonly prompt: number;
  readonly unit: number;
  readonly draw: number;
  /** 0: nothing held; else the clamp before it. */
  readonly clamp: number;
}

/** The first layer of attention, and of MLPs, that an ablated unit can reach. */
export function firstReached({ kind, layer }: Unit, parallel: boolean): { readonly [C in Clamp]: number } {
  return { attn: layer + 1, mlp: kind === "mlp" || parallel ? layer + 1 : layer };
}

/** Effects of all units on all prompts, and each prompt's clean sum of logits. */
export async function unitEffects(
  model: Model,
  ablated: Ablated,
  { units, clamps, ...options }: EffectOptions,
): Promise<{ readonly effects: readonly Effects[]; readonly clean: readonly number[] }> {
  const layers = model.definition.blocks.length;
  const perDraw = units.length * (1 + clamps.length);
  const starts = [0];
  for (const draws of ablated.draws) starts.push((starts.at(-1) ?? 0) + draws * perDraw);
  const placeOf = (index: number): Place => {
    const prompt = starts.findLastIndex((start) => start <= index);
    const rest = index - (starts[prompt] ?? 0);
    const draw = Math.floor(rest / perDraw);
    const within = rest % perDraw;
    return { prompt, draw, unit: within % units.length, clamp: Math.floor(within / units.length) };
  };
  const clean: number[] = [];
  const effects = ablated.runs.map((): Effects => {
    const row = (): Float64Array => new Float64Array(units.length);
    const matrix = (): Float64Array => new Float64Array(units.length * layers);
    const clamped = { attn: row(), mlp: row() };
    return { total: row(), frozen: row(), attn: matrix(), mlp: matrix(), clamped };
  });
  const add = (to: Float64Array | undefined, at: number, value: number): void => {
    if (to !== undefined) to[at] = (to[at] ?? 0) + value;
  };
  const onValues = ({ layer, rows, values }: CapturedRows): void => {
    for (const { index, run, positions, firstToken } of rows) {
      const last = (ablated.runs[run]?.ids.length ?? 0) - 1;
      const at = positions.indexOf(last);
      const direction = ablated.directions[run];
      const shares = ablated.shares[run];
      if (at < 0 || direction === undefined || shares === undefined) continue;
      const { unit } = placeOf(index);
      const { weights } = direction;
      const width = weights.length;
      const draws = ablated.draws[run] ?? 1;
      const along = (data: ArrayLike<number> & { subarray(from: number, to: number): ArrayLike<number> }) =>
        dot(data.subarray((firstToken + at) * width, (firstToken + at + 1) * width), weights);
      const cell = unit * layers + layer;
      const [attn, mlp] = [values.get("attn_out"), values.get("mlp_out")];
      if (attn) add(effects[run]?.attn, cell, (along(attn) - (shares.attn[layer] ?? 0)) / draws);
      if (mlp) add(effects[run]?.mlp, cell, (along(mlp) - (shares.mlp[layer] ?? 0)) / draws);
      const stream = layer === layers - 1 ? values.get("resid_post") : undefined;
      if (stream) {
        const sum = along(stream) + direction.constant;
        add(effects[run]?.frozen, unit, (sum - direction.total) / draws);
      }
    }
  };
  const variant = (index: number): Variant => {
    const { prompt, unit: row, draw, clamp } = placeOf(index);
    const unit = units[row] as Unit;
    const own = ablated.edit(unit, { prompt, draw });
    const held = clamp === 0 ? undefined : clamps[clamp - 1];
    const later = held === undefined ? [] : heldFrom(ablated, { prompt, unit, clamp: held, layers });
    return { run: prompt, edits: [own, ...later] };
  };
  await sweep(
    model,
    { runs: ablated.runs, count: starts.at(-1) ?? 0, variant },
    {
      ...(options.stateBytes === undefined ? {} : { stateBytes: options.stateBytes }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
      capture: {
        sites: ["attn_out", "mlp_out", "resid_post"],
        wants: (index) => placeOf(index).clamp === 0,
        onValues,
      },
      onRun(run, reading) {
        clean[run] = ablated.metric(run, reading);
      },
      onReading(index, reading, exact) {
        if (exact) return;
        const { prompt, unit, clamp } = placeOf(index);
        const change = ablated.metric(prompt, reading) - (clean[prompt] ?? Number.NaN);
        const kind = clamps[clamp - 1];
        const to = kind === undefined ? effects[prompt]?.total : effects[prompt]?.clamped[kind];
        add(to, unit, change / (ablated.draws[prompt] ?? 1));
      },
    },
  );
  return { effects, clean };
}

/** Outputs of later attention or MLPs put back to the run's own. */
function heldFrom(
  { runs, parallel, hasAttention, hasMlp }: Ablated,
  {
    prompt,
    unit,
    clamp,
    layers,
  }: { readonly prompt: number; readonly unit: Unit; readonly clamp: Clamp; readonly layers: number },
): Edit[] {
  if (!(clamp === "attn" ? hasAttention : hasMlp)) return [];
  const first = firstReached(unit, parallel)[clamp];
  const where = { pos: [(runs[prompt]?.ids.length ?? 0) - 1] };
  return Array.from({ length: layers - first }, (_, index) =>
    patch(`${clamp}_out`, first + index, { run: prompt, where }),
  );
}
