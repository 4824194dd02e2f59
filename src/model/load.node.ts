/** @file Opening a model by name: a GGUF file, a directory, a hub repository, or one that ships with crosspatch. */

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Backend, MAX_THREADS } from "../backend/backend.ts";
import type { Device } from "../backend/ort/node.node.ts";
import { nodeBackend } from "../backend/ort/node.node.ts";
import { inputError, refuse } from "../core/errors.ts";
import { inWords } from "../core/excerpt.ts";
import { didYouMean } from "../core/nearest.ts";
import { callback, type OptionChecks, oneOf, optionFaults, such, text, whole } from "../core/options.ts";
import type { Definition } from "./architecture.ts";
import { define } from "./families/registry.ts";
import { garbageCollector } from "./garbage.node.ts";
import type { DownloadProgress } from "./hub/download.node.ts";
import type { MemorySplit } from "./memory.ts";
import { MIN_BUDGET, splitMemory } from "./memory.ts";
import type { Model } from "./model.ts";
import { makeModel } from "./model.ts";
import type { Pair } from "./pair.ts";
import { preparePairs } from "./pair.ts";
import type { PairSpec } from "./pair-spec.ts";
import { formChecks, type PromptForm } from "./pair-tokens.ts";
import { partBytes, weightStore } from "./store.ts";
import { fromGguf } from "./tokenizer/from-gguf.ts";
import { fromTokenizerJson } from "./tokenizer/from-tokenizer-json.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";
import { openGgufFile } from "./weights/gguf.node.ts";
import { openSafetensorsDirectory } from "./weights/safetensors.node.ts";
import type { WeightSource } from "./weights/source.ts";
import { workerThreads } from "./weights/threads.node.ts";
import type { Threads } from "./weights/threads.ts";

/** Models in the package's `models/` folder, which need no download. */
export const EMBEDDED = ["pocket", "pocket-v1", "pocket-aligned"] as const;

export interface LoadOptions {
  /** Where programs run; `cpu` if absent. Ignored where `backend` is given. */
  readonly device?: Device | undefined;
  /** Threads inside one operation; the engine's own choice if absent. */
  readonly threads?: number | undefined;
  /** Another engine, e.g. the float64 reference. */
  readonly backend?: Backend | undefined;
  /**
   * Bytes that the process may hold, as nearly as can be had: layers beyond it are read again when they are needed, and
   * sweeps split. No bound if absent.
   */
  readonly memory?: number | undefined;
  /**
   * Decodes and hashes from the start, beside everything else, for a model that is going to be run: `layers` where few
   * rows of the unembedding will be read, or `all`. Default: what is used, when it is used.
   */
  readonly ahead?: "layers" | "all" | undefined;
  readonly onDownload?: ((progress: DownloadProgress) => void) | undefined;
}

const loadChecks: OptionChecks<LoadOptions> = {
  device: such<Device>("a text", (given) => typeof given === "string"), // which of them there are, the engine knows
  threads: whole(1, MAX_THREADS),
  backend: such("a backend", (given) => typeof given === "object" && given !== null && "compile" in given),
  memory: whole(MIN_BUDGET),
  ahead: oneOf(["layers", "all"]),
  onDownload: callback,
};

/** A model opened by {@link load}. */
export interface LoadedModel extends Model {
  /** Seconds from the call of `load` until the model could be used. */
  readonly loadSeconds: number;
  /**
   * Tokenises and checks one pair of prompts; every text is taken exactly as typed (leading spaces count).
   * @throws InputError with all faults: prompts of different length, answers that cannot be told apart, …
   */
  pair(spec: PairSpec, form?: PromptForm): Pair;
  /** As {@link LoadedModel.pair}, for many; warnings are returned beside the pairs. */
  pairs(specs: readonly PairSpec[], form?: PromptForm): ReturnType<typeof preparePairs>;
}

interface Opened {
  readonly definition: Definition;
  readonly weights: WeightSource;
  /** Made last, while weights are decoded. */
  readonly tokenizer: () => Promise<Tokenizer>;
  readonly revision?: string;
}

/** Largest JSON file read beside weights: the largest tokenizer.json known has 33 MB. */
const MAX_JSON_BYTES = 128 * 2 ** 20;

/**
 * Opens a model: reads headers, configuration and tokenizer; weights are decoded when they are first used.
 *
 * @param name a `.gguf` file; a directory with `config.json`, `*.safetensors` and `tokenizer.json`;
 *   `hf:owner/name[@revision]`, downloaded once; or an embedded model's name ({@link EMBEDDED}).
 * @throws InputError with every unknown configuration key and every missing, extra or misshaped tensor.
 */
export async function load(name: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const started = performance.now();
  refuse([...text(name, "name"), ...optionFaults(options, loadChecks)]);
  const backend =
    options.backend ??
    nodeBackend({
      ...(options.device && { device: options.device }),
      ...(options.threads && { threads: options.threads }),
    });
  const { memory, ahead } = options;
  const threads = workerThreads(memory === undefined ? undefined : 1); // each has an engine of its own in memory
  const opened = await open(name, { ...options, workers: threads }).catch(async (error) => {
    await threads?.close();
    throw error;
  });
  const { definition } = opened;
  try {
    const split = memory === undefined ? undefined : splitMemory(memory, needs(definition));
    const weights = weightStore(
      definition,
      opened.weights,
      memory === undefined || split === undefined
        ? {}
        : { keepBytes: split.weightBytes, onRelease: afterLayer(memory, split) },
    );
    let digest: Promise<string> | undefined;
    const hash = (): Promise<string> => {
      digest ??= opened.weights.hash();
      return digest;
    };
    if (ahead !== undefined && threads !== undefined) {
      if (ahead === "all" && split === undefined) weights.prefetch("ends");
      weights.prefetchAll();
      hash().catch(() => {}); // the error comes again, and is seen, when the digest is asked for
    }
    const tokenizer = await opened.tokenizer();
    const model = makeModel({
      definition,
      tokenizer,
      backend,
      weights,
      stateBytes: split?.stateBytes,
      source: {
        name,
        ...(opened.revision === undefined ? {} : { revision: opened.revision }),
        dtype: storedTypes(opened.weights),
        hash,
      },
    });
    return complete(model, started);
  } catch (error) {
    await opened.weights.close();
    throw error;
  }
}

