/** @file A GGUF file as the Hugging Face checkpoint it was converted from: names, shapes and values. */

import type { Fault } from "../../core/errors.ts";
import { inputError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { BLOCK_FORMATS, isDecodable } from "../../numeric/dequantize.ts";
import { addConstant, permuteRows, transpose } from "../../numeric/rows.ts";
import type { ByteSource } from "./byte-source.ts";
import { hashSources } from "./byte-source.ts";
import type { ConfigObject } from "./gguf-config.ts";
import { ggufConfig } from "./gguf-config.ts";
import { readGgufHeader } from "./gguf-header.ts";
import type { Change, GgufArchitecture, Target } from "./gguf-names.ts";
import { GGUF_ARCHITECTURES, isGgufArchitecture, targetsOf } from "./gguf-names.ts";
import type { GgmlTensor, GgufHeader, GgufValue } from "./gguf-types.ts";
import type { StoredValues } from "./reading.ts";
import { readValues, refuseAll } from "./reading.ts";
import { requestedTensors, undecodable } from "./request.ts";
import type { WeightInfo, WeightSource } from "./source.ts";

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
  refuseAll([...faults, ...missing, ...nameFaults]);

  const tensors = new Map([...located].map(([name, { info }]) => [name, info]));
  return {
    tensors,
    metadata: header.metadata,
    config,
    async read(names) {
      const chosen = requestedTensors(source.name, located, names, ({ info }) =>
        undecodable(source.name, info),
      );
      const values = await readValues(
        source,
        chosen.map(({ info, offset }) => storedValues(info, offset)),
      );
      const results = new Map<string, Tensor<Float32Array>>();
      for (const [index, entry] of chosen.entries()) {
        const data = undo(values[index] as Float32Array<ArrayBuffer>, entry, { heads, kvHeads });
        results.set(entry.info.name, { shape: entry.info.shape, data });
      }
      return results;
    },
    hash: () => hashSources([source]),
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

/** Where a tensor's values are; only for types that {@link undecodable} let pass. */
function storedValues({ dtype, bytes }: WeightInfo, offset: number): StoredValues {
  return { offset, bytes, format: BLOCK_FORMATS[isDecodable(dtype) ? dtype : "F32"] };
}

/** The checkpoint's values, from those that the converter wrote. */
function undo(
  values: Float32Array<ArrayBuffer>,
  { storedShape, change }: Located,
  heads: Heads,
): Float32Array<ArrayBuffer> {
  const [rows = 1, ...rest] = storedShape;
  const width = rest.reduce((product, dimension) => product * dimension, 1);
  switch (change.kind) {
    case "none":
      return values;
    case "plus-one":
      addConstant(values, -1);
      return values;
    case "transposed":
      return transpose(values, rows, width);
    case "rotary-pairs": {
      // Feature (half h, pair p) of a head is row 2p + h in the file and row h·half + p in the checkpoint.
      const half = rows / rowGroups(change, heads);
      return permuteRows(values, width, (row) => {
        const feature = row % (2 * half);
        return row - feature + 2 * (feature % half) + Math.floor(feature / half);
      });
    }
    case "parts-first": {
      // (part, head, feature) in the file, (head, part, feature) in the checkpoint.
      const features = rows / rowGroups(change, heads);
      return permuteRows(values, width, (row) => {
        const feature = row % features;
        const part = Math.floor(row / features) % 3;
        const head = Math.floor(row / (3 * features));
        return (part * heads.heads + head) * features + feature;
      });
    }
  }
}
