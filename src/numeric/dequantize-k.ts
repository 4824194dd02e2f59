/**
 * @file GGUF "K" formats to float32: 256 elements a block, in groups with quantised scales of their own.
 * Layouts: ggml, src/ggml-common.h (`block_q2_K` …); group order as gguf 0.19 `gguf/quants.py` unpacks it.
 * `bytes` is a whole number of blocks, decoded into `out` from `outOffset` on.
 */

import { float16Table } from "./half.ts";

/** scales[16] (low nibble scale, high nibble minimum), quants[64] of 2 bits, d, dmin (f16); 16 groups of 16. */
export function decodeQ2K(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  for (let at = 0, o = outOffset; at < bytes.length; at += 84) {
    const d = half[bytes[at + 80] | (bytes[at + 81] << 8)];
    const dmin = half[bytes[at + 82] | (bytes[at + 83] << 8)];
    for (let group = 0; group < 16; group++, o += 16) {
      const scale = d * (bytes[at + group] & 15);
      const minimum = dmin * (bytes[at + group] >> 4);
      // 128 elements share 32 bytes: four bit pairs, two groups of 16 each.
      const quants = at + 16 + (group >> 3) * 32 + (group & 1) * 16;
      const shift = ((group >> 1) & 3) * 2;
      for (let i = 0; i < 16; i++) out[o + i] = scale * ((bytes[quants + i] >> shift) & 3) - minimum;
    }
  }
}

/** high bits[32], quants[64] of 2 bits, scales[12] of 6 bits less 32, d (f16); 16 groups of 16. */
export function decodeQ3K(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  for (let at = 0, o = outOffset; at < bytes.length; at += 110) {
    const d = half[bytes[at + 108] | (bytes[at + 109] << 8)];
    const scales = at + 96;
    for (let group = 0; group < 16; group++, o += 16) {
      // Low four bits: nibbles of bytes 0–7, low halves first; high two: bit pairs of bytes 8–11.
      const low = (bytes[scales + (group & 7)] >> (group < 8 ? 0 : 4)) & 15;
      const high = (bytes[scales + 8 + (group & 3)] >> ((group >> 2) * 2)) & 3;
      const scale = d * ((low | (high << 4)) - 32);
      const quants = at + 32 + (group >> 3) * 32 + (group & 1) * 16;
      const shift = ((group >> 1) & 3) * 2;
      const mask = at + (group & 1) * 16;
      const bit = group >> 1;
      for (let i = 0; i < 16; i++) {
        // A set high bit means no offset; a clear one takes 4 off.
        const offset = (((bytes[mask + i] >> bit) & 1) ^ 1) << 2;
        out[o + i] = scale * (((bytes[quants + i] >> shift) & 3) - offset);
      }
    }
  }
}

/** Six-bit scale of one of the 8 groups of Q4_K and Q5_K; `scales` is the offset of their 12 bytes. */
function groupScale(bytes: Uint8Array, scales: number, group: number): number {
  if (group < 4) return bytes[scales + group] & 63;
  return (bytes[scales + 4 + group] & 15) | ((bytes[scales + group - 4] >> 6) << 4);
}

/** Six-bit minimum of one of the 8 groups of Q4_K and Q5_K. */
function groupMinimum(bytes: Uint8Array, scales: number, group: number): number {
  if (group < 4) return bytes[scales + 4 + group] & 63;
  return (bytes[scales + 4 + group] >> 4) | ((bytes[scales + group] >> 6) << 4);
}

/** d, dmin (f16), scales and minima[12] of 6 bits, quants[128] of 4 bits; 8 groups of 32. */
export function decodeQ4K(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  for (let at = 0, o = outOffset; at < bytes.length; at += 144) {
    const d = half[bytes[at] | (bytes[at + 1] << 8)];
    const dmin = half[bytes[at + 2] | (bytes[at + 3] << 8)];
    for (let group = 0; group < 8; group++, o += 32) {
      const scale = d * groupScale(bytes, at + 4, group);
      const minimum = dmin * groupMinimum(bytes, at + 4, group);
      const quants = at + 16 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let i = 0; i < 32; i++) out[o + i] = scale * ((bytes[quants + i] >> shift) & 15) - minimum;
    }
  }
}

/** As Q4_K with 32 bytes of fifth bits before the quants: bit g of byte i belongs to element i of group g. */
export function decodeQ5K(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  for (let at = 0, o = outOffset; at < bytes.length; at += 176) {
    const d = half[bytes[at] | (bytes[at + 1] << 8)];
    const dmin = half[bytes[at + 2] | (bytes[at + 3] << 8)];
    for (let group = 0; group < 8; group++, o += 32) {
      const scale = d * groupScale(bytes, at + 4, group);
      const minimum = dmin * groupMinimum(bytes, at + 4, group);
      const high = at + 16;
      const quants = at + 48 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let i = 0; i < 32; i++) {
        const value = ((bytes[quants + i] >> shift) & 15) | (((bytes[high + i] >> group) & 1) << 4);
        out[o + i] = scale * value - minimum;
      }
    }
  }
}

/** low quants[128] of 4 bits, high[64] of 2 bits, signed scales[16], d (f16); 16 groups of 16; d·scale·(q − 32). */
export function decodeQ6K(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  for (let at = 0, o = outOffset; at < bytes.length; at += 210) {
    const d = half[bytes[at + 208] | (bytes[at + 209] << 8)];
    for (let group = 0; group < 16; group++, o += 16) {
      const scale = d * ((bytes[at + 192 + group] << 24) >> 24);
      // 128 elements share 64 low bytes (two nibbles) and 32 high bytes (four bit pairs).
      const low = at + (group >> 3) * 64 + (group & 3) * 16;
      const lowShift = ((group >> 2) & 1) * 4;
      const high = at + 128 + (group >> 3) * 32 + (group & 1) * 16;
      const highShift = ((group >> 1) & 3) * 2;
      for (let i = 0; i < 16; i++) {
        const value = ((bytes[low + i] >> lowShift) & 15) | (((bytes[high + i] >> highShift) & 3) << 4);
        out[o + i] = scale * (value - 32);
      }
    }
  }
}
