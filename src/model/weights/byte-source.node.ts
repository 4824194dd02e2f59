/** @file Files as byte sources, in Node. */

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { basename } from "node:path";
import { inputError } from "../../core/errors.ts";
import type { ByteSource, Sha256 } from "./byte-source.ts";

/** SHA-256 by Node's OpenSSL. */
export function nodeSha256(): Sha256 {
  const hash = createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}

/** Opens a file for reading. @throws InputError where there is no such regular file. */
export async function openFile(path: string): Promise<ByteSource> {
  const handle = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
    throw inputError(path, error.code ?? error.message, "a file that can be read", "Check the path.");
  });
  const status = await handle.stat();
  if (!status.isFile()) {
    await handle.close();
    throw inputError(path, "no regular file", "a file of weights");
  }
  return {
    name: basename(path),
    size: status.size,
    async read(offset, length) {
      const buffer = new Uint8Array(new ArrayBuffer(length));
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(buffer, done, length - done, offset + done);
        if (bytesRead === 0) {
          const found = `${offset + done} bytes`;
          throw inputError(
            path,
            found,
            `${status.size} bytes, its size when opened`,
            "Do not change it while it is in use.",
          );
        }
        done += bytesRead;
      }
      return buffer;
    },
    sha256: nodeSha256,
    close: () => handle.close(),
  };
}