function complete(model: Model, started: number): LoadedModel {
  const pairs: LoadedModel["pairs"] = (specs, form) => {
    const unlisted = Array.isArray(specs)
      ? []
      : [{ where: "specs", found: inWords(specs), wanted: "a list" }];
    refuse([...unlisted, ...optionFaults(form, formChecks, "form")]);
    return preparePairs(specs, model.tokenizer, form);
  };
  return {
    ...model,
    pairs,
    pair: (spec, form) => pairs([spec], form).pairs[0] as Pair,
    loadSeconds: (performance.now() - started) / 1000,
  };
}

/** Collects garbage where more than weights and variants under way fill the budget. */
function afterLayer(memory: number, { stateBytes }: MemorySplit): (heldBytes: number) => void {
  const collect = garbageCollector(memory);
  return (heldBytes) => collect(heldBytes + stateBytes);
}

/** What a budget has to leave room for. */
function needs(definition: Definition): Parameters<typeof splitMemory>[1] {
  return {
    processBytes: process.memoryUsage.rss(),
    layerBytes: Math.max(0, ...definition.blocks.map((_, layer) => partBytes(definition, layer))),
  };
}

interface OpenOptions extends LoadOptions {
  readonly workers: Threads | undefined;
}

async function open(name: string, options: OpenOptions): Promise<Opened> {
  if (name.startsWith("hf:")) {
    const [repository = "", revision] = name.slice("hf:".length).split("@");
    const { download } = await import("./hub/download.node.ts");
    const directory = await download(repository, {
      ...(revision === undefined ? {} : { revision }),
      ...(options.onDownload === undefined ? {} : { onProgress: options.onDownload }),
    });
    return { ...(await openDirectory(directory, options)), revision: directory.split(/[\\/]/).at(-1) ?? "" };
  }
  const found = await stat(name).catch(() => undefined);
  if (found?.isDirectory()) return openDirectory(name, options);
  if (found?.isFile() && name.toLowerCase().endsWith(".gguf")) return openGguf(name, options);
  if (found === undefined && (EMBEDDED as readonly string[]).includes(name)) {
    return openDirectory(fileURLToPath(new URL(`../../models/${name}`, import.meta.url)), options);
  }
  throw inputError(
    "model",
    found === undefined ? `${JSON.stringify(name)}, which does not exist` : JSON.stringify(name),
    `a .gguf file, a directory with config.json and safetensors, hf:owner/name, or one of ${EMBEDDED.join(", ")}`,
    found === undefined ? didYouMean(name, EMBEDDED) : undefined,
  );
}

async function openGguf(path: string, { workers }: OpenOptions): Promise<Opened> {
  const file = await openGgufFile(path, workers);
  try {
    return {
      definition: define(file.config),
      weights: file,
      tokenizer: async () => fromGguf(file.metadata),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openDirectory(directory: string, { workers }: OpenOptions): Promise<Opened> {
  const definition = define(await readJson(directory, "config.json"));
  const tokenizerJson = await readJson(directory, "tokenizer.json");
  const [config, chatTemplate] = await Promise.all([
    readJson(directory, "tokenizer_config.json", true),
    readText(join(directory, "chat_template.jinja")),
  ]);
  const generation = await readJson(directory, "generation_config.json", true);
  return {
    definition,
    tokenizer: async () =>
      fromTokenizerJson(tokenizerJson, config, {
        eosIds: eosIds(generation),
        ...(chatTemplate === undefined ? {} : { chatTemplate }),
      }),
    weights: await openSafetensorsDirectory(directory, workers),
  };
}

function eosIds(generation: unknown): number[] {
  const listed = (generation as { readonly eos_token_id?: unknown } | undefined)?.eos_token_id;
  return [listed].flat().filter((id): id is number => Number.isInteger(id));
}

async function readText(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  if (found.size > MAX_JSON_BYTES) throw inputError(path, `${found.size} bytes`, `at most ${MAX_JSON_BYTES}`);
  return readFile(path, "utf8");
}

async function readJson(directory: string, file: string, optional?: true): Promise<unknown> {
  const path = join(directory, file);
  const text = await readText(path);
  if (text === undefined) {
    if (optional) return undefined;
    throw inputError(directory, `no ${file}`, "config.json, tokenizer.json and safetensors in one directory");
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw inputError(path, (error as Error).message, "JSON");
  }
}

/** Stored element types and how many tensors have each, e.g. `Q4_1 ×210, F32 ×61`. */
function storedTypes({ tensors }: WeightSource): string {
  const counts = new Map<string, number>();
  for (const { dtype } of tensors.values()) counts.set(dtype, (counts.get(dtype) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .map(([dtype, count]) => `${dtype} ×${count}`)
    .join(", ");
}
