/**
 * @file Reads the header of a safetensors file: 8 bytes of length, JSON, data.
 * Rules of the format: safetensors 0.8, safetensors/src/tensor.rs (`Metadata::validate`): every byte of data
 * belongs to exactly one tensor.
 */

import type { Fault } from "../../core/errors.ts";
import { inputError, refuse } from "../../core/errors.ts";
import { excerpt } from "../../core/excerpt.ts";
import { repeatedKeys } from "../../core/repeated-keys.ts";
import { decodeUtf8 } from "../../numeric/utf8.ts";
import type { ByteSource } from "./byte-source.ts";
import { overlapFaults } from "./reading.ts";
import type { WeightInfo } from "./source.ts";

/** Largest header read: 150,000 tensors. Files beyond that do not occur, as large checkpoints are sharded. */
export const MAX_HEADER_BYTES: number = 25_000_000;

/** Bits of an element, by type name. */
const DTYPE_BITS: ReadonlyMap<string, number> = new Map([
  ["BOOL", 8],
  ["F4", 4],
  ["F6_E2M3", 6],
  ["F6_E3M2", 6],
  ["F8_E4M3", 8],
  ["F8_E5M2", 8],
  ["F8_E8M0", 8],
  ["U8", 8],
  ["I8", 8],
  ["U16", 16],
  ["I16", 16],
  ["F16", 16],
  ["BF16", 16],
  ["U32", 32],
  ["I32", 32],
  ["F32", 32],
  ["U64", 64],
  ["I64", 64],
  ["F64", 64],
  ["C64", 64],
]);

/** A tensor and where its data starts, from the start of the file. */
export interface SafetensorsEntry {
  readonly info: WeightInfo;
  readonly offset: number;
}

/** @throws InputError with all faults of the tensor list at once, or the one that makes it unreadable. */
export async function readSafetensorsHeader(source: ByteSource): Promise<Map<string, SafetensorsEntry>> {
  if (source.size < 8)
    throw inputError(source.name, `${source.size} bytes`, "a safetensors file, at least 8 bytes");
  const prefix = await source.read(0, 8);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true));
  const most = Math.min(MAX_HEADER_BYTES, source.size - 8);
  if (length > most) {
    const fix = "The file is no safetensors file, or its download is incomplete.";
    throw inputError(source.name, `a header of ${length} bytes`, `one of at most ${most} bytes`, fix);
  }
  const header = parseJson(await source.read(8, length), `${source.name}: header`);
  const start = 8 + length;
  const faults: Fault[] = [];
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const where = `${source.name}: tensor "${name}"`;
    const found = readEntry(name, entry, { where, start, size: source.size });
    if (Array.isArray(found)) faults.push(...found);
    else entries.set(name, found as SafetensorsEntry);
  }
  const ranges = [...entries.values()].map(({ info, offset }) => ({
    name: info.name,
    offset,
    bytes: info.bytes,
  }));
  refuse([...faults, ...overlapFaults(source.name, ranges)]);
  refuse(gapFaults(source, start, ranges));
  return entries;
}

/** Parses a JSON object in which no key stands twice. */
export function parseJson(bytes: Uint8Array, where: string): Readonly<Record<string, unknown>> {
  const text = decodeUtf8(bytes, 0, bytes.length);
  if (text === undefined) throw inputError(where, "bytes that are not UTF-8", "JSON");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw inputError(where, `what is not JSON (${(error as Error).message.slice(0, 100)})`, "JSON");
  }
  if (!isObject(value)) throw inputError(where, "a JSON value of another kind", "a JSON object");
  const [twice] = repeatedKeys(text);
  if (twice !== undefined) throw inputError(`${where}: ${twice.key}`, "the key twice", "each key once");
  return value;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** One entry, or its faults. */
function readEntry(
  name: string,
  entry: unknown,
  { where, start, size }: { readonly where: string; readonly start: number; readonly size: number },
): SafetensorsEntry | Fault[] {
  const { dtype, shape, data_offsets: offsets } = isObject(entry) ? entry : {};
  const show = (value: unknown): string => excerpt(value, 80);
  const faults: Fault[] = [];
  const bits = typeof dtype === "string" ? DTYPE_BITS.get(dtype) : undefined;
  if (bits === undefined || typeof dtype !== "string") {
    faults.push({ where: `${where}: dtype`, found: show(dtype), wanted: "an element type of safetensors" });
  }
  const isShape = Array.isArray(shape) && shape.every(isSize);
  if (!isShape) faults.push({ where: `${where}: shape`, found: show(shape), wanted: "a list of sizes" });
  const isRange = Array.isArray(offsets) && offsets.length === 2 && offsets.every(isSize);
  if (!isRange)
    faults.push({ where: `${where}: data_offsets`, found: show(offsets), wanted: "[begin, end]" });
  if (!isShape || !isRange || bits === undefined || typeof dtype !== "string") return faults;

  const [begin, end] = offsets as [number, number];
  const bytes = (shape.reduce((product: number, dimension: number) => product * dimension, 1) * bits) / 8;
  if (bytes !== end - begin) {
    const found = `${end - begin} bytes for ${dtype} [${shape.join(", ")}]`;
    return [{ where, found, wanted: `${bytes} bytes` }];
  }
  if (start + end > size) {
    const found = `data up to byte ${start + end} of ${size}`;
    return [{ where, found, wanted: "data inside the file", fix: "The download may be incomplete." }];
  }
  return { info: { name, shape, dtype, bytes }, offset: start + begin };
}

/** Faults where bytes of data belong to no tensor; `ranges` is sorted and does not overlap. */
function gapFaults(
  { name: file, size }: ByteSource,
  start: number,
  ranges: readonly { readonly name: string; readonly offset: number; readonly bytes: number }[],
): Fault[] {
  const faults: Fault[] = [];
  let end = start;
  for (const { name, offset, bytes } of ranges) {
    if (bytes === 0) continue;
    if (offset > end) {
      const found = `${offset - end} bytes before it that belong to no tensor`;
      faults.push({ where: `${file}: tensor "${name}"`, found, wanted: "data without gaps" });
    }
    end = offset + bytes;
  }
  if (end !== size)
    faults.push({ where: file, found: `${size - end} bytes after the last tensor`, wanted: "none" });
  return faults;
}
