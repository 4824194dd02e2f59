/** @file Loops over chosen cells of row-major arrays: edit, compare, copy. */

import type { FloatArray } from "../core/tensor.ts";

/** One axis of a selection: which indices of the target, and which of the source they pair with. */
export interface AxisCells {
  readonly target: ArrayLike<number>;
  readonly source: ArrayLike<number>;
  readonly targetStride: number;
  readonly sourceStride: number;
}

export interface Cells {
  readonly target: FloatArray;
  readonly targetOffset: number;
  readonly source: ArrayLike<number>;
  readonly sourceOffset: number;
  readonly axes: readonly AxisCells[];
}

/** Calls `visit` with the offsets of each line of chosen cells along the last axis, until it returns false. */
function everyLine(
  { targetOffset, sourceOffset, axes }: Cells,
  visit: (target: number, source: number, line: AxisCells) => boolean,
): boolean {
  const walk = (depth: number, target: number, source: number): boolean => {
    const axis = axes[depth];
    if (depth === axes.length - 1) return visit(target, source, axis);
    for (let i = 0; i < axis.target.length; i++) {
      const to = target + axis.target[i] * axis.targetStride;
      if (!walk(depth + 1, to, source + axis.source[i] * axis.sourceStride)) return false;
    }
    return true;
  };
  return walk(0, targetOffset, sourceOffset);
}

export function replaceCells(cells: Cells): void {
  const { target, source } = cells;
  everyLine(cells, (to, from, line) => {
    for (let i = 0; i < line.target.length; i++) {
      target[to + line.target[i] * line.targetStride] = source[from + line.source[i] * line.sourceStride];
    }
    return true;
  });
}

export function addCells(cells: Cells): void {
  const { target, source } = cells;
  everyLine(cells, (to, from, line) => {
    for (let i = 0; i < line.target.length; i++) {
      target[to + line.target[i] * line.targetStride] += source[from + line.source[i] * line.sourceStride];
    }
    return true;
  });
}

export function scaleCells(cells: Cells): void {
  const { target, source } = cells;
  everyLine(cells, (to, from, line) => {
    for (let i = 0; i < line.target.length; i++) {
      target[to + line.target[i] * line.targetStride] *= source[from + line.source[i] * line.sourceStride];
    }
    return true;
  });
}

/** Whether replacing would change nothing, bit for bit (−0 and 0 count as equal: they compute alike). */
export function equalCells(cells: Cells): boolean {
  const { target, source } = cells;
  return everyLine(cells, (to, from, line) => {
    for (let i = 0; i < line.target.length; i++) {
      const value = target[to + line.target[i] * line.targetStride];
      if (value !== source[from + line.source[i] * line.sourceStride]) return false;
    }
    return true;
  });
}

/** 0, 1, …, length − 1. */
export function range(length: number, start = 0): Int32Array {
  const indices = new Int32Array(length);
  for (let i = 0; i < length; i++) indices[i] = start + i;
  return indices;
}

/** Additive attention mask [dst, src]: 0 where a query may look, −1e30 where not (finite, so that no row can become NaN). */
export function attentionMask(
  mask: FloatArray,
  options: {
    readonly positions: ArrayLike<number>;
    readonly length: number;
    readonly causal: boolean;
    readonly window?: number | undefined;
  },
): void {
  const { positions, length, causal, window = Number.POSITIVE_INFINITY } = options;
  for (let i = 0; i < positions.length; i++) {
    for (let j = 0; j < length; j++) {
      const hidden = (causal && j > positions[i]) || Math.abs(positions[i] - j) >= window;
      mask[i * length + j] = hidden ? -1e30 : 0;
    }
  }
}
