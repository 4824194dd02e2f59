import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { random } from "../../core/random.ts";
import type { Tensor } from "../../core/tensor.ts";
import { define } from "../families/registry.ts";
import { inverseFrequencies, type Rotary } from "../rope.ts";
import { requireTensors } from "../store.ts";
import { openGgufFile } from "./gguf.node.ts";
import type { GgufFile } from "./gguf.ts";
import { openGguf } from "./gguf.ts";
import { openSafetensorsDirectory } from "./safetensors.node.ts";
import { buildGguf, float32Bytes, type TinyGguf, tinyLlama, watchedSource } from "./testing.ts";

const goldens = new URL("../../../test/goldens/", import.meta.url);
const ggufPath = (name: string): string => fileURLToPath(new URL(`gguf/${name}.gguf`, goldens));
const checkpoint = (name: string): string => fileURLToPath(new URL(`families/${name}/model`, goldens));
const names = Object.keys(JSON.parse(readFileSync(new URL("gguf/loaded.json", goldens), "utf8")).files);
/** Both files are of one checkpoint; the second as published before transformers knew the architecture. */
const familyOf = (name: string): string => (name === "phi-fused" ? "phi" : name);

const opened: GgufFile[] = [];
const open = async (name: string): Promise<GgufFile> => {
  const file = await openGgufFile(ggufPath(name));
  opened.push(file);
  return file;
};
afterAll(() => Promise.all(opened.map((file) => file.close())));

/** The config with six layers, enough for a global one of Gemma 3; the files hold one. */
const withLayers = (config: object): object => ({
  ...config,
  ["n_layer" in config ? "n_layer" : "num_hidden_layers"]: 6,
});

/** The checkpoint's own config.json, with what the file cannot carry set to what it stands for. */
function expectedConfig(family: string): object {
  const config = JSON.parse(readFileSync(`${checkpoint(family)}/config.json`, "utf8"));
  // Epsilons are stored as float32.
  for (const key of ["rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"]) {
    if (key in config) config[key] = Math.fround(config[key]);
  }
  delete config.layer_types;
  delete config._sliding_window_pattern;
  if ("sliding_window_pattern" in config) config.sliding_window_pattern = 6;
  if ("query_pre_attn_scalar" in config) config.query_pre_attn_scalar = config.head_dim;
  if (family === "mistral") {
    const { sliding_window: _, ...rest } = config;
    return withLayers({ ...rest, architectures: ["LlamaForCausalLM"] });
  }
  return withLayers(config);
}

describe.each(names)("%s", (name) => {
  const family = familyOf(name);

  test("holds the values of the checkpoint it was converted from, bit for bit", async () => {
    const file = await open(name);
    const original = await openSafetensorsDirectory(checkpoint(family));
    const held = [...file.tensors.keys()].filter((tensor) => tensor !== "rope_freqs.weight");
    // Some published checkpoints leave the base model's prefix out.
    const nameThere = (tensor: string): string =>
      original.tensors.has(tensor) ? tensor : tensor.replace(/^transformer\./, "");
    const wanted = await original.read(held.map(nameThere));
    const found = await file.read(held);
    const bits = (tensor: Tensor<Float32Array> | undefined): string =>
      `${tensor?.shape} ${Buffer.from(tensor?.data.buffer ?? new ArrayBuffer(0)).toString("base64")}`;
    for (const tensor of held)
      expect(bits(found.get(tensor)), tensor).toBe(bits(wanted.get(nameThere(tensor))));
    await original.close();
  });

  test("its config defines the programs that the checkpoint's config.json defines", async () => {
    const { config } = await open(name);
    const here = define(withLayers(config));
    const there = define(expectedConfig(family));
    // Llama 3's frequencies are the same in other terms: see below.
    const layers = family === "llama-rope-llama3" ? here.architecture.layers : there.architecture.layers;
    expect(here.architecture).toEqual({ ...there.architecture, layers });
    expect([here.embed, here.blocks, here.unembed]).toEqual([there.embed, there.blocks, there.unembed]);
  });

  test("has each tensor that those programs take, of the right shape, and none besides", async () => {
    const file = await open(name);
    const tensors = new Map([...file.tensors].filter(([tensor]) => tensor !== "rope_freqs.weight"));
    requireTensors(define(file.config), { ...file, tensors });
  });
});

test("Llama 3's factors give the rotary frequencies of the original scaling", async () => {
  const rotaryOf = (config: unknown): Rotary => define(config).architecture.layers[0]?.rotary as Rotary;
  const here = inverseFrequencies(rotaryOf((await open("llama-rope-llama3")).config), "float32");
  const there = inverseFrequencies(rotaryOf(expectedConfig("llama-rope-llama3")), "float32");
  // The factors are rounded to float32 before they divide.
  const errors = here.map((frequency, i) => Math.abs(frequency / there[i] - 1));
  expect(Math.max(...errors)).toBeLessThan(2 ** -22);
});

const fill = (seed: number): ((length: number) => Uint8Array) => {
  const { integer } = random(seed);
  return (length) => Uint8Array.from({ length }, () => integer(120));
};
const openTiny = (tiny: TinyGguf) => openGguf(watchedSource("tiny.gguf", buildGguf(tiny)).source);
const llama = tinyLlama(fill(1));

