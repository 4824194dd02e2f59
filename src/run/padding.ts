/**
 * @file Padded batches, as other tools hold them. Runs here take sequences of any lengths together and know no
 * padding: pads are stripped, positions count from the first real token, and captured values can be put back.
 */

import type { Fault } from "../core/errors.ts";
import { refuse } from "../core/errors.ts";
import type { Tensor, TensorData } from "../core/tensor.ts";
import { sizeOf } from "../core/tensor.ts";

export interface Unpadded {
  /** The real tokens of each row. */
  readonly sequences: readonly (readonly number[])[];
  /**
   * Values of the sequences, one tensor a row, in the layout of the padded batch: [batch, …axes], where each of
   * `pos`, `dst` and `src` is as long as a padded row. Cells of pads are 0.
   */
  restore<D extends TensorData>(values: readonly Tensor<D>[], axes: readonly string[]): Tensor<D>;
}

/**
 * Strips the pads of a batch, wherever they stand: `attentionMask` is 1 where a token is real and 0 where it is a pad.
 * @throws InputError for rows of unequal length, masks that are not 0 and 1, rows without a token, and masks with
 *   holes: a pad between two real tokens would count as a position in other tools and not here.
 */
export function unpad(
  ids: readonly (readonly number[])[],
  attentionMask: readonly (readonly number[])[],
): Unpadded {
  refuse(faultsOf(ids, attentionMask));
  const starts = attentionMask.map((row) => row.indexOf(1));
  const sequences = ids.map((row, index) => row.slice(starts[index], lastReal(attentionMask[index]) + 1));
  const padded = ids[0]?.length ?? 0;

  return {
    sequences,
    restore(values, axes) {
      const [first] = values;
      if (first === undefined || values.length !== sequences.length) {
        throw new RangeError(`${values.length} values for ${sequences.length} sequences`);
      }
      const shape = axes.map((axis, index) => (POSITIONS.has(axis) ? padded : (first.shape[index] ?? 0)));
      const size = sizeOf(shape);
      const whole = zeros(first.data, values.length * size);
      for (const [row, value] of values.entries()) {
        const wanted = axes.map((axis, index) =>
          POSITIONS.has(axis) ? (sequences[row]?.length ?? 0) : shape[index],
        );
        if (value.shape.join() !== wanted.join()) {
          throw new RangeError(`value ${row} is [${value.shape.join(", ")}], not [${wanted.join(", ")}]`);
        }
        const shift = axes.map((axis) => (POSITIONS.has(axis) ? (starts[row] ?? 0) : 0));
        place(value, whole, { shape, shift, offset: row * size });
      }
      return { data: whole, shape: [values.length, ...shape] };
    },
  };
}

/** An array of the same kind. */
function zeros<D extends TensorData>(like: D, size: number): D {
  return new (like.constructor as new (size: number) => D)(size);
}

const POSITIONS: ReadonlySet<string> = new Set(["pos", "dst", "src"]);

const lastReal = (mask: readonly number[] | undefined): number => mask?.lastIndexOf(1) ?? -1;

/** Copies a value into a larger one, moved along its axes. */
function place<D extends TensorData>(
  { data, shape: own }: Tensor<D>,
  into: D,
  to: { readonly shape: readonly number[]; readonly shift: readonly number[]; readonly offset: number },
): void {
  for (let index = 0; index < data.length; index++) {
    let rest = index;
    let at = 0;
    let stride = 1;
    for (let axis = own.length - 1; axis >= 0; axis--) {
      const size = own[axis] ?? 1;
      at += ((rest % size) + (to.shift[axis] ?? 0)) * stride;
      rest = Math.floor(rest / size);
      stride *= to.shape[axis] ?? 1;
    }
    into[to.offset + at] = data[index] ?? 0;
  }
}

function faultsOf(ids: readonly (readonly number[])[], masks: readonly (readonly number[])[]): Fault[] {
  const faults: Fault[] = [];
  if (masks.length !== ids.length) {
    faults.push({
      where: "attention_mask",
      found: `${masks.length} rows`,
      wanted: `${ids.length}, as in ids`,
    });
  }
  const padded = ids[0]?.length ?? 0;
  for (const [row, tokens] of ids.entries()) {
    if (tokens.length !== padded) {
      const found = `${tokens.length} ids`;
      faults.push({ where: `ids, row ${row}`, found, wanted: `${padded}, as in row 0` });
    }
    const mask = masks[row];
    if (mask === undefined) continue;
    const where = `attention_mask, row ${row}`;
    const odd = mask.find((value) => value !== 0 && value !== 1);
    const first = mask.indexOf(1);
    const hole = mask.indexOf(0, first);
    if (mask.length !== tokens.length) {
      faults.push({ where, found: `${mask.length} values`, wanted: `${tokens.length}, one for each id` });
    } else if (odd !== undefined) {
      faults.push({ where, found: String(odd), wanted: "0 for a pad, 1 for a token" });
    } else if (first < 0) {
      faults.push({ where, found: "pads only", wanted: "at least one token", fix: "Leave the row out." });
    } else if (hole >= 0 && hole < lastReal(mask)) {
      faults.push({
        where,
        found: `a pad at ${hole} between tokens`,
        wanted: "pads before or after all tokens",
        fix: "Remove the pad from the row: its place cannot be told from a position.",
      });
    }
  }
  return faults;
}
