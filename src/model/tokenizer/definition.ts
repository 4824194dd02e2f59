/**
 * @file What the parts of a tokenizer definition share: bounds on untrusted input, and a reader that turns
 * a schema's complaints into faults with the file and field they are about.
 */

import type { z } from "zod";
import type { Fault } from "../../core/errors.ts";

/** Largest vocabulary seen is 262,144 (Gemma 3). Ids index arrays, so an id of 4e9 must not reach them. */
export const MAX_TOKENS = 1_000_000;
/** Gemma 3 has 514,906 merges. */
export const MAX_MERGES = 4_000_000;
/** Characters of one token; the longest seen are runs of 512 spaces. */
export const MAX_TOKEN_LENGTH = 8_192;
/** Characters of one splitting pattern; DeepSeek V3's, the longest seen, has about 500. */
export const MAX_PATTERN_LENGTH = 8_192;
/** Steps in one sequence of normalizers, pre-tokenizers, decoders or processors; eight is the most seen. */
export const MAX_STEPS = 64;
/** Sequences inside sequences; two levels are the most seen. */
export const MAX_DEPTH = 8;
/** Characters of a chat template; the longest seen have about 20,000. */
export const MAX_TEMPLATE_LENGTH = 500_000;
/** A broken vocabulary is broken in thousands of places: this many are listed, the others counted. */
export const MAX_LISTED = 8;

export type JsonObject = Readonly<Record<string, unknown>>;

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A value in a few characters, for the `found` of a fault. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** Collects faults about one file and caps how many are listed about one field. */
export class Faults {
  readonly list: Fault[] = [];

  add(where: string, found: string, wanted: string, fix?: string): undefined {
    this.list.push(fix === undefined ? { where, found, wanted } : { where, found, wanted, fix });
    return undefined;
  }

  /** Adds the first {@link MAX_LISTED} of `faults` and one line that counts the rest. */
  addMany(where: string, faults: readonly Fault[]): void {
    this.list.push(...faults.slice(0, MAX_LISTED));
    const more = faults.length - MAX_LISTED;
    if (more > 0) this.add(where, `${more} more faults of this kind`, "none");
  }

  /** The value as the schema sees it, or undefined with a fault for each complaint. */
  parse<T>(schema: z.ZodType<T>, value: unknown, where: string): T | undefined {
    const outcome = schema.safeParse(value);
    if (outcome.success) return outcome.data;
    for (const issue of outcome.error.issues.slice(0, MAX_LISTED)) {
      const at = issue.path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
      this.add(where + at, show(reach(value, issue.path)), issue.message);
    }
    return undefined;
  }
}

/** The value at a path, undefined where the path leaves it. */
function reach(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === "object" && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
}

/** What a step's reader gets: the step's own object, where it stands, and where faults go. */
export interface Step {
  readonly value: JsonObject;
  readonly where: string;
  readonly faults: Faults;
  readonly depth: number;
}

/**
 * Reads a component that may be null, one step, or a `Sequence` of steps (named `children` in the file),
 * flattened; each step through the reader of its type. An unknown type is a fault that lists the known ones.
 */
export function readSteps<T>(
  readers: Readonly<Record<string, (step: Step) => readonly T[] | undefined>>,
  children: string,
  step: Omit<Step, "value"> & { readonly value: unknown },
): readonly T[] | undefined {
  const { value, where, faults, depth } = step;
  if (value === null || value === undefined) return [];
  if (!isJsonObject(value)) return faults.add(where, show(value), "an object with a `type`, or null");
  const { type } = value;
  if (type === "Sequence") {
    const inner = value[children];
    if (!Array.isArray(inner) || inner.length > MAX_STEPS)
      return faults.add(`${where}.${children}`, show(inner), `an array of at most ${MAX_STEPS} steps`);
    if (depth >= MAX_DEPTH) return faults.add(where, "a deeper sequence", `at most ${MAX_DEPTH} levels`);
    const read = inner.map((child, i) =>
      readSteps(readers, children, {
        value: child,
        where: `${where}.${children}[${i}]`,
        faults,
        depth: depth + 1,
      }),
    );
    return read.flatMap((steps) => steps ?? []);
  }
  const reader = typeof type === "string" && Object.hasOwn(readers, type) ? readers[type] : undefined;
  if (reader === undefined)
    return faults.add(`${where}.type`, show(type), `one of Sequence, ${Object.keys(readers).join(", ")}`);
  return reader({ value, where, faults, depth });
}