test("reading tensors one by one, in any order, gives what reading them together gives", async () => {
  const { source, reads } = watchedSource("tiny.gguf", buildGguf(llama));
  const file = await openGguf(source);
  expect(reads).toEqual([source.size]);
  const all = await file.read([...file.tensors.keys()]);
  expect(reads).toHaveLength(2);
  for (const name of [...file.tensors.keys()].reverse()) {
    expect((await file.read([name])).get(name)).toEqual(all.get(name));
  }
});

test("version 2 reads as version 3 does, and shapes are row-major", async () => {
  const two = await openTiny({ ...llama, version: 2 });
  const three = await openTiny(llama);
  expect(two.tensors).toEqual(three.tensors);
  expect(two.tensors.get("model.layers.0.self_attn.k_proj.weight")?.shape).toEqual([16, 32]);
});

test("a metadata value of each kind", async () => {
  const metadata = { ...llama.metadata, "a.text": "é", "a.number": 7, "a.fraction": 0.5, "a.flag": true };
  // The builder writes ASCII: two characters stand for the two bytes of é.
  const file = await openTiny({ ...llama, metadata: { ...metadata, "a.text": "\u00c3\u00a9" } });
  expect([...file.metadata].filter(([key]) => key.startsWith("a."))).toEqual(
    Object.entries(metadata).filter(([key]) => key.startsWith("a.")),
  );
  expect(file.metadata.get("tokenizer.ggml.tokens")).toEqual(["a", "b", "c"]);
});

test("without output.weight the embeddings are tied; with it they are not", async () => {
  const untied = {
    name: "output.weight",
    shape: [3, 32],
    type: 0,
    bytes: float32Bytes(new Array(96).fill(1)),
  };
  expect((await openTiny(llama)).config.tie_word_embeddings).toBe(true);
  const file = await openTiny({ ...llama, tensors: [...llama.tensors, untied] });
  expect(file.config.tie_word_embeddings).toBe(false);
  expect(file.tensors.has("lm_head.weight")).toBe(true);
});

const complaint = (tiny: TinyGguf): Promise<string> =>
  openTiny(tiny).then(
    () => "no complaint",
    (error: Error) => `${error.name}: ${error.message}`,
  );

test("every fault of metadata and names is told at once", async () => {
  const { "llama.block_count": _, ...metadata } = llama.metadata;
  const tensors = [
    ...llama.tensors,
    { name: "blk.0.ssm_conv1d.weight", shape: [1], type: 0, bytes: float32Bytes([1]) },
    { name: "blk.00.attn_norm.weight", shape: [1], type: 0, bytes: float32Bytes([1]) },
  ];
  expect(
    await complaint({
      metadata: {
        ...metadata,
        "llama.context_length": "long",
        "llama.rope.scaling.type": "yarn",
        "llama.logit_scale": 0.5,
      },
      tensors,
    }),
  ).toBe(`InputError: tiny.gguf: llama.block_count: found nothing; wanted a whole number of at least 1.
tiny.gguf: llama.context_length: found "long"; wanted a whole number of at least 1.
tiny.gguf: llama.rope.scaling.type: found yarn; wanted none or linear.
tiny.gguf: llama.logit_scale: found "0.5"; wanted keys whose effect on the computation is known. This variant is not supported yet.
tiny.gguf: tensor "blk.0.ssm_conv1d.weight": found a name that this architecture does not have; wanted only known tensors.
tiny.gguf: tensor "blk.00.attn_norm.weight": found another tensor for model.layers.0.input_layernorm.weight; wanted one.`);
});

test("an unknown architecture and a split file are refused", async () => {
  expect(await complaint({ ...llama, metadata: { "general.architecture": "mamba" } })).toBe(
    'InputError: tiny.gguf: general.architecture: found "mamba"; wanted one of llama, qwen2, qwen3, gemma2, gemma3, gpt2, gptneox, gptj, phi2.',
  );
  expect(await complaint({ ...llama, metadata: { ...llama.metadata, "split.count": 3 } })).toContain(
    "split.count: found one of 3 parts; wanted a whole file. Join them with llama-gguf-split --merge.",
  );
});

test("a tensor of a type without a decoder is listed, and refused when it is read", async () => {
  const tensors = llama.tensors.map((tensor) =>
    tensor.name === "blk.0.attn_v.weight" ? { ...tensor, type: 20 } : tensor,
  );
  const file = await openTiny({ ...llama, tensors });
  const name = "model.layers.0.self_attn.v_proj.weight";
  expect(file.tensors.get(name)?.dtype).toBe("IQ4_NL");
  await expect(file.read([name, "lm_head.weight"])).rejects.toThrow(
    `tiny.gguf: tensor "${name}": found element type IQ4_NL; wanted F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K. Use a checkpoint of another type.
tiny.gguf: tensor "lm_head.weight": found no such tensor; wanted a tensor of the checkpoint.`,
  );
});

test("a file that cannot be opened is closed", async () => {
  const { source, closed } = watchedSource("tiny.gguf", new Uint8Array(64));
  await expect(openGguf(source)).rejects.toThrow(
    "found a file that does not start with GGUF; wanted a GGUF file",
  );
  expect(closed()).toBe(true);
});
