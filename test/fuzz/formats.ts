/** @file The formats of untrusted files: how a damaged one is drawn, and how crosspatch opens it. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { inputError, refuse } from "../../src/core/errors.ts";
import { type Random, random } from "../../src/core/random.ts";
import { readEdits } from "../../src/job/edits.ts";
import { EXPERIMENT_FORMAT, readExperiment } from "../../src/job/experiment.ts";
import { MAX_LAYERS } from "../../src/model/config.ts";
import { define } from "../../src/model/families/registry.ts";
import { drawPairsFile, mutatePairsFile } from "../../src/model/pair-fixtures.ts";
import { readPairs } from "../../src/model/pair-spec.ts";
import { requireTensors } from "../../src/model/store.ts";
import { fromGguf } from "../../src/model/tokenizer/from-gguf.ts";
import { fromTokenizerJson } from "../../src/model/tokenizer/from-tokenizer-json.ts";
import type { Tokenizer } from "../../src/model/tokenizer/tokenizer.ts";
import { openGguf } from "../../src/model/weights/gguf.ts";
import { openSafetensors, openShardedSafetensors } from "../../src/model/weights/safetensors.ts";
import { readSafetensorsHeader } from "../../src/model/weights/safetensors-header.ts";
import type { WeightSource } from "../../src/model/weights/source.ts";
import {
  buildGguf,
  buildSafetensors,
  type SourceUse,
  type TinyGguf,
  type TinyTensor,
  type TinyValue,
  tinyLlama,
  watchedSource,
} from "../../src/model/weights/testing.ts";
import { layerByHead } from "../../src/result/fixtures.ts";
import { readParquet, writeParquet } from "../../src/result/parquet.node.ts";
import type { Json } from "../support/json-mutations.ts";
import { damagedBytes, damagedJson } from "./damage.ts";

/** A kind of file. Both functions throw what the reader throws, or an Error where it broke one of its promises. */
export interface Format {
  readonly name: string;
  readonly cases: number;
  /** Opens a sound file. */
  readonly sound: () => unknown;
  /** Draws a damaged file and opens it. */
  readonly damaged: (source: Random) => unknown;
}

const goldens = new URL("../goldens/", import.meta.url);
const bytesOf = (path: string): Uint8Array => readFileSync(new URL(path, goldens));
const jsonOf = (path: string): Json => JSON.parse(new TextDecoder().decode(bytesOf(path)));

function one<T>(items: readonly T[], { integer }: Random): T {
  const item = items[integer(items.length)];
  if (item === undefined) throw new RangeError("none to choose from");
  return item;
}

/** Parses text as those who read files do. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw inputError("file", (error as Error).message, "JSON");
  }
}

function promise(kept: boolean, what: string): void {
  if (!kept) throw new Error(`not kept: ${what}`);
}

/** Reads all values, and holds what that allocates against what the file can justify. */
async function readAll(weights: WeightSource, fileBytes: number): Promise<void> {
  const values = await weights.read([...weights.tensors.keys()]);
  let elements = 0;
  for (const { shape, data } of values.values()) {
    promise(shape.reduce((a, b) => a * b, 1) === data.length, "as many values as the shape says");
    elements += data.length;
  }
  // Q2_K, the densest type, makes 1,024 bytes of float32 of 84.
  promise(elements * 4 <= (fileBytes * 1024) / 84, "no more memory than the file's bytes decode to");
}

/** No read goes beyond the file, and whatever was opened is closed. */
function checkUse(uses: readonly SourceUse[]): void {
  for (const { source, reads, closed } of uses) {
    promise(Math.max(0, ...reads) <= source.size, "no read larger than the file");
    promise(closed(), "closed, whether refused or used");
  }
}

function useTokenizer(tokenizer: Tokenizer): void {
  const ids = tokenizer.encode("Mary gave 12 \u20ac<|im_end|> ");
  promise(
    ids.every((id) => Number.isInteger(id) && id >= 0 && id < tokenizer.size),
    "ids of tokens",
  );
  tokenizer.decode(ids);
  tokenizer.pieces(ids);
}

const fill =
  ({ integer }: Random) =>
  (length: number): Uint8Array =>
    Uint8Array.from({ length }, () => integer(256));

const llama = tinyLlama(fill(random(1)));
const gguf: TinyGguf = {
  ...llama,
  metadata: {
    ...llama.metadata,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["a", "b", "ab"],
    "tokenizer.ggml.merges": ["a b"],
  },
};
const ggufBytes = buildGguf(gguf);
const GGUF_HEADER = 1400;

/** The file with one metadata value or shape replaced, its bytes otherwise as they should be. */
function withStranger(source: Random): Uint8Array {
  const { integer, uniform } = source;
  const values: readonly TinyValue[] = [0, 1, 2, 7, 16_777_216, 2 ** 32 - 1, 1e38, "", "llama", true, ["a"]];
  const sizes = [0, 1, 16, 31, 2 ** 31, 2 ** 52];
  if (uniform() < 0.6) {
    const key = one(Object.keys(gguf.metadata), source);
    return buildGguf({ ...gguf, metadata: { ...gguf.metadata, [key]: one(values, source) } });
  }
  const chosen = integer(gguf.tensors.length);
  const changed = (tensor: TinyTensor): TinyTensor =>
    uniform() < 0.5
      ? { ...tensor, type: integer(40) }
      : { ...tensor, shape: tensor.shape.map((size) => (uniform() < 0.5 ? one(sizes, source) : size)) };
  return buildGguf({ ...gguf, tensors: gguf.tensors.map((t, i) => (i === chosen ? changed(t) : t)) });
}

