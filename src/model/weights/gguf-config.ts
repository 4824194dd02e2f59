/**
 * @file The Hugging Face config.json that a GGUF file's metadata stands for.
 * Keys: ggml, docs/gguf.md. Defaults, where a file may leave a key out, are llama.cpp's (src/llama-model.cpp;
 * src/models/gemma2.cpp@82234e0); keys that GGUF has no place for take the value that llama.cpp computes with,
 * as the converter accepts no other. Numbers stay as stored: 1e-5 in float32 is 9.999999747378752e-6.
 */

import type { Fault } from "../../core/errors.ts";
import type { MetadataReader } from "./gguf-metadata.ts";
import { metadataReader } from "./gguf-metadata.ts";
import type { GgufArchitecture } from "./gguf-names.ts";
import type { GgufValue } from "./gguf-types.ts";

type ConfigValue = string | number | boolean | null | readonly (string | number)[] | ConfigObject;
export interface ConfigObject {
  readonly [key: string]: ConfigValue;
}

/** What the configuration takes from the tensors. */
export interface TensorFacts {
  /** Rows of `token_embd.weight`; 0 where it is missing, which is a fault of its own. */
  readonly vocabulary: number;
  /** Whether the file has this ggml tensor. */
  readonly has: (ggmlName: string) => boolean;
  /** Values of `rope_freqs.weight`, Llama 3's divisors of the rotary frequencies. */
  readonly ropeFactors: readonly number[] | undefined;
}

/** A configuration, and the head counts that undoing the converter's changes takes. */
export interface GgufConfig {
  readonly config: ConfigObject;
  readonly heads: number;
  readonly kvHeads: number;
  readonly faults: readonly Fault[];
}

/** Sizes that every architecture has. */
interface Sizes {
  readonly layers: number;
  readonly hidden: number;
  readonly mlp: number;
  readonly positions: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dHead: number;
  readonly vocabulary: number;
  readonly tied: boolean;
}

/** Reads the metadata of a supported architecture; the configuration is of use only where there are no faults. */
export function ggufConfig(
  file: { readonly name: string; readonly metadata: ReadonlyMap<string, GgufValue> },
  architecture: GgufArchitecture,
  tensors: TensorFacts,
): GgufConfig {
  const reader = metadataReader(file.name, file.metadata, architecture);
  const sizes = readSizes(reader, tensors);
  const config = CONFIGS[architecture](reader, sizes, tensors);
  return { config, heads: sizes.heads, kvHeads: sizes.kvHeads, faults: reader.faults() };
}

function readSizes(reader: MetadataReader, tensors: TensorFacts): Sizes {
  const heads = reader.count("attention.head_count");
  const kvHeads = reader.optionalCount("attention.head_count_kv", heads);
  const hidden = reader.count("embedding_length");
  const dHead = reader.optionalCount("attention.key_length", hidden / heads);
  if (!Number.isInteger(dHead)) {
    reader.fault(
      "attention.head_count",
      `${heads} heads`,
      `a divisor of ${hidden}, the width, as no key_length is given`,
    );
  }
  reader.allowOnly("attention.value_length", dHead);
  reader.allowOnly("attention.causal", true);
  for (const key of ["expert_count", "expert_used_count", "pooling_type"]) reader.allowOnly(key, 0);
  // The vocabulary is counted in the embedding; the others say where a context was extended from, which changes nothing.
  for (const key of [
    "vocab_size",
    "tensor_data_layout",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
  ]) {
    reader.ignore(key);
  }
  return {
    layers: reader.count("block_count"),
    hidden,
    mlp: reader.count("feed_forward_length"),
    positions: reader.count("context_length"),
    heads,
    kvHeads,
    dHead,
    vocabulary: tensors.vocabulary,
    tied: !tensors.has("output.weight"),
  };
}

const DEFAULT_THETA = 10_000; // llama.cpp's `rope_freq_base_train`

