/**
 * @file A file of records that grows at its end: a process that is killed while it writes leaves at worst half a
 * record, which does not count.
 *
 * Header: 16 bytes of format, 32 bytes that say whose records they are. Then, for each record, its length (uint32,
 * little endian), the sha256 of owner, number and content, and the content. Two processes that write the same records
 * at once write the same places; what they spoil of each other fails its sum and is computed again.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";

const FORMAT = new TextEncoder().encode("crosspatch.log/1");
const SUM_BYTES = 32;
const HEADER_BYTES = FORMAT.length + SUM_BYTES;
const FRAME_BYTES = 4 + SUM_BYTES;

/** Records of a file. */
export interface RecordFile {
  /** The next record, if it is there, whole and of this many bytes; if not, nothing behind it counts any more. */
  next(bytes: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Writes behind the records that were read; what else the file held is cut off. */
  append(record: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a file of records, or makes one.
 * @param owner sha256, in hex, of all that the records follow from
 * @returns nothing where the file is somebody else's, or no such file; it is left as it is
 */
export async function openRecords(path: string, owner: string): Promise<RecordFile | undefined> {
  const own = Buffer.concat([FORMAT, Buffer.from(owner, "hex")]);
  const file = await open(path, "r+").catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return await open(path, "w+");
  });
  try {
    const header = await bytesAt(file, 0, HEADER_BYTES);
    // A process can have been killed while it wrote the header.
    if (!own.subarray(0, header.length).equals(header)) {
      await file.close();
      return undefined;
    }
    if (header.length < HEADER_BYTES) await writeAt(file, 0, own);
    return recordsOf(file, owner);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function recordsOf(file: FileHandle, owner: string): RecordFile {
  let offset = HEADER_BYTES;
  let count = 0;
  let reading = true;
  const sumOf = (content: Uint8Array): Buffer =>
    createHash("sha256").update(`${owner} ${count} ${content.length} `).update(content).digest();
  return {
    async next(bytes) {
      if (!reading) return undefined;
      const frame = await bytesAt(file, offset, FRAME_BYTES);
      reading = frame.length === FRAME_BYTES && frame.readUInt32LE(0) === bytes;
      if (!reading) return undefined;
      const content = await bytesAt(file, offset + FRAME_BYTES, bytes);
      reading = content.length === bytes && sumOf(content).equals(frame.subarray(4));
      if (!reading) return undefined;
      offset += FRAME_BYTES + bytes;
      count += 1;
      return new Uint8Array(content); // a copy that begins where its buffer does, so that it can hold numbers
    },
    async append(record) {
      const { size } = await file.stat();
      if (size > offset) await file.truncate(offset);
      reading = false;
      const frame = Buffer.alloc(FRAME_BYTES);
      frame.writeUInt32LE(record.length);
      frame.set(sumOf(record), 4);
      await writeAt(file, offset, Buffer.concat([frame, record]));
      offset += FRAME_BYTES + record.length;
      count += 1;
    },
    close: () => file.close(),
  };
}

/** Fewer where the file ends. */
async function bytesAt(file: FileHandle, position: number, length: number): Promise<Buffer<ArrayBuffer>> {
  const { size } = await file.stat();
  const there = Math.max(0, Math.min(length, size - position));
  const bytes = Buffer.alloc(there);
  let filled = 0;
  while (filled < there) {
    const { bytesRead } = await file.read(bytes, filled, there - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

async function writeAt(file: FileHandle, position: number, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}
