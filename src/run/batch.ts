/** @file Sequences under computation, laid out for a block: tokens flattened, attention grouped by shape. */

import type { FloatArray } from "../core/tensor.ts";
import type { Architecture, LayerKind } from "../model/architecture.ts";
import { rotaryTables } from "../model/rope.ts";
import { attentionMask, range } from "../numeric/cells.ts";
import type { Scratch } from "./scratch.ts";
import { scratchSpace } from "./scratch.ts";

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

/** The position of every token, in the batch's order. */
export function flatPositions({ rows, offsets, tokens }: Batch): Int32Array {
  const positions = new Int32Array(tokens);
  for (const [index, row] of rows.entries()) positions.set(row.positions, offsets[index]);
  return positions;
}

/** Some tokens of a value that holds `of` tokens; a copy. */
export function rowsOf(
  value: FloatArray,
  {
    tokens,
    of,
    allocate,
  }: {
    readonly tokens: ArrayLike<number>;
    readonly of: number;
    readonly allocate: (size: number) => FloatArray;
  },
): FloatArray {
  const width = value.length / of;
  const out = allocate(tokens.length * width);
  for (let index = 0; index < tokens.length; index++) {
    const from = (tokens[index] ?? 0) * width;
    out.set(value.subarray(from, from + width), index * width);
  }
  return out;
}

/** cos and sin of the rotary embedding's angles [token, dims/2]. */
interface Tables {
  readonly cos: FloatArray;
  readonly sin: FloatArray;
}

/** What the layers of a run share: tables and masks of positions, made once for each layout, and scratch space. */
export interface ContextCache {
  rotary(kind: LayerKind, batch: Batch): Tables | undefined;
  /** [1, 1, dst, src], additive. */
  mask(kind: LayerKind, group: Group): FloatArray;
  readonly scratch: Scratch;
}

/** Bytes of masks that are kept: those of all suffixes of a long prompt together grow with the cube of its length. */
const MAX_MASK_BYTES = 2 ** 24;

export function contextCache(
  architecture: Architecture,
  allocate: (size: number) => FloatArray,
): ContextCache {
  // Angles are worked out once for each position of a sequence, and copied for each token.
  const tables = new Map<string, Tables & { readonly positions: number }>();
  const known = new WeakMap<Batch, Map<string, Tables>>();
  const masks = new Map<string, FloatArray>(); // the one asked for last is last
  let maskBytes = 0;
  const keep = (key: string, mask: FloatArray): void => {
    masks.set(key, mask);
    maskBytes += mask.byteLength;
    for (const [oldest, { byteLength }] of masks) {
      if (maskBytes <= MAX_MASK_BYTES) break;
      masks.delete(oldest);
      maskBytes -= byteLength;
    }
  };
  return {
    scratch: scratchSpace(allocate),
    rotary({ rotary }, batch) {
      if (rotary === undefined) return undefined;
      const key = JSON.stringify(rotary);
      const ofBatch = known.get(batch) ?? new Map<string, Tables>();
      known.set(batch, ofBatch);
      let found = ofBatch.get(key);
      if (found === undefined) {
        const length = batch.rows.reduce((most, row) => Math.max(most, row.length), 0);
        let table = tables.get(key);
        if (table === undefined || table.positions < length) {
          table = { ...rotaryTables(rotary, range(length), allocate), positions: length };
          tables.set(key, table);
        }
        const tokens = flatPositions(batch);
        const of = table.positions;
        found = {
          cos: rowsOf(table.cos, { tokens, of, allocate }),
          sin: rowsOf(table.sin, { tokens, of, allocate }),
        };
        ofBatch.set(key, found);
      }
      return found;
    },
    mask({ window }, group) {
      const key = `${window ?? ""}|${groupKey(group)}`;
      const held = masks.get(key);
      if (held !== undefined) {
        masks.delete(key);
        masks.set(key, held);
        return held;
      }
      const { positions, length } = group;
      const mask = allocate(positions.length * length);
      attentionMask(mask, { positions, length, causal: architecture.causal, window });
      keep(key, mask);
      return mask;
    },
  };
}
