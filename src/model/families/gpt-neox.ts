/**
 * @file GPT-NeoX and Pythia: attention and MLP side by side, each with its own LayerNorm; part of each head rotated;
 * one fused projection whose rows are ordered [head, q|k|v, feature].
 * Source: Black et al. 2022 (section 2.1); transformers 5.23, models/gpt_neox/modeling_gpt_neox.py.
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
  readRope,
  requireHeads,
  ropeConfig,
  size,
} from "../config.ts";
import { embedTokens, unembedTokens } from "../ends.ts";
import type { Norm, Projection } from "../parts.ts";
import { parallelBlock, sequentialBlock } from "../parts.ts";
import type { Rotary } from "../rope.ts";

const schema = configSchema({
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: layerCount,
  num_attention_heads: size,
  hidden_act: activationName.default("gelu"),
  layer_norm_eps: epsilon.default(1e-5),
  max_position_embeddings: size.default(2048),
  vocab_size: size,
  rotary_pct: z.number().gt(0).max(1).default(0.25),
  rotary_emb_base: z.number().positive().default(10_000),
  rope_scaling: ropeConfig.nullish(),
  rope_parameters: ropeConfig.nullish(),
  use_parallel_residual: z.boolean().default(true),
  attention_bias: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(false),
});

export const gptNeox: Family = {
  architectures: ["GPTNeoXForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const d = c.hidden_size;
    const heads = c.num_attention_heads;
    const dHead = d / heads;
    const { theta, scaling, partial } = readRope(c, { theta: c.rotary_emb_base, partial: c.rotary_pct });
    const rotary: Rotary = { theta, scaling, dims: Math.floor(dHead * partial), style: "half" };
    requireHeads({
      dModel: { key: "hidden_size", value: d },
      heads: { key: "num_attention_heads", value: heads },
      dHead,
      rotary: { key: "rotary_pct", value: rotary.dims },
    });

    const layerNorm = (prefix: string): Norm => ({
      kind: "layer",
      weight: `${prefix}.weight`,
      bias: `${prefix}.bias`,
      eps: c.layer_norm_eps,
      width: d,
    });
    const linear = (
      prefix: string,
      [inputs, outputs]: readonly [number, number],
      biased = true,
    ): Projection => ({
      weight: `${prefix}.weight`,
      bias: biased ? `${prefix}.bias` : undefined,
      inputs,
      outputs,
    });
    const third = (part: number): Projection => ({
      ...linear("attention.query_key_value", [d, d], c.attention_bias),
      fused: { outputs: 3 * d, take: { offset: part * dHead, length: dHead, period: 3 * dHead } },
    });

    const b = builder();
    const block = c.use_parallel_residual ? parallelBlock : sequentialBlock;
    block(b, {
      attention: {
        heads,
        kvHeads: heads,
        dHead,
        norm: layerNorm("input_layernorm"),
        query: third(0),
        key: third(1),
        value: third(2),
        output: linear("attention.dense", [d, d], c.attention_bias),
        rotary,
        scale: 1 / Math.sqrt(dHead),
      },
      mlp: {
        norm: layerNorm("post_attention_layernorm"),
        activation: ACTIVATIONS[c.hidden_act],
        up: linear("mlp.dense_h_to_4h", [d, c.intermediate_size]),
        down: linear("mlp.dense_4h_to_h", [c.intermediate_size, d]),
      },
    });
    const program = b.build(["resid_post"]);

    const layers = Array.from({ length: c.num_hidden_layers }, () => ({ rotary }));
    const embedding = "gpt_neox.embed_in.weight";
    return {
      architecture: {
        name,
        layers,
        dModel: d,
        heads,
        kvHeads: heads,
        dHead,
        dMlp: c.intermediate_size,
        vocabulary: c.vocab_size,
        maxPositions: c.max_position_embeddings,
        causal: true,
      },
      embed: embedTokens({ table: embedding, vocabulary: c.vocab_size, width: d }),
      blocks: layers.map(() => program),
      unembed: unembedTokens({
        norm: layerNorm("gpt_neox.final_layer_norm"),
        table: c.tie_word_embeddings ? embedding : "embed_out.weight",
        vocabulary: c.vocab_size,
      }),
      layerPrefix: (layer) => `gpt_neox.layers.${layer}.`,
      basePrefix: "gpt_neox.",
      ignored: [
        /\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$/,
        ...(c.tie_word_embeddings ? [/^embed_out\.weight$/] : []),
      ],
    };
  },
};
