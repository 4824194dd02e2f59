/** @file Reading config.json: every key is used, known to change nothing, or refused. */

import { z } from "zod";
import type { Fault } from "../core/errors.ts";
import { InputError } from "../core/errors.ts";
import type { RopeScaling } from "./rope.ts";

/**
 * Keys that do not change what the model computes when it is run: training and generation settings, labels,
 * provenance, and choices between implementations of the same mathematics.
 */
const INERT = [
  "_attn_implementation_autoset",
  "_name_or_path",
  "_sliding_window_pattern",
  "add_cross_attention",
  "architectures",
  "attention_dropout",
  "attn_pdrop",
  "auto_map",
  "begin_suppress_tokens",
  "bos_token_id",
  "cache_implementation",
  "chunk_size_feed_forward",
  "classifier_dropout",
  "cross_attention_hidden_size",
  "decoder_start_token_id",
  "dtype",
  "embd_pdrop",
  "eos_token_id",
  "finetuning_task",
  "gradient_checkpointing",
  "hidden_dropout",
  "id2label",
  "initializer_range",
  "is_decoder",
  "is_encoder_decoder",
  "is_llama_config",
  "label2id",
  "max_length",
  "model_type",
  "output_attentions",
  "output_hidden_states",
  "pad_token_id",
  "prefix",
  "pretraining_tp",
  "problem_type",
  "reorder_and_upcast_attn",
  "resid_pdrop",
  "return_dict",
  "rope_interleaved",
  "sep_token_id",
  "summary_activation",
  "summary_first_dropout",
  "summary_proj_to_labels",
  "summary_type",
  "summary_use_proj",
  "task_specific_params",
  "torch_dtype",
  "torchscript",
  "transformers.js_config",
  "transformers_version",
  "unsloth_version",
  "use_cache",
] as const;

/** Sizes that a config may claim, as a bound on what is allocated for them. */
const MAX_SIZE = 1 << 24;
export const size: z.ZodNumber = z.int().min(1).max(MAX_SIZE);
export const epsilon: z.ZodNumber = z.number().positive().max(1);

/** A schema that takes exactly these keys and the inert ones. */
export function configSchema<T extends z.ZodRawShape>(keys: T): z.ZodObject<T, z.core.$strict> {
  const inert = Object.fromEntries(
    INERT.filter((key) => !(key in keys)).map((key) => [key, z.unknown().optional()]),
  );
  return z.strictObject({ ...inert, ...keys }) as unknown as z.ZodObject<T, z.core.$strict>;
}

/** Parses a config, turning every complaint into a fault with its key, what was found and what was wanted. */
export function parseConfig<T extends z.ZodType>(schema: T, config: unknown): z.output<T> {
  const parsed = schema.safeParse(config, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw new InputError(parsed.error.issues.flatMap(toFaults));
}

function toFaults(issue: z.core.$ZodIssue): Fault[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      where: `config.json: ${[...path, key].join(".")}`,
      found: "a key that crosspatch does not know",
      wanted: "keys whose effect on the computation is known",
      fix: "If it changes nothing, remove it; otherwise this variant is not supported yet.",
    }));
  }
  const found = issue.input === undefined ? "nothing" : JSON.stringify(issue.input)?.slice(0, 80);
  return [{ where: `config.json: ${path.join(".")}`, found: found ?? "nothing", wanted: issue.message }];
}

/** `rope_parameters` of transformers 5, or `rope_scaling` of earlier versions. */
export interface RopeConfig {
  readonly rope_type?: RopeKind | undefined;
  readonly type?: RopeKind | undefined;
  readonly rope_theta?: number | undefined;
  readonly partial_rotary_factor?: number | undefined;
  readonly factor?: number | undefined;
  readonly low_freq_factor?: number | undefined;
  readonly high_freq_factor?: number | undefined;
  readonly original_max_position_embeddings?: number | undefined;
  /** Not Hugging Face's: the per-frequency divisors that a GGUF file carries. */
  readonly factors?: readonly number[] | undefined;
}

