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

/** Rounds a number to the precision of the arithmetic in which the model is run. */
type Round = (value: number) => number;
const exact: Round = (value) => value;

/**
 * Inverse frequencies [dims/2], rounded as PyTorch does when it forms them in float32, or exact.
 * Source: RoFormer (Su et al. 2021), eq. 15; scaling as in transformers 5.23, modeling_rope_utils.py
 * (`_compute_linear_scaling_rope_parameters`, `_compute_llama3_parameters`).
 */
export function inverseFrequencies(
  { theta, dims, scaling }: Rotary,
  precision: "float32" | "float64",
): Float64Array {
  const round = precision === "float32" ? Math.fround : exact;
  return Float64Array.from({ length: dims / 2 }, (_, i) => {
    const frequency = round(1 / round(theta ** round((2 * i) / dims)));
    switch (scaling.kind) {
      case "none":
        return frequency;
      case "linear":
        return round(frequency / scaling.factor);
      case "factors":
        return round(frequency / (scaling.factors[i] ?? 1));
      case "llama3":
        return round(llama3(frequency, scaling));
    }
  });
}

function llama3(frequency: number, scaling: Extract<RopeScaling, { kind: "llama3" }>): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalPositions } = scaling;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < originalPositions / high) return frequency;
  if (wavelength > originalPositions / low) return frequency / factor;
  const smooth = (originalPositions / wavelength - low) / (high - low);
  return (1 - smooth) * (frequency / factor) + smooth * frequency;
}

/**
 * cos and sin [token, dims/2] for the positions given. Angles are formed in the precision of the arrays that
 * `allocate` makes: in float32, as PyTorch does, the angle of position 8000 is already off by up to 2e-4, and a
 * model that was trained and is quoted with those angles is run with them.
 */
export function rotaryTables(
  rotary: Rotary,
  positions: ArrayLike<number>,
  allocate: (size: number) => FloatArray,
): { readonly cos: FloatArray; readonly sin: FloatArray } {
  const half = rotary.dims / 2;
  const cos = allocate(positions.length * half);
  const sin = allocate(positions.length * half);
  const single = cos instanceof Float32Array;
  const round = single ? Math.fround : exact;
  const frequencies = inverseFrequencies(rotary, single ? "float32" : "float64");
  for (let token = 0; token < positions.length; token++) {
    for (let i = 0; i < half; i++) {
      const angle = round((positions[token] ?? 0) * (frequencies[i] ?? 0));
      cos[token * half + i] = Math.cos(angle);
      sin[token * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
