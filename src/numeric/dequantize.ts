/**
 * @file GGUF block formats to float32: the table of all formats, and the ones with 32 elements a block.
 * Layouts: ggml, src/ggml-common.h (`block_q4_0` …) and src/ggml-quants.c (`dequantize_row_*`); the same
 * results bit for bit as gguf 0.19 `gguf.quants.dequantize`. No rounding differs, because products of a
 * binary16 scale and a small integer are exact in float32 (in Q6_K: rounded once in both), and a sum taken in
 * float64 and then rounded to float32 equals the float32 sum (53 ≥ 2·24 + 2; Figueroa 1995).
 *
 * The loops read as many quants at once as a block's alignment allows and write several values a turn: twice as
 * fast as byte by byte, and then no slower than fresh memory can be had.
 */

import { decodeQ2K, decodeQ3K, decodeQ4K, decodeQ5K, decodeQ6K } from "./dequantize-k.ts";
import { decodeBfloat16, decodeFloat16, float16Table, words16, words32 } from "./half.ts";

/** How one element type is laid out and decoded. */
export interface BlockFormat {
  readonly bytesPerBlock: number;
  readonly elementsPerBlock: number;
  /**
   * Decodes all of `bytes`, a whole number of blocks, into `out` from `outOffset` on.
   * Pure: reads `bytes`, writes that range of `out`, keeps nothing.
   */
  readonly decode: (bytes: Uint8Array, out: Float32Array, outOffset: number) => void;
}

export type DecodableType =
  | "F32"
  | "F16"
  | "BF16"
  | "Q4_0"
  | "Q4_1"
  | "Q5_0"
  | "Q5_1"
  | "Q8_0"
  | "Q2_K"
  | "Q3_K"
  | "Q4_K"
  | "Q5_K"
  | "Q6_K";

/** Every element type that can be decoded, by the name ggml and safetensors give it. */
export const BLOCK_FORMATS: { readonly [T in DecodableType]: BlockFormat } = {
  F32: { bytesPerBlock: 4, elementsPerBlock: 1, decode: decodeFloat32 },
  F16: { bytesPerBlock: 2, elementsPerBlock: 1, decode: decodeFloat16 },
  BF16: { bytesPerBlock: 2, elementsPerBlock: 1, decode: decodeBfloat16 },
  Q4_0: { bytesPerBlock: 18, elementsPerBlock: 32, decode: decodeQ40 },
  Q4_1: { bytesPerBlock: 20, elementsPerBlock: 32, decode: decodeQ41 },
  Q5_0: { bytesPerBlock: 22, elementsPerBlock: 32, decode: decodeQ50 },
  Q5_1: { bytesPerBlock: 24, elementsPerBlock: 32, decode: decodeQ51 },
  Q8_0: { bytesPerBlock: 34, elementsPerBlock: 32, decode: decodeQ80 },
  Q2_K: { bytesPerBlock: 84, elementsPerBlock: 256, decode: decodeQ2K },
  Q3_K: { bytesPerBlock: 110, elementsPerBlock: 256, decode: decodeQ3K },
  Q4_K: { bytesPerBlock: 144, elementsPerBlock: 256, decode: decodeQ4K },
  Q5_K: { bytesPerBlock: 176, elementsPerBlock: 256, decode: decodeQ5K },
  Q6_K: { bytesPerBlock: 210, elementsPerBlock: 256, decode: decodeQ6K },
};

/** Whether a type name is one that {@link BLOCK_FORMATS} decodes. */
export function isDecodable(type: string): type is DecodableType {
  return Object.hasOwn(BLOCK_FORMATS, type);
}

/** Copies little-endian float32, which is what every platform of JavaScript stores. */
function decodeFloat32(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  new Uint8Array(out.buffer, out.byteOffset + 4 * outOffset, bytes.length).set(bytes);
}

