/**
 * @file Datasets as Parquet: a tidy table (one row per cell; a column per dim, coordinate and variable) for SQL and
 * data frames, with dims, coordinates and attributes as key-value metadata so that nothing is lost on the way back.
 *
 * DuckDB writes and reads it. It is loaded on first use: its library is 70 MB.
 */
import { isAbsolute, resolve } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { z } from "zod";
import { type Fault, InputError, inputError, refuse } from "../core/errors.ts";
import { excerpt } from "../core/excerpt.ts";
import { repeatedKeyFaults } from "../core/repeated-keys.ts";
import { sizeOf } from "../core/tensor.ts";
import { type Label, labelsOf } from "./cells.ts";
import { fromJson, MAX_CELLS, schemaFaults, toJson } from "./json.ts";
import { type Dataset, datasetFaults, type Variable } from "./result.ts";

const METADATA_KEY = "crosspatch";
const MAX_METADATA_BYTES = 64 * 2 ** 20; // coordinates of a large result are under 1 MiB; stops a hostile footer
const MAX_ALL_CELLS = 4 * MAX_CELLS; // of all variables, 2 GiB; cells need no row, so the file's size bounds nothing
const MAX_SHOWN = 200; // characters of what was found, in a message
const MAX_FAULTS = 20; // a reordered column makes every row faulty

/** Metadata of a file: a dataset in JSON, whose variables name a column in place of their values. */
const structureSchema = z.looseObject({
  data_vars: z.record(
    z.string(),
    z.strictObject({
      dims: z.array(z.string()),
      attrs: z.record(z.string(), z.unknown()),
      column: z.string().optional(),
    }),
  ),
});

interface Column {
  readonly name: string;
  readonly type: "DOUBLE" | "VARCHAR";
  /** The value in the row of a group's cell with these positions per dim; undefined: not about this group. */
  read(group: Group, index: number): Label | undefined;
}

/** The variables over one set of dims; each gets a block of rows. */
interface Group {
  readonly dims: readonly string[];
  readonly shape: readonly number[];
}

/** Writes a dataset; replaces the file if there is one. Infinities are kept, NaN becomes NULL. */
export async function writeParquet(dataset: Dataset, path: string): Promise<void> {
  const columns = columnsOf(dataset);
  const structure = toJson({ ...dataset, dataVars: {} });
  const variables = Object.entries(dataset.dataVars).map(([name, { dims, attrs }]) => [
    name,
    { dims, attrs, column: columnOf(dataset, name) },
  ]);
  const metadata = JSON.stringify({ ...structure, data_vars: Object.fromEntries(variables) });
  await withDuckDb(async (connection) => {
    const definition = columns.map((column) => `${quoteName(column.name)} ${column.type}`).join(", ");
    await connection.run(`CREATE TABLE cells (${definition || '"empty" DOUBLE'})`);
    const appender = await connection.createAppender("cells");
    for (const group of groupsOf(dataset)) {
      for (let index = 0; index < sizeOf(group.shape); index++) {
        for (const column of columns) {
          const value = column.read(group, index);
          if (value === undefined || Number.isNaN(value)) appender.appendNull();
          else if (column.type === "DOUBLE") appender.appendDouble(Number(value));
          else appender.appendVarchar(String(value));
        }
        appender.endRow();
      }
    }
    appender.closeSync();
    await connection.run(
      `COPY cells TO ${quoteText(resolvePath(path))} (FORMAT parquet, COMPRESSION zstd, ` +
        `KV_METADATA {${METADATA_KEY}: ${quoteText(metadata)}})`,
    );
  });
}

/**
 * Reads a dataset written by {@link writeParquet}; rows may have been reordered or left out (their cells are NaN).
 * @throws InputError where the file is not Parquet or is damaged, holds no crosspatch metadata, or its metadata and rows
 * are not those of a result.
 */
