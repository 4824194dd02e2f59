import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { random } from "../core/random.ts";
import { BLOCK_FORMATS, type DecodableType } from "./dequantize.ts";

interface Golden {
  readonly bytesPerBlock: number;
  readonly elementsPerBlock: number;
  readonly bytes: string;
  readonly values: string;
}
const golden: { types: Record<DecodableType, Golden> } = JSON.parse(
  readFileSync(new URL("../../test/goldens/gguf/blocks.json", import.meta.url), "utf8"),
);
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
const bitsOf = (values: Float32Array): number[] => [
  ...new Uint32Array(values.buffer, values.byteOffset, values.length),
];
const names = Object.keys(BLOCK_FORMATS) as DecodableType[];

test("every format has a golden and the reference's block size", () => {
  const sizes = (table: Record<string, { bytesPerBlock: number; elementsPerBlock: number }>): unknown =>
    Object.fromEntries(
      names.map((name) => [name, [table[name]?.bytesPerBlock, table[name]?.elementsPerBlock]]),
    );
  expect(sizes(BLOCK_FORMATS)).toEqual(sizes(golden.types));
});

test.each(names)("%s decodes to the reference's float32, bit for bit", (name) => {
  const { bytes, values } = golden.types[name];
  const wanted = new Float32Array(bytesOf(values).buffer);
  const out = new Float32Array(wanted.length);
  BLOCK_FORMATS[name].decode(bytesOf(bytes), out, 0);
  expect(bitsOf(out)).toEqual(bitsOf(wanted));
});

test.each(names)(
  "%s: blocks decoded one at a time from odd addresses equal blocks decoded together",
  (name) => {
    const { decode, bytesPerBlock, elementsPerBlock } = BLOCK_FORMATS[name];
    const blocks = 5;
    const { integer } = random(3);
    const shifted = Uint8Array.from({ length: 1 + blocks * bytesPerBlock }, () => integer(256));
    const together = new Float32Array(blocks * elementsPerBlock);
    decode(shifted.slice(1), together, 0);
    const apart = new Float32Array(blocks * elementsPerBlock + 2).fill(0.5);
    for (const block of [3, 0, 4, 2, 1]) {
      const start = 1 + block * bytesPerBlock;
      decode(shifted.subarray(start, start + bytesPerBlock), apart, 1 + block * elementsPerBlock);
    }
    expect(bitsOf(apart.subarray(1, -1))).toEqual(bitsOf(together));
    expect([apart[0], apart.at(-1)]).toEqual([0.5, 0.5]);
  },
);
