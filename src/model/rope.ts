/** @file Rotary position embedding: frequencies, their scaling, and the tables that a run needs. */

import type { FloatArray } from "../core/tensor.ts";

export type RopeScaling =
  | { readonly kind: "none" }
  /** Positions divided by `factor` (kaiokendev, 2023). */
  | { readonly kind: "linear"; readonly factor: number }
  /** Llama 3.1: long wavelengths divided by `factor`, short ones kept, a linear blend between. */
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalPositions: number;
    }
  /** Frequencies divided one by one, as GGUF stores Llama 3's scaling (tensor `rope_freqs.weight`). */
  | { readonly kind: "factors"; readonly factors: readonly number[] };

export interface Rotary {
  readonly theta: number;
  /** Number of leading features of a head that are rotated; even. */
  readonly dims: number;
  readonly style: "half" | "interleaved";
  readonly scaling: RopeScaling;
}

/**
 * Inverse frequencies [dims/2], rounded to float32 as PyTorch holds them.
 * Source: RoFormer (Su et al. 2021), eq. 15; scaling as in transformers 5.23, modeling_rope_utils.py
 * (`_compute_linear_scaling_rope_parameters`, `_compute_llama3_parameters`).
 */
export function inverseFrequencies({ theta, dims, scaling }: Rotary): Float64Array {
  return Float64Array.from({ length: dims / 2 }, (_, i) => {
    const frequency = Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / dims)));
    switch (scaling.kind) {
      case "none":
        return frequency;
      case "linear":
        return Math.fround(frequency / scaling.factor);
      case "factors":
        return Math.fround(frequency / (scaling.factors[i] ?? 1));
      case "llama3":
        return llama3(frequency, scaling);
    }
  });
}

function llama3(frequency: number, scaling: Extract<RopeScaling, { kind: "llama3" }>): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalPositions } = scaling;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < originalPositions / high) return frequency;
  if (wavelength > originalPositions / low) return Math.fround(frequency / factor);
  const smooth = (originalPositions / wavelength - low) / (high - low);
  return Math.fround((1 - smooth) * (frequency / factor) + smooth * frequency);
}

/** cos and sin [token, dims/2] for the positions given, angles rounded to float32 as PyTorch forms them. */
export function rotaryTables(
  rotary: Rotary,
  positions: ArrayLike<number>,
  allocate: (size: number) => FloatArray,
): { readonly cos: FloatArray; readonly sin: FloatArray } {
  const frequencies = inverseFrequencies(rotary);
  const half = frequencies.length;
  const cos = allocate(positions.length * half);
  const sin = allocate(positions.length * half);
  for (let token = 0; token < positions.length; token++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround((positions[token] ?? 0) * (frequencies[i] ?? 0));
      cos[token * half + i] = Math.cos(angle);
      sin[token * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
