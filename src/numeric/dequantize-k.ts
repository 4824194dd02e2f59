/**
 * @file GGUF "K" formats to float32: 256 elements a block, in groups with quantised scales of their own.
 * Layouts: ggml, src/ggml-common.h (`block_q2_K` …); group order as gguf 0.19 `gguf/quants.py` unpacks it.
 * `bytes` is a whole number of blocks, decoded into `out` from `outOffset` on.
 */

import { float16Table } from "./half.ts";

/** scales[16] (low nibble scale, high nibble minimum), quants[64] of 2 bits, d, dmin (f16); 16 groups of 16. */
export function decodeQ2K(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  for (let at = 0, o = outOffset; at < bytes.length; at += 84, o += 256) {
    const d = half[bytes[at + 80] | (bytes[at + 81] << 8)];
    const dmin = half[bytes[at + 82] | (bytes[at + 83] << 8)];
    const factor = (group: number): number => d * (bytes[at + group] & 15);
    const minimum = (group: number): number => dmin * (bytes[at + group] >> 4);
    // Four groups share 16 bytes, one pair of bits each: of eight groups, the even ones and the odd ones.
    for (let quarter = 0; quarter < 4; quarter++) {
      const group = (quarter >> 1) * 8 + (quarter & 1);
      const [f0, f1, f2, f3] = [factor(group), factor(group + 2), factor(group + 4), factor(group + 6)];
      const [m0, m1, m2, m3] = [minimum(group), minimum(group + 2), minimum(group + 4), minimum(group + 6)];
      const quants = at + 16 + quarter * 16;
      const to = o + group * 16;
      for (let i = 0; i < 16; i++) {
        const four = bytes[quants + i];
        out[to + i] = f0 * (four & 3) - m0;
        out[to + i + 32] = f1 * ((four >> 2) & 3) - m1;
        out[to + i + 64] = f2 * ((four >> 4) & 3) - m2;
        out[to + i + 96] = f3 * (four >> 6) - m3;
      }
    }
  }
}

