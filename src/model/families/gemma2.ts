/**
 * @file Gemma 2: a norm before and after each module, soft caps on scores and logits, local and global layers in turn.
 * Source: Gemma Team 2024 (section 2); transformers 5.23, models/gemma2/{configuration,modeling}_gemma2.py.
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
  size,
} from "../config.ts";
import { LLAMA_KEYS, llamaLike } from "./llama-like.ts";

const cap = z.number().positive().nullable();

const schema = configSchema({
  ...LLAMA_KEYS,
  head_dim: size,
  hidden_activation: activationName.default("gelu_pytorch_tanh"),
  /** Not read by the library: the activation is `hidden_activation`. */
  hidden_act: z.unknown().optional(),
  max_position_embeddings: size.default(8192),
  query_pre_attn_scalar: z.number().positive(),
  sliding_window: size.nullable().default(4096),
  /** Not read by the library either. */
  sliding_window_size: z.unknown().optional(),
  layer_types: layerTypes,
  attn_logit_softcapping: cap.default(50),
  final_logit_softcapping: cap.default(30),
  attention_bias: z.boolean().default(false),
  use_bidirectional_attention: z.literal(false).nullish(),
  tie_word_embeddings: z.boolean().default(true),
});

export const gemma2: Family = {
  architectures: ["Gemma2ForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const rotary = readRope(c, { theta: 10_000 });
    return llamaLike({
      name,
      sizes: c,
      maxPositions: c.max_position_embeddings,
      activation: ACTIVATIONS[c.hidden_activation],
      layers: layerWindows(c, (layer) => layer % 2 === 0).map((window) => ({ rotary, window })),
      bias: { queryKeyValue: c.attention_bias, output: c.attention_bias },
      sandwich: true,
      queryScalar: c.query_pre_attn_scalar,
      softcaps: { scores: c.attn_logit_softcapping, logits: c.final_logit_softcapping },
      // A buffer in the precision of the weights, which are run in float32: the engine rounds it as PyTorch does.
      embedScale: Math.sqrt(c.hidden_size),
      tied: c.tie_word_embeddings,
    });
  },
};