export async function readParquet(path: string): Promise<Dataset> {
  const file = quoteText(resolvePath(path));
  return await withDuckDb(async (connection) => {
    const select = async (sql: string): Promise<Table> => {
      try {
        const rows = await connection.runAndReadAll(`SELECT ${sql}`);
        const names = rows.columnNames();
        return new Map(rows.getColumnsJS().map((values, index) => [names[index] ?? "", values]));
      } catch (error) {
        throw inputError(path, messageOf(error), "a Parquet file");
      }
    };
    const texts = await select(
      `decode(value) AS text FROM parquet_kv_metadata(${file}) WHERE decode(key) = '${METADATA_KEY}'`,
    );
    const [text, ...more] = texts.get("text") ?? [];
    if (typeof text !== "string" || text.length > MAX_METADATA_BYTES || more.length > 0) {
      throw inputError(
        path,
        "no usable metadata",
        `Parquet with the key "${METADATA_KEY}"`,
        "Write it with crosspatch.",
      );
    }
    const { skeleton, columns } = readStructure(parsed(text, path), path);
    // A few bytes can stand for any number of rows, so they are counted before they are read.
    const most = groupsOf(skeleton).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    const rows = Number((await select(`count(*) AS rows FROM read_parquet(${file})`)).get("rows")?.[0]);
    if (rows > most) throw inputError(path, `${rows} rows`, `at most ${most}, one for each cell`);
    const table = await select(`* FROM read_parquet(${file})`);
    return { ...skeleton, dataVars: readVariables(skeleton, columns, { table, path }) };
  });
}

/** Values by column. */
type Table = ReadonlyMap<string, readonly unknown[]>;

/** The first line of what DuckDB says. */
function messageOf(error: unknown): string {
  const [line = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
  return line.slice(0, MAX_SHOWN);
}

function parsed(text: string, path: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw inputError(`${path}, metadata`, `what is not JSON (${messageOf(error)})`, "what crosspatch writes");
  }
  refuse(repeatedKeyFaults(text, `${path}, metadata`));
  return value;
}

/** The dataset with no cell computed, and the columns of its variables by name. */
function readStructure(value: unknown, path: string): { skeleton: Dataset; columns: Map<string, string> } {
  const given = structureSchema.safeParse(value);
  if (!given.success) throw new InputError(schemaFaults(given.error, value, path));
  const variables = Object.entries(given.data.data_vars);
  // Checked as a dataset without variables: dims, coordinates and attributes get the checks of a JSON result.
  const outer = fromJson({ ...given.data, data_vars: {} }, path);
  const sizes = variables.map(([, { dims }]) =>
    sizeOf(dims.map((dim) => (Object.hasOwn(outer.dims, dim) ? (outer.dims[dim] ?? 0) : 0))),
  );
  const cells = sizes.reduce((sum, size) => sum + size, 0);
  if (cells > MAX_ALL_CELLS) throw inputError(path, `${cells} cells`, `at most ${MAX_ALL_CELLS}`);
  const dataVars = variables.map(([name, { dims, attrs }], index): [string, Variable] => {
    const data = new Float64Array(sizes[index] ?? 0).fill(Number.NaN);
    return [name, { dims, attrs: attrs as Variable["attrs"], data }];
  });
  const skeleton = { ...outer, dataVars: Object.fromEntries(dataVars) };
  refuse(datasetFaults(skeleton).map((fault) => ({ ...fault, where: `${path}.${fault.where}` })));
  return { skeleton, columns: new Map(variables.map(([name, { column }]) => [name, column ?? name])) };
}

