/**
 * @file The decoder that Llama's descendants share: RMSNorm, rotary attention with grouped keys and values, a gated
 * MLP, one tensor naming. A family says what it does differently.
 * Source: transformers 5.23, models/{llama,mistral,qwen2,qwen3,gemma2,gemma3}/modeling_*.py.
 */

import type { z } from "zod";
import type { Activation } from "../../program/ops.ts";
import { builder } from "../../program/program.ts";
import type { Definition, LayerKind } from "../architecture.ts";
import { epsilon, layerCount, ROPE_KEYS, requireHeads, size } from "../config.ts";
import { embedTokens, unembedTokens } from "../ends.ts";
import type { AttentionOptions, MlpOptions, Norm, Projection } from "../parts.ts";
import { sequentialBlock } from "../parts.ts";
import type { Rotary } from "../rope.ts";

/** Keys of config.json that all of them have. */
export const LLAMA_KEYS: typeof ROPE_KEYS & {
  readonly hidden_size: z.ZodNumber;
  readonly intermediate_size: z.ZodNumber;
  readonly num_hidden_layers: z.ZodNumber;
  readonly num_attention_heads: z.ZodNumber;
  readonly num_key_value_heads: z.ZodOptional<z.ZodNullable<z.ZodNumber>>;
  readonly head_dim: z.ZodOptional<z.ZodNullable<z.ZodNumber>>;
  readonly rms_norm_eps: z.ZodDefault<z.ZodNumber>;
  readonly vocab_size: z.ZodNumber;
} = {
  ...ROPE_KEYS,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: layerCount,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  rms_norm_eps: epsilon.default(1e-6),
  vocab_size: size,
};

/** Sizes as config.json gives them. */
type Sizes = Pick<
  z.output<z.ZodObject<typeof LLAMA_KEYS>>,
  Exclude<keyof typeof LLAMA_KEYS, keyof typeof ROPE_KEYS>
>;

export interface LlamaLike {
  readonly name: string;
  readonly sizes: Sizes;
  readonly maxPositions: number;
  readonly activation: Activation;
  /** Rotary settings (whole heads are rotated) and window of each layer. */
  readonly layers: readonly {
    readonly rotary: Omit<Rotary, "dims" | "style">;
    readonly window: number | undefined;
  }[];
  readonly bias?: { readonly queryKeyValue?: boolean; readonly output?: boolean; readonly mlp?: boolean };
  /** RMSNorm of each head's query and key before rotation. */
  readonly queryKeyNorm?: boolean;
  /** Gemma: gains stored less 1, and a norm after each module as well as before it. */
  readonly sandwich?: boolean;
  /** q·k is divided by the root of this; the width of a head if absent. */
  readonly queryScalar?: number;
  readonly softcaps?: { readonly scores: number | null; readonly logits: number | null };
  readonly embedScale?: number;
  readonly tied: boolean;
  readonly causal?: boolean;
}

/** Width of a head: its own key, or else an equal share of the residual stream. */
export function headWidth({ head_dim, hidden_size, num_attention_heads }: Sizes): number {
  return head_dim ?? hidden_size / num_attention_heads;
}

/** Programs and names of a Llama-like decoder. @throws InputError if its sizes do not fit each other. */
export function llamaLike(options: LlamaLike): Definition {
  const { sizes, bias = {}, queryKeyNorm = false, sandwich = false, softcaps, causal = true } = options;
  const {
    hidden_size: d,
    intermediate_size: dMlp,
    num_attention_heads: heads,
    vocab_size: vocabulary,
  } = sizes;
  const kvHeads = sizes.num_key_value_heads ?? heads;
  const dHead = headWidth(sizes);
  requireHeads({
    dModel:
      sizes.head_dim === undefined || sizes.head_dim === null ? { key: "hidden_size", value: d } : undefined,
    heads: { key: "num_attention_heads", value: heads },
    kvHeads: { key: "num_key_value_heads", value: kvHeads },
    dHead,
    rotary: { key: "head_dim", value: dHead },
  });

  const rms = (prefix: string, width = d): Norm => ({
    kind: "rms",
    weight: `${prefix}.weight`,
    eps: sizes.rms_norm_eps,
    width,
    gainMinusOne: sandwich,
  });
  const linear = (
    prefix: string,
    [inputs, outputs]: readonly [number, number],
    biased = false,
  ): Projection => ({
    weight: `${prefix}.weight`,
    bias: biased ? `${prefix}.bias` : undefined,
    inputs,
    outputs,
  });

  const attention: AttentionOptions = {
    heads,
    kvHeads,
    dHead,
    norm: rms("input_layernorm"),
    query: linear("self_attn.q_proj", [d, heads * dHead], bias.queryKeyValue),
    key: linear("self_attn.k_proj", [d, kvHeads * dHead], bias.queryKeyValue),
    value: linear("self_attn.v_proj", [d, kvHeads * dHead], bias.queryKeyValue),
    output: linear("self_attn.o_proj", [heads * dHead, d], bias.output),
    queryNorm: queryKeyNorm ? rms("self_attn.q_norm", dHead) : undefined,
    keyNorm: queryKeyNorm ? rms("self_attn.k_norm", dHead) : undefined,
    rotary: { dims: dHead, style: "half" },
    scale: 1 / Math.sqrt(options.queryScalar ?? dHead),
    softcap: softcaps?.scores ?? undefined,
    postNorm: sandwich ? rms("post_attention_layernorm") : undefined,
  };
  const mlp: MlpOptions = {
    norm: rms(sandwich ? "pre_feedforward_layernorm" : "post_attention_layernorm"),
    activation: options.activation,
    gate: linear("mlp.gate_proj", [d, dMlp], bias.mlp),
    up: linear("mlp.up_proj", [d, dMlp], bias.mlp),
    down: linear("mlp.down_proj", [dMlp, d], bias.mlp),
    postNorm: sandwich ? rms("post_feedforward_layernorm") : undefined,
  };
  const b = builder();
  sequentialBlock(b, { attention, mlp });
  const block = b.build(["resid_post"]); // angles and windows are contexts: one program serves all layers

  const embedding = "model.embed_tokens.weight";
  return {
    architecture: {
      name: options.name,
      layers: options.layers.map(
        ({ rotary, window }): LayerKind => ({
          rotary: { ...rotary, dims: dHead, style: "half" },
          ...(window === undefined ? {} : { window }),
        }),
      ),
      dModel: d,
      heads,
      kvHeads,
      dHead,
      dMlp,
      vocabulary,
      maxPositions: options.maxPositions,
      causal,
    },
    embed: embedTokens({ table: embedding, vocabulary, width: d, scale: options.embedScale }),
    blocks: options.layers.map(() => block),
    unembed: unembedTokens({
      norm: rms("model.norm"),
      table: options.tied ? embedding : "lm_head.weight",
      vocabulary,
      softcap: softcaps?.logits ?? undefined,
    }),
    layerPrefix: (layer) => `model.layers.${layer}.`,
    basePrefix: "model.",
    ignored: [/\.rotary_emb\.inv_freq$/, ...(options.tied ? [/^lm_head\.weight$/] : [])],
  };
}
