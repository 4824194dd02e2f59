/** @file The check beside the sweep: random cells computed again by whole forward passes. */

import type { Model } from "../model/model.ts";
import type { Edit } from "../run/edit.ts";
import { forward } from "../run/forward.ts";
import type { Reading } from "../run/read.ts";
import { readRows } from "../run/read.ts";
import type { SweepInput, SweepRun, Variant } from "../run/variant.ts";

/** Random cells that are computed again, of a result. */
export const DEFAULT_VERIFIED = 4;

/** Largest difference from the plain path that passes for rounding, as a share of the metric's scale. */
const TOLERANCE = 1e-3;
/** A metric that hardly moves is computed from logits that do: their rounding has a size of its own. */
const LEAST_SCALE = 1e-3;

/**
 * Fails where values of whole forward passes differ from the sweep's by more than rounding.
 * @param worst largest difference, in the metric's unit
 * @param of `scale`: what the metric is spread over, in its unit; `what` was computed twice (default: a cell)
 */
export function requireRounding(
  worst: number,
  { scale, what = "a cell" }: { readonly scale: number; readonly what?: string },
): void {
  const most = TOLERANCE * Math.max(LEAST_SCALE, scale);
  // NaN is no rounding either.
  if (worst <= most) return;
  throw new Error(
    `verification failed: ${what} computed by a whole forward pass differs by ${worst} from the sweep, ` +
      `${most} at most is rounding. This is a defect of crosspatch: please report it.`,
  );
}

/** A run's own embedding offset as edits of the plain path. */
export function offsetEdits({ architecture }: Model, run: SweepRun | undefined): Edit[] {
  if (run?.offset === undefined) return [];
  const { positions, values } = run.offset;
  const width = architecture.dModel;
  const data = new Float64Array(run.ids.length * width);
  for (const [row, position] of positions.entries()) {
    for (let i = 0; i < width; i++) data[position * width + i] = values[row * width + i] ?? 0;
  }
  const shape = [run.ids.length, width];
  const value = { kind: "given", shape, data } as const;
  return [{ site: "resid_pre", layer: 0, where: { pos: positions }, action: "add", value }];
}

/** A sweep's variant evaluated the plain way: the runs it takes values from whole, then itself whole. */
export async function plainReading<T>(
  model: Model,
  input: Pick<SweepInput, "runs">,
  { variant, use }: { readonly variant: Variant; readonly use: (reading: Reading) => T },
): Promise<T> {
  const sources = [
    ...new Set(variant.edits.flatMap(({ value }) => (value.kind === "run" ? [value.run] : []))),
  ];
  const capture = [
    ...new Map(
      variant.edits.map(({ site, layer }) => [`${layer}.${site}`, { site, layers: [layer] }]),
    ).values(),
  ];
  const moved = (run: number): Edit[] => offsetEdits(model, input.runs[run]);
  const { caches } = await forward(
    model,
    sources.map((run) => input.runs[run]?.ids ?? []),
    { capture, edits: sources.map(moved) },
  );
  const edits = variant.edits.map(
    (edit): Edit =>
      edit.value.kind === "run"
        ? { ...edit, value: { kind: "run", run: sources.indexOf(edit.value.run) } }
        : edit,
  );
  const base = input.runs[variant.run];
  const { residuals } = await forward(model, [base?.ids ?? []], {
    edits: [[...moved(variant.run), ...edits]],
    runs: caches,
  });
  const width = model.architecture.dModel;
  const read = base?.read ?? [];
  const residual = model.backend.allocate(read.length * width);
  for (const [index, { position }] of read.entries()) {
    residual.set(residuals[0]?.subarray(position * width, (position + 1) * width) ?? [], index * width);
  }
  let result: { readonly value: T } | undefined;
  await readRows(model, [{ residual }], {
    reads: () => read,
    onReading: (_, reading) => {
      result = { value: use(reading) };
    },
  });
  if (result === undefined) throw new Error("nothing was read");
  return result.value;
}
