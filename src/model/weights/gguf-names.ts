/**
 * @file Which Hugging Face tensors a ggml tensor holds, and what llama.cpp's converter did to their values.
 * Names: gguf 0.19, tensor_mapping.py, and constants.py (`TENSOR_NAMES`), read backwards.
 * Values: llama.cpp, conversion/llama.py, gpt2.py, gpt_neox.py, gemma.py, phi.py, qwen.py (`modify_tensors`; before
 * 2026 all in convert_hf_to_gguf.py); undone as transformers 5.23 does, modeling_gguf_pytorch_utils.py.
 */

/** The architectures that are read, as `general.architecture` names them. */
export type GgufArchitecture =
  | "llama"
  | "qwen2"
  | "qwen3"
  | "gemma2"
  | "gemma3"
  | "gpt2"
  | "gptneox"
  | "gptj"
  | "phi2";

/** What has to be undone to get the values of the checkpoint. */
export type Change =
  | { readonly kind: "none" }
  /** Rows of each head were reordered from (half, pair) to (pair, half), for rotary pairs that are neighbours. */
  | { readonly kind: "rotary-pairs"; readonly heads: "query" | "key" }
  /** Stored [out, in] where the checkpoint has [in, out]. */
  | { readonly kind: "transposed" }
  /** Rows were reordered from (head, part, feature) to (part, head, feature); the parts are query, key, value. */
  | { readonly kind: "parts-first" }
  /** 1 was added, for norms that scale by 1 + weight. */
  | { readonly kind: "plus-one" };

/** One Hugging Face tensor that a ggml tensor holds; names are without `.weight` or `.bias`. */
export interface Target {
  readonly name: string;
  readonly change: Change;
  /** Of a tensor that holds several: this is equal part `index` of `of` along the rows. */
  readonly part?: { readonly index: number; readonly of: number };
}

type Entry = string | readonly Target[];

interface NameTable {
  /** Tensors outside the layers. */
  readonly ends: Readonly<Record<string, Entry>>;
  /** Prefix of a layer's Hugging Face names; `#` stands for the layer. */
  readonly layer: string;
  /** Tensors of `blk.#.`, by the rest of their name. */
  readonly block: Readonly<Record<string, Entry>>;
}

const NONE: Change = { kind: "none" };
const changed = (name: string, change: Change): readonly Target[] => [{ name, change }];
const transposed = (name: string): readonly Target[] => changed(name, { kind: "transposed" });
const plusOne = (name: string): readonly Target[] => changed(name, { kind: "plus-one" });

const LLAMA_ENDS = { token_embd: "model.embed_tokens", output_norm: "model.norm", output: "lm_head" };
const LLAMA_BLOCK = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};
const QK_NORMS = { attn_q_norm: "self_attn.q_norm", attn_k_norm: "self_attn.k_norm" };
const GEMMA: NameTable = {
  ends: { ...LLAMA_ENDS, output_norm: plusOne("model.norm") },
  layer: "model.layers.#.",
  block: {
    ...LLAMA_BLOCK,
    attn_norm: plusOne("input_layernorm"),
    attn_q_norm: plusOne("self_attn.q_norm"),
    attn_k_norm: plusOne("self_attn.k_norm"),
    post_attention_norm: plusOne("post_attention_layernorm"),
    ffn_norm: plusOne("pre_feedforward_layernorm"),
    post_ffw_norm: plusOne("post_feedforward_layernorm"),
  },
};

