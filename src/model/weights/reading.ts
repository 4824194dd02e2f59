/** @file Reads and decodes stored tensors with few, large, bounded reads. */

import type { Fault } from "../../core/errors.ts";
import type { BlockFormat } from "../../numeric/dequantize.ts";
import type { ByteSource } from "./byte-source.ts";
import { MAX_READ_BYTES } from "./byte-source.ts";

/** A run of encoded values in a source; `bytes` is a whole number of blocks, checked against the source's size. */
export interface StoredValues {
  readonly offset: number;
  readonly bytes: number;
  readonly format: BlockFormat;
  /** Rows of so many bytes, whole blocks, that go to other places than they come from: row → row of the values. */
  readonly rows?: { readonly bytes: number; readonly to: (row: number) => number };
}

/** Skipped bytes that are read along rather than split a read: less than a second read costs. */
const MAX_GAP_BYTES = 65_536;

/** Part of a run, within one read. */
interface Piece {
  readonly run: number;
  /** Byte offsets: in the read, and in the run. */
  readonly at: number;
  readonly from: number;
  readonly bytes: number;
}

interface Read {
  offset: number;
  length: number;
  readonly pieces: Piece[];
}

/**
 * Groups runs, in file order, into reads of at most {@link MAX_READ_BYTES}; long runs are split between blocks, or
 * between rows where these are moved (one that is longer is read whole).
 */
function planReads(runs: readonly StoredValues[]): Read[] {
  const order = runs.map((run, index) => ({ ...run, index })).sort((a, b) => a.offset - b.offset);
  const reads: Read[] = [];
  let current: Read | undefined;
  for (const { index, offset, bytes, format, rows } of order) {
    const unit = rows?.bytes ?? format.bytesPerBlock;
    for (let from = 0; from < bytes; ) {
      const start = offset + from;
      const gap = current === undefined ? 0 : start - (current.offset + current.length);
      const used: number = current === undefined ? 0 : current.length + gap;
      const fits = Math.floor((MAX_READ_BYTES - used) / unit) * unit;
      const room = used === 0 ? Math.max(unit, fits) : fits;
      if (current === undefined || gap < 0 || gap > MAX_GAP_BYTES || room <= 0) {
        current = { offset: start, length: 0, pieces: [] };
        reads.push(current);
        continue;
      }
      const taken = Math.min(bytes - from, room);
      current.pieces.push({ run: index, at: used, from, bytes: taken });
      current.length = used + taken;
      from += taken;
    }
  }
  return reads;
}

/** Number of float32 values in a run. */
function elementsOf({ bytes, format }: StoredValues): number {
  return (bytes / format.bytesPerBlock) * format.elementsPerBlock;
}

/**
 * Values of each run, in the order given. The next read is under way while one is decoded, so at most two
 * buffers of {@link MAX_READ_BYTES} are held beside the results; a result takes at most 1024 / 84 times
 * (Q2_K) the bytes of its run.
 * @param allocate makes the array of run `index`; what it holds does not matter
 */
export async function readValues(
  source: ByteSource,
  runs: readonly StoredValues[],
  allocate: (elements: number, index: number) => Float32Array<ArrayBuffer> = (elements) =>
    new Float32Array(elements),
): Promise<Float32Array<ArrayBuffer>[]> {
  const values = runs.map((run, index) => allocate(elementsOf(run), index));
  const reads = planReads(runs);
  const longest = reads.reduce((most, { length }) => Math.max(most, length), 0);
  const scratch = [0, 1].map(() => new Uint8Array(longest));
  const start = (index: number): Promise<Uint8Array> | undefined => {
    const read = reads[index];
    return read && source.read(read.offset, read.length, scratch[index % 2]);
  };
  let pending = start(0);
  for (const [index, { pieces }] of reads.entries()) {
    const bytes = (await pending) as Uint8Array;
    pending = start(index + 1);
    for (const piece of pieces) {
      decodePiece(bytes, piece, {
        run: runs[piece.run] as StoredValues,
        out: values[piece.run] as Float32Array,
      });
    }
  }
  return values;
}

function decodePiece(
  bytes: Uint8Array,
  { at, from, bytes: length }: Piece,
  { run: { format, rows }, out }: { readonly run: StoredValues; readonly out: Float32Array },
): void {
  const elements = (count: number): number => (count / format.bytesPerBlock) * format.elementsPerBlock;
  if (rows === undefined) {
    format.decode(bytes.subarray(at, at + length), out, elements(from));
    return;
  }
  const width = elements(rows.bytes);
  const first = from / rows.bytes;
  for (let row = 0; row < length / rows.bytes; row++) {
    const start = at + row * rows.bytes;
    format.decode(bytes.subarray(start, start + rows.bytes), out, rows.to(first + row) * width);
  }
}

/** Faults of tensors that share bytes; `ranges` is sorted in place by offset. */
export function overlapFaults(
  where: string,
  ranges: { readonly name: string; readonly offset: number; readonly bytes: number }[],
): Fault[] {
  const faults: Fault[] = [];
  ranges.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let before = { name: "", offset: 0, bytes: 0 };
  for (const range of ranges) {
    if (range.bytes === 0) continue;
    if (range.offset < before.offset + before.bytes) {
      const found = `bytes from ${range.offset} on, which "${before.name}" uses up to ${before.offset + before.bytes}`;
      faults.push({ where: `${where}: tensor "${range.name}"`, found, wanted: "bytes of its own" });
    }
    if (range.offset + range.bytes > before.offset + before.bytes) before = range;
  }
  return faults;
}
