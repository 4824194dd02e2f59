/** @file Reads and decodes stored tensors with few, large, bounded reads. */

import type { Fault } from "../../core/errors.ts";
import { InputError } from "../../core/errors.ts";
import type { BlockFormat } from "../../numeric/dequantize.ts";
import type { ByteSource } from "./byte-source.ts";
import { MAX_READ_BYTES } from "./byte-source.ts";

/** A run of encoded values in a source; `bytes` is a whole number of blocks, checked against the source's size. */
export interface StoredValues {
  readonly offset: number;
  readonly bytes: number;
  readonly format: BlockFormat;
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

/** Groups runs, in file order, into reads of at most {@link MAX_READ_BYTES}; long runs split at block boundaries. */
function planReads(runs: readonly StoredValues[]): Read[] {
  const order = runs.map((run, index) => ({ ...run, index })).sort((a, b) => a.offset - b.offset);
  const reads: Read[] = [];
  let current: Read | undefined;
  for (const { index, offset, bytes, format } of order) {
    for (let from = 0; from < bytes; ) {
      const start = offset + from;
      const gap = current === undefined ? 0 : start - (current.offset + current.length);
      const used: number = current === undefined ? 0 : current.length + gap;
      const room = Math.floor((MAX_READ_BYTES - used) / format.bytesPerBlock) * format.bytesPerBlock;
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
export function elementsOf({ bytes, format }: StoredValues): number {
  return (bytes / format.bytesPerBlock) * format.elementsPerBlock;
}

/**
 * Values of each run, in the order given. The next read is under way while one is decoded, so at most two
 * buffers of {@link MAX_READ_BYTES} are held beside the results; a result takes at most 1024 / 84 times
 * (Q2_K) the bytes of its run.
 */
export async function readValues(
  source: ByteSource,
  runs: readonly StoredValues[],
): Promise<Float32Array<ArrayBuffer>[]> {
  const values = runs.map((run) => new Float32Array(elementsOf(run)));
  const reads = planReads(runs);
  const start = (read: Read | undefined): Promise<Uint8Array> | undefined =>
    read === undefined ? undefined : source.read(read.offset, read.length);
  let pending = start(reads[0]);
  for (const [index, read] of reads.entries()) {
    const bytes = await pending;
    pending = start(reads[index + 1]);
    for (const { run, at, from, bytes: length } of read.pieces) {
      const { format } = runs[run] as StoredValues;
      const offset = (from / format.bytesPerBlock) * format.elementsPerBlock;
      format.decode((bytes as Uint8Array).subarray(at, at + length), values[run] as Float32Array, offset);
    }
  }
  return values;
}

/** Faults shown of one file: a damaged header can have one in each of 100,000 tensors. */
const MAX_FAULTS = 50;

/** Throws an {@link InputError} if there is any fault, naming the first {@link MAX_FAULTS}. */
export function refuseAll(faults: readonly Fault[]): void {
  if (faults.length === 0) return;
  const more = faults.length - MAX_FAULTS;
  const rest: Fault[] =
    more > 0 ? [{ where: faults[0]?.where ?? "", found: `${more} more faults`, wanted: "none" }] : [];
  throw new InputError([...faults.slice(0, MAX_FAULTS), ...rest]);
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
