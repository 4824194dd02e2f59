/** @file Opens safetensors checkpoints, in Node. */

import { access } from "node:fs/promises";
import { join } from "node:path";
import { inputError } from "../../core/errors.ts";
import { openFile } from "./byte-source.node.ts";
import { openSafetensors, openShardedSafetensors } from "./safetensors.ts";
import type { WeightSource } from "./source.ts";
import type { Threads } from "./threads.ts";

/** Opens one `.safetensors` file by reading its header. @throws InputError */
export async function openSafetensorsFile(path: string, threads?: Threads): Promise<WeightSource> {
  return openSafetensors(await openFile(path, threads));
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Opens the checkpoint in a directory: `model.safetensors`, or the files that its index names. @throws InputError */
export async function openSafetensorsDirectory(directory: string, threads?: Threads): Promise<WeightSource> {
  const single = join(directory, "model.safetensors");
  const index = `${single}.index.json`;
  const [hasSingle, hasIndex] = await Promise.all([exists(single), exists(index)]);
  if (hasSingle && hasIndex) {
    throw inputError(
      directory,
      "model.safetensors and model.safetensors.index.json",
      "one of them",
      "Remove the stale one.",
    );
  }
  if (hasIndex)
    return openShardedSafetensors(await openFile(index), (file) => openFile(join(directory, file), threads));
  if (hasSingle) return openSafetensorsFile(single, threads);
  throw inputError(directory, "no weights", "model.safetensors or model.safetensors.index.json");
}
