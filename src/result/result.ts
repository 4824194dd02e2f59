/** @file A result: a labelled dataset whose JSON form is what `xarray.Dataset.from_dict` reads. */
import { type Fault, refuse } from "../core/errors.ts";
import { excerpt } from "../core/excerpt.ts";
import { sizeOf } from "../core/tensor.ts";

/** JSON values; attributes hold nothing else. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Values over named dims, row-major and flat; NaN marks a cell that was not computed. */
export interface Variable {
  readonly dims: readonly string[];
  readonly data: Float64Array | readonly string[] | readonly number[];
  readonly attrs: Readonly<Record<string, Json>>;
}

/** A labelled dataset. */
export interface Dataset {
  readonly attrs: Readonly<Record<string, Json>>;
  readonly dims: Readonly<Record<string, number>>;
  readonly coords: Readonly<Record<string, Variable>>;
  readonly dataVars: Readonly<Record<string, Variable>>;
}

/** `attrs.format` of every result; the number rises when a reader of the old form would misread the new one. */
export const RESULT_FORMAT = "crosspatch.result/1";

const MAX_NAME_CHARACTERS = 128; // longest name in use is under 40; keeps file, column and axis names printable
const MAX_ATTRIBUTE_DEPTH = 32; // deepest in use is 5; stops a nested file from exhausting the stack

/**
 * Checks the parts of a dataset and puts `attrs.format` first.
 * @throws InputError naming every fault: undeclared or repeated dims, data of another length than the dims say, a name
 * used for both a coordinate and a variable, an index coordinate that cannot label its dim, attributes outside JSON.
 */
export function dataset(parts: Dataset): Dataset {
  refuse(datasetFaults(parts));
  return { ...parts, attrs: { format: RESULT_FORMAT, ...parts.attrs } };
}

/** Everything that is wrong with a dataset; empty where nothing is. */
export function datasetFaults(parts: Dataset): Fault[] {
  const faults: Fault[] = [];
  for (const [dim, size] of Object.entries(parts.dims)) {
    faults.push(...nameFaults(`dims.${dim}`, dim));
    if (!Number.isSafeInteger(size) || size < 0) {
      faults.push({ where: `dims.${dim}`, found: String(size), wanted: "a whole number, 0 or more" });
    }
  }
  for (const [name, variable] of Object.entries(parts.coords)) {
    faults.push(...variableFaults(`coords.${name}`, variable, parts.dims));
    faults.push(...nameFaults(`coords.${name}`, name));
    if (Object.hasOwn(parts.dims, name)) faults.push(...indexFaults(name, variable));
  }
  for (const [name, variable] of Object.entries(parts.dataVars)) {
    faults.push(...variableFaults(`data_vars.${name}`, variable, parts.dims));
    faults.push(...nameFaults(`data_vars.${name}`, name));
    if (Object.hasOwn(parts.coords, name)) {
      faults.push({
        where: `data_vars.${name}`,
        found: "a coordinate of the same name",
        wanted: "names that are used once",
        fix: Object.hasOwn(parts.dims, name)
          ? "Leave the coordinate out: a dim without one is labelled 0, 1, 2, …"
          : "Rename one of the two.",
      });
    }
  }
  faults.push(...attributeFaults("attrs", parts.attrs));
  const { format } = parts.attrs;
  if (format !== undefined && format !== RESULT_FORMAT) {
    faults.push({
      where: "attrs.format",
      found: excerpt(format, MAX_NAME_CHARACTERS),
      wanted: JSON.stringify(RESULT_FORMAT),
    });
  }
  return faults;
}

function nameFaults(where: string, name: string): Fault[] {
  // `__proto__` as a key of a plain object would set its prototype instead of a property.
  const printable = /^[^\p{Cc}\p{Zl}\p{Zp}]+$/u.test(name) && name.trim() === name && name !== "__proto__";
  if (printable && name.length <= MAX_NAME_CHARACTERS) return [];
  return [
    {
      where,
      found: JSON.stringify(name.slice(0, MAX_NAME_CHARACTERS)),
      wanted: `a printable name of 1 to ${MAX_NAME_CHARACTERS} characters`,
    },
  ];
}

function variableFaults(where: string, variable: Variable, dims: Dataset["dims"]): Fault[] {
  const faults = attributeFaults(`${where}.attrs`, variable.attrs);
  const unknown = variable.dims.filter((dim) => !Object.hasOwn(dims, dim));
  if (unknown.length > 0) {
    const declared = Object.keys(dims).join(", ") || "none";
    faults.push({ where, found: `undeclared dims ${unknown.join(", ")}`, wanted: `some of: ${declared}` });
  }
  if (new Set(variable.dims).size !== variable.dims.length) {
    faults.push({ where, found: `dims ${variable.dims.join(", ")}`, wanted: "each dim once" });
  }
  const shape = variable.dims.map((dim) => dims[dim] ?? 0);
  if (unknown.length === 0 && sizeOf(shape) !== variable.data.length) {
    const axes = variable.dims.map((dim, axis) => `${dim} ${shape[axis]}`).join(" × ") || "a scalar";
    faults.push({ where, found: `${variable.data.length} values`, wanted: `${sizeOf(shape)} (${axes})` });
  }
  return faults;
}

/** A coordinate named like a dim labels it, so its labels must tell cells apart. */
function indexFaults(name: string, variable: Variable): Fault[] {
  const where = `coords.${name}`;
  if (variable.dims.length !== 1 || variable.dims[0] !== name) {
    return [
      {
        where,
        found: `dims [${variable.dims.join(", ")}]`,
        wanted: `[${name}], being the labels of that dim`,
      },
    ];
  }
  const labels = [...variable.data];
  if (labels.some((label) => typeof label === "number" && !Number.isFinite(label))) {
    return [{ where, found: "a label that is not a number", wanted: "finite numbers or strings" }];
  }
  const seen = new Set<string | number>();
  const repeated = labels.find((label) => seen.size === seen.add(label).size);
  if (repeated === undefined) return [];
  return [{ where, found: `label ${JSON.stringify(repeated)} more than once`, wanted: "distinct labels" }];
}

/** Faults of an attribute: anything that JSON cannot hold. */
export function attributeFaults(where: string, value: unknown, depth = 0): Fault[] {
  if (depth > MAX_ATTRIBUTE_DEPTH) {
    return [
      { where, found: "deeper nesting", wanted: `at most ${MAX_ATTRIBUTE_DEPTH} levels of attributes` },
    ];
  }
  if (value === null || typeof value === "string" || typeof value === "boolean") return [];
  if (typeof value === "number") {
    return Number.isFinite(value) ? [] : [{ where, found: String(value), wanted: "a finite number or null" }];
  }
  if (Array.isArray(value)) {
    return value.flatMap((item, index) => attributeFaults(`${where}[${index}]`, item, depth + 1));
  }
  if (typeof value === "object") {
    return Object.entries(value).flatMap(([key, item]) =>
      attributeFaults(`${where}.${key}`, item, depth + 1),
    );
  }
  return [{ where, found: typeof value, wanted: "JSON: text, number, boolean, null, list or object" }];
}
