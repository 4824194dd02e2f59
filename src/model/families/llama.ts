/**
 * @file Llama 1, 2 and 3 and what shares their block: SmolLM2, TinyLlama.
 * Source: Touvron et al. 2023 (section 2.2); transformers 5.23, models/llama/modeling_llama.py.
 */

import { z } from "zod";
import { builder } from "../../program/program.ts";
import type { Definition, Family } from "../architecture.ts";
import {
  ACTIVATIONS,
  activationName,
  configSchema,
  epsilon,
  parseConfig,
  ROPE_KEYS,
  readRope,
  size,
} from "../config.ts";
import { embedTokens, unembedTokens } from "../ends.ts";
import type { Norm, Projection } from "../parts.ts";
import { sequentialBlock } from "../parts.ts";
import type { Rotary } from "../rope.ts";

const schema = configSchema({
  ...ROPE_KEYS,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.optional(),
  head_dim: size.nullish(),
  hidden_act: activationName.default("silu"),
  rms_norm_eps: epsilon.default(1e-6),
  max_position_embeddings: size.default(2048),
  vocab_size: size,
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
});

export const llama: Family = {
  architectures: ["LlamaForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const d = c.hidden_size;
    const heads = c.num_attention_heads;
    const kvHeads = c.num_key_value_heads ?? heads;
    const dHead = c.head_dim ?? d / heads;
    const { theta, scaling } = readRope(c, 10_000);
    const rotary: Rotary = { theta, dims: dHead, style: "half", scaling };
    const rms = (weight: string): Norm => ({ kind: "rms", weight, eps: c.rms_norm_eps, width: d });
    const linear = (weight: string, inputs: number, outputs: number): Projection => {
      const biased = weight.startsWith("mlp") ? c.mlp_bias : c.attention_bias;
      return { weight: `${weight}.weight`, bias: biased ? `${weight}.bias` : undefined, inputs, outputs };
    };

    const b = builder();
    sequentialBlock(b, {
      attention: {
        heads,
        kvHeads,
        dHead,
        norm: rms("input_layernorm.weight"),
        query: linear("self_attn.q_proj", d, heads * dHead),
        key: linear("self_attn.k_proj", d, kvHeads * dHead),
        value: linear("self_attn.v_proj", d, kvHeads * dHead),
        output: linear("self_attn.o_proj", heads * dHead, d),
        rotary,
        scale: 1 / Math.sqrt(dHead),
      },
      mlp: {
        norm: rms("post_attention_layernorm.weight"),
        activation: ACTIVATIONS[c.hidden_act],
        gate: linear("mlp.gate_proj", d, c.intermediate_size),
        up: linear("mlp.up_proj", d, c.intermediate_size),
        down: linear("mlp.down_proj", c.intermediate_size, d),
      },
    });
    const block = b.build(["resid_post"]);

    return {
      architecture: {
        name,
        layers: Array.from({ length: c.num_hidden_layers }, () => ({ rotary })),
        dModel: d,
        heads,
        kvHeads,
        dHead,
        dMlp: c.intermediate_size,
        vocabulary: c.vocab_size,
        maxPositions: c.max_position_embeddings,
        causal: true,
      },
      embed: embedTokens({ table: "model.embed_tokens.weight", vocabulary: c.vocab_size, width: d }),
      blocks: Array.from({ length: c.num_hidden_layers }, () => block),
      unembed: unembedTokens({
        norm: rms("model.norm.weight"),
        table: c.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
        vocabulary: c.vocab_size,
      }),
      layerPrefix: (layer) => `model.layers.${layer}.`,
      basePrefix: "model.",
      ignored: [/rotary_emb\.inv_freq$/, ...(c.tie_word_embeddings ? [/^lm_head\.weight$/] : [])],
    };
  },
};
