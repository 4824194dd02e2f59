/**
 * @file The weights a model's programs take, decoded when first needed and kept or dropped as told.
 *
 * Layers are gone through in ascending order, again and again. Where not all may stay, the part whose turn is furthest
 * off makes room, as a rule the one just done with: some are still there when their turn comes again, the others pass
 * through, each read once a round. Which ones stay shifts from round to round. (The least recently used one would be just
 * the one needed next: nothing that stays would ever be of use.)
 */

import type { Fault } from "../core/errors.ts";
import { InputError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { sizeOf } from "../core/tensor.ts";
import { takeEvery, takeRows } from "../numeric/take.ts";
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
  /**
   * Says that whoever called {@link WeightStore.get} will not look at the part again. Only then can its memory be used
   * for the next part; otherwise it is left to the garbage collector, which takes its time.
   */
  release(part: Part): void;
  /** Starts decoding without waiting. */
  prefetch(part: Part): void;
  /** Starts decoding everything, where everything may stay. */
  prefetchAll(): void;
  /** Rows [rows, …] of a weight of the ends, by the name of the input that takes it, at the price of these rows alone. */
  rows(input: string, rows: readonly number[]): Promise<Tensor<Float32Array>>;
  /** float32 bytes of one part. */
  bytes(part: Part): number;
  readonly totalBytes: number;
  close(): Promise<void>;
}

/** A part that is there or on its way. */
interface Held {
  readonly weights: Promise<Weights>;
  /** The same once it is there. */
  found?: Weights;
  /** Callers of `get` that have not released it. */
  users: number;
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

/** float32 bytes of one part. */
export function partBytes(definition: Definition, part: Part): number {
  return weightInputs(definition, part).reduce(
    (sum, { role }) => sum + 4 * sizeOf(takenShape(role.stored, role.take)),
    0,
  );
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

export interface StoreOptions {
  readonly keepBytes?: number;
  /** Called when a part is released, with the bytes of all weights held: what went through the layer is garbage by then. */
  readonly onRelease?: (heldBytes: number) => void;
}

/**
 * Opens the store. Without `keepBytes` everything that was read once stays. With it, what does not fit is dropped, but
 * for the part asked for last and the next one.
 */
export function weightStore(
  definition: Definition,
  source: WeightSource,
  { keepBytes = Number.POSITIVE_INFINITY, onRelease }: StoreOptions = {},
): WeightStore {
  const storedName = requireTensors(definition, source);
  const inputsOf = new Map(allParts(definition).map((part) => [part, weightInputs(definition, part)]));
  const sizes = new Map(allParts(definition).map((part) => [part, partBytes(definition, part)]));
  const layers = definition.blocks.length;
  const held = new Map<Part, Held>();
  /** What was asked for last. */
  let current: Part = 0;

  const bytes = (part: Part): number => {
    const size = sizes.get(part);
    if (size === undefined) throw new RangeError(`layer ${part} of ${layers}`);
    return size;
  };

  /** How many steps off a part's next turn is; the ends come after the last layer. */
  const turn = (part: Part): number => {
    const place = (of: Part): number => (of === "ends" ? layers : of);
    return (place(part) - place(current) + layers + 1) % (layers + 1);
  };

  /** Drops what has to go before `part` comes; returns memory that nobody looks at any more. */
  const makeRoom = (part: Part): ArrayBuffer[] => {
    let total = [...held.keys()].reduce<number>((sum, key) => sum + bytes(key), bytes(part));
    const spare: ArrayBuffer[] = [];
    while (total > keepBytes) {
      const [last] = [...held.keys()].filter((key) => key !== current).sort((a, b) => turn(b) - turn(a));
      if (last === undefined) break;
      const { found, users } = held.get(last) as Held;
      held.delete(last);
      total -= bytes(last);
      if (found !== undefined && users === 0) spare.push(...buffersOf(found));
    }
    return spare;
  };

  const load = async (part: Part, spare: readonly ArrayBuffer[]): Promise<Weights> => {
    const inputs = inputsOf.get(part) ?? [];
    const nameOf = ({ role }: WeightInput): string => storedName(prefixOf(definition, part) + role.tensor);
    const tensors = await source.read([...new Set(inputs.map(nameOf))], spare);
    return Object.fromEntries(
      inputs.map((input) => {
        const whole = tensors.get(nameOf(input));
        if (whole === undefined) throw new Error(`the source did not return ${nameOf(input)}`);
        return [input.name, taken(whole, input.role.take)];
      }),
    );
  };

  const hold = (part: Part): Held => {
    const known = held.get(part);
    if (known !== undefined) return known;
    const made: Held = { weights: load(part, makeRoom(part)), users: 0 };
    held.set(part, made);
    made.weights.then(
      (found) => {
        made.found = found;
      },
      () => held.get(part) === made && held.delete(part), // the error comes again when the part is asked for again
    );
    return made;
  };

  return {
    get(part) {
      bytes(part);
      current = part;
      const asked = hold(part);
      asked.users += 1;
      return asked.weights;
    },
    release(part) {
      const known = held.get(part);
      if (known !== undefined && known.users > 0) known.users -= 1;
      onRelease?.([...held.keys()].reduce<number>((sum, key) => sum + bytes(key), 0));
    },
    prefetch(part) {
      bytes(part);
      hold(part);
    },
    prefetchAll() {
      if (keepBytes !== Number.POSITIVE_INFINITY) return;
      for (const part of definition.blocks.keys()) hold(part);
    },
    async rows(name, rows) {
      const whole = held.get("ends")?.found?.[name];
      if (whole !== undefined) return takeRows(whole, rows);
      const input = inputsOf.get("ends")?.find((one) => one.name === name);
      if (input === undefined || input.role.take !== undefined) throw new RangeError(`no table ${name}`);
      return source.readRows(storedName(input.role.tensor), rows);
    },
    bytes,
    totalBytes: [...sizes.values()].reduce((sum, size) => sum + size, 0),
    close: () => source.close(),
  };
}

/** The memory of weights that have it to themselves. */
function buffersOf(weights: Weights): ArrayBuffer[] {
  const all = Object.values(weights).map(({ data }) => data);
  const whole = all.filter(({ buffer, byteLength }) => byteLength === buffer.byteLength);
  return [...new Set(whole.map(({ buffer }) => buffer as ArrayBuffer))];
}

function taken(whole: Tensor<Float32Array>, take: Take | undefined): Tensor<Float32Array> {
  if (take === undefined) return whole;
  const shape = takenShape(whole.shape, take);
  return { shape, data: takeEvery(whole, take) };
}
