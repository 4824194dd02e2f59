/** @file What every weight format offers: names, shapes, and float32 values on demand. */

import type { Tensor } from "../../core/tensor.ts";
import type { Spare } from "./threads.ts";

/** One stored tensor. */
export interface WeightInfo {
  /** Hugging Face state-dict name, whatever the file calls it, e.g. `model.layers.3.self_attn.q_proj.weight`. */
  readonly name: string;
  /** Row-major shape as PyTorch would give it. */
  readonly shape: readonly number[];
  /** Stored element type, e.g. `F16`, `BF16`, `Q4_1`. */
  readonly dtype: string;
  /** Bytes in the file. */
  readonly bytes: number;
}

/** Weights of one checkpoint, opened by reading headers only. */
export interface WeightSource {
  /** Everything in the checkpoint, by name. */
  readonly tensors: ReadonlyMap<string, WeightInfo>;
  /**
   * Reads and decodes to float32. Nothing is kept: the caller decides what stays in memory.
   * Reads of one call may be served in parallel.
   * @param spare buffers that are used again where sizes agree; they cannot be used otherwise afterwards
   */
  read(names: readonly string[], spare?: Spare): Promise<Map<string, Tensor<Float32Array>>>;
  /** Some rows of a tensor (or elements, where it has one axis): [rows, …]. */
  readRows(name: string, rows: readonly number[]): Promise<Tensor<Float32Array>>;
  /** sha256 over headers and tensor data, hex; computed once on demand. */
  hash(): Promise<string>;
  close(): Promise<void>;
}
