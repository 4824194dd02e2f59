/** @file From stored tensors to float32, in this thread or in others. */

import type { Tensor } from "../../core/tensor.ts";
import { sizeOf } from "../../core/tensor.ts";
import { BLOCK_FORMATS } from "../../numeric/dequantize.ts";
import { addConstant, transpose } from "../../numeric/rows.ts";
import { takeRows } from "../../numeric/take.ts";
import type { ByteSource } from "./byte-source.ts";
import { hashSources } from "./byte-source.ts";
import { readValues } from "./reading.ts";
import type { Rearrangement, Spare, StoredTensor } from "./threads.ts";

/**
 * Values of each tensor as the checkpoint has them, in the order given.
 * @param spare buffers to write into where sizes agree; what they hold is lost
 */
export async function decodeTensors(
  source: ByteSource,
  tensors: readonly StoredTensor[],
  spare: Spare = [],
): Promise<Float32Array<ArrayBuffer>[]> {
  const left = [...spare];
  const allocate = (elements: number): Float32Array<ArrayBuffer> => {
    const fitting = left.findIndex(({ byteLength }) => byteLength === 4 * elements);
    return fitting < 0
      ? new Float32Array(elements)
      : new Float32Array(left.splice(fitting, 1)[0] as ArrayBuffer);
  };
  const values = await readValues(
    source,
    tensors.map(({ offset, bytes, type, shape: [rows = 1], change }) => {
      const rowTo = destination(change, rows);
      const whole = { offset, bytes, format: BLOCK_FORMATS[type] };
      return rowTo === undefined ? whole : { ...whole, rows: { bytes: bytes / rows, to: rowTo } };
    }),
    (elements, index) =>
      // What is transposed is written twice: first to where it does not stay.
      tensors[index]?.change.kind === "transposed" ? new Float32Array(elements) : allocate(elements),
  );
  return tensors.map(({ change, shape: [rows = 1] }, index) => {
    const found = values[index] as Float32Array<ArrayBuffer>;
    if (change.kind === "plus-one") addConstant(found, -1);
    if (change.kind !== "transposed") return found;
    const out = allocate(found.length);
    transpose(found, rows, out);
    return out;
  });
}

/** The checkpoint's row of each row of the file; undefined where they are the same. */
function destination(change: Rearrangement, rows: number): ((row: number) => number) | undefined {
  if (change.kind === "rotary-pairs") {
    // Feature (half h, pair p) of a head is row 2p + h in the file and row h·half + p in the checkpoint.
    const half = rows / (2 * change.heads);
    return (row) => {
      const feature = row % (2 * half);
      return row - feature + (feature % 2) * half + Math.floor(feature / 2);
    };
  }
  if (change.kind === "parts-first") {
    const { heads } = change;
    const features = rows / (3 * heads);
    return (row) => {
      const part = Math.floor(row / (features * heads));
      const head = Math.floor(row / features) % heads;
      return (head * 3 + part) * features + (row % features);
    };
  }
  return undefined;
}

/** Some rows of a tensor as a tensor of its own; undefined where rows cannot be read apart from the others. */
function rowsOf(tensor: StoredTensor, rows: readonly number[]): StoredTensor[] | undefined {
  const [count = 1, ...rest] = tensor.shape;
  const bytes = tensor.bytes / count;
  const { kind } = tensor.change;
  if (kind !== "none" && kind !== "plus-one") return undefined;
  if (bytes % BLOCK_FORMATS[tensor.type].bytesPerBlock !== 0) return undefined;
  return rows.map((row) => ({ ...tensor, offset: tensor.offset + row * bytes, bytes, shape: [1, ...rest] }));
}

/** Some rows of a stored tensor, read by themselves where blocks allow it. */
export async function readRows(
  source: ByteSource,
  tensor: StoredTensor,
  rows: readonly number[],
): Promise<Tensor<Float32Array>> {
  const apart = rowsOf(tensor, rows);
  if (apart !== undefined) {
    const found = await decodeTensors(source, apart);
    const width = sizeOf(tensor.shape.slice(1));
    const data = new Float32Array(rows.length * width);
    for (const [index, row] of found.entries()) data.set(row, index * width);
    return { shape: [rows.length, ...tensor.shape.slice(1)], data };
  }
  const [whole] = await decodeTensors(source, [tensor]);
  const shape = tensor.change.kind === "transposed" ? [...tensor.shape].reverse() : tensor.shape;
  return takeRows({ shape, data: whole as Float32Array }, rows);
}

/**
 * Decoded bytes of one request: several threads share a large layer, and one request still outweighs the overhead of
 * asking (about 0.1 ms).
 */
const REQUEST_BYTES = 16 * 2 ** 20;

/** Decodes tensors of one file, in other threads where its source has them. */
export async function readTensors(
  source: ByteSource,
  tensors: readonly StoredTensor[],
  spare: Spare = [],
): Promise<Float32Array<ArrayBuffer>[]> {
  const { elsewhere } = source;
  if (elsewhere === undefined) return decodeTensors(source, tensors, spare);
  const requests = split(tensors);
  const left = [...spare];
  const found = await Promise.all(
    requests.map((indices) => {
      const asked = indices.map((index) => tensors[index] as StoredTensor);
      const fitting = asked.flatMap(({ shape }) => {
        const bytes = shape.reduce((product, size) => product * size, 4);
        const at = left.findIndex(({ byteLength }) => byteLength === bytes);
        return at < 0 ? [] : left.splice(at, 1);
      });
      return elsewhere.threads.decode(elsewhere.file, asked, fitting);
    }),
  );
  const values = new Array<Float32Array<ArrayBuffer>>(tensors.length);
  for (const [request, indices] of requests.entries()) {
    for (const [at, index] of indices.entries()) {
      values[index] = found[request]?.[at] as Float32Array<ArrayBuffer>;
    }
  }
  return values;
}

/** Tensors by request, in file order, so that neighbours are read together. */
function split(tensors: readonly StoredTensor[]): number[][] {
  const order = [...tensors.keys()].sort((a, b) => (tensors[a]?.offset ?? 0) - (tensors[b]?.offset ?? 0));
  const requests: number[][] = [];
  let room = 0;
  for (const index of order) {
    const bytes = (tensors[index]?.shape ?? []).reduce((product, size) => product * size, 4);
    if (bytes > room) {
      requests.push([]);
      room = REQUEST_BYTES;
    }
    requests.at(-1)?.push(index);
    room -= bytes;
  }
  return requests;
}

/** sha256 over the whole of the sources, one after the other, in hex; in another thread where all have one. */
export function sha256Of(sources: readonly ByteSource[]): Promise<string> {
  const files = sources.flatMap(({ elsewhere }) => (elsewhere === undefined ? [] : [elsewhere.file]));
  const threads = sources[0]?.elsewhere?.threads;
  return threads === undefined || files.length < sources.length
    ? hashSources(sources)
    : threads.sha256(files);
}
