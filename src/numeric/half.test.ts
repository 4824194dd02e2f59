import { expect, test } from "vitest";
import { decodeBfloat16, decodeFloat16 } from "./half.ts";

const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i);
const bytes = new Uint8Array(patterns.buffer);

/** IEEE 754-2019, section 3.4, for any split of 16 bits into exponent and fraction. */
function closedForm(pattern: number, exponentBits: number): number {
  const fractionBits = 15 - exponentBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = pattern >= 0x8000 ? -1 : 1;
  const exponent = (pattern & 0x7fff) >> fractionBits;
  const fraction = (pattern % 2 ** fractionBits) / 2 ** fractionBits;
  if (exponent === 2 ** exponentBits - 1)
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

test.each([
  { name: "binary16", decode: decodeFloat16, exponentBits: 5 },
  { name: "bfloat16", decode: decodeBfloat16, exponentBits: 8 },
])("every $name pattern decodes to its closed form, sign of zero included", ({ decode, exponentBits }) => {
  const out = new Float32Array(65536);
  decode(bytes, out, 0);
  const wrong = patterns.filter((pattern) => !Object.is(out[pattern], closedForm(pattern, exponentBits)));
  expect([...wrong]).toEqual([]);
});

test.each([decodeFloat16, decodeBfloat16])(
  "decoding from an odd address, to an offset, gives the same values",
  (decode) => {
    const shifted = new Uint8Array(9);
    shifted.set([0x00, 0x3c, 0x01, 0x80, 0xff, 0x7b, 0x80, 0x3f], 1);
    const here = new Float32Array(4);
    decode(shifted.slice(1), here, 0);
    const out = new Float32Array(8).fill(7);
    decode(shifted.subarray(1), out.subarray(1), 2);
    expect([...out]).toEqual([7, 7, 7, ...here, 7]);
  },
);
