/** @file A GGUF file as the Hugging Face checkpoint it was converted from: names, shapes and values. */

import type { Fault } from "../../core/errors.ts";
import { inputError, refuse } from "../../core/errors.ts";
import { BLOCK_FORMATS, isDecodable } from "../../numeric/dequantize.ts";
import type { ByteSource } from "./byte-source.ts";
import type { ConfigObject } from "./gguf-config.ts";
import { ggufConfig } from "./gguf-config.ts";
import { readGgufHeader } from "./gguf-header.ts";
import type { Change, GgufArchitecture, Target } from "./gguf-names.ts";
import { GGUF_ARCHITECTURES, isGgufArchitecture, targetsOf } from "./gguf-names.ts";
import type { GgmlTensor, GgufHeader, GgufValue } from "./gguf-types.ts";
import { readValues } from "./reading.ts";
import { requestedTensors, undecodable } from "./request.ts";
import type { WeightInfo, WeightSource } from "./source.ts";
import { readRows, readTensors, sha256Of } from "./stored.ts";
import type { Rearrangement, StoredTensor } from "./threads.ts";

/** Weights of a GGUF file with what else it says. */
export interface GgufFile extends WeightSource {
  /** Every metadata entry, by key. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /**
   * The equivalent config.json. Where the file has `rope_freqs.weight`, `rope_scaling` is
   * `{ rope_type: "factors", factors }`, its values.
   */
  readonly config: ConfigObject;
}

/** A Hugging Face tensor and where its values are. */
interface Located {
  readonly info: WeightInfo;
  readonly offset: number;
  /** Shape as stored, which differs from the tensor's own where it was transposed. */
  readonly storedShape: readonly number[];
  readonly change: Change;
}

/** Divisors of rotary frequencies are one per pair of features of a head; no head is as wide as this. */
const MAX_ROPE_FACTORS = 4096;

/**
 * Reads a GGUF file's header and makes its tensors available under their Hugging Face names.
 * Closes the source where that fails.
 * @throws InputError with every fault of the tensor list, or every fault of metadata and names.
 */
