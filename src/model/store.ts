/** @file The weights a model's programs take, decoded when first needed and kept or dropped as told. */

import type { Fault } from "../core/errors.ts";
import { InputError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { sizeOf } from "../core/tensor.ts";
import { takeEvery } from "../numeric/take.ts";
import type { Input, Program, Take } from "../program/program.ts";
import { takenShape } from "../program/program.ts";
import type { Definition } from "./architecture.ts";
import type { WeightSource } from "./weights/source.ts";

/** Weights by the name of the program input that takes them. */
export type Weights = Readonly<Record<string, Tensor<Float32Array>>>;

/** One block, or what stands before the first and after the last (often one shared matrix). */
export type Part = "ends" | number;

export interface WeightStore {
  /** Decoded weights of one part; kept while `keepBytes` allows. */
  get(part: Part): Promise<Weights>;
  /** Starts decoding without waiting. */
  prefetch(part: Part): void;
  /** float32 bytes of one part. */
  bytes(part: Part): number;
  readonly totalBytes: number;
  close(): Promise<void>;
}

interface WeightInput extends Input {
  readonly role: Extract<Input["role"], { kind: "weight" }>;
}

/** The weights of one part, each once. */
function weightInputs({ embed, unembed, blocks }: Definition, part: Part): WeightInput[] {
  const programs: readonly (Program | undefined)[] = part === "ends" ? [embed, unembed] : [blocks[part]];
  const inputs = programs.flatMap((program) => {
    if (program === undefined) throw new RangeError(`layer ${part} of ${blocks.length}`);
    return program.inputs.filter((input): input is WeightInput => input.role.kind === "weight");
  });
  return [...new Map(inputs.map((input) => [input.name, input])).values()];
}

const prefixOf = (definition: Definition, part: Part): string =>
  part === "ends" ? "" : definition.layerPrefix(part);

function allParts(definition: Definition): Part[] {
  return ["ends", ...definition.blocks.keys()];
}

/**
 * Holds a checkpoint against what the architecture needs: each tensor there, of the right shape, and none besides.
 * @returns the stored name of each tensor, as checkpoints of a bare base model leave out a prefix.
 * @throws InputError listing every missing, extra and misshaped tensor.
 */
export function requireTensors(definition: Definition, source: WeightSource): (name: string) => string {
  const { basePrefix } = definition;
  const storedName = (name: string): string =>
    !source.tensors.has(name) &&
    name.startsWith(basePrefix) &&
    source.tensors.has(name.slice(basePrefix.length))
      ? name.slice(basePrefix.length)
      : name;
  const faults: Fault[] = [];
  const known = new Set<string>();
  for (const part of allParts(definition)) {
    for (const { role } of weightInputs(definition, part)) {
      const name = prefixOf(definition, part) + role.tensor;
      const stored = storedName(name);
      if (known.has(stored)) continue;
      known.add(stored);
      const found = source.tensors.get(stored);
      const wanted = `[${role.stored.join(", ")}]`;
      if (found === undefined) {
        faults.push({ where: name, found: "no such tensor in the checkpoint", wanted: `a tensor ${wanted}` });
      } else if (found.shape.join() !== role.stored.join()) {
        faults.push({ where: stored, found: `shape [${found.shape.join(", ")}]`, wanted });
      }
    }
  }
  for (const name of source.tensors.keys()) {
    if (!known.has(name) && !definition.ignored.some((pattern) => pattern.test(name))) {
      faults.push({
        where: name,
        found: "a tensor that this architecture does not use",
        wanted: "only tensors whose place in the computation is known",
        fix: "The checkpoint is of another architecture than its configuration declares.",
      });
    }
  }
  if (faults.length > 0) throw new InputError(faults);
  return storedName;
}

/**
 * Opens the store. Without `keepBytes` everything that was read once stays; with it, the least recently used
 * parts are dropped first.
 */
export function weightStore(
  definition: Definition,
  source: WeightSource,
  { keepBytes = Number.POSITIVE_INFINITY }: { readonly keepBytes?: number } = {},
): WeightStore {
  const storedName = requireTensors(definition, source);
  const held = new Map<Part, Promise<Weights>>();

  const bytes = (part: Part): number =>
    weightInputs(definition, part).reduce<number>(
      (sum, { role }) => sum + 4 * sizeOf(takenShape(role.stored, role.take)),
      0,
    );

  const load = async (part: Part): Promise<Weights> => {
    const inputs = weightInputs(definition, part);
    const nameOf = ({ role }: WeightInput): string => storedName(prefixOf(definition, part) + role.tensor);
    const tensors = await source.read([...new Set(inputs.map(nameOf))]);
    return Object.fromEntries(
      inputs.map((input) => {
        const whole = tensors.get(nameOf(input));
        if (whole === undefined) throw new Error(`the source did not return ${nameOf(input)}`);
        return [input.name, taken(whole, input.role.take)];
      }),
    );
  };

  const get = (part: Part): Promise<Weights> => {
    let found = held.get(part);
    if (found === undefined) found = load(part);
    else held.delete(part);
    held.set(part, found); // last in the map = most recently used
    let total = [...held.keys()].reduce<number>((sum, key) => sum + bytes(key), 0);
    for (const key of held.keys()) {
      if (total <= keepBytes || key === part) break;
      held.delete(key);
      total -= bytes(key);
    }
    found.catch(() => held.delete(part));
    return found;
  };

  return {
    get,
    prefetch(part) {
      get(part).catch(() => {}); // the error comes again, and is seen, when the part is asked for
    },
    bytes,
    totalBytes: allParts(definition).reduce<number>((sum, part) => sum + bytes(part), 0),
    close: () => source.close(),
  };
}

function taken(whole: Tensor<Float32Array>, take: Take | undefined): Tensor<Float32Array> {
  if (take === undefined) return whole;
  const shape = takenShape(whole.shape, take);
  return { shape, data: takeEvery(whole, take) };
}
