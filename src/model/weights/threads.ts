/** @file What other threads are asked to do with a file of weights, as plain data. `threads.node.ts` has Node's threads. */

import type { DecodableType } from "../../numeric/dequantize.ts";

/** What is to be undone to get the checkpoint's values from those in the file. */
export type Rearrangement =
  | { readonly kind: "none" }
  /** 1 was added, for norms that scale by 1 + weight. */
  | { readonly kind: "plus-one" }
  /** Stored [out, in] where the checkpoint has [in, out]. */
  | { readonly kind: "transposed" }
  /** Rows of each of `heads` heads are in the order (pair, half); the checkpoint's is (half, pair). */
  | { readonly kind: "rotary-pairs"; readonly heads: number }
  /** Rows are in the order (part, head, feature), of three parts; the checkpoint's is (head, part, feature). */
  | { readonly kind: "parts-first"; readonly heads: number };

/** A tensor in a file: `bytes`, from `offset` on, hold rows of whole blocks and lie inside the file. */
export interface StoredTensor {
  readonly offset: number;
  readonly bytes: number;
  readonly type: DecodableType;
  /** Shape as stored, [rows, …]; the checkpoint's own where nothing was transposed. */
  readonly shape: readonly number[];
  readonly change: Rearrangement;
}

/** Memory that may be used again for float32 values of the same size. */
export type Spare = readonly ArrayBuffer[];

/** An open file, as every thread of the process can read it. */
export interface OpenFile {
  readonly descriptor: number;
  readonly path: string;
  /** Bytes when it was opened. */
  readonly size: number;
}

export interface Threads {
  /** Values of each tensor as the checkpoint has them, in the order given; the buffers of `spare` are handed over and cannot be used here afterwards. */
  decode(
    file: OpenFile,
    tensors: readonly StoredTensor[],
    spare: Spare,
  ): Promise<Float32Array<ArrayBuffer>[]>;
  /** sha256 over whole files, one after the other, in hex; comes after everything that is to be decoded. */
  sha256(files: readonly OpenFile[]): Promise<string>;
  /** Ends the threads; what they were asked for is refused. */
  close(): Promise<void>;
}
