/** @file Arrays that are used again, so that a sweep does not make and drop tens of megabytes at every layer. */

import type { FloatArray } from "../core/tensor.ts";

/** Gives an array of the size asked for, with anything in it. It holds until the next request under the same name. */
export type Scratch = (name: string, size: number) => FloatArray;

export function scratchSpace(allocate: (size: number) => FloatArray): Scratch {
  const held = new Map<string, FloatArray>();
  return (name, size) => {
    let space = held.get(name);
    if (space === undefined || space.length < size) {
      // Batches grow layer by layer as variants join.
      space = allocate(Math.ceil(size * 1.5));
      held.set(name, space);
    }
    return space.subarray(0, size);
  };
}
