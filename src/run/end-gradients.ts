/** @file The last step of a forward pass and the first of a backward one: scalars of logits, and their gradients by the final residual stream. */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { gradientSite, vjp } from "../program/vjp.ts";
import { lookUp, runEnd, unembed } from "./ends.ts";
import { forward } from "./forward.ts";
import type { Trajectory } from "./trajectory.ts";

/** A scalar of one sequence's logits, and its gradient by them. */
export interface Objective {
  /** Positions whose logits are read, ascending. */
  readonly positions: readonly number[];
  /** Token ids whose logits are read, the same at every position; the whole vocabulary if absent. */
  readonly columns?: readonly number[];
  /** `logits` has a row for each position, in the order of `columns`. The gradient has the same form. */
  evaluate(logits: readonly FloatArray[]): {
    readonly value: number;
    readonly gradient: readonly ArrayLike<number>[];
  };
}

/** A sequence and the scalar that is differentiated. */
export interface GradientRun {
  readonly ids: readonly number[];
  readonly objective: Objective;
}

/** Logits held at once: about 64 MB of them. */
const LOGITS_AT_ONCE = 1 << 24;

/**
 * The scalars of rows of a trajectory, `firstRow` and those after it, and their gradients by the final residual stream
 * [token, d] of these rows.
 */
export async function endGradients(
  model: Model,
  runs: readonly GradientRun[],
  { batch, final }: Pick<Trajectory, "batch" | "final">,
  options: { readonly firstRow?: number; readonly valuesOnly?: boolean } = {},
): Promise<{ readonly values: Float64Array; readonly gradient: FloatArray }> {
  const { firstRow = 0, valuesOnly = false } = options;
  const firstToken = batch.offsets[firstRow] ?? 0;
  const { dModel, vocabulary } = model.architecture;
  const values = new Float64Array(runs.length);
  const tokens = runs.reduce((sum, { ids }) => sum + ids.length, 0);
  const gradient = model.backend.allocate(tokens * dModel);
  const whole = runs.some(({ objective }) => objective.columns === undefined);
  const columns = whole ? undefined : [...new Set(runs.flatMap(({ objective }) => objective.columns ?? []))];
  const width = columns?.length ?? vocabulary;
  const atOnce = Math.max(1, Math.floor(LOGITS_AT_ONCE / width));

  for (const [from, to] of chunks(runs, atOnce)) {
    const places = runs
      .slice(from, to)
      .flatMap(({ objective }, index) =>
        objective.positions.map((position) => (batch.offsets[firstRow + from + index] ?? 0) + position),
      );
    const residual = model.backend.allocate(places.length * dModel);
    for (const [i, token] of places.entries()) {
      residual.set(final.subarray(token * dModel, (token + 1) * dModel), i * dModel);
    }
    const read = await unembed(model, residual, columns === undefined ? { logits: true } : { columns });
    const logits = (columns === undefined ? read.logits : read.columns) ?? model.backend.allocate(0);
    const byLogits = model.backend.allocate(logits.length);
    let place = 0;
    for (let run = from; run < to; run++) {
      const { objective } = runs[run] as GradientRun;
      const chosen = objective.columns?.map((id) => columns?.indexOf(id) ?? id);
      const rows = objective.positions.map((_, i) => {
        const row = logits.subarray((place + i) * width, (place + i + 1) * width);
        return chosen === undefined ? row : Float64Array.from(chosen, (column) => row[column] ?? Number.NaN);
      });
      const { value, gradient: byRows } = objective.evaluate(rows);
      values[run] = value;
      for (const [i, row] of byRows.entries()) {
        for (let c = 0; c < row.length; c++) byLogits[(place + i) * width + (chosen?.[c] ?? c)] = row[c] ?? 0;
      }
      place += objective.positions.length;
    }
    if (valuesOnly) continue;
    const byResidual = await unembedGradient(model, { residual, byLogits, columns });
    for (const [i, token] of places.entries()) {
      gradient.set(byResidual.subarray(i * dModel, (i + 1) * dModel), (token - firstToken) * dModel);
    }
  }
  return { values, gradient };
}

/** All logits of a run at some positions. */
export async function logitsAt(
  model: Model,
  ids: readonly number[],
  positions: readonly number[],
): Promise<FloatArray[]> {
  const { dModel, vocabulary } = model.architecture;
  const { residuals } = await forward(model, [ids]);
  const residual = model.backend.allocate(positions.length * dModel);
  for (const [i, position] of positions.entries()) {
    residual.set(residuals[0]?.subarray(position * dModel, (position + 1) * dModel) ?? [], i * dModel);
  }
  const { logits } = await unembed(model, residual, { logits: true });
  return positions.map(
    (_, i) => logits?.slice(i * vocabulary, (i + 1) * vocabulary) ?? model.backend.allocate(0),
  );
}

/** Ranges of runs that read no more positions together than `atOnce`, or one run each. */
function* chunks(runs: readonly GradientRun[], atOnce: number): Generator<readonly [number, number]> {
  let from = 0;
  let held = 0;
  for (const [index, { objective }] of runs.entries()) {
    const positions = objective.positions.length;
    if (index > from && held + positions > atOnce) {
      yield [from, index];
      from = index;
      held = 0;
    }
    held += positions;
  }
  if (runs.length > from) yield [from, runs.length];
}

async function unembedGradient(
  model: Model,
  given: {
    readonly residual: FloatArray;
    readonly byLogits: FloatArray;
    readonly columns: readonly number[] | undefined;
  },
): Promise<FloatArray> {
  const { residual, byLogits, columns } = given;
  const { dModel } = model.architecture;
  const site = columns === undefined ? "logits" : "columns";
  const program = endProgram(model, site);
  const tokens = residual.length / dModel;
  // As on the way forward, chosen rows of the unembedding are read without the others.
  const rows = columns === undefined ? {} : await lookUp(model, program, [["column_rows", columns]]);
  const found = await runEnd(model, program, {
    want: [gradientSite("resid_post")],
    known: {
      resid_post: { data: residual, shape: [tokens, dModel] },
      [gradientSite(site)]: { data: byLogits, shape: [tokens, byLogits.length / tokens] },
      ...rows,
    },
    context: { columns: { data: Int32Array.from(columns ?? []), shape: [columns?.length ?? 0] } },
  });
  return (found[gradientSite("resid_post")] as Tensor<FloatArray>).data;
}

const endPrograms = new WeakMap<Model["definition"], Map<string, ReturnType<typeof vjp>>>();

function endProgram({ definition }: Model, site: "logits" | "columns"): ReturnType<typeof vjp> {
  let known = endPrograms.get(definition);
  if (known === undefined) {
    known = new Map();
    endPrograms.set(definition, known);
  }
  let found = known.get(site);
  if (found === undefined) {
    found = vjp(definition.unembed, { of: [site], wrt: ["resid_post"] });
    known.set(site, found);
  }
  return found;
}
