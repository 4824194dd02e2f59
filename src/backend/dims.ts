/** @file Binding symbolic dimensions to the sizes of one run. */

import type { Tensor } from "../core/tensor.ts";
import type { Dim, Shape } from "../program/ops.ts";
import type { Program } from "../program/program.ts";
import type { Dims } from "./backend.ts";

/** Sizes of all symbols that the inputs' shapes (and `known`) tell; a mismatch or missing input is an error. */
export function bindDims(
  program: Program,
  inputs: Readonly<Record<string, Tensor>>,
  known: Dims = {},
): Map<string, number> {
  const bound = new Map(Object.entries(known));
  for (const { name, shape } of program.inputs) {
    const given = inputs[name];
    if (given === undefined) throw new Error(`missing input ${name} [${shape.join(", ")}]`);
    if (given.shape.length !== shape.length) throw new Error(mismatch(name, shape, given.shape));
    shape.forEach((dim, axis) => {
      const size = given.shape[axis] ?? 0;
      if (typeof dim === "number" ? dim !== size : (bound.get(dim) ?? size) !== size) {
        throw new Error(mismatch(name, shape, given.shape));
      }
      if (typeof dim === "string") bound.set(dim, size);
    });
  }
  return bound;
}

/** The shape in numbers; at most one symbol may be unbound, and it takes what is left of `size` elements. */
export function resolve(shape: Shape, bound: ReadonlyMap<string, number>, size?: number): number[] {
  const numbers = shape.map((dim: Dim) => (typeof dim === "number" ? dim : bound.get(dim)));
  const known = numbers.reduce<number>((product, dim) => product * (dim ?? 1), 1);
  return numbers.map((dim, axis) => {
    if (dim !== undefined) return dim;
    if (size === undefined || numbers.filter((other) => other === undefined).length > 1) {
      throw new Error(`the size of ${shape[axis]} in [${shape.join(", ")}] is not known: pass it in dims`);
    }
    return size / known;
  });
}

function mismatch(name: string, wanted: Shape, found: readonly number[]): string {
  return `input ${name} is [${found.join(", ")}], the program takes [${wanted.join(", ")}]`;
}
