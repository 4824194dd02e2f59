/**
 * @file Mistral: Llama's block with attention to the last `sliding_window` positions, in every layer.
 * Source: Jiang et al. 2023 (section 2); transformers 5.23, models/mistral/modeling_mistral.py.
 */

import { z } from "zod";
import type { Definition, Family } from "../architecture.ts";
import { ACTIVATIONS, activationName, configSchema, parseConfig, readRope, size } from "../config.ts";
import { LLAMA_KEYS, llamaLike } from "./llama-like.ts";

const schema = configSchema({
  ...LLAMA_KEYS,
  hidden_act: activationName.default("silu"),
  max_position_embeddings: size.default(131_072),
  /** null: every earlier position. */
  sliding_window: size.nullable().default(4096),
  attention_bias: z.literal(false).optional(),
  mlp_bias: z.literal(false).optional(),
  tie_word_embeddings: z.boolean().default(false),
});

export const mistral: Family = {
  architectures: ["MistralForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const rotary = readRope(c, { theta: 10_000 });
    const window = c.sliding_window ?? undefined;
    return llamaLike({
      name,
      sizes: c,
      maxPositions: c.max_position_embeddings,
      activation: ACTIVATIONS[c.hidden_act],
      layers: Array.from({ length: c.num_hidden_layers }, () => ({ rotary, window })),
      tied: c.tie_word_embeddings,
    });
  },
};
