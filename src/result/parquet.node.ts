/**
 * @file Datasets as Parquet: a tidy table (one row per cell; a column per dim, coordinate and variable) for SQL and
 * data frames, with dims, coordinates and attributes as key-value metadata so that nothing is lost on the way back.
 *
 * DuckDB writes and reads it. It is loaded on first use: its library is 70 MB.
 */
import { isAbsolute, resolve } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { type Fault, inputError, refuse } from "../core/errors.ts";
import { sizeOf } from "../core/tensor.ts";
import { type Label, labelsOf } from "./cells.ts";
import { fromJson, toJson } from "./json.ts";
import type { Dataset, Variable } from "./result.ts";

const METADATA_KEY = "crosspatch";
const MAX_METADATA_BYTES = 64 * 2 ** 20; // coordinates of a large result are under 1 MiB; stops a hostile footer
const MAX_FAULTS = 20; // a reordered column makes every row faulty

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
 * @throws InputError where the file is not Parquet, holds no crosspatch metadata, or its rows name unknown labels.
 */
export async function readParquet(path: string): Promise<Dataset> {
  const file = quoteText(resolvePath(path));
  return await withDuckDb(async (connection) => {
    const metadata = await connection
      .runAndReadAll(
        `SELECT decode(value) FROM parquet_kv_metadata(${file}) WHERE decode(key) = '${METADATA_KEY}'`,
      )
      .catch((error: unknown) => {
        throw inputError(path, error instanceof Error ? error.message : String(error), "a Parquet file");
      });
    const text = metadata.getRows()[0]?.[0];
    if (typeof text !== "string" || text.length > MAX_METADATA_BYTES) {
      throw inputError(
        path,
        "no usable metadata",
        `Parquet with the key "${METADATA_KEY}"`,
        "Write it with crosspatch.",
      );
    }
    const { skeleton, columns } = readStructure(JSON.parse(text), path);
    const rows = await connection.runAndReadAll(`SELECT * FROM read_parquet(${file})`);
    const names = rows.columnNames();
    const table = new Map(rows.getColumnsJS().map((values, index) => [names[index] ?? "", values]));
    return { ...skeleton, dataVars: readVariables(skeleton, columns, { table, path }) };
  });
}

function readStructure(value: unknown, path: string): { skeleton: Dataset; columns: Map<string, string> } {
  const outer = value as {
    data_vars?: Record<string, { dims?: string[]; attrs?: object; column?: unknown }>;
  };
  const columns = new Map<string, string>();
  // Checked as a dataset whose variables hold nothing: dims, names and attributes get the checks of a JSON result.
  const { dims } = fromJson({ ...outer, data_vars: {} }, path);
  const empty = (names: readonly string[]): unknown =>
    names.reduceRight<unknown>((inner, dim) => Array.from({ length: dims[dim] ?? 0 }, () => inner), null);
  const variables = Object.entries(outer.data_vars ?? {}).map(([name, variable]) => {
    if (typeof variable.column === "string") columns.set(name, variable.column);
    return [name, { dims: variable.dims, attrs: variable.attrs, data: empty(variable.dims ?? []) }];
  });
  return { skeleton: fromJson({ ...outer, data_vars: Object.fromEntries(variables) }, path), columns };
}

/** Puts each row's values into the cells that its labels name. */
function readVariables(
  skeleton: Dataset,
  columns: ReadonlyMap<string, string>,
  source: { readonly table: ReadonlyMap<string, readonly unknown[]>; readonly path: string },
): Dataset["dataVars"] {
  const faults: Fault[] = [];
  const dims = Object.keys(skeleton.dims).map((name) => ({
    name,
    labels: source.table.get(name) ?? [],
    positions: new Map(labelsOf(skeleton, name).map((label, index) => [label, index])),
  }));
  const variables = Object.entries(skeleton.dataVars).map(([name, variable]) => {
    const column = columns.get(name) ?? name;
    const values = source.table.get(column);
    if (values === undefined)
      faults.push({ where: source.path, found: `no column ${column}`, wanted: "one" });
    return { name, variable, values: values ?? [], cells: new Map<number, unknown>() };
  });
  const rowCount = source.table.values().next().value?.length ?? 0;
  for (let row = 0; row < rowCount && faults.length < MAX_FAULTS; row++) {
    const place = new Map<string, number>();
    for (const { name, labels, positions } of dims) {
      const label = labels[row] ?? null;
      if (label === null) continue;
      const position = positions.get(label as Label);
      if (position === undefined) {
        const where = `${source.path}, row ${row}, ${name}`;
        // Columns of a file written again may hold 64-bit integers, which JSON has no form of.
        const found = typeof label === "bigint" ? String(label) : JSON.stringify(label);
        faults.push({ where, found, wanted: "a label that the metadata lists" });
      }
      place.set(name, position ?? 0);
    }
    for (const { variable, values, cells } of variables) {
      const value = values[row] ?? null;
      const isOwn = place.size === variable.dims.length && variable.dims.every((dim) => place.has(dim));
      if (value === null || !isOwn) continue;
      cells.set(
        variable.dims.reduce((index, dim) => index * (skeleton.dims[dim] ?? 0) + (place.get(dim) ?? 0), 0),
        value,
      );
    }
  }
  refuse(faults);
  return Object.fromEntries(
    variables.map(({ name, variable, values, cells }) => {
      const length = sizeOf(variable.dims.map((dim) => skeleton.dims[dim] ?? 0));
      const data = values.some((value) => typeof value === "string")
        ? Array.from({ length }, (_, index) => String(cells.get(index) ?? ""))
        : Float64Array.from({ length }, (_, index) => Number(cells.get(index) ?? Number.NaN));
      return [name, { ...variable, data }];
    }),
  );
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
