/**
 * @file Qwen3 (dense): Qwen2 without its biases, with an RMSNorm on each head's query and key.
 * Source: Yang et al. 2025 (section 2); transformers 5.23, models/qwen3/modeling_qwen3.py.
 */

import { z } from "zod";
import type { Definition, Family } from "../architecture.ts";
import { ACTIVATIONS, activationName, configSchema, parseConfig, readRope, size } from "../config.ts";
import { LLAMA_KEYS, llamaLike } from "./llama-like.ts";
import { QWEN_KEYS, qwenWindows } from "./qwen-windows.ts";

const schema = configSchema({
  ...LLAMA_KEYS,
  ...QWEN_KEYS,
  head_dim: size,
  hidden_act: activationName.default("silu"),
  max_position_embeddings: size.default(32_768),
  attention_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
});

export const qwen3: Family = {
  architectures: ["Qwen3ForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const rotary = readRope(c, { theta: 10_000 });
    return llamaLike({
      name,
      sizes: c,
      maxPositions: c.max_position_embeddings,
      activation: ACTIVATIONS[c.hidden_act],
      layers: qwenWindows(c).map((window) => ({ rotary, window })),
      bias: { queryKeyValue: c.attention_bias, output: c.attention_bias },
      queryKeyNorm: true,
      tied: c.tie_word_embeddings,
    });
  },
};