/** d (f16), 16 bytes of nibbles: element i in the low half of byte i, element i + 16 in the high half; d·(q − 8). */
function decodeQ40(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  const words = words16(bytes);
  for (let at = 0, o = outOffset; at < words.length; at += 9, o += 32) {
    const scale = half[words[at]];
    for (let i = 0; i < 8; i++) {
      const four = words[at + 1 + i];
      const to = o + 2 * i;
      out[to] = scale * ((four & 15) - 8);
      out[to + 1] = scale * (((four >> 8) & 15) - 8);
      out[to + 16] = scale * (((four >> 4) & 15) - 8);
      out[to + 17] = scale * ((four >> 12) - 8);
    }
  }
}

/** d, m (f16), nibbles as in Q4_0; d·q + m. */
function decodeQ41(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  const words = words32(bytes);
  for (let at = 0, o = outOffset; at < words.length; at += 5, o += 32) {
    const scale = half[words[at] & 0xffff];
    const minimum = half[words[at] >>> 16];
    for (let i = 0; i < 4; i++) {
      const eight = words[at + 1 + i];
      const to = o + 4 * i;
      out[to] = scale * (eight & 15) + minimum;
      out[to + 1] = scale * ((eight >>> 8) & 15) + minimum;
      out[to + 2] = scale * ((eight >>> 16) & 15) + minimum;
      out[to + 3] = scale * ((eight >>> 24) & 15) + minimum;
      out[to + 16] = scale * ((eight >>> 4) & 15) + minimum;
      out[to + 17] = scale * ((eight >>> 12) & 15) + minimum;
      out[to + 18] = scale * ((eight >>> 20) & 15) + minimum;
      out[to + 19] = scale * (eight >>> 28) + minimum;
    }
  }
}

/** d (f16), 32 fifth bits (bit i belongs to element i), nibbles as in Q4_0; d·(q − 16). */
function decodeQ50(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  const words = words16(bytes);
  for (let at = 0, o = outOffset; at < words.length; at += 11, o += 32) {
    const scale = half[words[at]];
    const low = words[at + 1] << 4;
    const high = words[at + 2] << 4;
    for (let i = 0; i < 8; i++) {
      const four = words[at + 3 + i];
      const to = o + 2 * i;
      const first = low >> (2 * i);
      const second = high >> (2 * i);
      out[to] = scale * (((four & 15) | (first & 16)) - 16);
      out[to + 1] = scale * ((((four >> 8) & 15) | ((first >> 1) & 16)) - 16);
      out[to + 16] = scale * ((((four >> 4) & 15) | (second & 16)) - 16);
      out[to + 17] = scale * (((four >> 12) | ((second >> 1) & 16)) - 16);
    }
  }
}

/** d, m (f16), fifth bits and nibbles as in Q5_0; d·q + m. */
function decodeQ51(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  const words = words16(bytes);
  for (let at = 0, o = outOffset; at < words.length; at += 12, o += 32) {
    const scale = half[words[at]];
    const minimum = half[words[at + 1]];
    const low = words[at + 2] << 4;
    const high = words[at + 3] << 4;
    for (let i = 0; i < 8; i++) {
      const four = words[at + 4 + i];
      const to = o + 2 * i;
      const first = low >> (2 * i);
      const second = high >> (2 * i);
      out[to] = scale * ((four & 15) | (first & 16)) + minimum;
      out[to + 1] = scale * (((four >> 8) & 15) | ((first >> 1) & 16)) + minimum;
      out[to + 16] = scale * (((four >> 4) & 15) | (second & 16)) + minimum;
      out[to + 17] = scale * ((four >> 12) | ((second >> 1) & 16)) + minimum;
    }
  }
}

/** d (f16), 32 signed bytes; d·q. */
function decodeQ80(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0, o = outOffset; at < bytes.length; at += 34, o += 32) {
    const scale = half[bytes[at] | (bytes[at + 1] << 8)];
    const from = at + 2;
    for (let i = 0; i < 32; i += 4) {
      out[o + i] = scale * signed[from + i];
      out[o + i + 1] = scale * signed[from + i + 1];
      out[o + i + 2] = scale * signed[from + i + 2];
      out[o + i + 3] = scale * signed[from + i + 3];
    }
  }
}
