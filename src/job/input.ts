/** @file What a job is given from outside: files, and who wants to hear of its progress. */
import { type Fault, InputError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Kept } from "../method/measure.ts";

export interface JobContext {
  /** Reads a text file. @throws InputError where it cannot be read. */
  readonly readText: (path: string) => Promise<string>;
  /** Reads a file of tensors in safetensors form. @throws InputError where it is none. */
  readonly readTensors: (path: string) => Promise<ReadonlyMap<string, Tensor<Float32Array>>>;
  /** Writes a file, whole or not at all. */
  readonly writeBytes: (path: string, bytes: Uint8Array) => Promise<void>;
  /** Called before long work, with what is about to be done. */
  readonly onPlan?: ((plan: string) => void) | undefined;
  /** Opens what earlier runs of the same work have kept. */
  readonly keep?: ((work: string) => Promise<Kept>) | undefined;
  /** Called if some of the work was kept. */
  readonly onResume?: ((kept: number, waves: number) => void) | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

/** Waits for several steps, and throws the faults of all of them together; any other error goes first. */
export async function allOf<T extends readonly unknown[]>(
  steps: {
    readonly [K in keyof T]: () => T[K] | Promise<T[K]>;
  },
): Promise<T> {
  const settled = await Promise.allSettled((steps as readonly (() => unknown)[]).map(async (step) => step()));
  const faults: Fault[] = [];
  for (const result of settled) {
    if (result.status === "fulfilled") continue;
    if (!(result.reason instanceof InputError)) throw result.reason;
    for (const fault of result.reason.faults) faults.push(fault);
  }
  if (faults.length > 0) throw new InputError(faults);
  return settled.map((result) => (result.status === "fulfilled" ? result.value : undefined)) as unknown as T;
}
