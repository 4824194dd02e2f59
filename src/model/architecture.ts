/** @file What crosspatch knows about a loaded architecture, whatever its family. */

import type { Program } from "../program/program.ts";
import type { Rotary } from "./rope.ts";

/** What differs from layer to layer outside the weights. */
export interface LayerKind {
  /** Rotary position embedding of this layer; absent where positions enter elsewhere. */
  readonly rotary?: Rotary;
  /**
   * Local attention: a query at position i sees keys at positions j with |i − j| < window
   * (and j ≤ i where attention is causal). Absent: every key.
   */
  readonly window?: number;
}

/** Sizes and kinds. */
export interface Architecture {
  /** The declared architecture, e.g. `LlamaForCausalLM`. */
  readonly name: string;
  readonly layers: readonly LayerKind[];
  readonly dModel: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dHead: number;
  readonly dMlp: number;
  readonly vocabulary: number;
  /** Longest sequence the position embedding was made for. */
  readonly maxPositions: number;
  /** Whether a position sees only itself and earlier ones. */
  readonly causal: boolean;
}

/**
 * A model as programs. Values between them:
 *   embed:   ids [token] (int), positions [token] (int, where positions are learned) → resid_pre [token, d]
 *   block:   resid_pre [token, d], cos/sin [token, dims/2], mask [1, 1, dst, src] → resid_post [token, d]
 *   unembed: resid_post [token, d] → final_norm [token, d], logits [token, vocabulary]
 */
export interface Definition {
  readonly architecture: Architecture;
  readonly embed: Program;
  readonly blocks: readonly Program[];
  readonly unembed: Program;
  /** What stands before a block's weight names in the checkpoint, e.g. `model.layers.3.`. */
  readonly layerPrefix: (layer: number) => string;
  /** Prefix that checkpoints of the bare base model leave out, e.g. `transformer.`. */
  readonly basePrefix: string;
  /** Stored tensors that carry nothing (buffers of old checkpoints, tied copies). */
  readonly ignored: readonly RegExp[];
}

/** One family: reads a checkpoint's config.json and writes its programs. */
export interface Family {
  /** Values of config.json's `architectures` that this family reads. */
  readonly architectures: readonly string[];
  /** @throws InputError with every unknown key and every value that is not supported. */
  define(config: unknown, name: string): Definition;
}
