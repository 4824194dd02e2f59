/** @file Which tensors of a checkpoint a caller asks for. */

import type { Fault } from "../../core/errors.ts";
import { refuse } from "../../core/errors.ts";
import { isDecodable } from "../../numeric/dequantize.ts";
import type { WeightInfo } from "./source.ts";

/** Entries by name, each once. @throws InputError with every name that is not there or whose entry has a fault. */
export function requestedTensors<T>(
  file: string,
  entries: ReadonlyMap<string, T>,
  names: readonly string[],
  check: (entry: T) => Fault | undefined,
): T[] {
  const faults: Fault[] = [];
  const chosen: T[] = [];
  for (const name of new Set(names)) {
    const entry = entries.get(name);
    const fault =
      entry === undefined
        ? {
            where: `${file}: tensor "${name}"`,
            found: "no such tensor",
            wanted: "a tensor of the checkpoint",
          }
        : check(entry);
    if (fault !== undefined) faults.push(fault);
    if (entry !== undefined) chosen.push(entry);
  }
  refuse(faults);
  return chosen;
}

/** The fault of a tensor whose element type has no decoder. */
export function undecodable(file: string, { name, dtype }: WeightInfo): Fault | undefined {
  if (isDecodable(dtype)) return undefined;
  return {
    where: `${file}: tensor "${name}"`,
    found: `element type ${dtype}`,
    wanted: "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K",
    fix: "Use a checkpoint of another type.",
  };
}
