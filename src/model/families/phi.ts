/**
 * @file Phi-1, 1.5 and 2: attention and MLP side by side on one LayerNorm, biases everywhere (the logits included),
 * part of each head rotated, a LayerNorm on queries and keys where `qk_layernorm` is on.
 * Source: Li et al. 2023 (section 2.3); transformers 5.23, models/phi/modeling_phi.py.
 */

import { z } from "zod";
import { builder } from "../../program/program.ts";
import type { Definition, Family } from "../architecture.ts";
import {
  ACTIVATIONS,
  activationName,
  configSchema,
  epsilon,
  layerCount,
  parseConfig,
  ROPE_KEYS,
  readRope,
  requireHeads,
  size,
} from "../config.ts";
import { embedTokens, unembedTokens } from "../ends.ts";
import type { Norm, Projection } from "../parts.ts";
import { parallelBlock } from "../parts.ts";
import type { Rotary } from "../rope.ts";

const schema = configSchema({
  ...ROPE_KEYS,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: layerCount,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  hidden_act: activationName.default("gelu_new"),
  layer_norm_eps: epsilon.default(1e-5),
  max_position_embeddings: size.default(2048),
  vocab_size: size,
  qk_layernorm: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
});

export const phi: Family = {
  architectures: ["PhiForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const d = c.hidden_size;
    const heads = c.num_attention_heads;
    const kvHeads = c.num_key_value_heads ?? heads;
    const dHead = d / heads;
    const { theta, scaling, partial } = readRope(c, { theta: 10_000, partial: 0.5 });
    const rotary: Rotary = { theta, scaling, dims: Math.floor(dHead * partial), style: "half" };
    requireHeads({
      dModel: { key: "hidden_size", value: d },
      heads: { key: "num_attention_heads", value: heads },
      kvHeads: { key: "num_key_value_heads", value: kvHeads },
      dHead,
      rotary: { key: "partial_rotary_factor", value: rotary.dims },
    });

    const layerNorm = (prefix: string, width = d): Norm => ({
      kind: "layer",
      weight: `${prefix}.weight`,
      bias: `${prefix}.bias`,
      eps: c.layer_norm_eps,
      width,
    });
    const linear = (prefix: string, inputs: number, outputs: number): Projection => ({
      weight: `${prefix}.weight`,
      bias: `${prefix}.bias`,
      inputs,
      outputs,
    });

    const b = builder();
    parallelBlock(b, {
      attention: {
        heads,
        kvHeads,
        dHead,
        norm: layerNorm("input_layernorm"),
        query: linear("self_attn.q_proj", d, d),
        key: linear("self_attn.k_proj", d, kvHeads * dHead),
        value: linear("self_attn.v_proj", d, kvHeads * dHead),
        output: linear("self_attn.dense", d, d),
        queryNorm: c.qk_layernorm ? layerNorm("self_attn.q_layernorm", dHead) : undefined,
        keyNorm: c.qk_layernorm ? layerNorm("self_attn.k_layernorm", dHead) : undefined,
        rotary,
        scale: 1 / Math.sqrt(dHead),
      },
      mlp: {
        norm: layerNorm("input_layernorm"),
        activation: ACTIVATIONS[c.hidden_act],
        up: linear("mlp.fc1", d, c.intermediate_size),
        down: linear("mlp.fc2", c.intermediate_size, d),
      },
    });
    const block = b.build(["resid_post"]);

    const layers = Array.from({ length: c.num_hidden_layers }, () => ({ rotary }));
    const embedding = "model.embed_tokens.weight";
    return {
      architecture: {
        name,
        layers,
        dModel: d,
        heads,
        kvHeads,
        dHead,
        dMlp: c.intermediate_size,
        vocabulary: c.vocab_size,
        maxPositions: c.max_position_embeddings,
        causal: true,
      },
      embed: embedTokens({ table: embedding, vocabulary: c.vocab_size, width: d }),
      blocks: layers.map(() => block),
      unembed: unembedTokens({
        norm: layerNorm("model.final_layernorm"),
        table: c.tie_word_embeddings ? embedding : "lm_head.weight",
        bias: "lm_head.bias",
        vocabulary: c.vocab_size,
      }),
      layerPrefix: (layer) => `model.layers.${layer}.`,
      basePrefix: "model.",
      ignored: [/\.rotary_emb\.inv_freq$/, ...(c.tie_word_embeddings ? [/^lm_head\.weight$/] : [])],
    };
  },
};