type RopeKind = "default" | "linear" | "llama3" | "factors";

export const ropeConfig: z.ZodType<RopeConfig> = z
  .looseObject({
    rope_type: z.enum(["default", "linear", "llama3", "factors"]).optional(),
    type: z.enum(["default", "linear", "llama3", "factors"]).optional(),
    rope_theta: z.number().positive().optional(),
    partial_rotary_factor: z.number().gt(0).max(1).optional(),
    factor: z.number().positive().optional(),
    low_freq_factor: z.number().positive().optional(),
    high_freq_factor: z.number().positive().optional(),
    original_max_position_embeddings: z.number().positive().optional(),
    factors: z.array(z.number().positive()).max(4096).optional(),
  })
  .superRefine((value, context) => {
    const kind = value.rope_type ?? value.type ?? "default";
    const needed: Record<string, readonly (keyof typeof value)[]> = {
      default: [],
      linear: ["factor"],
      llama3: ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
      factors: ["factors"],
    };
    for (const key of needed[kind] ?? []) {
      if (value[key] === undefined) {
        context.addIssue({
          code: "custom",
          path: [key],
          input: value[key],
          message: `a number, as rope type ${kind} needs it`,
        });
      }
    }
  });

/** Keys that hold rotary settings in either version of the format. */
export const ROPE_KEYS: {
  readonly rope_theta: z.ZodOptional<z.ZodNumber>;
  readonly rope_scaling: z.ZodOptional<z.ZodNullable<z.ZodType<RopeConfig>>>;
  readonly rope_parameters: z.ZodOptional<z.ZodNullable<z.ZodType<RopeConfig>>>;
} = {
  rope_theta: z.number().positive().optional(),
  rope_scaling: ropeConfig.nullable().optional(),
  rope_parameters: ropeConfig.nullable().optional(),
};

/** The scaling that a rope config asks for. */
export function ropeScaling(config: RopeConfig | null | undefined): RopeScaling {
  if (config === null || config === undefined) return { kind: "none" };
  const {
    factor = 1,
    low_freq_factor: low = 1,
    high_freq_factor: high = 1,
    original_max_position_embeddings: original = 1,
  } = config;
  switch (config.rope_type ?? config.type ?? "default") {
    case "linear":
      return { kind: "linear", factor };
    case "llama3":
      return {
        kind: "llama3",
        factor,
        lowFrequencyFactor: low,
        highFrequencyFactor: high,
        originalPositions: original,
      };
    case "factors":
      return { kind: "factors", factors: config.factors ?? [] };
    default:
      return { kind: "none" };
  }
}

/** θ and scaling from whichever keys are there; `theta` is the family's default. */
export function readRope(
  config: {
    readonly rope_theta?: number | undefined;
    readonly rope_scaling?: RopeConfig | null | undefined;
    readonly rope_parameters?: RopeConfig | null | undefined;
  },
  theta: number,
): { readonly theta: number; readonly scaling: RopeScaling; readonly partial: number | undefined } {
  const chosen = config.rope_parameters ?? config.rope_scaling;
  return {
    theta: config.rope_parameters?.rope_theta ?? config.rope_theta ?? theta,
    scaling: ropeScaling(chosen),
    partial: config.rope_parameters?.partial_rotary_factor,
  };
}

/** Hugging Face's names of activation functions. */
export const ACTIVATIONS = {
  gelu: "gelu",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  gelu_pytorch_tanh: "gelu_tanh",
  relu: "relu",
  silu: "silu",
  swish: "silu",
} as const;
export const activationName: z.ZodEnum<{ [K in keyof typeof ACTIVATIONS]: K }> = z.enum(
  Object.keys(ACTIVATIONS) as [keyof typeof ACTIVATIONS],
) as never;
