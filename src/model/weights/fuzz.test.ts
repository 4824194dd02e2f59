import { expect, test } from "vitest";
import { InputError } from "../../core/errors.ts";
import type { Random } from "../../core/random.ts";
import { random } from "../../core/random.ts";
import type { ByteSource } from "./byte-source.ts";
import { openGguf } from "./gguf.ts";
import { openSafetensors } from "./safetensors.ts";
import type { WeightSource } from "./source.ts";
import { buildGguf, buildSafetensors, tinyLlama, watchedSource } from "./testing.ts";

const TRIALS = 400;
const fill =
  ({ integer }: Random) =>
  (length: number) =>
    Uint8Array.from({ length }, () => integer(256));

const formats: {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly open: (source: ByteSource) => Promise<WeightSource>;
}[] = [
  { name: "GGUF", bytes: buildGguf(tinyLlama(fill(random(1)))), open: openGguf },
  {
    name: "safetensors",
    bytes: buildSafetensors([
      { name: "a", shape: [4, 3], type: "F32", bytes: fill(random(2))(48) },
      { name: "b", shape: [5], type: "BF16", bytes: fill(random(3))(10) },
      { name: "c.weight", shape: [2, 2, 2], type: "F16", bytes: fill(random(4))(16) },
    ]),
    open: openSafetensors,
  },
];

/** Flips bits, writes extreme numbers, cuts, repeats or removes a stretch; mostly in the header. */
function mutate(original: Uint8Array, { integer, uniform }: Random): Uint8Array {
  let bytes = original.slice();
  const place = (): number => integer(uniform() < 0.8 ? Math.min(1000, bytes.length) : bytes.length);
  const extremes = [0n, 1n, 255n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];
  for (let change = integer(3); change >= 0 && bytes.length > 0; change--) {
    const at = place();
    const kind = integer(6);
    if (kind === 0) bytes[at] ^= 1 << integer(8);
    else if (kind === 1) bytes[at] = integer(256);
    else if (kind === 2 && at + 8 <= bytes.length) {
      new DataView(bytes.buffer).setBigUint64(at, extremes[integer(extremes.length)] ?? 0n, true);
    } else if (kind === 3 && at + 4 <= bytes.length) {
      new DataView(bytes.buffer).setUint32(at, integer(2) === 0 ? integer(64) : 0xffffffff, true);
    } else if (kind === 4) bytes = bytes.slice(0, at);
    else {
      const length = integer(40);
      const kept = integer(2) === 0 ? bytes.slice(at, at + length) : new Uint8Array(0);
      bytes = Uint8Array.from([...bytes.slice(0, at), ...kept, ...kept, ...bytes.slice(at + length)]);
    }
  }
  return bytes;
}

test.each(formats)(
  "a damaged $name file loads or is refused as bad input, within its bounds",
  async (format) => {
    const seeded = random(77);
    let loaded = 0;
    for (let trial = 0; trial < TRIALS; trial++) {
      const { source, reads } = watchedSource("x", mutate(format.bytes, seeded));
      try {
        const weights = await format.open(source);
        loaded++;
        const values = await weights.read([...weights.tensors.keys()]);
        let elements = 0;
        for (const [name, { shape, data }] of values) {
          expect([name, shape.reduce((a, b) => a * b, 1)]).toEqual([name, data.length]);
          elements += data.length;
        }
        // Q2_K, the densest type, makes 1024 bytes of 84.
        expect(elements * 4).toBeLessThanOrEqual((source.size * 1024) / 84);
      } catch (error) {
        if (!(error instanceof InputError)) throw new Error(`trial ${trial}`, { cause: error });
      }
      expect(Math.max(0, ...reads)).toBeLessThanOrEqual(source.size);
    }
    // Both outcomes occur, so neither side of the law is empty.
    expect(loaded).toBeGreaterThan(TRIALS / 50);
    expect(loaded).toBeLessThan(TRIALS);
  },
);
