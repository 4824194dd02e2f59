/** @file Datasets as JSON: the form of `xarray.Dataset.from_dict`, written exactly and read with bounds. */
import { z } from "zod";
import { type Fault, InputError, refuse } from "../core/errors.ts";
import { sizeOf } from "../core/tensor.ts";
import { type Dataset, datasetFaults, type Json, type Variable } from "./result.ts";

/** A variable in JSON: values nested by dim, a bare value for a scalar, null for a cell that was not computed. */
export interface VariableJson {
  readonly dims: readonly string[];
  readonly data: Json;
  readonly attrs: Readonly<Record<string, Json>>;
}

/** The keys in the order in which they are written. */
export interface DatasetJson {
  readonly attrs: Readonly<Record<string, Json>>;
  readonly coords: Readonly<Record<string, VariableJson>>;
  readonly dims: Readonly<Record<string, number>>;
  readonly data_vars: Readonly<Record<string, VariableJson>>;
}

const MAX_VARIABLES = 10_000; // a result has tens; bounds the work before any data is looked at
const MAX_DIMS = 16; // layer × head × dst × src × pair is 5
export const MAX_CELLS: number = 2 ** 26; // 64 Mi values, 0.5 GiB as float64; larger results are Parquet
const MAX_SHOWN = 200; // characters of a name or a reason in a message; names have up to 128
const MAX_FAULTS_PER_VARIABLE = 5; // a file of the wrong kind has millions; five show the pattern

/** A dataset as plain JSON data. NaN becomes null, and so do infinities, for which JSON has no number. */
export function toJson(dataset: Dataset): DatasetJson {
  const convert = (variables: Dataset["coords"]) =>
    Object.fromEntries(
      Object.entries(variables).map(([name, variable]) => [
        name,
        { dims: variable.dims, data: nest(variable, dataset.dims), attrs: variable.attrs },
      ]),
    );
  return {
    attrs: dataset.attrs,
    coords: convert(dataset.coords),
    dims: dataset.dims,
    data_vars: convert(dataset.dataVars),
  };
}

/** Values of one piece of text: about 64 kB. */
const PIECE_CELLS = 4096;

/**
 * A dataset as one line of JSON text, in pieces: in one, tens of millions of cells would be more than a string holds.
 */
export function* jsonPieces(dataset: Dataset): Generator<string> {
  const { attrs, coords, dims } = toJson({ ...dataset, dataVars: {} });
  const head = JSON.stringify({ attrs, coords, dims });
  yield `${head.slice(0, -1)},"data_vars":{`;
  let between = "";
  for (const [name, variable] of Object.entries(dataset.dataVars)) {
    yield `${between}${JSON.stringify(name)}:{"dims":${JSON.stringify(variable.dims)},"data":`;
    yield* nestedPieces(variable, dataset.dims);
    yield `,"attrs":${JSON.stringify(variable.attrs)}}`;
    between = ",";
  }
  yield "}}\n";
}

/** The values of {@link nest} as text. */
function* nestedPieces({ dims, data }: Variable, sizes: Dataset["dims"]): Generator<string> {
  const shape = dims.map((dim) => sizes[dim] ?? 0);
  const rank = shape.length;
  if (rank === 0 || data.length === 0) {
    yield JSON.stringify(nest({ dims, data, attrs: {} }, sizes));
    return;
  }
  // Cells per list, from the innermost out.
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis)));
  let text = "";
  for (let index = 0; index < data.length; index++) {
    const opened = strides.filter((stride) => index % stride === 0).length;
    if (index > 0) text += `${"]".repeat(opened)},`;
    const value = data[index];
    text += "[".repeat(opened);
    text += JSON.stringify(typeof value === "number" && !Number.isFinite(value) ? null : value);
    if (index % PIECE_CELLS === PIECE_CELLS - 1) {
      yield text;
      text = "";
    }
  }
  yield `${text}${"]".repeat(rank)}`;
}

/** A dataset as one line of JSON text. */
export function formatJson(dataset: Dataset): string {
  return [...jsonPieces(dataset)].join("");
}

function nest({ dims, data }: Variable, sizes: Dataset["dims"]): Json {
  const shape = dims.map((dim) => sizes[dim] ?? 0);
  const level = (axis: number, start: number, stride: number): Json => {
    const size = shape[axis];
    if (size === undefined) {
      const value = data[start];
      return value === undefined || (typeof value === "number" && !Number.isFinite(value)) ? null : value;
    }
    const step = size === 0 ? 0 : stride / size;
    return Array.from({ length: size }, (_, index) => level(axis + 1, start + index * step, step));
  };
  return level(0, 0, sizeOf(shape));
}

