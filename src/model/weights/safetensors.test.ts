import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { nodeSha256, openFile } from "./byte-source.node.ts";
import { MAX_READ_BYTES, memorySource } from "./byte-source.ts";
import { openSafetensorsDirectory, openSafetensorsFile } from "./safetensors.node.ts";
import { openSafetensors, openShardedSafetensors } from "./safetensors.ts";
import { readSafetensorsHeader } from "./safetensors-header.ts";
import { buildSafetensors, float32Bytes, type TinyTensor, watchedSource, withHeader } from "./testing.ts";

const families = new URL("../../../test/goldens/families/", import.meta.url);
const tiny = (name: string, values: readonly number[], change: Partial<TinyTensor> = {}): TinyTensor => ({
  name,
  shape: [values.length],
  type: "F32",
  bytes: float32Bytes(values),
  ...change,
});
const open = (bytes: Uint8Array) => openSafetensors(watchedSource("x.safetensors", bytes).source);
const complaint = (opened: Promise<unknown>): Promise<string> =>
  opened.then(
    () => "no complaint",
    (error: Error) => `${error.name}: ${error.message}`,
  );

test("tensors of the three float types have the values that were stored, and read alone as together", async () => {
  const file = await open(
    buildSafetensors([
      tiny("one", [1.5, -2, 3.25], { shape: [3, 1] }),
      { name: "half", shape: [3], type: "F16", bytes: Uint8Array.of(0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00) },
      { name: "brain", shape: [2], type: "BF16", bytes: Uint8Array.of(0x80, 0x3f, 0x49, 0x40) },
      tiny("scalar", [7], { shape: [] }),
      tiny("empty", [], { shape: [0, 4] }),
    ]),
  );
  const all = await file.read([...file.tensors.keys()]);
  expect([...all].map(([name, { shape, data }]) => [name, shape, [...data]])).toEqual([
    ["one", [3, 1], [1.5, -2, 3.25]],
    ["half", [3], [1, -2, 2 ** -24]],
    ["brain", [2], [1, 3.140625]],
    ["scalar", [], [7]],
    ["empty", [0, 4], []],
  ]);
  for (const name of all.keys()) expect((await file.read([name])).get(name)).toEqual(all.get(name));
});

test("an unsupported element type is listed, and refused only when it is read", async () => {
  const file = await open(
    buildSafetensors([tiny("w", [1]), { name: "mask", shape: [1], type: "I64", bytes: new Uint8Array(8) }]),
  );
  expect(file.tensors.get("mask")?.dtype).toBe("I64");
  expect((await file.read(["w"])).get("w")?.data[0]).toBe(1);
  expect(
    await complaint(file.read(["mask", "w", "v"])),
  ).toBe(`InputError: x.safetensors: tensor "mask": found element type I64; wanted F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K. Use a checkpoint of another type.
x.safetensors: tensor "v": found no such tensor; wanted a tensor of the checkpoint.`);
});

test("a tensor longer than one read is read in bounded pieces", async () => {
  const values = Float32Array.from({ length: MAX_READ_BYTES / 4 + 1000 }, (_, i) => i % 8191);
  const bytes = new Uint8Array(values.buffer);
  const header = JSON.stringify({
    a: { dtype: "U8", shape: [3], data_offsets: [0, 3] },
    b: { dtype: "F32", shape: [values.length], data_offsets: [3, 3 + bytes.length] },
  });
  const front = withHeader(header, [new Uint8Array(3)]);
  const whole = new Uint8Array(front.length + bytes.length);
  whole.set(front);
  whole.set(bytes, front.length);
  const { source, reads } = watchedSource("x.safetensors", whole);
  const found = (await (await openSafetensors(source)).read(["b"])).get("b")?.data ?? new Float32Array(0);
  expect(Buffer.compare(Buffer.from(found.buffer), Buffer.from(values.buffer))).toBe(0);
  expect(reads.slice(2)).toEqual([MAX_READ_BYTES, 4000]);
});

test("every fault of the tensor list is told at once", async () => {
  const entry = (dtype: unknown, shape: unknown, offsets: unknown) => ({
    dtype,
    shape,
    data_offsets: offsets,
  });
  const header = {
    a: entry("F32", [2], [0, 8]),
    b: entry("Q4_1", [2], [8, 16]),
    c: entry("F32", [-1], [8, 16]),
    d: entry("F32", [2], [16]),
    e: entry("F16", [3], [8, 16]),
    f: entry("F32", [4], [4, 20]),
    g: entry("F32", [2 ** 40], [0, 2 ** 42]),
    h: "nothing",
  };
  const start = 8 + JSON.stringify(header).length;
  expect(
    await complaint(open(withHeader(JSON.stringify(header), [new Uint8Array(24)]))),
  ).toBe(`InputError: x.safetensors: tensor "b": dtype: found "Q4_1"; wanted an element type of safetensors.
x.safetensors: tensor "c": shape: found [-1]; wanted a list of sizes.
x.safetensors: tensor "d": data_offsets: found [16]; wanted [begin, end].
x.safetensors: tensor "e": found 8 bytes for F16 [3]; wanted 6 bytes.
x.safetensors: tensor "g": found data up to byte ${start + 2 ** 42} of ${start + 24}; wanted data inside the file. The download may be incomplete.
x.safetensors: tensor "h": dtype: found nothing; wanted an element type of safetensors.
x.safetensors: tensor "h": shape: found nothing; wanted a list of sizes.
x.safetensors: tensor "h": data_offsets: found nothing; wanted [begin, end].
x.safetensors: tensor "f": found bytes from ${start + 4} on, which "a" uses up to ${start + 8}; wanted bytes of its own.`);
});

