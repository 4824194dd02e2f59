import { describe, expect, test } from "vitest";
import { InputError } from "../../core/errors.ts";
import { define, families } from "./registry.ts";

const LLAMA = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 24,
  intermediate_size: 28,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  vocab_size: 59,
};
const QWEN2 = { ...LLAMA, architectures: ["Qwen2ForCausalLM"] };
const GEMMA3 = {
  ...LLAMA,
  architectures: ["Gemma3ForCausalLM"],
  num_hidden_layers: 7,
  head_dim: 10,
  query_pre_attn_scalar: 10,
  sliding_window: 9,
};
const NEOX = {
  architectures: ["GPTNeoXForCausalLM"],
  hidden_size: 32,
  intermediate_size: 28,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  vocab_size: 53,
};
const GPTJ = {
  architectures: ["GPTJForCausalLM"],
  n_embd: 24,
  n_head: 3,
  n_layer: 1,
  rotary_dim: 4,
  vocab_size: 53,
};

function complaint(config: unknown): string {
  try {
    define(config);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return "none";
}

const windows = (config: unknown) => define(config).architecture.layers.map(({ window }) => window);
const thetas = (config: unknown) => define(config).architecture.layers.map(({ rotary }) => rotary?.theta);

describe("which family", () => {
  test("no two families claim one architecture", () => {
    const names = families.flatMap(({ architectures }) => architectures);
    expect(new Set(names).size).toBe(names.length);
  });

  test.each([
    [{ ...LLAMA, architectures: ["MambaForCausalLM"] }, '["MambaForCausalLM"]'],
    [{ ...LLAMA, architectures: ["LlamaForCausalLM", "LlamaModel"] }, '["LlamaForCausalLM","LlamaModel"]'],
    [{ ...LLAMA, architectures: undefined }, "nothing"],
    [{ ...LLAMA, architectures: [] }, "[]"],
    [null, "nothing"],
    ["LlamaForCausalLM", "nothing"],
  ])("is not guessed: %j", (config, found) => {
    expect(complaint(config)).toBe(
      `config.json: architectures: found ${found}; wanted one of ["GPT2LMHeadModel"], ["GPTJForCausalLM"], ` +
        '["GPTNeoXForCausalLM"], ["LlamaForCausalLM"], ["MistralForCausalLM"], ["Qwen2ForCausalLM"], ' +
        '["Qwen3ForCausalLM"], ["PhiForCausalLM"], ["Gemma2ForCausalLM"], ["Gemma3ForCausalLM"]. ' +
        "Models of other architectures cannot be read yet.",
    );
  });
});

describe("a config that is refused", () => {
  test("unknown, missing and mistyped keys, all at once", () => {
    const { hidden_size: _, ...config } = { ...LLAMA, num_experts: 8, vocab_size: "59", rms_norm_eps: 0 };
    expect(complaint(config).split("\n").sort()).toEqual([
      "config.json: hidden_size: found nothing; wanted a number.",
      "config.json: num_experts: found a key that crosspatch does not know; wanted keys whose effect on the " +
        "computation is known. If it changes nothing, remove it; otherwise this variant is not supported yet.",
      "config.json: rms_norm_eps: found 0; wanted above 0.",
      'config.json: vocab_size: found "59"; wanted a number.',
    ]);
  });

  test("an activation without a rule", () => {
    expect(complaint({ ...LLAMA, hidden_act: "quick_gelu" })).toBe(
      'config.json: hidden_act: found "quick_gelu"; wanted one of "gelu", "gelu_new", "gelu_fast", ' +
        '"gelu_pytorch_tanh", "relu", "silu", "swish".',
    );
  });

  test.each([
    ["yarn", "rope_type"],
    ["dynamic", "type"],
  ])("rotary scaling of type %s", (kind, key) => {
    expect(complaint({ ...LLAMA, rope_scaling: { [key]: kind, factor: 2 } })).toBe(
      `config.json: rope_scaling.${key}: found "${kind}"; wanted one of "default", "linear", "llama3", "factors".`,
    );
  });

  test("rotary settings without their numbers, or with others", () => {
    expect(complaint({ ...LLAMA, rope_parameters: { rope_type: "linear" } })).toBe(
      "config.json: rope_parameters.factor: found nothing; wanted a number, as rope type linear needs it.",
    );
    expect(complaint({ ...LLAMA, rope_scaling: { rope_type: "default", mrope_section: [2, 2] } })).toContain(
      "config.json: rope_scaling.mrope_section: found a key that crosspatch does not know",
    );
    expect(complaint({ ...LLAMA, partial_rotary_factor: 0.5 })).toBe(
      "config.json: partial_rotary_factor: found 0.5; wanted 1, as this family rotates whole heads.",
    );
  });

  test("sizes that do not fit each other, all at once", () => {
    expect(complaint({ ...LLAMA, hidden_size: 25, num_key_value_heads: 4 }).split("\n")).toEqual([
      "config.json: hidden_size: found 25; wanted a multiple of num_attention_heads, which is 6.",
      "config.json: num_attention_heads: found 6; wanted a multiple of num_key_value_heads, which is 4.",
    ]);
    expect(complaint({ ...LLAMA, head_dim: 5, num_key_value_heads: 4 }).split("\n")).toEqual([
      "config.json: num_attention_heads: found 6; wanted a multiple of num_key_value_heads, which is 4.",
      "config.json: head_dim: found 5 rotated features of a head; wanted an even number from 2 to 5, the width of a head.",
    ]);
    expect(complaint({ ...NEOX, rotary_pct: 0.2 })).toBe(
      "config.json: rotary_pct: found 3 rotated features of a head; wanted an even number from 2 to 16, the width of a head.",
    );
    expect(complaint({ ...GPTJ, rotary_dim: 10 })).toBe(
      "config.json: rotary_dim: found 10 rotated features of a head; wanted an even number from 2 to 8, the width of a head.",
    );
    expect(complaint({ ...LLAMA, head_dim: 10, hidden_size: 25 })).toBe("none");
  });

  test("layer types that do not match the layers, or have no window", () => {
    const layer_types = ["sliding_attention", "full_attention", "full_attention"];
    expect(complaint({ ...QWEN2, layer_types }).split("\n")).toEqual([
      "config.json: layer_types: found 3 entries; wanted one for each of the 2 layers.",
      "config.json: sliding_window: found no window in use; wanted a number of positions, as some layers attend locally.",
    ]);
  });

  test.each([
    [{ ...LLAMA, architectures: ["MistralForCausalLM"], attention_bias: true }, "attention_bias"],
    [{ ...QWEN2, use_mrope: true }, "use_mrope"],
    [{ ...GPTJ, rotary: false }, "rotary"],
    [{ ...GEMMA3, attn_logit_softcapping: 50 }, "attn_logit_softcapping"],
    [{ ...NEOX, rope_theta: 500 }, "rope_theta"],
    [{ ...LLAMA, quantization_config: { bits: 4 } }, "quantization_config"],
  ])("what the library would not compute, or not so: case %#", (config, key) => {
    expect(complaint(config)).toMatch(new RegExp(`^config.json: ${key}: found `));
    expect(complaint(config).split("\n")).toHaveLength(1);
  });
});

describe("windows", () => {
  test("Mistral: everywhere; null is none; 4096 where the key is missing", () => {
    const config = { ...LLAMA, architectures: ["MistralForCausalLM"] };
    expect(windows({ ...config, sliding_window: 5 })).toEqual([5, 5]);
    expect(windows({ ...config, sliding_window: null })).toEqual([undefined, undefined]);
    expect(windows(config)).toEqual([4096, 4096]);
  });

  test("Qwen2: only when switched on, and then from max_window_layers on", () => {
    const config = { ...QWEN2, sliding_window: 5, max_window_layers: 1 };
    expect(windows(config)).toEqual([undefined, undefined]);
    expect(windows({ ...config, use_sliding_window: true })).toEqual([undefined, 5]);
    const layer_types = ["sliding_attention", "full_attention"];
    expect(windows({ ...config, use_sliding_window: true, layer_types })).toEqual([5, undefined]);
  });

  test("Gemma 3: every sixth layer is global", () => {
    expect(windows(GEMMA3)).toEqual([9, 9, 9, 9, 9, undefined, 9]);
    const n = undefined;
    expect(windows({ ...GEMMA3, sliding_window_pattern: 2 })).toEqual([9, n, 9, n, 9, n, 9]);
  });

  test("Gemma 3 both ways: half the window to each side, rounded down, and the position itself", () => {
    const config = { ...GEMMA3, use_bidirectional_attention: true };
    expect(windows(config)[0]).toBe(5);
    expect(define(config).architecture.causal).toBe(false);
  });
});

describe("rotary settings", () => {
  test("nested keys go before outer ones, rope_scaling before rope_parameters", () => {
    expect(thetas({ ...LLAMA, rope_theta: 7 })[0]).toBe(7);
    expect(thetas({ ...LLAMA, rope_theta: 7, rope_parameters: { rope_theta: 8 } })[0]).toBe(8);
    const both = {
      rope_parameters: { rope_theta: 8 },
      rope_scaling: { rope_type: "default", rope_theta: 9 },
    };
    expect(thetas({ ...LLAMA, rope_theta: 7, ...both })[0]).toBe(9);
    expect(thetas(LLAMA)[0]).toBe(10_000);
  });

  test("Gemma 3: one θ for local layers, another for global ones, in either layout", () => {
    const wanted = [3, 3, 3, 3, 3, 4, 3];
    expect(thetas({ ...GEMMA3, rope_theta: 4, rope_local_base_freq: 3 })).toEqual(wanted);
    const rope_parameters = { full_attention: { rope_theta: 4 }, sliding_attention: { rope_theta: 3 } };
    expect(thetas({ ...GEMMA3, rope_parameters })).toEqual(wanted);
    expect(thetas(GEMMA3)).toEqual([1e4, 1e4, 1e4, 1e4, 1e4, 1e6, 1e4]);
  });

  test("Gemma 3: rope_scaling is of the global layers alone", () => {
    const scaled = define({ ...GEMMA3, rope_scaling: { rope_type: "linear", factor: 8 } });
    const kinds = scaled.architecture.layers.map(({ rotary }) => rotary?.scaling.kind);
    expect(kinds).toEqual(["none", "none", "none", "none", "none", "linear", "none"]);
  });
});