async function openGgufBytes(bytes: Uint8Array): Promise<void> {
  const use = watchedSource("x.gguf", bytes);
  try {
    const file = await openGguf(use.source);
    try {
      useTokenizer(fromGguf(file.metadata));
      requireTensors(define(file.config), file);
      await readAll(file, bytes.length);
    } finally {
      await file.close();
    }
  } finally {
    checkUse([use]);
  }
}

const llamaDirectory = "families/llama-gqa-tied/model";
const llamaConfig = jsonOf(`${llamaDirectory}/config.json`);
const safetensors = bytesOf(`${llamaDirectory}/model.safetensors`);
const SAFETENSORS_HEADER = 2024;

async function useCheckpoint(open: () => Promise<WeightSource>, uses: readonly SourceUse[]): Promise<void> {
  try {
    const weights = await open();
    try {
      requireTensors(define(llamaConfig), weights);
      const fileBytes = uses.reduce((sum, { source }) => sum + source.size, 0);
      await readAll(weights, fileBytes);
    } finally {
      await weights.close();
    }
  } finally {
    checkUse(uses);
  }
}

function openSafetensorsBytes(bytes: Uint8Array): Promise<void> {
  const use = watchedSource("x.safetensors", bytes);
  return useCheckpoint(() => openSafetensors(use.source), [use]);
}

/** The checkpoint in two files, and the index that says so. */
async function sharded(): Promise<{ files: Map<string, Uint8Array>; index: Json }> {
  const header = await readSafetensorsHeader(watchedSource("x", safetensors).source);
  const tensors = [...header.values()].map(({ info: { name, shape, dtype, bytes }, offset }) => ({
    name,
    shape,
    type: dtype,
    bytes: safetensors.slice(offset, offset + bytes),
  }));
  const isFirst = (name: string): boolean => name.includes("layers.0");
  const files = new Map([
    ["a.safetensors", buildSafetensors(tensors.filter(({ name }) => isFirst(name)))],
    ["b.safetensors", buildSafetensors(tensors.filter(({ name }) => !isFirst(name)))],
  ]);
  const places = tensors.map(({ name }) => [name, isFirst(name) ? "a.safetensors" : "b.safetensors"]);
  return { files, index: { metadata: {}, weight_map: Object.fromEntries(places) } };
}

async function openSharded(index: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const uses = [watchedSource("index.json", new TextEncoder().encode(index))];
  const open = (): Promise<WeightSource> =>
    openShardedSafetensors((uses[0] as SourceUse).source, async (name) => {
      const bytes = files.get(name);
      if (bytes === undefined) throw inputError(name, "ENOENT", "a file that can be read");
      const use = watchedSource(name, bytes);
      uses.push(use);
      return use.source;
    });
  await useCheckpoint(open, uses);
}

async function openDamagedShards(source: Random): Promise<void> {
  const { files, index } = await sharded();
  if (source.uniform() < 0.5) return openSharded(damagedJson(index, source), files);
  const name = one([...files.keys()], source);
  files.set(name, damagedBytes(files.get(name) ?? new Uint8Array(0), 1000, source));
  return openSharded(JSON.stringify(index), files);
}

const configs = [
  "gemma2",
  "gemma3",
  "gpt-neox",
  "gpt2",
  "gptj",
  "llama",
  "llama-rope-llama3",
  "mistral",
  "phi",
  "qwen2-sliding",
  "qwen3",
].map((family) => jsonOf(`families/${family}/model/config.json`));

/** A number of layers costs a few characters, and each layer memory: the one amplification of a config. */
function openConfig(text: string): void {
  const { blocks, architecture } = define(parse(text));
  promise(
    blocks.length <= MAX_LAYERS && architecture.layers.length === blocks.length,
    "layers within the bound",
  );
}

const tokenizers = ["byte-bpe", "split-bpe", "spm-bpe", "unigram"].map((name) => ({
  definition: jsonOf(`tokenizer/${name}/tokenizer.json`),
  settings: jsonOf(`tokenizer/${name}/tokenizer_config.json`),
}));

function openDamagedTokenizer(source: Random): void {
  const { definition, settings } = one(tokenizers, source);
  const damagesSettings = source.uniform() < 0.2;
  const texts = damagesSettings
    ? [JSON.stringify(definition), damagedJson(settings, source)]
    : [damagedJson(definition, source), JSON.stringify(settings)];
  const [parsed, parsedSettings] = texts.map(parse);
  useTokenizer(fromTokenizerJson(parsed, parsedSettings));
}

