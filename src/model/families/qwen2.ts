/**
 * @file Qwen2 and Qwen2.5: Llama's block with biases on q, k and v; windows only where `use_sliding_window` is on.
 * Source: Yang et al. 2024 (section 2.2); transformers 5.23, models/qwen2/{configuration,modeling}_qwen2.py.
 */

import { z } from "zod";
import type { Definition, Family } from "../architecture.ts";
import { ACTIVATIONS, activationName, configSchema, parseConfig, readRope, size } from "../config.ts";
import { LLAMA_KEYS, llamaLike } from "./llama-like.ts";
import { QWEN_KEYS, qwenWindows } from "./qwen-windows.ts";

const schema = configSchema({
  ...LLAMA_KEYS,
  ...QWEN_KEYS,
  hidden_act: activationName.default("silu"),
  max_position_embeddings: size.default(32_768),
  tie_word_embeddings: z.boolean().default(false),
});

export const qwen2: Family = {
  architectures: ["Qwen2ForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const rotary = readRope(c, { theta: 10_000 });
    return llamaLike({
      name,
      sizes: c,
      maxPositions: c.max_position_embeddings,
      activation: ACTIVATIONS[c.hidden_act],
      layers: qwenWindows(c).map((window) => ({ rotary, window })),
      bias: { queryKeyValue: true },
      tied: c.tie_word_embeddings,
    });
  },
};
