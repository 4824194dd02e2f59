/** @file Builds tiny weight files in memory, for tests. */

import type { ByteSource, Sha256 } from "./byte-source.ts";
import { memorySource } from "./byte-source.ts";

/** Little-endian bytes of the numbers and texts of a file. */
export interface ByteWriter {
  uint8(value: number): void;
  uint32(value: number): void;
  uint64(value: number | bigint): void;
  float32(value: number): void;
  /** Length and UTF-8 of ASCII text, as GGUF writes it. */
  text(value: string): void;
  raw(bytes: ArrayLike<number>): void;
  /** Zeros up to the next multiple. */
  align(multiple: number): void;
  bytes(): Uint8Array;
}

export function byteWriter(): ByteWriter {
  const out: number[] = [];
  const view = new DataView(new ArrayBuffer(8));
  const put = (length: number): void => {
    for (let i = 0; i < length; i++) out.push(view.getUint8(i));
  };
  const writer: ByteWriter = {
    uint8: (value) => void out.push(value & 0xff),
    uint32(value) {
      view.setUint32(0, value, true);
      put(4);
    },
    uint64(value) {
      view.setBigUint64(0, BigInt(value), true);
      put(8);
    },
    float32(value) {
      view.setFloat32(0, value, true);
      put(4);
    },
    text(value) {
      writer.uint64(value.length);
      for (let i = 0; i < value.length; i++) out.push(value.charCodeAt(i));
    },
    raw(bytes) {
      for (let i = 0; i < bytes.length; i++) out.push(bytes[i] ?? 0);
    },
    align(multiple) {
      while (out.length % multiple !== 0) out.push(0);
    },
    bytes: () => Uint8Array.from(out),
  };
  return writer;
}

/** A metadata value to write: whole numbers become UINT32, others FLOAT32, lists of texts arrays of STRING. */
export type TinyValue = string | number | boolean | readonly string[];

export interface TinyTensor {
  readonly name: string;
  /** Row-major, as PyTorch counts. */
  readonly shape: readonly number[];
  /** Number of a ggml type, or name of a safetensors type. */
  readonly type: number | string;
  readonly bytes: Uint8Array;
}

export interface TinyGguf {
  readonly metadata: Readonly<Record<string, TinyValue>>;
  readonly tensors: readonly TinyTensor[];
  readonly version?: number;
}

/** The bytes of a GGUF file. */
export function buildGguf({ metadata, tensors, version = 3 }: TinyGguf): Uint8Array {
  const writer = byteWriter();
  writer.raw([0x47, 0x47, 0x55, 0x46]);
  writer.uint32(version);
  writer.uint64(tensors.length);
  const entries = Object.entries(metadata);
  writer.uint64(entries.length);
  for (const [key, value] of entries) {
    writer.text(key);
    writeValue(writer, value);
  }
  let offset = 0;
  for (const { name, shape, type, bytes } of tensors) {
    writer.text(name);
    writer.uint32(shape.length);
    for (const dimension of [...shape].reverse()) writer.uint64(dimension);
    writer.uint32(Number(type));
    writer.uint64(offset);
    offset += Math.ceil(bytes.length / 32) * 32;
  }
  for (const { bytes } of tensors) {
    writer.align(32);
    writer.raw(bytes);
  }
  return writer.bytes();
}

function writeValue(writer: ByteWriter, value: TinyValue): void {
  if (typeof value === "string") {
    writer.uint32(8);
    writer.text(value);
  } else if (typeof value === "boolean") {
    writer.uint32(7);
    writer.uint8(value ? 1 : 0);
  } else if (typeof value === "number") {
    writer.uint32(Number.isInteger(value) ? 4 : 6);
    if (Number.isInteger(value)) writer.uint32(value);
    else writer.float32(value);
  } else {
    writer.uint32(9);
    writer.uint32(8);
    writer.uint64(value.length);
    for (const text of value) writer.text(text);
  }
}

/** The bytes of a safetensors file. */
export function buildSafetensors(tensors: readonly TinyTensor[]): Uint8Array {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  for (const { name, shape, type, bytes } of tensors) {
    header[name] = { dtype: type, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  return withHeader(
    JSON.stringify(header),
    tensors.map(({ bytes }) => bytes),
  );
}

/** A safetensors file of ASCII header text, well-formed or not, and data. */
export function withHeader(header: string, data: readonly Uint8Array[] = []): Uint8Array {
  const writer = byteWriter();
  writer.text(header);
  for (const bytes of data) writer.raw(bytes);
  return writer.bytes();
}

/** float32 values as bytes. */
export function float32Bytes(values: ArrayLike<number>): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

/** A small llama file: one layer, width 32, 4 heads over 2 keys, 3 tokens; Q4_0, Q8_0, F16 and F32 tensors. */
export function tinyLlama(fill: (length: number) => Uint8Array): TinyGguf {
  const q4 = (name: string, shape: readonly [number, number]): TinyTensor => ({
    name,
    shape,
    type: 2,
    bytes: fill((shape[0] * shape[1] * 18) / 32),
  });
  const norm = (name: string): TinyTensor => ({ name, shape: [32], type: 0, bytes: fill(128) });
  return {
    metadata: {
      "general.architecture": "llama",
      "llama.block_count": 1,
      "llama.context_length": 16,
      "llama.embedding_length": 32,
      "llama.feed_forward_length": 32,
      "llama.attention.head_count": 4,
      "llama.attention.head_count_kv": 2,
      "llama.attention.layer_norm_rms_epsilon": 1.5e-5,
      "tokenizer.ggml.tokens": ["a", "b", "c"],
      "tokenizer.ggml.add_bos_token": false,
    },
    tensors: [
      { name: "token_embd.weight", shape: [3, 32], type: 8, bytes: fill(3 * 34) },
      norm("blk.0.attn_norm.weight"),
      q4("blk.0.attn_q.weight", [32, 32]),
      q4("blk.0.attn_k.weight", [16, 32]),
      q4("blk.0.attn_v.weight", [16, 32]),
      q4("blk.0.attn_output.weight", [32, 32]),
      norm("blk.0.ffn_norm.weight"),
      q4("blk.0.ffn_gate.weight", [32, 32]),
      q4("blk.0.ffn_up.weight", [32, 32]),
      { name: "blk.0.ffn_down.weight", shape: [32, 32], type: 1, bytes: fill(2048) },
      norm("output_norm.weight"),
    ],
  };
}

/** What a source was asked for. */
export interface SourceUse {
  readonly source: ByteSource;
  /** Length of each read. */
  readonly reads: readonly number[];
  readonly closed: () => boolean;
}

/** Bytes in memory as a source that keeps account of its use; its digest is a stand-in that counts bytes. */
export function watchedSource(name: string, bytes: Uint8Array): SourceUse {
  const reads: number[] = [];
  let closed = false;
  const sha256 = (): Sha256 => {
    let length = 0;
    return {
      update: (part) => {
        length += part.length;
      },
      hex: () => `${length} bytes`,
    };
  };
  const memory = memorySource(name, bytes, sha256);
  return {
    source: {
      ...memory,
      read(offset, length) {
        reads.push(length);
        return memory.read(offset, length);
      },
      async close() {
        closed = true;
      },
    },
    reads,
    closed: () => closed,
  };
}
