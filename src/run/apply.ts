/** @file Making edits: from an edit as data to the cells of a batch. */

import type { FloatArray } from "../core/tensor.ts";
import { sizeOf } from "../core/tensor.ts";
import type { Architecture } from "../model/architecture.ts";
import type { AxisCells, Cells } from "../numeric/cells.ts";
import { addCells, equalCells, range, replaceCells, scaleCells } from "../numeric/cells.ts";
import type { Batch } from "./batch.ts";
import type { BatchEdit, SiteValue } from "./block.ts";
import type { Edit } from "./edit.ts";
import { positionAxis, requireLayers } from "./edit.ts";
import type { Axis, SiteName } from "./site.ts";
import { axisSize, SITES } from "./site.ts";

/** A site's value for a whole sequence, as edits take from it. */
export interface SourceValue {
  readonly data: ArrayLike<number>;
  /** Sizes of the site's axes; 1 where one value serves every index. */
  readonly shape: readonly number[];
}

/** Finds the value of another run at the edit's site and layer. */
export type RunValue = (edit: Edit, run: number) => SourceValue;

/** Cells of one row's value, which holds `positions` of a sequence, paired with those of a source. */
export function cellsOf(
  edit: Edit,
  options: {
    readonly architecture: Architecture;
    readonly target: FloatArray;
    readonly offset: number;
    readonly positions: ArrayLike<number>;
    readonly length: number;
    readonly source: SourceValue;
  },
): Cells {
  const { architecture, target, offset, positions, length, source } = options;
  const axes: readonly Axis[] = SITES[edit.site].axes;
  const along = positionAxis(edit.site);
  const targetSizes = axes.map((axis) =>
    axis === along && along !== "src" ? positions.length : axisSize(axis, architecture, length),
  );
  requireAxes(edit, axes);
  const [targetStrides, sourceStrides] = [strides(targetSizes), strides(source.shape)];

  const cells = axes.map((axis, index): AxisCells => {
    const wanted = edit.where[axis];
    const size = axisSize(axis, architecture, length);
    // Cells are a set: an index that is listed twice is edited once.
    const chosen = wanted === undefined ? wholeAxis(size) : Int32Array.from(new Set(wanted));
    // Another run's value is its own, cell for cell, even where it has one position only.
    const single = source.shape[index] === 1 && edit.value.kind !== "run";
    const present = single ? size : (source.shape[index] ?? 0);
    const doubtful = wanted === undefined ? chosen.subarray(present) : chosen;
    requireWithin(edit, { axis, chosen: doubtful, size: Math.min(size, present) });
    const paired =
      axis === along && along !== "src" ? held(chosen, positions) : { target: chosen, source: chosen };
    const sourceStride = single ? 0 : (sourceStrides[index] ?? 0);
    return { ...paired, targetStride: targetStrides[index] ?? 0, sourceStride };
  });
  return { target, targetOffset: offset, source: source.data, sourceOffset: 0, axes: cells };
}

const wholeAxes = new Map<number, Int32Array>();

/** Every index of an axis; not to be written to. */
function wholeAxis(size: number): Int32Array {
  let found = wholeAxes.get(size);
  if (found === undefined) {
    found = range(size);
    wholeAxes.set(size, found);
  }
  return found;
}

/** Indices along an axis that the site does not have would be passed over, and the whole site edited. */
function requireAxes({ site, layer, where }: Edit, axes: readonly Axis[]): void {
  for (const [axis, indices] of Object.entries(where)) {
    if (indices !== undefined && !axes.includes(axis as Axis)) {
      throw new RangeError(`${site} of layer ${layer}: no axis ${axis}; there are ${axes.join(", ")}`);
    }
  }
}

/** An index beyond its axis would be a cell of another position or head. */
function requireWithin(
  { site, layer }: Edit,
  {
    axis,
    chosen,
    size,
  }: { readonly axis: Axis; readonly chosen: Int32Array | readonly number[]; readonly size: number },
): void {
  const outside = chosen.find((index) => index < 0 || index >= size);
  if (outside !== undefined) {
    throw new RangeError(`${site} of layer ${layer}: ${axis} ${outside}, but edit and value have ${size}`);
  }
}

/**
 * Refuses an edit of cells that a run of `length` tokens, or the value it takes, does not have. `sourceLength` are the
 * tokens of the run that it takes its value from, if it does.
 */
