/** @file 16-bit floats to float32, exactly: IEEE 754 binary16 (F16) and bfloat16 (BF16). */

const FRACTION_SHIFT = 13; // float32 has 23 fraction bits, binary16 has 10
const BIAS_GAP = 2 ** 112; // exponent biases 127 and 15: as float32 bits a half reads 2^112 too small

let table: Float32Array | undefined;

/**
 * float32 value of each of the 65,536 bit patterns of binary16; NaN patterns give NaN.
 * A table (256 KiB, made once) because a block format reads one or two scales per block: a lookup is the
 * cheapest decoder there is, and for whole F16 tensors it runs as fast as the bits can be rearranged.
 */
export function float16Table(): Float32Array {
  if (table !== undefined) return table;
  const values = new Float32Array(65536);
  const bits = new Uint32Array(values.buffer);
  for (let half = 0; half < 65536; half++) {
    const magnitude = (half & 0x7fff) << FRACTION_SHIFT;
    bits[half] = magnitude;
    // Multiplying by a power of two is exact and normalises binary16 subnormals on the way.
    values[half] *= BIAS_GAP;
    // Infinity and NaN (exponent all ones) have no power of two to be moved by: the exponent is set instead.
    if ((half & 0x7c00) === 0x7c00) bits[half] = 0x7f800000 | magnitude;
    if ((half & 0x8000) !== 0) bits[half] |= 0x80000000;
  }
  table = values;
  return values;
}

/** Little-endian 16-bit words of `bytes`, without a copy where the address allows it. */
export function words16(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, bytes.length >> 1);
}

/** Little-endian 32-bit words of `bytes`, without a copy where the address allows it. */
export function words32(bytes: Uint8Array): Uint32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(aligned.buffer, aligned.byteOffset, bytes.length >> 2);
}

/** Decodes little-endian binary16 into `out` from `outOffset` on. */
export function decodeFloat16(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const values = float16Table();
  const halves = words16(bytes);
  const whole = halves.length & ~3;
  for (let i = 0, o = outOffset; i < whole; i += 4, o += 4) {
    out[o] = values[halves[i]];
    out[o + 1] = values[halves[i + 1]];
    out[o + 2] = values[halves[i + 2]];
    out[o + 3] = values[halves[i + 3]];
  }
  for (let i = whole; i < halves.length; i++) out[outOffset + i] = values[halves[i]];
}

/** Decodes little-endian bfloat16 (the upper half of a float32) into `out` from `outOffset` on. */
export function decodeBfloat16(bytes: Uint8Array, out: Float32Array, outOffset: number): void {
  const halves = words16(bytes);
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  const whole = halves.length & ~3;
  for (let i = 0, o = outOffset; i < whole; i += 4, o += 4) {
    bits[o] = halves[i] << 16;
    bits[o + 1] = halves[i + 1] << 16;
    bits[o + 2] = halves[i + 2] << 16;
    bits[o + 3] = halves[i + 3] << 16;
  }
  for (let i = whole; i < halves.length; i++) bits[outOffset + i] = halves[i] << 16;
}
