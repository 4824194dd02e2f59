/** @file Reads the tiny checkpoints of the goldens whole. Trusted test data: no bounds are checked. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Tensor, tensor } from "../../src/core/tensor.ts";
import type { WeightInfo, WeightSource } from "../../src/model/weights/source.ts";
import { decodeBfloat16, decodeFloat16 } from "../../src/numeric/half.ts";

interface Stored extends WeightInfo {
  readonly raw: Uint8Array;
}

export function readConfig(directory: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(directory, "config.json"), "utf8")) as Record<string, unknown>;
}

/** All `*.safetensors` of a directory as one source. */
export function readCheckpoint(directory: string): WeightSource {
  const tensors = new Map<string, Stored>();
  for (const file of readdirSync(directory).filter((name) => name.endsWith(".safetensors"))) {
    const bytes = readFileSync(join(directory, file));
    const start = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString("utf8", 8, start)) as Record<string, Entry>;
    for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      const [from, to] = data_offsets;
      const raw = bytes.subarray(start + from, start + to);
      tensors.set(name, { name, shape, dtype, bytes: to - from, raw });
    }
  }
  return {
    tensors,
    async read(names) {
      return new Map(
        names.map((name): [string, Tensor<Float32Array>] => {
          const found = tensors.get(name);
          if (found === undefined) throw new Error(`no tensor ${name}`);
          return [name, tensor(decode(found), found.shape)];
        }),
      );
    },
    hash: async () => "",
    close: async () => {},
  };
}

function decode({ name, dtype, raw, bytes }: Stored): Float32Array {
  const width = dtype === "F32" ? 4 : 2;
  const out = new Float32Array(bytes / width);
  if (dtype === "F32") new Uint8Array(out.buffer).set(raw);
  else if (dtype === "F16") decodeFloat16(raw, out, 0);
  else if (dtype === "BF16") decodeBfloat16(raw, out, 0);
  else throw new Error(`${name} is ${dtype}`);
  return out;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}