export function requireCells(
  edit: Edit,
  options: {
    readonly architecture: Architecture;
    readonly length: number;
    readonly sourceLength: number | undefined;
  },
): void {
  const { architecture, length, sourceLength } = options;
  const { site, value, where } = edit;
  const axes: readonly Axis[] = SITES[site].axes;
  requireLayers([edit], architecture.layers.length);
  requireAxes(edit, axes);
  for (const [index, axis] of axes.entries()) {
    const size = axisSize(axis, architecture, length);
    let held = size;
    if (value.kind === "run") held = axisSize(axis, architecture, sourceLength ?? 0);
    else if (value.kind === "given" && value.shape[index] !== 1) held = value.shape[index] ?? 0;
    const chosen = where[axis] ?? (held < size ? [held] : []);
    requireWithin(edit, { axis, chosen, size: Math.min(size, held) });
  }
}

function strides(sizes: readonly number[]): number[] {
  return sizes.map((_, axis) => sizeOf(sizes.slice(axis + 1)));
}

/** Of the chosen positions, those that the row holds, and where it holds them. */
function held(
  chosen: Int32Array,
  positions: ArrayLike<number>,
): { readonly target: number[]; readonly source: number[] } {
  const index = new Map(Array.from(positions, (position, at) => [position, at] as const));
  const source = [...chosen].filter((position) => index.has(position));
  return { source, target: source.map((position) => index.get(position) ?? 0) };
}

/** The value an edit takes, looked up or written out. */
export function sourceOf(edit: Edit, runValue: RunValue): SourceValue {
  const { value } = edit;
  switch (value.kind) {
    case "run":
      return runValue(edit, value.run);
    case "fill":
      return { data: [value.value], shape: SITES[edit.site].axes.map(() => 1) };
    case "given":
      return value;
  }
}

const ACTIONS = { replace: replaceCells, add: addCells, scale: scaleCells } as const;

/** Makes an edit in place in a value that holds the positions of one row from `offset` on. */
export function applyEdit(edit: Edit, options: Parameters<typeof cellsOf>[1]): void {
  ACTIONS[edit.action](cellsOf(edit, options));
}

/** Of the positions that a replacing edit names, those where it changes the value, bit for bit. */
export function changedAt(edit: Edit, options: Parameters<typeof cellsOf>[1]): number[] {
  const cells = cellsOf(edit, options);
  const along = (SITES[edit.site].axes as readonly Axis[]).indexOf(positionAxis(edit.site));
  const axis = cells.axes[along] as AxisCells;
  const changed: number[] = [];
  for (let index = 0; index < axis.target.length; index++) {
    const target = [axis.target[index] ?? 0];
    const source = [axis.source[index] ?? 0];
    const one = cells.axes.with(along, { ...axis, target, source });
    if (!equalCells({ ...cells, axes: one })) changed.push(source[0] ?? 0);
  }
  return changed;
}

/** The edits of all rows at one site, as one edit of the batch. */
export function batchEdits(
  rowEdits: readonly (readonly Edit[])[],
  options: { readonly architecture: Architecture; readonly batch: Batch; readonly runValue: RunValue },
): BatchEdit[] {
  const { architecture, batch, runValue } = options;
  const sites = new Set<SiteName>(rowEdits.flatMap((edits) => edits.map((edit) => edit.site)));
  return [...sites].map((site) => ({
    site,
    apply(value) {
      for (const [index, row] of batch.rows.entries()) {
        for (const edit of rowEdits[index] ?? []) {
          if (edit.site !== site) continue;
          const place = placeOf(value, { architecture, batch, row: index, site });
          applyEdit(edit, { architecture, ...place, ...row, source: sourceOf(edit, runValue) });
        }
      }
    },
  }));
}

/** Where one row's value lies in that of the batch. */
export function placeOf(
  value: SiteValue,
  {
    architecture,
    batch,
    row,
    site,
  }: {
    readonly architecture: Architecture;
    readonly batch: Batch;
    readonly row: number;
    readonly site: SiteName;
  },
): { readonly target: FloatArray; readonly offset: number; readonly size: number } {
  const { axes } = SITES[site];
  const { positions, length } = batch.rows[row] as Batch["rows"][number];
  const along = positionAxis(site);
  const size = sizeOf(
    axes.map((axis) =>
      axis === along && along !== "src" ? positions.length : axisSize(axis, architecture, length),
    ),
  );
  if (!Array.isArray(value)) {
    return {
      target: value as FloatArray,
      offset: ((batch.offsets[row] ?? 0) * size) / positions.length,
      size,
    };
  }
  const index = batch.groups.findIndex(({ firstRow, rows }) => row >= firstRow && row < firstRow + rows);
  const group = batch.groups[index];
  return {
    target: (value as readonly FloatArray[])[index] as FloatArray,
    offset: (row - (group?.firstRow ?? 0)) * size,
    size,
  };
}
