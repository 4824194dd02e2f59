/**
 * @file Llama 1, 2 and 3 and what shares their block: SmolLM2, TinyLlama.
 * Source: Touvron et al. 2023 (section 2.2); transformers 5.23, models/llama/modeling_llama.py.
 */

import { z } from "zod";
import type { Definition, Family } from "../architecture.ts";
import { ACTIVATIONS, activationName, configSchema, parseConfig, readRope, size } from "../config.ts";
import { LLAMA_KEYS, llamaLike } from "./llama-like.ts";

const schema = configSchema({
  ...LLAMA_KEYS,
  hidden_act: activationName.default("silu"),
  max_position_embeddings: size.default(2048),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
});

export const llama: Family = {
  architectures: ["LlamaForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const rotary = readRope(c, { theta: 10_000 });
    return llamaLike({
      name,
      sizes: c,
      maxPositions: c.max_position_embeddings,
      activation: ACTIVATIONS[c.hidden_act],
      layers: Array.from({ length: c.num_hidden_layers }, () => ({ rotary, window: undefined })),
      bias: { queryKeyValue: c.attention_bias, output: c.attention_bias, mlp: c.mlp_bias },
      tied: c.tie_word_embeddings,
    });
  },
};
