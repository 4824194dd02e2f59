/** @file Random access to bytes, wherever they are: a file, memory, a remote object. */

import type { OpenFile, Threads } from "./threads.ts";

/** SHA-256 in progress. */
export interface Sha256 {
  update(bytes: Uint8Array): void;
  /** The digest in hex; ends the computation. */
  hex(): string;
}

/** Bytes of one file. Formats read through this alone, so that they work wherever bytes can be had. */
export interface ByteSource {
  /** What messages call it, e.g. the file's name. */
  readonly name: string;
  /** Bytes in all. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset` on; rejects where they are not all there.
   * @param scratch memory to read into, of at least `length` bytes; sources that copy nothing ignore it
   */
  read(offset: number, length: number, scratch?: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
  /** A new digest, by whatever means the platform has. */
  sha256(): Sha256;
  /** Threads that can read the same bytes. */
  readonly elsewhere?: { readonly threads: Threads; readonly file: OpenFile };
  close(): Promise<void>;
}

/** Largest single read: long enough that its overhead is lost, short enough that what was read is still in the cache. */
export const MAX_READ_BYTES: number = 2 ** 20;

/** Bytes in memory as a source. */
export function memorySource(name: string, bytes: Uint8Array, sha256: () => Sha256): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(offset, length) {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length)) {
        throw new RangeError(`${name}: bytes ${offset} to ${offset + length} of ${bytes.length}`);
      }
      return bytes.subarray(offset, offset + length);
    },
    sha256,
    close: async () => {},
  };
}

/** sha256 over the whole of the sources, one after the other, in hex. */
export async function hashSources(sources: readonly ByteSource[]): Promise<string> {
  const [first] = sources;
  if (first === undefined) throw new RangeError("nothing to hash");
  const digest = first.sha256();
  const scratch = new Uint8Array(MAX_READ_BYTES);
  for (const source of sources) {
    for (let offset = 0; offset < source.size; offset += MAX_READ_BYTES) {
      digest.update(await source.read(offset, Math.min(MAX_READ_BYTES, source.size - offset), scratch));
    }
  }
  return digest.hex();
}
