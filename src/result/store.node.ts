/** @file Writing files whole or not at all. */
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

let written = 0;

/** Whether a name is one that {@link replaceFile} writes under. */
export function isTemporary(name: string): boolean {
  return /\.\d+-\d+\.tmp$/.test(name);
}

/**
 * Makes a file by a temporary one beside it and a rename, so that a reader never sees half of it and a failed write
 * leaves what was there. Missing parent directories are made.
 * @param make writes the file at the temporary path it is given
 */
export async function replaceFile(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}-${written++}.tmp`;
  try {
    await make(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Writes text, bytes, or pieces of text with {@link replaceFile}. */
export async function writeWhole(
  path: string,
  content: string | Uint8Array | Iterable<string>,
): Promise<void> {
  await replaceFile(path, (temporary) => writeFile(temporary, content));
}
