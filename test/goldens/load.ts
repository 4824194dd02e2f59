/** @file Reads the goldens of this folder (see README.md). Trusted test data: no bounds are checked. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Tensor, tensor } from "../../src/core/tensor.ts";

/** What `golden.json` of a family holds. */
export interface GoldenFacts {
  readonly name: string;
  readonly architecture: string;
  readonly seed: number;
  readonly stored_dtype: "float32" | "float16" | "bfloat16";
  readonly config_layout: "hub" | "current";
  readonly causal: boolean;
  readonly layers: number;
  readonly vocabulary: number;
  /** Token ids: 9 and 13 of them. */
  readonly prompts: readonly [readonly number[], readonly number[]];
  /** Greedy continuation of `prompts[prompt]`; `smallest_lead`: least distance of first and second logit. */
  readonly generation: { readonly prompt: number; readonly ids: readonly number[]; readonly smallest_lead: number };
  readonly patching: {
    readonly direction: "denoise";
    readonly clean: readonly number[];
    readonly corrupt: readonly number[];
    readonly answer: number;
    readonly foil: number;
    readonly baseline_clean: number;
    readonly baseline_corrupt: number;
  };
  /** Largest difference of the float32 and float64 logits. */
  readonly float32_rounding: number;
  readonly residues: Readonly<Record<string, number>>;
  readonly sensitivity: Readonly<Record<string, number>>;
  readonly versions: Readonly<Record<string, string>>;
}

const FAMILIES = new URL("families/", import.meta.url);

/** All tiny checkpoints; `directory` has `config.json` and the weights. */
export function families(): { name: string; directory: string }[] {
  return readdirSync(FAMILIES)
    .sort()
    .map((name) => ({ name, directory: fileURLToPath(new URL(`${name}/model`, FAMILIES)) }));
}

/** Prompts, generation and patching pair of one family. */
export function goldenFacts(name: string): GoldenFacts {
  return JSON.parse(readFileSync(new URL(`${name}/golden.json`, FAMILIES), "utf8")) as GoldenFacts;
}

/** The float32 tensors of one family: `prompt0.logits`, `prompt1.layer0.q`, `patching.z`, … */
export function golden(name: string): Map<string, Tensor<Float32Array>> {
  return read(new URL(`${name}/golden.safetensors`, FAMILIES), "F32", 4, (buffer) => new Float32Array(buffer));
}

/** PyTorch's gradients of the corrupt prompt's logit difference: `layer0.z`, …; of a family, or of `smollm2`. */
export function goldenGradients(name: string): Map<string, Tensor<Float32Array>> {
  const file = name === "smollm2" ? "smollm2/gradients.safetensors" : `gradients/${name}.safetensors`;
  return read(new URL(file, import.meta.url), "F32", 4, (buffer) => new Float32Array(buffer));
}

/** The float64 tensors of one family: `prompt0.logits64`, `prompt1.logits64`, `patching64.resid_pre`, … */
export function golden64(name: string): Map<string, Tensor<Float64Array>> {
  return read(new URL(`${name}/golden.safetensors`, FAMILIES), "F64", 8, (buffer) => new Float64Array(buffer));
}

function read<D extends Float32Array | Float64Array>(
  url: URL,
  dtype: string,
  bytes: number,
  view: (buffer: ArrayBuffer) => D,
): Map<string, Tensor<D>> {
  const file = readFileSync(url);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, start)) as Record<string, Entry>;
  const tensors = new Map<string, Tensor<D>>();
  for (const [key, entry] of Object.entries(header)) {
    if (entry.dtype !== dtype) continue;
    const [from, to] = entry.data_offsets;
    const copy = new ArrayBuffer(to - from);
    new Uint8Array(copy).set(file.subarray(start + from, start + to));
    const data = view(copy);
    if (data.length * bytes !== to - from) throw new Error(`${url}: ${key} has ${to - from} bytes`);
    tensors.set(key, tensor(data, entry.shape));
  }
  return tensors;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}
