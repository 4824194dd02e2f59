/** @file Files as byte sources, in Node. */

import { createHash } from "node:crypto";
import { readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import type { InputError } from "../../core/errors.ts";
import { inputError } from "../../core/errors.ts";
import type { ByteSource, Sha256 } from "./byte-source.ts";
import type { OpenFile, Threads } from "./threads.ts";

// A model may be dropped without being closed. Node warns where it has to close a handle itself, and means to make that
// an error. The registry keeps the handle until nothing can read by it any more, and closes it then.
const dropped = new FinalizationRegistry<FileHandle>((handle) => void handle.close());

/** SHA-256 by Node's OpenSSL. */
export function nodeSha256(): Sha256 {
  const hash = createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}

/**
 * Opens a file for reading.
 * @param threads other threads that may read it, which are closed with it
 * @throws InputError where there is no such regular file.
 */
export async function openFile(path: string, threads?: Threads): Promise<ByteSource> {
  const handle = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
    throw inputError(path, error.code ?? error.message, "a file that can be read", "Check the path.");
  });
  const status = await handle.stat();
  if (!status.isFile()) {
    await handle.close();
    throw inputError(path, "no regular file", "a file of weights");
  }
  const file: OpenFile = { descriptor: handle.fd, path, size: status.size };
  dropped.register(file, handle, file);
  return {
    name: basename(path),
    size: status.size,
    async read(offset, length, scratch) {
      const buffer = scratch?.subarray(0, length) ?? new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const { bytesRead } = await handle.read(buffer, done, length - done, offset + done);
        if (bytesRead === 0) throw cutShort(file, offset + done);
        done += bytesRead;
      }
      return buffer;
    },
    sha256: nodeSha256,
    ...(threads === undefined ? {} : { elsewhere: { threads, file } }),
    async close() {
      // A descriptor that is closed may become another file's while a thread still reads from it.
      await threads?.close();
      dropped.unregister(file);
      await handle.close();
    },
  };
}

/** A file that another thread opened, read without giving way to anything else. */
export function openedFile(file: OpenFile): ByteSource {
  return {
    name: basename(file.path),
    size: file.size,
    async read(offset, length, scratch) {
      const buffer = scratch?.subarray(0, length) ?? new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const bytesRead = readSync(file.descriptor, buffer, done, length - done, offset + done);
        if (bytesRead === 0) throw cutShort(file, offset + done);
        done += bytesRead;
      }
      return buffer;
    },
    sha256: nodeSha256,
    close: async () => {},
  };
}

function cutShort({ path, size }: OpenFile, bytes: number): InputError {
  const wanted = `${size} bytes, its size when opened`;
  return inputError(path, `${bytes} bytes`, wanted, "Do not change it while it is in use.");
}