/** Puts each row's values into the cells that its labels name. */
function readVariables(
  skeleton: Dataset,
  columns: ReadonlyMap<string, string>,
  { table, path }: { readonly table: Table; readonly path: string },
): Dataset["dataVars"] {
  const faults: Fault[] = [];
  const dims = Object.keys(skeleton.dims).map((name) => ({
    name,
    labels: table.get(name) ?? [],
    positionOf: positions(skeleton, name),
  }));
  const variables = Object.entries(skeleton.dataVars).map(([name, variable]) => {
    const column = columns.get(name) ?? name;
    const values = table.get(column);
    if (values === undefined)
      faults.push({ where: path, found: `no column ${excerpt(column, MAX_SHOWN)}`, wanted: "one" });
    const { length } = variable.data;
    const isText = values?.some((value) => typeof value === "string") ?? false;
    const data = isText ? new Array<string>(length).fill("") : new Float64Array(length).fill(Number.NaN);
    return { name, variable, column, values: values ?? [], data };
  });
  const rowCount = table.values().next().value?.length ?? 0;
  for (let row = 0; row < rowCount && faults.length < MAX_FAULTS; row++) {
    const place = new Map<string, number>();
    for (const { name, labels, positionOf } of dims) {
      const label = labels[row] ?? null;
      if (label === null) continue;
      const position = positionOf(label);
      if (position === undefined) {
        // Columns of a file written again may hold 64-bit integers, which JSON has no form of.
        const found = typeof label === "bigint" ? String(label) : excerpt(label, MAX_SHOWN);
        const where = `${path}, row ${row}, ${name}`;
        faults.push({ where, found, wanted: "a label that the metadata lists" });
      }
      place.set(name, position ?? 0);
    }
    for (const { variable, column, values, data } of variables) {
      const value = values[row] ?? null;
      const isOwn = place.size === variable.dims.length && variable.dims.every((dim) => place.has(dim));
      if (value === null || !isOwn) continue;
      const index = variable.dims.reduce(
        (flat, dim) => flat * (skeleton.dims[dim] ?? 0) + (place.get(dim) ?? 0),
        0,
      );
      if (typeof value !== "number" && typeof value !== "bigint" && typeof value !== "string") {
        const where = `${path}, row ${row}, ${column}`;
        faults.push({ where, found: excerpt(value, MAX_SHOWN), wanted: "a number or a text" });
      } else if (data instanceof Float64Array) data[index] = Number(value);
      else data[index] = String(value);
    }
  }
  refuse(faults);
  return Object.fromEntries(variables.map(({ name, variable, data }) => [name, { ...variable, data }]));
}

/** What finds the place of a label along a dim; where nothing labels the dim, without a table of its millions. */
function positions(skeleton: Dataset, dim: string): (label: unknown) => number | undefined {
  if (Object.hasOwn(skeleton.coords, dim)) {
    const known = new Map<unknown, number>(labelsOf(skeleton, dim).map((label, index) => [label, index]));
    return (label) => known.get(label);
  }
  const size = skeleton.dims[dim] ?? 0;
  return (label) =>
    typeof label === "number" && Number.isInteger(label) && label >= 0 && label < size ? label : undefined;
}

function groupsOf(dataset: Dataset): Group[] {
  const keys = new Map(
    Object.values(dataset.dataVars).map((variable) => [variable.dims.join("\n"), variable.dims]),
  );
  return [...keys.values()].map((dims) => ({ dims, shape: dims.map((dim) => dataset.dims[dim] ?? 0) }));
}

/** The column of a variable: its name, unless a dim or coordinate has it (`head` over `layer`, `head`). */
function columnOf(dataset: Dataset, variable: string): string {
  const taken = (name: string) => Object.hasOwn(dataset.dims, name) || Object.hasOwn(dataset.coords, name);
  let column = variable;
  while (taken(column) || (column !== variable && Object.hasOwn(dataset.dataVars, column)))
    column += "_value";
  return column;
}

function columnsOf(dataset: Dataset): Column[] {
  const columns: Column[] = [];
  const add = (
    name: string,
    labels: Variable["data"],
    options: { dims: readonly string[]; own: boolean },
  ): void => {
    const key = options.dims.join("\n");
    columns.push({
      name,
      type: typeof labels[0] === "string" ? "VARCHAR" : "DOUBLE",
      read: ({ dims, shape }, index) => {
        if (options.own) return key === dims.join("\n") ? labels[index] : undefined;
        let flat = 0;
        for (const dim of options.dims) {
          const axis = dims.indexOf(dim);
          if (axis < 0) return undefined;
          const size = shape[axis] ?? 1;
          flat = flat * size + (Math.floor(index / sizeOf(shape.slice(axis + 1))) % size);
        }
        return labels[flat];
      },
    });
  };
  for (const dim of Object.keys(dataset.dims)) {
    add(dim, labelsOf(dataset, dim) as Variable["data"], { dims: [dim], own: false });
  }
  for (const [name, { data, dims }] of Object.entries(dataset.coords)) {
    if (!Object.hasOwn(dataset.dims, name)) add(name, data, { dims, own: false });
  }
  for (const [name, { data, dims }] of Object.entries(dataset.dataVars)) {
    add(columnOf(dataset, name), data, { dims, own: true });
  }
  return columns;
}

async function withDuckDb<T>(use: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    return await use(connection);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

// DuckDB would take `s3://…` or a glob in a bare path for something else than a file of that name.
function resolvePath(path: string): string {
  return isAbsolute(path) ? path : resolve(path);
}

function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