/** high bits[32], quants[64] of 2 bits, scales[12] of 6 bits less 32, d (f16); 16 groups of 16. */
export function decodeQ3K(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  for (let at = 0, o = outOffset; at < bytes.length; at += 110, o += 256) {
    const d = half[bytes[at + 108] | (bytes[at + 109] << 8)];
    const scales = at + 96;
    const factor = (group: number): number => {
      // Low four bits: nibbles of bytes 0–7, low halves first; high two: bit pairs of bytes 8–11.
      const low = (bytes[scales + (group & 7)] >> (group < 8 ? 0 : 4)) & 15;
      const high = (bytes[scales + 8 + (group & 3)] >> ((group >> 2) * 2)) & 3;
      return d * ((low | (high << 4)) - 32);
    };
    for (let quarter = 0; quarter < 4; quarter++) {
      const group = (quarter >> 1) * 8 + (quarter & 1);
      const [f0, f1, f2, f3] = [factor(group), factor(group + 2), factor(group + 4), factor(group + 6)];
      const quants = at + 32 + quarter * 16;
      const mask = at + (quarter & 1) * 16;
      const firstBit = (quarter >> 1) * 4;
      const to = o + group * 16;
      for (let i = 0; i < 16; i++) {
        const four = bytes[quants + i];
        // A set high bit means no offset; a clear one takes 4 off.
        const clear = ~bytes[mask + i] >> firstBit;
        out[to + i] = f0 * ((four & 3) - ((clear & 1) << 2));
        out[to + i + 32] = f1 * (((four >> 2) & 3) - ((clear & 2) << 1));
        out[to + i + 64] = f2 * (((four >> 4) & 3) - (clear & 4));
        out[to + i + 96] = f3 * ((four >> 6) - ((clear & 8) >> 1));
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
    // Two groups share 32 bytes: the first has the low nibbles, the second the high ones.
    for (let group = 0; group < 8; group += 2, o += 64) {
      const scale = d * groupScale(bytes, at + 4, group);
      const minimum = dmin * groupMinimum(bytes, at + 4, group);
      const scale2 = d * groupScale(bytes, at + 4, group + 1);
      const minimum2 = dmin * groupMinimum(bytes, at + 4, group + 1);
      const quants = at + 16 + group * 16;
      for (let i = 0; i < 32; i += 2) {
        const one = bytes[quants + i];
        const two = bytes[quants + i + 1];
        out[o + i] = scale * (one & 15) - minimum;
        out[o + i + 1] = scale * (two & 15) - minimum;
        out[o + i + 32] = scale2 * (one >> 4) - minimum2;
        out[o + i + 33] = scale2 * (two >> 4) - minimum2;
      }
    }
  }
}

/** As Q4_K with 32 bytes of fifth bits before the quants: bit g of byte i belongs to element i of group g. */
export function decodeQ5K(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  for (let at = 0, o = outOffset; at < bytes.length; at += 176) {
    const d = half[bytes[at] | (bytes[at + 1] << 8)];
    const dmin = half[bytes[at + 2] | (bytes[at + 3] << 8)];
    const high = at + 16;
    for (let group = 0; group < 8; group += 2, o += 64) {
      const scale = d * groupScale(bytes, at + 4, group);
      const minimum = dmin * groupMinimum(bytes, at + 4, group);
      const scale2 = d * groupScale(bytes, at + 4, group + 1);
      const minimum2 = dmin * groupMinimum(bytes, at + 4, group + 1);
      const quants = at + 48 + group * 16;
      for (let i = 0; i < 32; i += 2) {
        const one = bytes[quants + i];
        const two = bytes[quants + i + 1];
        const bits = (bytes[high + i] << 4) >> group;
        const bits2 = (bytes[high + i + 1] << 4) >> group;
        out[o + i] = scale * ((one & 15) | (bits & 16)) - minimum;
        out[o + i + 1] = scale * ((two & 15) | (bits2 & 16)) - minimum;
        out[o + i + 32] = scale2 * ((one >> 4) | ((bits >> 1) & 16)) - minimum2;
        out[o + i + 33] = scale2 * ((two >> 4) | ((bits2 >> 1) & 16)) - minimum2;
      }
    }
  }
}

/** low quants[128] of 4 bits, high[64] of 2 bits, signed scales[16], d (f16); 16 groups of 16; d·scale·(q − 32). */
export function decodeQ6K(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const half = float16Table();
  for (let at = 0, o = outOffset; at < bytes.length; at += 210, o += 256) {
    const d = half[bytes[at + 208] | (bytes[at + 209] << 8)];
    const factor = (group: number): number => d * ((bytes[at + 192 + group] << 24) >> 24);
    // Four groups share 16 high bytes, a pair of bits each, and twice 16 low bytes, a nibble each.
    for (let quarter = 0; quarter < 4; quarter++) {
      const group = (quarter >> 1) * 8 + (quarter & 1);
      const [f0, f1, f2, f3] = [factor(group), factor(group + 2), factor(group + 4), factor(group + 6)];
      const low = at + (quarter >> 1) * 64 + (quarter & 1) * 16;
      const high = at + 128 + quarter * 16;
      const to = o + group * 16;
      for (let i = 0; i < 16; i++) {
        const first = bytes[low + i];
        const second = bytes[low + i + 32];
        const bits = bytes[high + i];
        out[to + i] = f0 * (((first & 15) | ((bits & 3) << 4)) - 32);
        out[to + i + 32] = f1 * (((second & 15) | ((bits & 12) << 2)) - 32);
        out[to + i + 64] = f2 * (((first >> 4) | (bits & 48)) - 32);
        out[to + i + 96] = f3 * (((second >> 4) | ((bits & 192) >> 2)) - 32);
      }
    }
  }
}
