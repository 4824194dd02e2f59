/** @file Reading config.json: every key is used, known to change nothing, or refused. */

import { z } from "zod";
import type { Fault } from "../core/errors.ts";
import { InputError, inputError, refuse } from "../core/errors.ts";
import { excerpt } from "../core/excerpt.ts";
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
  "tokenizer_class",
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
/** Most layers: each costs memory before any weight is held against it. Llama 3.1 405B, the deepest in use, has 126. */
export const MAX_LAYERS = 1024;
export const layerCount: z.ZodNumber = z.int().min(1).max(MAX_LAYERS);
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
  const where = path.length === 0 ? "config.json" : `config.json: ${path.join(".")}`;
  return [{ where, found: excerpt(issue.input, 80), wanted: wantedBy(issue) }];
}

/** What sizes of text and of lists are counted in. */
const COUNTED: Readonly<Record<string, string>> = { string: " characters", array: " elements" };

/** What a schema asks for, in a fault's words. */
export function wantedBy(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_value": {
      const values = issue.values.map((value) => JSON.stringify(value));
      return values.length === 1 ? `${values[0]}` : `one of ${values.join(", ")}`;
    }
    case "invalid_type":
      return /^[aeiou]/.test(issue.expected) ? `an ${issue.expected}` : `a ${issue.expected}`;
    case "too_small":
      return `${issue.inclusive === false ? "above" : "at least"} ${issue.minimum}${COUNTED[issue.origin] ?? ""}`;
    case "too_big":
      return `${issue.inclusive === false ? "below" : "at most"} ${issue.maximum}${COUNTED[issue.origin] ?? ""}`;
    default:
      return issue.message;
  }
}

/** A setting and the key that it came from, for messages. */
export interface Setting {
  readonly key: string;
  readonly value: number;
}

/**
 * Sizes of heads that have to fit each other.
 * @throws InputError with all that do not.
 */
export function requireHeads(sizes: {
  readonly heads: Setting;
  /** Given where the width of a head is this over the number of heads. */
  readonly dModel?: Setting | undefined;
  readonly kvHeads?: Setting;
  readonly dHead: number;
  /** Number of rotated features of a head. */
  readonly rotary?: Setting;
}): void {
  const faults: Fault[] = [];
  const multiple = (of: Setting | undefined, by: Setting | undefined): void => {
    if (of === undefined || by === undefined || of.value % by.value === 0) return;
    faults.push({
      where: `config.json: ${of.key}`,
      found: `${of.value}`,
      wanted: `a multiple of ${by.key}, which is ${by.value}`,
    });
  };
  const { heads, dModel, kvHeads, dHead, rotary } = sizes;
  multiple(dModel, heads);
  multiple(heads, kvHeads);
  if (rotary !== undefined && Number.isInteger(dHead)) {
    if (rotary.value < 2 || rotary.value % 2 !== 0 || rotary.value > dHead) {
      faults.push({
        where: `config.json: ${rotary.key}`,
        found: `${rotary.value} rotated features of a head`,
        wanted: `an even number from 2 to ${dHead}, the width of a head`,
      });
    }
  }
  refuse(faults);
}

/** Values of `layer_types`. */
export const layerTypes: z.ZodOptional<
  z.ZodNullable<
    z.ZodArray<z.ZodEnum<{ full_attention: "full_attention"; sliding_attention: "sliding_attention" }>>
  >
> = z.array(z.enum(["full_attention", "sliding_attention"])).nullish();

/**
 * The window of each layer (undefined: every key), as `layer_types` says, or else as the family's `rule` does.
 * @throws InputError if `layer_types` is of another length than the model or a local layer has no window.
 */
export function layerWindows(
  config: {
    readonly num_hidden_layers: number;
    readonly layer_types?: z.output<typeof layerTypes>;
    readonly sliding_window?: number | null | undefined;
  },
  rule: (layer: number) => boolean,
): (number | undefined)[] {
  const { num_hidden_layers: layers, layer_types: types, sliding_window: window } = config;
  const local =
    types?.map((type) => type === "sliding_attention") ?? Array.from({ length: layers }, (_, i) => rule(i));
  const faults: Fault[] = [];
  if (local.length !== layers) {
    faults.push({
      where: "config.json: layer_types",
      found: `${local.length} entries`,
      wanted: `one for each of the ${layers} layers`,
    });
  }
  if (local.includes(true) && typeof window !== "number") {
    faults.push({
      where: "config.json: sliding_window",
      found: "no window in use",
      wanted: "a number of positions, as some layers attend locally",
    });
  }
  refuse(faults);
  return local.map((isLocal) => (isLocal && typeof window === "number" ? window : undefined));
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
  .strictObject({
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
  readonly partial_rotary_factor: z.ZodOptional<z.ZodNumber>;
  readonly rope_scaling: z.ZodOptional<z.ZodNullable<z.ZodType<RopeConfig>>>;
  readonly rope_parameters: z.ZodOptional<z.ZodNullable<z.ZodType<RopeConfig>>>;
} = {
  rope_theta: z.number().positive().optional(),
  partial_rotary_factor: z.number().gt(0).max(1).optional(),
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

/**
 * θ, scaling and the rotated share of a head from whichever keys are there. Nested keys go before outer ones and
 * `rope_scaling` before `rope_parameters`, as in transformers 5.23, `convert_rope_params_to_dict`.
 * @param defaults the family's; without `partial` it rotates whole heads, and any other share is refused.
 */
export function readRope(
  config: {
    readonly rope_theta?: number | undefined;
    readonly partial_rotary_factor?: number | undefined;
    readonly rope_scaling?: RopeConfig | null | undefined;
    readonly rope_parameters?: RopeConfig | null | undefined;
  },
  defaults: { readonly theta: number; readonly partial?: number },
): { readonly theta: number; readonly scaling: RopeScaling; readonly partial: number } {
  const chosen = config.rope_scaling ?? config.rope_parameters;
  const partial = chosen?.partial_rotary_factor ?? config.partial_rotary_factor ?? defaults.partial ?? 1;
  if (defaults.partial === undefined && partial !== 1) {
    throw inputError(
      "config.json: partial_rotary_factor",
      `${partial}`,
      "1, as this family rotates whole heads",
    );
  }
  return {
    theta: chosen?.rope_theta ?? config.rope_theta ?? defaults.theta,
    scaling: ropeScaling(chosen),
    partial,
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
