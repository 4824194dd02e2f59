/** @file What a sweep is asked: runs, variants of them, and what to do with each reading. */

import type { FloatArray } from "../core/tensor.ts";
import type { Edit } from "./edit.ts";
import type { EmbeddingOffset, Readout } from "./ends.ts";
import type { Reading } from "./read.ts";
import type { SiteName } from "./site.ts";

/** A run of the sweep that no variant's edits reach: base of variants, source of values, or both. */
export interface SweepRun {
  readonly ids: readonly number[];
  /** Moves the run's own embeddings, so that noised runs are runs like any other. */
  readonly offset?: EmbeddingOffset | undefined;
  /** Positions at which variants of this run are read, ascending, and what is read at each. */
  readonly read: readonly { readonly position: number; readonly readout: Readout }[];
}

/** A run with edits. Values of kind `run` are those of another run of the same sweep, at the same layer. */
export interface Variant {
  /** Index of the run that is edited. */
  readonly run: number;
  readonly edits: readonly Edit[];
  /** Runs that have to be read before this variant is, beside its own and those that it takes values from. */
  readonly beside?: readonly number[] | undefined;
}

export interface SweepInput {
  readonly runs: readonly SweepRun[];
  readonly count: number;
  readonly variant: (index: number) => Variant;
}

/** Values of variants that went through a layer together, as far as they can differ from their runs'. */
export interface CapturedRows {
  readonly layer: number;
  /** Each variant, its run, the positions that it was computed at, and the index of their first token. */
  readonly rows: readonly {
    readonly index: number;
    readonly run: number;
    readonly positions: Int32Array;
    readonly firstToken: number;
  }[];
  /** By site, [token, …] of all rows; edits are made. A site before the first edited one is as in the run, and is left out. */
  readonly values: ReadonlyMap<SiteName, FloatArray>;
}

/** Values of variants under way, layer by layer; in the last layer only at the positions that are read. */
export interface SweepCapture {
  /** Sites after attention, where everything works token by token. */
  readonly sites: readonly SiteName[];
  readonly wants: (index: number) => boolean;
  /** The values are only valid until it returns. */
  readonly onValues: (found: CapturedRows) => void;
}

export interface SweepOptions {
  readonly capture?: SweepCapture | undefined;
  /** Tokens that go through a block together. More use the matrix units better, and take more memory. */
  readonly batchTokens?: number;
  /** Bytes for the residual streams of variants under way; more variants are done in several waves. */
  readonly stateBytes?: number;
  /**
   * Called once with each variant's reading, in no particular order; `exact` if its edits cannot have changed
   * anything at the positions read, and the reading is its run's own.
   */
  readonly onReading: (index: number, reading: Reading, exact: boolean) => void;
  /** Called once with each run's own reading, before those of its variants. It stays valid. */
  readonly onRun?: (run: number, reading: Reading) => void;
  /** Work done so far, as a wave counts it; a sweep reports FLOPs of its plan. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: { readonly aborted: boolean };
}
