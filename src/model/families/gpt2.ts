/**
 * @file GPT-2: learned positions, LayerNorm, one fused projection for q, k and v stored [in, out].
 * Source: Radford et al. 2019; transformers 5.23, models/gpt2/modeling_gpt2.py.
 */

import { z } from "zod";
import type { Program } from "../../program/program.ts";
import { builder } from "../../program/program.ts";
import type { Definition, Family } from "../architecture.ts";
import {
  ACTIVATIONS,
  activationName,
  configSchema,
  epsilon,
  layerCount,
  parseConfig,
  requireHeads,
  size,
} from "../config.ts";
import { embedTokens, unembedTokens } from "../ends.ts";
import type { Norm, Projection } from "../parts.ts";
import { sequentialBlock } from "../parts.ts";

const schema = configSchema({
  n_embd: size,
  n_head: size,
  n_layer: layerCount,
  n_inner: size.nullish(),
  n_positions: size.default(1024),
  n_ctx: size.optional(),
  vocab_size: size,
  activation_function: activationName.default("gelu_new"),
  layer_norm_epsilon: epsilon.default(1e-5),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
});

export const gpt2: Family = {
  architectures: ["GPT2LMHeadModel"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const d = c.n_embd;
    const dHead = d / c.n_head;
    const dMlp = c.n_inner ?? 4 * d;
    requireHeads({
      dModel: { key: "n_embd", value: d },
      heads: { key: "n_head", value: c.n_head },
      dHead,
    });
    const layer = (prefix: string): Norm => ({
      kind: "layer",
      weight: `${prefix}.weight`,
      bias: `${prefix}.bias`,
      eps: c.layer_norm_epsilon,
      width: d,
    });
    const conv = (prefix: string, inputs: number, outputs: number): Projection => ({
      weight: `${prefix}.weight`,
      bias: `${prefix}.bias`,
      inputs,
      outputs,
      layout: "in_out",
    });
    const third = (part: number): Projection => ({
      ...conv("attn.c_attn", d, d),
      fused: { outputs: 3 * d, take: { offset: part * d, length: d, period: 3 * d } },
    });

    const block = (divisor: number): Program => {
      const b = builder();
      sequentialBlock(b, {
        attention: {
          heads: c.n_head,
          kvHeads: c.n_head,
          dHead,
          norm: layer("ln_1"),
          query: third(0),
          key: third(1),
          value: third(2),
          output: conv("attn.c_proj", d, d),
          scale: (c.scale_attn_weights ? 1 / Math.sqrt(dHead) : 1) / divisor,
        },
        mlp: {
          norm: layer("ln_2"),
          activation: ACTIVATIONS[c.activation_function],
          up: conv("mlp.c_fc", d, dMlp),
          down: conv("mlp.c_proj", dMlp, d),
        },
      });
      return b.build(["resid_post"]);
    };
    const first = block(1);
    const blocks = Array.from({ length: c.n_layer }, (_, index) =>
      c.scale_attn_by_inverse_layer_idx ? block(index + 1) : first,
    );

    return {
      architecture: {
        name,
        layers: blocks.map(() => ({})),
        dModel: d,
        heads: c.n_head,
        kvHeads: c.n_head,
        dHead,
        dMlp,
        vocabulary: c.vocab_size,
        maxPositions: c.n_positions,
        causal: true,
      },
      embed: embedTokens({
        table: "transformer.wte.weight",
        vocabulary: c.vocab_size,
        width: d,
        positions: { table: "transformer.wpe.weight", count: c.n_positions },
      }),
      blocks,
      unembed: unembedTokens({
        norm: layer("transformer.ln_f"),
        table: c.tie_word_embeddings ? "transformer.wte.weight" : "lm_head.weight",
        vocabulary: c.vocab_size,
      }),
      layerPrefix: (index) => `transformer.h.${index}.`,
      basePrefix: "transformer.",
      ignored: [/\.attn\.(bias|masked_bias)$/, ...(c.tie_word_embeddings ? [/^lm_head\.weight$/] : [])],
    };
  },
};
