/**
 * @file GPT-J: attention (without biases) and MLP side by side on one LayerNorm; the first `rotary_dim` features of
 * a head rotated in neighbouring pairs; a bias on the logits.
 * Source: Wang & Komatsuzaki 2021; transformers 5.23, models/gptj/modeling_gptj.py.
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
  requireHeads,
  size,
} from "../config.ts";
import { embedTokens, unembedTokens } from "../ends.ts";
import type { Norm, Projection } from "../parts.ts";
import { parallelBlock } from "../parts.ts";
import type { Rotary } from "../rope.ts";

const schema = configSchema({
  n_embd: size,
  n_head: size,
  n_layer: layerCount,
  n_inner: size.nullish(),
  n_positions: size.default(2048),
  n_ctx: size.optional(),
  vocab_size: size,
  rotary: z.literal(true).optional(),
  rotary_dim: size,
  activation_function: activationName.default("gelu_new"),
  layer_norm_epsilon: epsilon.default(1e-5),
  scale_attn_weights: z.literal(true).optional(),
  tie_word_embeddings: z.boolean().default(false),
});

export const gptj: Family = {
  architectures: ["GPTJForCausalLM"],
  define(config, name): Definition {
    const c = parseConfig(schema, config);
    const d = c.n_embd;
    const dHead = d / c.n_head;
    const dMlp = c.n_inner ?? 4 * d;
    requireHeads({
      dModel: { key: "n_embd", value: d },
      heads: { key: "n_head", value: c.n_head },
      dHead,
      rotary: { key: "rotary_dim", value: c.rotary_dim },
    });
    const rotary: Rotary = {
      theta: 10_000,
      dims: c.rotary_dim,
      style: "interleaved",
      scaling: { kind: "none" },
    };
    const layerNorm = (prefix: string): Norm => ({
      kind: "layer",
      weight: `${prefix}.weight`,
      bias: `${prefix}.bias`,
      eps: c.layer_norm_epsilon,
      width: d,
    });
    const attentionLinear = (part: string): Projection => ({
      weight: `attn.${part}.weight`,
      inputs: d,
      outputs: d,
    });
    const mlpLinear = (part: string, inputs: number, outputs: number): Projection => ({
      weight: `mlp.${part}.weight`,
      bias: `mlp.${part}.bias`,
      inputs,
      outputs,
    });

    const b = builder();
    parallelBlock(b, {
      attention: {
        heads: c.n_head,
        kvHeads: c.n_head,
        dHead,
        norm: layerNorm("ln_1"),
        query: attentionLinear("q_proj"),
        key: attentionLinear("k_proj"),
        value: attentionLinear("v_proj"),
        output: attentionLinear("out_proj"),
        rotary,
        scale: 1 / Math.sqrt(dHead),
      },
      mlp: {
        norm: layerNorm("ln_1"),
        activation: ACTIVATIONS[c.activation_function],
        up: mlpLinear("fc_in", d, dMlp),
        down: mlpLinear("fc_out", dMlp, d),
      },
    });
    const block = b.build(["resid_post"]);

    const layers = Array.from({ length: c.n_layer }, () => ({ rotary }));
    const embedding = "transformer.wte.weight";
    return {
      architecture: {
        name,
        layers,
        dModel: d,
        heads: c.n_head,
        kvHeads: c.n_head,
        dHead,
        dMlp,
        vocabulary: c.vocab_size,
        maxPositions: c.n_positions,
        causal: true,
      },
      embed: embedTokens({ table: embedding, vocabulary: c.vocab_size, width: d }),
      blocks: layers.map(() => block),
      unembed: unembedTokens({
        norm: layerNorm("transformer.ln_f"),
        table: c.tie_word_embeddings ? embedding : "lm_head.weight",
        bias: "lm_head.bias",
        vocabulary: c.vocab_size,
      }),
      layerPrefix: (layer) => `transformer.h.${layer}.`,
      basePrefix: "transformer.",
      ignored: [/\.attn\.(bias|masked_bias)$/, ...(c.tie_word_embeddings ? [/^lm_head\.weight$/] : [])],
    };
  },
};
