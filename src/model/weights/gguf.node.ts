/** @file Opens GGUF files, in Node. */

import { openFile } from "./byte-source.node.ts";
import type { GgufFile } from "./gguf.ts";
import { openGguf } from "./gguf.ts";
import type { Threads } from "./threads.ts";

/** Opens a `.gguf` file by reading its header. @throws InputError as {@link openGguf} does. */
export async function openGgufFile(path: string, threads?: Threads): Promise<GgufFile> {
  return openGguf(await openFile(path, threads));
}
