/** @file Sequences under computation, laid out for a block: tokens flattened, attention grouped by shape. */

import type { FloatArray } from "../core/tensor.ts";
import type { Architecture, LayerKind } from "../model/architecture.ts";
import { rotaryTables } from "../model/rope.ts";
import { attentionMask } from "../numeric/cells.ts";

/** One sequence, of which only some positions are computed. */
export interface Row {
  /** Positions computed, ascending. */
  readonly positions: Int32Array;
  /** Length of the sequence: keys and values exist for every position. */
  readonly length: number;
}

/** Rows with the same positions and length, next to each other in the batch. */
export interface Group {
  readonly firstRow: number;
  readonly rows: number;
  readonly firstToken: number;
  readonly positions: Int32Array;
  readonly length: number;
}

/** Rows in the order in which their tokens are flattened. */
export interface Batch {
  readonly rows: readonly Row[];
  /** Index of each row's first token. */
  readonly offsets: Int32Array;
  readonly tokens: number;
  readonly groups: readonly Group[];
}

/** What rows must share to be in one group. */
export function groupKey({ positions, length }: Row): string {
  const first = positions[0] ?? 0;
  const contiguous = positions.at(-1) === first + positions.length - 1;
  return contiguous ? `${length}:${first}+${positions.length}` : `${length}:${positions.join()}`;
}

/** Lays out rows; those of a group must already be neighbours (sort by {@link groupKey}). */
export function batchOf(rows: readonly Row[]): Batch {
  const offsets = new Int32Array(rows.length);
  const groups: { -readonly [K in keyof Group]: Group[K] }[] = [];
  let tokens = 0;
  let lastKey: string | undefined;
  for (const [index, row] of rows.entries()) {
    offsets[index] = tokens;
    const key = groupKey(row);
    const open = groups.at(-1);
    if (open !== undefined && key === lastKey) open.rows += 1;
    else
      groups.push({
        firstRow: index,
        rows: 1,
        firstToken: tokens,
        positions: row.positions,
        length: row.length,
      });
    lastKey = key;
    tokens += row.positions.length;
  }
  return { rows, offsets, tokens, groups };
}

/** Context of positions: tables and masks, made once for each layout and kept for the layers of a kind. */
export interface ContextCache {
  rotary(kind: LayerKind, batch: Batch): { readonly cos: FloatArray; readonly sin: FloatArray } | undefined;
  /** [1, 1, dst, src], additive. */
  mask(kind: LayerKind, group: Group): FloatArray;
}

export function contextCache(
  architecture: Architecture,
  allocate: (size: number) => FloatArray,
): ContextCache {
  const tables = new WeakMap<Batch, Map<string, { readonly cos: FloatArray; readonly sin: FloatArray }>>();
  const masks = new Map<string, FloatArray>();
  return {
    rotary({ rotary }, batch) {
      if (rotary === undefined) return undefined;
      let known = tables.get(batch);
      if (known === undefined) {
        known = new Map();
        tables.set(batch, known);
      }
      const key = JSON.stringify(rotary);
      let found = known.get(key);
      if (found === undefined) {
        const positions = new Int32Array(batch.tokens);
        for (const [index, row] of batch.rows.entries()) positions.set(row.positions, batch.offsets[index]);
        found = rotaryTables(rotary, positions, allocate);
        known.set(key, found);
      }
      return found;
    },
    mask({ window }, group) {
      const key = `${window ?? ""}|${groupKey(group)}`;
      let found = masks.get(key);
      if (found === undefined) {
        const { positions, length } = group;
        found = allocate(positions.length * length);
        attentionMask(found, { positions, length, causal: architecture.causal, window });
        masks.set(key, found);
      }
      return found;
    },
  };
}
