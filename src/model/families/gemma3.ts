/**
 * @file Gemma 3, text only: Gemma 2 with query-key norms in place of the cap on scores, five local layers to each
 * global one, and rotary settings of their own for both. EmbeddingGemma sees both directions.
 * Source: Gemma Team 2025 (section 2); transformers 5.23, models/gemma3/{configuration,modeling}_gemma3.py.
 */

import { z } from "zod";
import type { Definition, Family } from "../architecture.ts";
import {
  ACTIVATIONS,
  activationName,
  configSchema,
  layerTypes,
  layerWindows,
  parseConfig,
  readRope,
  ropeConfig,
  size,
} from "../config.ts";
import { LLAMA_KEYS, llamaLike } from "./llama-like.ts";

const schema = configSchema({
  ...LLAMA_KEYS,
  head_dim: size,
  hidden_activation: activationName.default("gelu_pytorch_tanh"),
  max_position_embeddings: size.default(131_072),
  query_pre_attn_scalar: z.number().positive(),
  /** `rope_theta` and `rope_scaling` are of the global layers, this of the local ones. */
  rope_local_base_freq: z.number().positive().optional(),
  rope_parameters: z
    .strictObject({ full_attention: ropeConfig.nullish(), sliding_attention: ropeConfig.nullish() })
    .nullish(),
  sliding_window: size.nullable().default(4096),
  sliding_window_pattern: size.default(6),
  layer_types: layerTypes,
  /** Stored by the library, not applied. */
  attn_logit_softcapping: z.null().optional(),
  final_logit_softcapping: z.number().positive().nullable().default(null),
  use_bidirectional_attention: z.boolean().nullable().default(false),
  attention_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
});

export const gemma3: Family = {
  architectures: ["Gemma3ForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const causal = c.use_bidirectional_attention !== true;
    const global = readRope(
      {
        rope_theta: c.rope_theta,
        partial_rotary_factor: c.partial_rotary_factor,
        rope_scaling: c.rope_scaling,
        rope_parameters: c.rope_parameters?.full_attention,
      },
      { theta: 1_000_000 },
    );
    const local = readRope(
      { rope_theta: c.rope_local_base_freq, rope_parameters: c.rope_parameters?.sliding_attention },
      { theta: 10_000 },
    );
    // Seen both ways, the window reaches half as far to each side (`Gemma3TextConfig.__post_init__`).
    const window =
      causal || c.sliding_window === null ? c.sliding_window : Math.floor(c.sliding_window / 2) + 1;
    const windows = layerWindows(
      { ...c, sliding_window: window },
      (layer) => (layer + 1) % c.sliding_window_pattern !== 0,
    );
    return llamaLike({
      name,
      sizes: c,
      maxPositions: c.max_position_embeddings,
      activation: ACTIVATIONS[c.hidden_activation],
      layers: windows.map((own) => ({ rotary: own === undefined ? global : local, window: own })),
      bias: { queryKeyValue: c.attention_bias, output: c.attention_bias },
      queryKeyNorm: true,
      sandwich: true,
      queryScalar: c.query_pre_attn_scalar,
      softcaps: { scores: null, logits: c.final_logit_softcapping },
      embedScale: Math.sqrt(c.hidden_size), // rounded as in Gemma 2
      tied: c.tie_word_embeddings,
      causal,
    });
  },
};
