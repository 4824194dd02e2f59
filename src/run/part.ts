/** @file A cut of one program over token-wise values alone: what the parts of a run are taken apart with. */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Program } from "../program/program.ts";

/** A program with the weights it takes. */
export interface WeightedProgram {
  readonly program: Program;
  readonly weights: Readonly<Record<string, Tensor>>;
}

/** The value of a site, computed from others of the same program; a frozen scale is a site like any other. */
export async function runPart(
  model: Model,
  { program, weights }: WeightedProgram,
  { given, want }: { readonly given: Readonly<Record<string, Tensor>>; readonly want: string },
): Promise<FloatArray> {
  const executable = await model.compile(program, { given: Object.keys(given), want: [want] });
  const inputs = executable.program.inputs.map(({ name }): [string, Tensor] => {
    const value = given[name] ?? weights[name];
    if (value === undefined) throw new Error(`${want} cannot be computed without ${name}`);
    return [name, value];
  });
  const found = await executable.run(Object.fromEntries(inputs));
  return (found[want] as Tensor<FloatArray>).data;
}