const variableSchema = z.strictObject({
  dims: z.array(z.string()).max(MAX_DIMS),
  data: z.unknown(),
  attrs: z.record(z.string(), z.unknown()).default({}),
});
const variablesSchema = z
  .record(z.string(), variableSchema)
  .refine(
    (variables) => Object.keys(variables).length <= MAX_VARIABLES,
    `more than ${MAX_VARIABLES} variables`,
  );
const datasetSchema = z.strictObject({
  attrs: z.record(z.string(), z.unknown()),
  coords: variablesSchema,
  dims: z.record(z.string(), z.int().nonnegative().max(MAX_CELLS)),
  data_vars: variablesSchema,
});

/**
 * Reads a dataset from parsed JSON.
 * @param where the file or source, for messages.
 * @throws InputError with every fault: keys missing or unknown, ragged or over-long data, text among numbers, and all
 * that {@link datasetFaults} finds.
 */
export function fromJson(value: unknown, where = "result"): Dataset {
  const parsed = datasetSchema.safeParse(value);
  if (!parsed.success) {
    throw new InputError(schemaFaults(parsed.error, value, where));
  }
  const { attrs, dims, coords, data_vars } = parsed.data;
  const faults: Fault[] = [];
  if (attrs.format === undefined) {
    faults.push({ where: "attrs.format", found: "none", wanted: `"crosspatch.result/1"` });
  }
  const read = (variables: typeof coords, part: string): Dataset["coords"] =>
    Object.fromEntries(
      Object.entries(variables).map(([name, variable]) => {
        const flat = flatten(`${part}.${name}`, variable, dims);
        faults.push(...flat.faults);
        return [name, { dims: variable.dims, data: flat.data, attrs: variable.attrs as Variable["attrs"] }];
      }),
    );
  const result: Dataset = {
    attrs: attrs as Dataset["attrs"],
    dims,
    coords: read(coords, "coords"),
    dataVars: read(data_vars, "data_vars"),
  };
  // Data that could not be flattened would be reported a second time as data of the wrong length.
  const reported = new Set(faults.map((fault) => fault.where.replace(/\[.*/s, "")));
  faults.push(...datasetFaults(result).filter((fault) => !reported.has(fault.where)));
  refuse(faults.map((fault) => ({ ...fault, where: `${where}.${fault.where}` })));
  return result;
}

/** What a schema of a result finds wrong with a value. */
export function schemaFaults({ issues }: z.ZodError, value: unknown, where: string): Fault[] {
  return issues.map((issue) => ({
    where: [where, ...issue.path.map((key) => cut(String(key)))].join("."),
    found: describe(issue.path.reduce<unknown>(property, value)),
    wanted: `a crosspatch result (${cut(issue.message)})`,
  }));
}

const cut = (text: string): string => (text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`);

function property(value: unknown, key: PropertyKey): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

type Flat = { readonly data: Variable["data"]; readonly faults: readonly Fault[] };

/** Nested lists as flat data; numbers (null: NaN) or text, never both. */
function flatten(where: string, variable: z.infer<typeof variableSchema>, sizes: Dataset["dims"]): Flat {
  // Own sizes only: every object has a "constructor".
  const shape = variable.dims.map((dim) => (Object.hasOwn(sizes, dim) ? (sizes[dim] ?? 0) : 0));
  if (sizeOf(shape) > MAX_CELLS) {
    const found = `${sizeOf(shape)} cells`;
    return { data: [], faults: [{ where, found, wanted: `at most ${MAX_CELLS}`, fix: "Use Parquet." }] };
  }
  const faults: Fault[] = [];
  const numbers: number[] = [];
  const texts: string[] = [];
  const visit = (value: unknown, axis: number, path: string): void => {
    if (faults.length >= MAX_FAULTS_PER_VARIABLE) return;
    const size = shape[axis];
    if (size !== undefined) {
      if (!Array.isArray(value) || value.length !== size) {
        const wanted = `a list of ${size} (dim ${variable.dims[axis]})`;
        faults.push({ where: `${where}${path}`, found: describe(value), wanted });
        return;
      }
      for (const [index, item] of value.entries()) visit(item, axis + 1, `${path}[${index}]`);
    } else if (typeof value === "number" || value === null) numbers.push(value ?? Number.NaN);
    else if (typeof value === "string") texts.push(value);
    else
      faults.push({ where: `${where}${path}`, found: describe(value), wanted: "a number, a text or null" });
  };
  visit(variable.data, 0, "");
  if (faults.length === 0 && texts.length > 0 && numbers.length > 0) {
    faults.push({ where, found: `${texts.length} texts and ${numbers.length} numbers`, wanted: "one kind" });
  }
  return { data: texts.length > 0 ? texts : Float64Array.from(numbers), faults };
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  return JSON.stringify(value).slice(0, 60);
}
