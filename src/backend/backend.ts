/** @file The contract that every engine keeps: programs in, tensors out. */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Program } from "../program/program.ts";

/** Sizes of symbolic dimensions that the inputs' shapes do not tell by themselves. */
export type Dims = Readonly<Record<string, number>>;

/** A program ready to run. */
export interface Executable {
  /**
   * Runs once. `inputs` holds a tensor for every input of the program, by name; outputs come back by site name,
   * in new tensors unless `into` offers one of the right size.
   */
  run(
    inputs: Readonly<Record<string, Tensor>>,
    options?: RunOptions,
  ): Promise<Record<string, Tensor<FloatArray>>>;
}

export interface RunOptions {
  readonly dims?: Dims;
  /** Tensors to write outputs into, by site name. */
  readonly into?: Readonly<Record<string, Tensor<FloatArray>>>;
}

/** More threads than any machine has cores today. */
export const MAX_THREADS = 1024;

export interface Backend {
  /** `reference` or `onnxruntime`. */
  readonly name: string;
  /** `cpu`, `webgpu` or `cuda`. */
  readonly device: string;
  /** What computes: engine and version, for provenance. */
  readonly version: string;
  /** Element type of activations. */
  readonly precision: "float32" | "float64";
  /** A zeroed array of activations. */
  allocate(size: number): FloatArray;
  /** Compiles a program, or returns the executable of an equal one compiled before. */
  compile(program: Program): Promise<Executable>;
  /** Frees sessions; the backend cannot be used afterwards. */
  close(): Promise<void>;
}