export async function openGguf(source: ByteSource): Promise<GgufFile> {
  try {
    return await describe(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function describe(source: ByteSource): Promise<GgufFile> {
  const header = await readGgufHeader(source);
  const architecture = architectureOf(source.name, header);
  const byName = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
  const embedding = byName.get("token_embd.weight");
  const { config, heads, kvHeads, faults } = ggufConfig(
    { name: source.name, metadata: header.metadata },
    architecture,
    {
      vocabulary: embedding?.shape[0] ?? 0,
      has: (name) => byName.has(name),
      ropeFactors: await readRopeFactors(source, byName.get("rope_freqs.weight")),
    },
  );
  const located = new Map<string, Located>();
  const nameFaults = header.tensors.flatMap((tensor) => {
    const targets = targetsOf(architecture, tensor.name);
    const twice = targets?.find(({ name }) => located.has(name));
    const problem =
      twice === undefined
        ? targetFault(tensor, targets, { heads, kvHeads })
        : { found: `another tensor for ${twice.name}`, wanted: "one" };
    if (problem !== undefined) return [{ where: `${source.name}: tensor "${tensor.name}"`, ...problem }];
    for (const target of targets ?? []) located.set(target.name, locate(tensor, target));
    return [];
  });
  const missing: Fault[] =
    embedding === undefined
      ? [{ where: source.name, found: 'no tensor "token_embd.weight"', wanted: "an embedding" }]
      : [];
  refuse([...faults, ...missing, ...nameFaults]);

  const tensors = new Map([...located].map(([name, { info }]) => [name, info]));
  const request = (names: readonly string[]): Located[] =>
    requestedTensors(source.name, located, names, ({ info }) => undecodable(source.name, info));
  const stored = (entry: Located): StoredTensor => storedTensor(entry, { heads, kvHeads });
  return {
    tensors,
    metadata: header.metadata,
    config,
    async read(names, spare) {
      const chosen = request(names);
      const values = await readTensors(source, chosen.map(stored), spare);
      return new Map(
        chosen.map(({ info: { name, shape } }, index) => [
          name,
          { shape, data: values[index] as Float32Array },
        ]),
      );
    },
    readRows(name, rows) {
      const [entry] = request([name]);
      return readRows(source, stored(entry as Located), rows);
    },
    hash: () => sha256Of([source]),
    close: () => source.close(),
  };
}

function architectureOf(file: string, { metadata }: GgufHeader): GgufArchitecture {
  const parts = metadata.get("split.count") ?? 1;
  if (parts !== 1 && parts !== 0) {
    throw inputError(
      `${file}: split.count`,
      `one of ${parts} parts`,
      "a whole file",
      "Join them with llama-gguf-split --merge.",
    );
  }
  const name = metadata.get("general.architecture");
  if (isGgufArchitecture(name)) return name;
  const found = name === undefined ? "nothing" : JSON.stringify(String(name)).slice(0, 80);
  throw inputError(`${file}: general.architecture`, found, `one of ${GGUF_ARCHITECTURES.join(", ")}`);
}

async function readRopeFactors(
  source: ByteSource,
  tensor: GgmlTensor | undefined,
): Promise<readonly number[] | undefined> {
  if (tensor === undefined) return undefined;
  const { name, shape, type, offset, bytes } = tensor;
  if (type.name !== "F32" || shape.length !== 1 || bytes > 4 * MAX_ROPE_FACTORS) {
    const wanted = `F32 [at most ${MAX_ROPE_FACTORS}]`;
    throw inputError(`${source.name}: tensor "${name}"`, `${type.name} [${shape.join(", ")}]`, wanted);
  }
  const [values] = await readValues(source, [{ offset, bytes, format: BLOCK_FORMATS.F32 }]);
  return [...(values ?? [])];
}

interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
}

/** Number of equal groups that the rows fall into, which a change relies on. */
function rowGroups({ kind, ...change }: Change, { heads, kvHeads }: Heads): number {
  if (kind === "rotary-pairs") return 2 * ("heads" in change && change.heads === "key" ? kvHeads : heads);
  return kind === "parts-first" ? 3 * heads : 1;
}

/** What keeps a stored tensor from being the tensors it is said to hold. */
function targetFault(
  { shape }: GgmlTensor,
  targets: readonly Target[] | undefined,
  heads: Heads,
): { readonly found: string; readonly wanted: string } | undefined {
  if (targets === undefined)
    return { found: "a name that this architecture does not have", wanted: "only known tensors" };
  const [rows = 1] = shape;
  for (const { change, part } of targets) {
    const groups = rowGroups(change, heads) * (part?.of ?? 1);
    if (rows % groups !== 0) return { found: `${rows} rows`, wanted: `a multiple of ${groups}` };
    if (change.kind === "transposed" && shape.length !== 2)
      return { found: `${shape.length} axes`, wanted: "2" };
    if (part !== undefined && shape.length === 0) return { found: "no axis", wanted: "at least 1" };
  }
  return undefined;
}

function locate({ shape, type, offset, bytes }: GgmlTensor, { name, change, part }: Target): Located {
  const [rows = 1, ...rest] = shape;
  const { index, of } = part ?? { index: 0, of: 1 };
  const storedShape = part === undefined ? shape : [rows / of, ...rest];
  return {
    info: {
      name,
      shape: change.kind === "transposed" ? [...storedShape].reverse() : storedShape,
      dtype: type.name,
      bytes: bytes / of,
    },
    offset: offset + (index * bytes) / of,
    storedShape,
    change,
  };
}

/** What is decoded; only for types that {@link undecodable} let pass. */
function storedTensor(
  { info: { dtype, bytes }, offset, storedShape, change }: Located,
  heads: Heads,
): StoredTensor {
  return {
    offset,
    bytes,
    type: isDecodable(dtype) ? dtype : "F32",
    shape: storedShape,
    change: rearrangement(change, heads),
  };
}

function rearrangement(change: Change, { heads, kvHeads }: Heads): Rearrangement {
  switch (change.kind) {
    case "rotary-pairs":
      return { kind: change.kind, heads: change.heads === "key" ? kvHeads : heads };
    case "parts-first":
      return { kind: change.kind, heads };
    default:
      return change;
  }
}