/** `llama` covers Mistral, which the file does not tell apart. */
const NAME_TABLES: { readonly [A in GgufArchitecture]: NameTable } = {
  llama: {
    // Carried by the configuration too (gguf-config.ts): Llama 3's divisors of the rotary frequencies.
    ends: { ...LLAMA_ENDS, rope_freqs: "rope_freqs" },
    layer: "model.layers.#.",
    block: {
      ...LLAMA_BLOCK,
      attn_q: changed("self_attn.q_proj", { kind: "rotary-pairs", heads: "query" }),
      attn_k: changed("self_attn.k_proj", { kind: "rotary-pairs", heads: "key" }),
    },
  },
  qwen2: { ends: LLAMA_ENDS, layer: "model.layers.#.", block: LLAMA_BLOCK },
  qwen3: { ends: LLAMA_ENDS, layer: "model.layers.#.", block: { ...LLAMA_BLOCK, ...QK_NORMS } },
  gemma2: GEMMA,
  gemma3: GEMMA,
  gpt2: {
    ends: {
      token_embd: "transformer.wte",
      position_embd: "transformer.wpe",
      output_norm: "transformer.ln_f",
      output: "lm_head",
    },
    layer: "transformer.h.#.",
    block: {
      attn_norm: "ln_1",
      attn_qkv: transposed("attn.c_attn"),
      attn_output: transposed("attn.c_proj"),
      ffn_norm: "ln_2",
      ffn_up: transposed("mlp.c_fc"),
      ffn_down: transposed("mlp.c_proj"),
    },
  },
  gptneox: {
    ends: { token_embd: "gpt_neox.embed_in", output_norm: "gpt_neox.final_layer_norm", output: "embed_out" },
    layer: "gpt_neox.layers.#.",
    block: {
      attn_norm: "input_layernorm",
      attn_qkv: changed("attention.query_key_value", { kind: "parts-first" }),
      attn_output: "attention.dense",
      ffn_norm: "post_attention_layernorm",
      ffn_up: "mlp.dense_h_to_4h",
      ffn_down: "mlp.dense_4h_to_h",
    },
  },
  gptj: {
    ends: { token_embd: "transformer.wte", output_norm: "transformer.ln_f", output: "lm_head" },
    layer: "transformer.h.#.",
    block: {
      attn_norm: "ln_1",
      attn_q: "attn.q_proj",
      attn_k: "attn.k_proj",
      attn_v: "attn.v_proj",
      attn_output: "attn.out_proj",
      ffn_up: "mlp.fc_in",
      ffn_down: "mlp.fc_out",
    },
  },
  phi2: {
    ends: { token_embd: "model.embed_tokens", output_norm: "model.final_layernorm", output: "lm_head" },
    layer: "model.layers.#.",
    block: {
      attn_norm: "input_layernorm",
      attn_q: "self_attn.q_proj",
      attn_k: "self_attn.k_proj",
      attn_v: "self_attn.v_proj",
      // Checkpoints older than transformers' own Phi hold one matrix, rows in the order query, key, value.
      attn_qkv: ["q", "k", "v"].map((letter, index) => ({
        name: `self_attn.${letter}_proj`,
        change: NONE,
        part: { index, of: 3 },
      })),
      attn_output: "self_attn.dense",
      ffn_up: "mlp.fc1",
      ffn_down: "mlp.fc2",
    },
  },
};

/** All of them, for messages. */
export const GGUF_ARCHITECTURES: readonly string[] = Object.keys(NAME_TABLES);

/** Whether `general.architecture` is one that is read. */
export function isGgufArchitecture(name: unknown): name is GgufArchitecture {
  return typeof name === "string" && Object.hasOwn(NAME_TABLES, name);
}

/** The tensors that a ggml tensor holds, with full names; `undefined` where the architecture has no such tensor. */
export function targetsOf(architecture: GgufArchitecture, ggmlName: string): readonly Target[] | undefined {
  const table: NameTable = NAME_TABLES[architecture];
  const [, layer, stem = "", suffix = ""] =
    /^(?:blk\.(\d{1,6})\.)?([a-z0-9_]+)(\.weight|\.bias)$/.exec(ggmlName) ?? [];
  const entries = layer === undefined ? table.ends : table.block;
  const entry = Object.hasOwn(entries, stem) ? entries[stem] : undefined;
  if (entry === undefined) return undefined;
  const prefix = layer === undefined ? "" : table.layer.replace("#", String(Number(layer)));
  const targets: readonly Target[] = typeof entry === "string" ? [{ name: entry, change: NONE }] : entry;
  return targets.map(({ name, change, ...rest }) => ({
    ...rest,
    name: `${prefix}${name}${suffix}`,
    // A bias has one axis: there is nothing to transpose.
    change: change.kind === "transposed" && suffix === ".bias" ? NONE : change,
  }));
}
