import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { afterAll, beforeAll, expect, test } from "vitest";
import { InputError } from "../core/errors.ts";
import { layerByHead, layerByPosition, nextTokens, pathEffects, range, variable } from "./fixtures.ts";
import { toJson } from "./json.ts";
import { readParquet, writeParquet } from "./parquet.node.ts";
import { dataset } from "./result.ts";
import { replaceFile, writeWhole } from "./store.node.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-it's-"));
});
afterAll(() => rm(folder, { recursive: true }));

// `head` is both a dim and a variable over it, two variables have the same dims in another order, one is text.
const awkward = dataset({
  attrs: { note: "it's {a: 'b'} é\n" },
  dims: { layer: 2, head: 3 },
  coords: { layer: range("layer", 2), kind: { dims: ["head"], data: ["x", 'y"', "z"], attrs: {} } },
  dataVars: {
    head: variable({ layer: 2, head: 3 }, (l, h) => (h === 1 ? Number.NaN : l - h), { unit: "logit" }),
    turned: variable({ head: 3, layer: 2 }, (h, l) => 100 * h + l),
    mlp: variable({ layer: 2 }, (l) => l + 0.1),
    name: { dims: ["layer"], data: ["first", "second"], attrs: {} },
    embed: variable({}, () => 4),
  },
});

test.each([
  ["one site and its scores", layerByPosition(3)],
  ["intervals and a missing cell", layerByHead()],
  ["variables of different dims", pathEffects()],
  ["text coordinates", nextTokens()],
  ["names that clash", awkward],
])("Parquet gives back %s exactly", async (_, original) => {
  const path = join(folder, "r.parquet");
  await writeParquet(original, path);
  expect(toJson(await readParquet(path))).toEqual(toJson(original));
});

test("the table is tidy: SQL over labels finds the planted head; sorted rows still read back", async () => {
  const path = join(folder, "heads.parquet");
  const sorted = join(folder, "sorted.parquet");
  await writeParquet(layerByHead(), path);
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const quoted = path.replaceAll("'", "''");
  const best = await connection.runAndReadAll(
    `SELECT layer, head FROM '${quoted}' ORDER BY z DESC NULLS LAST LIMIT 1`,
  );
  expect(best.getRows()).toEqual([[9, 6]]);
  const metadata = await connection.runAndReadAll(
    `SELECT decode(value) FROM parquet_kv_metadata('${quoted}')`,
  );
  const json = String(metadata.getRows()[0]?.[0]).replaceAll("'", "''");
  await connection.run(
    `COPY (SELECT * FROM '${quoted}' ORDER BY z DESC) TO '${sorted.replaceAll("'", "''")}' ` +
      `(FORMAT parquet, KV_METADATA {crosspatch: '${json}'})`,
  );
  connection.closeSync();
  expect(toJson(await readParquet(sorted))).toEqual(toJson(layerByHead()));
});

test("labels that the metadata does not list are refused, whatever their type", async () => {
  const path = join(folder, "layers.parquet");
  const other = join(folder, "other.parquet");
  await writeParquet(layerByHead(), path);
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const quoted = (file: string): string => `'${file.replaceAll("'", "''")}'`;
  const metadata = await connection.runAndReadAll(
    `SELECT decode(value) FROM parquet_kv_metadata(${quoted(path)})`,
  );
  await connection.run(
    `COPY (SELECT * REPLACE (layer::BIGINT AS layer) FROM ${quoted(path)} LIMIT 1) TO ${quoted(other)} ` +
      `(FORMAT parquet, KV_METADATA {crosspatch: ${quoted(String(metadata.getRows()[0]?.[0]))}})`,
  );
  connection.closeSync();
  await expect(readParquet(other)).rejects.toThrow(
    /other\.parquet, row 0, layer: found 0; wanted a label that the metadata lists\.$/,
  );
});

test("a file that is no crosspatch Parquet is refused", async () => {
  const path = join(folder, "no.parquet");
  await writeFile(path, "PAR1 not really");
  await expect(readParquet(path)).rejects.toThrow(/no\.parquet: found .*; wanted a Parquet file/s);
});

/** A file with this metadata and these rows. */
async function hostile(metadata: string, rows = "SELECT 1.0 AS x"): Promise<string> {
  const path = join(folder, "hostile.parquet");
  const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  await connection.run(
    `COPY (${rows}) TO ${quoted(path)} (FORMAT parquet, KV_METADATA {crosspatch: ${quoted(metadata)}})`,
  );
  connection.closeSync();
  return path;
}

const structure = (parts: object): string =>
  JSON.stringify({
    attrs: { format: "crosspatch.result/1" },
    coords: {},
    dims: { layer: 2 },
    data_vars: { x: { dims: [], attrs: {} } },
    ...parts,
  });
const large = { dims: ["layer"], attrs: {} };

test.each([
  ["no JSON", "{", /metadata: found what is not JSON \(.*\); wanted what crosspatch writes\.$/],
  ["no object", "null", /found null; wanted a crosspatch result/],
  ["a key twice", '{"a":1,"a":2}', /metadata:1: found the key "a" again in the same object; wanted each key/],
  ["no variables", structure({ data_vars: null }), /\.data_vars: found null; wanted a crosspatch result/],
  ["no variable", structure({ data_vars: { x: null } }), /\.data_vars\.x: found null; wanted/],
  [
    "no dims",
    structure({ data_vars: { x: { dims: 3, attrs: {} } } }),
    /\.data_vars\.x\.dims: found 3; wanted/,
  ],
  [
    "dims that every object has",
    structure({ data_vars: { x: { dims: ["constructor"], attrs: {} } } }),
    /\.data_vars\.x: found undeclared dims constructor; wanted some of: layer\.$/,
  ],
  [
    "more cells than memory",
    structure({ dims: { layer: 2 ** 26 }, data_vars: { a: large, b: large, c: large, d: large, e: large } }),
    /found 335544320 cells; wanted at most 268435456\.$/,
  ],
  [
    "a column that is not there",
    structure({ data_vars: { y: { dims: [], attrs: {} } } }),
    /found no column "y"/,
  ],
])("metadata of %s is refused with the file's name", async (_, metadata, message) => {
  const refused = readParquet(await hostile(metadata));
  await expect(refused).rejects.toThrow(message);
  await expect(refused).rejects.toThrow(InputError);
  await expect(refused).rejects.toThrow(/hostile\.parquet/);
});

test("rows beyond the cells, and values that are neither number nor text, are refused", async () => {
  const many = await hostile(structure({}), "SELECT 1.0 AS x FROM range(100000000)");
  await expect(readParquet(many)).rejects.toThrow(
    /: found 100000000 rows; wanted at most 1, one for each cell/,
  );
  const lists = await hostile(structure({}), "SELECT [1::BIGINT] AS x");
  await expect(readParquet(lists)).rejects.toThrow(/, row 0, x: found \["1"\]; wanted a number or a text/);
});

test("a failed write leaves the old file and no debris", async () => {
  const place = join(folder, "deep", "er");
  const path = join(place, "x.json");
  await writeWhole(path, "old");
  const fails = replaceFile(path, async (temporary) => {
    await writeFile(temporary, "half");
    throw new Error("disk full");
  });
  await expect(fails).rejects.toThrow("disk full");
  expect(await readdir(place)).toEqual(["x.json"]);
});