test.each([
  [
    "says that its header is 2^60 bytes",
    Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 16),
    "found a header of 1152921504606847000 bytes; wanted one of at most 0 bytes",
  ],
  ["is too short for a length", Uint8Array.of(1, 2, 3), "found 3 bytes; wanted a safetensors file"],
  ["has a header that is no JSON", withHeader("{nope"), "header: found what is not JSON"],
  [
    "has a header that is a list",
    withHeader("[]"),
    "header: found a JSON value of another kind; wanted a JSON object",
  ],
  [
    "names a tensor twice",
    withHeader('{"a":{"x":"\\"a\\":1"},"\\u0061" : {}}'),
    "header: a: found the key twice; wanted each key once",
  ],
  [
    "has a gap before a tensor",
    withHeader('{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', [new Uint8Array(2)]),
    'tensor "a": found 1 bytes before it that belong to no tensor',
  ],
  [
    "has bytes after its tensors",
    withHeader('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', [new Uint8Array(9)]),
    "found 8 bytes after the last tensor; wanted none",
  ],
])("a file that %s is refused, and closed", async (_, bytes, message) => {
  const { source, closed } = watchedSource("x.safetensors", bytes);
  expect(await complaint(openSafetensors(source))).toContain(message);
  expect(closed()).toBe(true);
});

test("a tensor name of two million escapes is a name", async () => {
  const name = "\\n".repeat(2_000_000);
  const header = `{"${name}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`;
  const entries = await readSafetensorsHeader(watchedSource("x", withHeader(header)).source);
  expect([...entries.keys()][0]?.length).toBe(2_000_000);
});

const shard = (tensors: readonly TinyTensor[], name: string) =>
  watchedSource(name, buildSafetensors(tensors));
const index = (map: object) =>
  watchedSource("i.json", new TextEncoder().encode(JSON.stringify({ metadata: {}, weight_map: map }))).source;

test("an index and files that disagree are refused with every disagreement, and all are closed", async () => {
  const files = {
    "1.safetensors": shard([tiny("a", [1]), tiny("b", [2])], "1.safetensors"),
    "2.safetensors": shard([tiny("a", [3]), tiny("c", [4])], "2.safetensors"),
  };
  const opened = openShardedSafetensors(
    index({ a: "1.safetensors", b: "2.safetensors", d: "2.safetensors" }),
    async (file) => files[file as keyof typeof files].source,
  );
  expect(
    await complaint(opened),
  ).toBe(`InputError: 2.safetensors: tensor "b": found no such tensor; wanted what i.json lists.
2.safetensors: tensor "d": found no such tensor; wanted what i.json lists.
1.safetensors: tensor "b": found a tensor that i.json places in 2.safetensors; wanted each tensor once, as listed.
2.safetensors: tensor "a": found a tensor that i.json places in 1.safetensors; wanted each tensor once, as listed.
2.safetensors: tensor "c": found a tensor that i.json does not list; wanted each tensor once, as listed.`);
  expect(Object.values(files).map(({ closed }) => closed())).toEqual([true, true]);
});

test("an index cannot reach outside its folder", async () => {
  const opened = openShardedSafetensors(index({ a: "../a.safetensors", b: "/b", c: ".hidden", d: 7 }), () => {
    throw new Error("opened");
  });
  const wanted = "wanted the name of a file beside the index.";
  expect(await complaint(opened)).toBe(
    `InputError: i.json: a: found "../a.safetensors"; ${wanted}\ni.json: b: found "/b"; ${wanted}\ni.json: c: found ".hidden"; ${wanted}\ni.json: d: found 7; ${wanted}`,
  );
});

test("a sharded checkpoint reads across its files, and hashes as they do one after the other", async () => {
  const directory = fileURLToPath(new URL("mistral/model", families));
  const source = await openSafetensorsDirectory(directory);
  const all = await source.read([...source.tensors.keys()]);
  const hash = createHash("sha256");
  const merged = new Map<string, unknown>();
  for (const part of [1, 2, 3]) {
    const path = join(directory, `model-0000${part}-of-00003.safetensors`);
    hash.update(await readFile(path));
    const single = await openSafetensorsFile(path);
    for (const [name, tensor] of await single.read([...single.tensors.keys()])) merged.set(name, tensor);
    await single.close();
  }
  expect(all).toEqual(merged);
  expect(await source.hash()).toBe(hash.digest("hex"));
  await source.close();
});

test("files: a missing one, a folder and a changed one are told; the digest is that of the bytes", async () => {
  const directory = await mkdtemp(join(tmpdir(), "weights-"));
  const path = join(directory, "model.safetensors");
  expect(await complaint(openSafetensorsDirectory(directory))).toContain(
    "found no weights; wanted model.safetensors",
  );
  expect(await complaint(openFile(path))).toContain("found ENOENT; wanted a file that can be read");
  expect(await complaint(openFile(directory))).toContain("found no regular file; wanted a file of weights");
  const bytes = buildSafetensors([tiny("a", [1, 2])]);
  await writeFile(path, bytes);
  const file = await openSafetensorsDirectory(directory);
  const memory = await openSafetensors(memorySource("m", bytes, nodeSha256));
  expect(await file.hash()).toBe(await memory.hash());
  await writeFile(path, bytes.subarray(0, bytes.length - 4));
  expect(await complaint(file.read(["a"]))).toContain(
    `found ${bytes.length - 4} bytes; wanted ${bytes.length} bytes`,
  );
  await writeFile(`${path}.index.json`, "{}");
  expect(await complaint(openSafetensorsDirectory(directory))).toContain(
    "wanted one of them. Remove the stale one.",
  );
  await file.close();
  await rm(directory, { recursive: true });
});