const experiments: readonly Json[] = [
  { command: "info", options: { tokens: 12, json: "-" } },
  {
    command: "run",
    options: {
      prompt: "When Mary",
      generate: 20,
      temperature: 0.5,
      seed: 3,
      edit: "e.json",
      "edit-on": "prefill",
    },
  },
  { command: "patch", options: { task: "ioi", n: 20, site: ["z"], by: ["layer", "head"], layer: "0-3,7" } },
  {
    command: "patch",
    options: {
      clean: "a b",
      corrupt: "a c",
      answer: [" d"],
      foil: " e",
      by: "layer,pos",
      pos: [1, 2],
      ablate: "mean",
      reference: "r.jsonl",
      mean: "all",
      memory: "4GB",
      "per-pair": true,
    },
  },
].map((experiment) => ({ format: EXPERIMENT_FORMAT, model: "pocket", ...experiment }));

const edits: Json = {
  runs: ["When John"],
  edits: [
    {
      site: "z",
      layer: 0,
      where: { head: [1, 2], pos: [3] },
      action: "replace",
      value: { kind: "run", run: 0 },
    },
    { site: "resid_pre", layer: 1, where: {}, action: "scale", value: { kind: "fill", value: 0.5 } },
    { site: "resid_post", layer: 1, action: "add", value: { kind: "given", shape: [1, 2], data: [0.5, -1] } },
  ],
};

function openExperiment(text: string): void {
  refuse(readExperiment(parse(text.replace(/^\uFEFF/, "")), "experiment.json").faults);
}

/** A file of a result, which DuckDB reads from the disk alone. */
async function withParquet(use: (path: string) => Promise<unknown>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "crosspatch-fuzz-"));
  try {
    const path = join(folder, "r.parquet");
    await writeParquet(layerByHead(), path);
    await use(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Puts other metadata in place of the file's; the rows stay sound. */
async function damageMetadata(path: string, source: Random): Promise<void> {
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  const found = await connection.runAndReadAll(
    `SELECT decode(value) FROM parquet_kv_metadata(${quoted(path)})`,
  );
  const metadata = damagedJson(JSON.parse(String(found.getRows()[0]?.[0])), source);
  await connection.run(`CREATE TABLE cells AS SELECT * FROM read_parquet(${quoted(path)})`);
  await connection.run(
    `COPY cells TO ${quoted(path)} (FORMAT parquet, KV_METADATA {crosspatch: ${quoted(metadata)}})`,
  );
  connection.closeSync();
}

const openDamagedParquet = (source: Random): Promise<void> =>
  withParquet(async (path) => {
    if (source.uniform() < 0.7) await damageMetadata(path, source);
    else {
      const bytes = readFileSync(path);
      await writeFile(path, damagedBytes(bytes, bytes.length, source));
    }
    const { dims, dataVars } = await readParquet(path);
    for (const { dims: own, data } of Object.values(dataVars))
      promise(
        data.length === own.reduce((size, dim) => size * (dims[dim] ?? 0), 1),
        "as many values as cells",
      );
  });

export const formats: readonly Format[] = [
  {
    name: "GGUF",
    cases: 400,
    sound: () => openGgufBytes(ggufBytes),
    damaged: (source) =>
      openGgufBytes(
        source.uniform() < 0.4 ? withStranger(source) : damagedBytes(ggufBytes, GGUF_HEADER, source),
      ),
  },
  {
    name: "safetensors",
    cases: 250,
    sound: () => openSafetensorsBytes(safetensors),
    damaged: (source) => openSafetensorsBytes(damagedBytes(safetensors, SAFETENSORS_HEADER, source)),
  },
  {
    name: "safetensors with an index",
    cases: 150,
    async sound() {
      const { files, index } = await sharded();
      await openSharded(JSON.stringify(index), files);
    },
    damaged: openDamagedShards,
  },
  {
    name: "config.json",
    cases: 300,
    sound: () => configs.map((config) => openConfig(JSON.stringify(config))),
    damaged: (source) => openConfig(damagedJson(one(configs, source), source)),
  },
  {
    name: "tokenizer.json",
    cases: 300,
    sound: () =>
      tokenizers.map(({ definition, settings }) => useTokenizer(fromTokenizerJson(definition, settings))),
    damaged: openDamagedTokenizer,
  },
  {
    name: "pairs",
    cases: 300,
    sound: () => readPairs(drawPairsFile(random(0)), "pairs.jsonl"),
    damaged: (source) => readPairs(mutatePairsFile(drawPairsFile(source), source), "pairs.jsonl"),
  },
  {
    name: "experiment",
    cases: 300,
    sound: () => experiments.map((experiment) => openExperiment(JSON.stringify(experiment))),
    damaged: (source) => openExperiment(damagedJson(one(experiments, source), source)),
  },
  {
    name: "edits",
    cases: 100,
    sound: () => readEdits(JSON.stringify(edits), "edits.json"),
    damaged: (source) => readEdits(damagedJson(edits, source), "edits.json"),
  },
  {
    name: "Parquet",
    cases: 100,
    sound: () => withParquet(readParquet),
    damaged: openDamagedParquet,
  },
];