/** Linear scaling, Llama 3's factors, or none. */
function ropeScaling(reader: MetadataReader, sizes: Sizes, factors?: readonly number[]): ConfigObject | null {
  const kind = reader.text("rope.scaling.type", "none");
  const factor =
    reader.optionalPositive("rope.scaling.factor", undefined) ??
    reader.optionalPositive("rope.scale_linear", 1);
  if (kind !== "none" && kind !== "linear") {
    reader.fault("rope.scaling.type", kind, "none or linear");
  }
  if (factors !== undefined) {
    if (kind === "linear")
      reader.fault("rope.scaling.type", "linear besides rope_freqs.weight", "one of the two");
    if (factors.length * 2 !== sizes.dHead) {
      reader.fault(
        "rope.dimension_count",
        `${factors.length} factors in rope_freqs.weight`,
        `${sizes.dHead} / 2`,
      );
    }
    // The converter wrote the factors out, so the four numbers of Hugging Face's "llama3" cannot be had back.
    return { rope_type: "factors", factors };
  }
  return kind === "none" || factor === 1 ? null : { rope_type: "linear", factor };
}

/** Keys that the families with config keys in today's style share. */
function common(sizes: Sizes): ConfigObject {
  return {
    hidden_size: sizes.hidden,
    intermediate_size: sizes.mlp,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    max_position_embeddings: sizes.positions,
    vocab_size: sizes.vocabulary,
    tie_word_embeddings: sizes.tied,
  };
}

/** The same for the families that keep GPT-2's keys. */
function gptStyle(reader: MetadataReader, sizes: Sizes): ConfigObject {
  reader.allowOnly("attention.head_count_kv", sizes.heads);
  return {
    n_embd: sizes.hidden,
    n_inner: sizes.mlp,
    n_layer: sizes.layers,
    n_head: sizes.heads,
    n_positions: sizes.positions,
    vocab_size: sizes.vocabulary,
    tie_word_embeddings: sizes.tied,
    layer_norm_epsilon: reader.positive("attention.layer_norm_epsilon"),
    activation_function: "gelu_new",
  };
}

/** Number of rotated features of a head; `otherwise` all of them. */
function rotaryDims(reader: MetadataReader, sizes: Sizes): number {
  const dims = reader.optionalCount("rope.dimension_count", sizes.dHead);
  if (dims > sizes.dHead)
    reader.fault("rope.dimension_count", String(dims), `at most ${sizes.dHead}, the width of a head`);
  return dims;
}

/** Llama's block and what differs from it by a key or two. */
function llamaStyle(reader: MetadataReader, sizes: Sizes, scaling: ConfigObject | null): ConfigObject {
  reader.allowOnly("rope.dimension_count", sizes.dHead);
  return {
    ...common(sizes),
    num_key_value_heads: sizes.kvHeads,
    rms_norm_eps: reader.positive("attention.layer_norm_rms_epsilon"),
    rope_theta: reader.optionalPositive("rope.freq_base", DEFAULT_THETA),
    rope_scaling: scaling,
  };
}

/** Gemma 2 and 3, whose largest model alone scales scores by the width per head instead of the head's own. */
function gemmaStyle(
  reader: MetadataReader,
  sizes: Sizes,
  options: { readonly largest: number; readonly pattern: number },
): ConfigObject {
  reader.allowOnly("attention.sliding_window_pattern", options.pattern);
  return {
    head_dim: sizes.dHead,
    hidden_activation: "gelu_pytorch_tanh",
    query_pre_attn_scalar:
      sizes.layers === options.largest ? Math.floor(sizes.hidden / sizes.heads) : sizes.dHead,
  };
}

