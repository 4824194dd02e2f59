import { expect, test } from "vitest";
import { readGgufHeader } from "./gguf-header.ts";
import { buildGguf, byteWriter, float32Bytes, type TinyTensor, watchedSource } from "./testing.ts";

const read = (bytes: Uint8Array) => readGgufHeader(watchedSource("x.gguf", bytes).source);
const complaint = (bytes: Uint8Array): Promise<string> =>
  read(bytes).then(
    () => "no complaint",
    (error: Error) => `${error.name}: ${error.message}`,
  );
const tensor = (name: string, change: Partial<TinyTensor> = {}): TinyTensor => ({
  name,
  shape: [2, 4],
  type: 0,
  bytes: float32Bytes([1, 2, 3, 4, 5, 6, 7, 8]),
  ...change,
});

/** A header of one entry, written by hand from its value's type number on. */
function withEntry(write: (writer: ReturnType<typeof byteWriter>) => void): Uint8Array {
  const writer = byteWriter();
  writer.raw([0x47, 0x47, 0x55, 0x46]);
  writer.uint32(3);
  writer.uint64(0);
  writer.uint64(1);
  writer.text("k");
  write(writer);
  writer.align(64);
  return writer.bytes();
}

test("64-bit integers are numbers where a number holds them exactly", async () => {
  const entryValue = async (type: number, value: bigint): Promise<unknown> => {
    const { metadata } = await read(
      withEntry((writer) => {
        writer.uint32(type);
        writer.uint64(value);
      }),
    );
    return metadata.get("k");
  };
  expect(await entryValue(10, 2n ** 53n - 1n)).toBe(2 ** 53 - 1);
  expect(await entryValue(10, 2n ** 53n)).toBe(2n ** 53n);
  expect(await entryValue(11, 2n ** 64n - 5n)).toBe(-5);
});

test("nested arrays are read, and refused where they are too deep", async () => {
  const nested = (depth: number): Uint8Array =>
    withEntry((writer) => {
      writer.uint32(9);
      for (let i = 1; i < depth; i++) {
        writer.uint32(9);
        writer.uint64(1);
      }
      writer.uint32(0);
      writer.uint64(2);
      writer.raw([5, 6]);
    });
  expect((await read(nested(3))).metadata.get("k")).toEqual([[[5, 6]]]);
  expect(await complaint(nested(5))).toBe(
    "InputError: x.gguf: k: found deeper arrays; wanted arrays at most 4 deep.",
  );
});

test("a header beyond the first read is read on", async () => {
  const long = "x".repeat(5 * 2 ** 20);
  const { source, reads } = watchedSource("x.gguf", buildGguf({ metadata: { "a.long": long }, tensors: [] }));
  const { metadata } = await readGgufHeader(source);
  expect((metadata.get("a.long") as string).length).toBe(long.length);
  expect(reads).toEqual([4 * 2 ** 20, source.size]);
});

test("every fault of the tensor list is told at once", async () => {
  const bytes = buildGguf({
    metadata: {},
    tensors: [
      tensor("a"),
      tensor("a"),
      tensor("b", { type: 99 }),
      tensor("c", { type: 8, shape: [16] }),
      tensor("d", { shape: [2, 0] }),
      tensor("e", { shape: [2 ** 40, 2 ** 40] }),
      tensor("f", { shape: [4, 4] }),
      tensor("g"),
    ],
  });
  // 24 bytes of counts, seven entries of 41 and one of 33 bytes, up to the next multiple of 32.
  const start = 352;
  expect(
    await complaint(bytes),
  ).toBe(`InputError: x.gguf: tensor "b": found type 99; wanted a tensor type of ggml.
x.gguf: tensor "c": found rows of 16; wanted rows of whole blocks of 32 (Q8_0).
x.gguf: tensor "d": found dimensions 0 × 2; wanted dimensions of at least 1.
x.gguf: tensor "e": found bytes 160 to 4.835703278458517e+24 of 256 bytes of data; wanted data inside the file. The download may be incomplete.
x.gguf: tensor "a": found the name twice; wanted each name once.
x.gguf: tensor "g": found bytes from ${start + 224} on, which "f" uses up to ${start + 256}; wanted bytes of its own.`);
});

test.each([
  ["is of version 1", (b: Uint8Array) => b.fill(1, 4, 5), "found GGUF version 1; wanted version 2 or 3."],
  [
    "is big-endian",
    (b: Uint8Array) => b.copyWithin(7, 4, 5).fill(0, 4, 5),
    "found a big-endian file; wanted a little-endian file.",
  ],
  [
    "counts 2^56 tensors",
    (b: Uint8Array) => b.fill(1, 15, 16),
    "found Infinity tensors and 1 metadata entries; wanted counts that fit",
  ],
  [
    "has a key of 2^56 bytes",
    (b: Uint8Array) => b.fill(1, 31, 32),
    "name of metadata entry 0: found a text of Infinity bytes; wanted at most",
  ],
  [
    "has a key that is not UTF-8",
    (b: Uint8Array) => b.fill(0xff, 32, 33),
    "found bytes that are not UTF-8; wanted text in UTF-8",
  ],
  [
    "has metadata of an unknown type",
    (b: Uint8Array) => b.fill(77, 49, 50),
    "found metadata type 77; wanted a type from 0 to 12",
  ],
  [
    "has an alignment of 3",
    (b: Uint8Array) => b.fill(3, 53, 54),
    "general.alignment: found 3; wanted a power of two from 8 to 65536",
  ],
])("a file that %s is refused", async (_, damage, message) => {
  const bytes = buildGguf({ metadata: { "general.alignment": 32 }, tensors: [tensor("a")] });
  damage(bytes);
  expect(await complaint(bytes)).toContain(`InputError: x.gguf`);
  expect(await complaint(bytes)).toContain(message);
});

test("a file cut short anywhere is refused, whether in the header or in the data", async () => {
  const bytes = buildGguf({ metadata: { "a.list": ["x", "y"] }, tensors: [tensor("a"), tensor("b")] });
  for (let length = 0; length < bytes.length; length++) {
    expect(await complaint(bytes.slice(0, length))).toMatch(/^InputError: x\.gguf/);
  }
  expect(await complaint(bytes)).toBe("no complaint");
});
