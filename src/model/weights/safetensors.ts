/** @file Safetensors checkpoints, of one file or of several with an index. */

import type { Fault } from "../../core/errors.ts";
import { inputError, refuse } from "../../core/errors.ts";
import { excerpt } from "../../core/excerpt.ts";
import type { Tensor } from "../../core/tensor.ts";
import { isDecodable } from "../../numeric/dequantize.ts";
import type { ByteSource } from "./byte-source.ts";
import { requestedTensors, undecodable } from "./request.ts";
import type { SafetensorsEntry } from "./safetensors-header.ts";
import { isObject, parseJson, readSafetensorsHeader } from "./safetensors-header.ts";
import type { WeightInfo, WeightSource } from "./source.ts";
import { readRows, readTensors, sha256Of } from "./stored.ts";
import type { StoredTensor } from "./threads.ts";

/** Largest index read, for the reason of the header's bound. */
export const MAX_INDEX_BYTES: number = 25_000_000;
/** Files of one checkpoint, all held open: half of the 1,024 that a process may usually open. DeepSeek-V3 has 163. */
const MAX_SHARDS = 512;

/** One file of a checkpoint. */
interface Shard {
  readonly source: ByteSource;
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
}

/** Opens a checkpoint of one file; closes the source where that fails. @throws InputError with the header's faults. */
export async function openSafetensors(source: ByteSource): Promise<WeightSource> {
  return checkpoint(source.name, [await openShard(source)]);
}

/**
 * Opens a checkpoint of several files.
 * @param index the whole of `model.safetensors.index.json`
 * @param open opens a file of the checkpoint by its name, which has no path in it
 * @throws InputError where the index or a header is at fault, or where they disagree, with all disagreements.
 */
export async function openShardedSafetensors(
  index: ByteSource,
  open: (file: string) => Promise<ByteSource>,
): Promise<WeightSource> {
  const places = await readIndex(index).finally(() => index.close());
  const files = [...new Set(places.values())].sort();
  if (files.length > MAX_SHARDS)
    throw inputError(index.name, `${files.length} files`, `at most ${MAX_SHARDS}`);
  const shards: Shard[] = [];
  try {
    for (const file of files) shards.push(await openShard(await open(file)));
    refuse(placeFaults(index.name, places, new Map(files.map((file, i) => [file, shards[i] as Shard]))));
    return checkpoint(index.name, shards);
  } catch (error) {
    await closeAll(shards);
    throw error;
  }
}

async function openShard(source: ByteSource): Promise<Shard> {
  try {
    return { source, entries: await readSafetensorsHeader(source) };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** File of each tensor. */
async function readIndex(index: ByteSource): Promise<Map<string, string>> {
  if (index.size > MAX_INDEX_BYTES)
    throw inputError(index.name, `${index.size} bytes`, `at most ${MAX_INDEX_BYTES}`);
  const { weight_map: map } = parseJson(await index.read(0, index.size), index.name);
  if (!isObject(map) || Object.keys(map).length === 0) {
    throw inputError(
      `${index.name}: weight_map`,
      "no list of tensors",
      "the file of each tensor, by the tensor's name",
    );
  }
  const faults: Fault[] = [];
  const places = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    // Names of files beside the index and nothing else: an index must not reach into other folders.
    if (typeof file === "string" && /^[\w-][\w.-]{0,254}$/.test(file)) places.set(name, file);
    else {
      const found = excerpt(file, 80);
      faults.push({ where: `${index.name}: ${name}`, found, wanted: "the name of a file beside the index" });
    }
  }
  refuse(faults);
  return places;
}

/** Where the index and the files disagree. */
function placeFaults(
  index: string,
  places: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, Shard>,
): Fault[] {
  const faults: Fault[] = [];
  for (const [name, file] of places) {
    if (shards.get(file)?.entries.has(name) !== true) {
      faults.push({
        where: `${file}: tensor "${name}"`,
        found: "no such tensor",
        wanted: `what ${index} lists`,
      });
    }
  }
  for (const [file, { entries }] of shards) {
    for (const name of entries.keys()) {
      if (places.get(name) !== file) {
        const found = places.has(name)
          ? `a tensor that ${index} places in ${places.get(name)}`
          : `a tensor that ${index} does not list`;
        faults.push({ where: `${file}: tensor "${name}"`, found, wanted: "each tensor once, as listed" });
      }
    }
  }
  return faults;
}

async function closeAll(shards: readonly Shard[]): Promise<void> {
  await Promise.all(shards.map(({ source }) => source.close()));
}

/** Shards, in the order of their names, as one source. */
function checkpoint(name: string, shards: readonly Shard[]): WeightSource {
  const located = new Map(
    shards.flatMap(({ source, entries }) =>
      [...entries].map(([key, entry]) => [key, { ...entry, source }] as const),
    ),
  );
  const request = (names: readonly string[]) =>
    requestedTensors(name, located, names, ({ source, info }) => undecodable(source.name, info));
  return {
    tensors: new Map([...located].map(([key, { info }]) => [key, info])),
    async read(names, spare) {
      const chosen = request(names);
      const results = new Map<string, Tensor<Float32Array>>();
      for (const { source } of shards) {
        const here = chosen.filter((entry) => entry.source === source);
        const values = await readTensors(source, here.map(storedTensor), spare);
        for (const [i, { info }] of here.entries()) {
          results.set(info.name, { shape: info.shape, data: values[i] as Float32Array });
        }
      }
      return results;
    },
    readRows(name, rows) {
      const [{ source, ...entry }] = request([name]) as [ReturnType<typeof request>[0]];
      return readRows(source, storedTensor(entry), rows);
    },
    hash: () => sha256Of(shards.map(({ source }) => source)),
    close: () => closeAll(shards),
  };
}

/** What is decoded; only for types that {@link undecodable} let pass. */
function storedTensor({
  info: { dtype, bytes, shape },
  offset,
}: {
  readonly info: WeightInfo;
  readonly offset: number;
}): StoredTensor {
  return { offset, bytes, type: isDecodable(dtype) ? dtype : "F32", shape, change: { kind: "none" } };
}