const CONFIGS: {
  readonly [A in GgufArchitecture]: (
    reader: MetadataReader,
    sizes: Sizes,
    tensors: TensorFacts,
  ) => ConfigObject;
} = {
  llama: (reader, sizes, { has, ropeFactors }) => ({
    architectures: ["LlamaForCausalLM"],
    ...llamaStyle(reader, sizes, ropeScaling(reader, sizes, ropeFactors)),
    head_dim: sizes.dHead,
    hidden_act: "silu",
    attention_bias: has("blk.0.attn_q.bias"),
    mlp_bias: has("blk.0.ffn_up.bias"),
  }),
  qwen2: (reader, sizes) => {
    if (sizes.dHead * sizes.heads !== sizes.hidden) {
      reader.fault(
        "attention.key_length",
        String(sizes.dHead),
        `${sizes.hidden} / ${sizes.heads}, as Qwen2 has no other`,
      );
    }
    return {
      architectures: ["Qwen2ForCausalLM"],
      ...llamaStyle(reader, sizes, ropeScaling(reader, sizes)),
      hidden_act: "silu",
      use_sliding_window: false,
    };
  },
  qwen3: (reader, sizes, { has }) => ({
    architectures: ["Qwen3ForCausalLM"],
    ...llamaStyle(reader, sizes, ropeScaling(reader, sizes)),
    head_dim: sizes.dHead,
    hidden_act: "silu",
    attention_bias: has("blk.0.attn_q.bias"),
    use_sliding_window: false,
  }),
  gemma2: (reader, sizes) => ({
    architectures: ["Gemma2ForCausalLM"],
    ...llamaStyle(reader, sizes, ropeScaling(reader, sizes)),
    ...gemmaStyle(reader, sizes, { largest: 46, pattern: 2 }),
    sliding_window: reader.optionalCount("attention.sliding_window", 4096),
    attn_logit_softcapping: reader.optionalPositive("attn_logit_softcapping", 50),
    final_logit_softcapping: reader.optionalPositive("final_logit_softcapping", 30),
  }),
  gemma3: (reader, sizes) => ({
    architectures: ["Gemma3ForCausalLM"],
    ...llamaStyle(reader, sizes, ropeScaling(reader, sizes)),
    ...gemmaStyle(reader, sizes, { largest: 62, pattern: 6 }),
    rope_theta: reader.optionalPositive("rope.freq_base", 1_000_000),
    rope_local_base_freq: reader.optionalPositive("rope.freq_base_swa", 10_000),
    sliding_window: reader.count("attention.sliding_window"),
    sliding_window_pattern: 6,
    final_logit_softcapping: reader.optionalPositive("final_logit_softcapping", null),
  }),
  gpt2: (reader, sizes) => ({ architectures: ["GPT2LMHeadModel"], ...gptStyle(reader, sizes) }),
  gptj: (reader, sizes) => ({
    architectures: ["GPTJForCausalLM"],
    ...gptStyle(reader, sizes),
    rotary_dim: rotaryDims(reader, sizes),
  }),
  gptneox: (reader, sizes) => {
    reader.allowOnly("attention.head_count_kv", sizes.heads);
    return {
      architectures: ["GPTNeoXForCausalLM"],
      ...common(sizes),
      rotary_pct: rotaryDims(reader, sizes) / sizes.dHead,
      rotary_emb_base: reader.optionalPositive("rope.freq_base", DEFAULT_THETA),
      rope_scaling: ropeScaling(reader, sizes),
      layer_norm_eps: reader.positive("attention.layer_norm_epsilon"),
      use_parallel_residual: reader.flag("use_parallel_residual", true),
      // llama.cpp computes the tanh form; every published GPT-NeoX has the exact one, and the file does not say.
      hidden_act: "gelu",
    };
  },
  phi2: (reader, sizes) => ({
    architectures: ["PhiForCausalLM"],
    ...common(sizes),
    num_key_value_heads: sizes.kvHeads,
    partial_rotary_factor: rotaryDims(reader, sizes) / sizes.dHead,
    rope_theta: reader.optionalPositive("rope.freq_base", DEFAULT_THETA),
    rope_scaling: ropeScaling(reader, sizes),
    layer_norm_eps: reader.positive("attention.layer_norm_epsilon"),
    hidden_act: "gelu_new",
    qk_layernorm: false,
  }),
};
