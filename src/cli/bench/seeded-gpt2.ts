/**
 * @file A model of GPT-2 small's shape with seeded random weights, in Hugging Face's layout: 124 million parameters
 * that every machine makes alike, so that the table needs no download.
 */
import { createWriteStream } from "node:fs";
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { random } from "../../core/random.ts";

const SIZES = { heads: 12, width: 768, vocabulary: 50257, positions: 1024 } as const;
const SEED = 2;
/** GPT-2's own initialisation; projections into the residual stream are smaller by √(2·layers). */
const DEVIATION = 0.02;

interface Entry {
  readonly name: string;
  readonly shape: readonly number[];
  /** Every element, or the standard deviation of seeded normal numbers. */
  readonly fill: { readonly constant: number } | { readonly deviation: number };
}

function entries(layers: number): Entry[] {
  const { width, vocabulary, positions } = SIZES;
  const weight = (name: string, shape: readonly number[], deviation: number = DEVIATION): Entry => ({
    name,
    shape,
    fill: { deviation },
  });
  const constant = (name: string, size: number, value: number): Entry => ({
    name,
    shape: [size],
    fill: { constant: value },
  });
  const norm = (name: string): Entry[] => [
    constant(`${name}.weight`, width, 1),
    constant(`${name}.bias`, width, 0),
  ];
  const linear = (name: string, [from, to]: readonly [number, number], deviation?: number): Entry[] => [
    weight(`${name}.weight`, [from, to], deviation),
    weight(`${name}.bias`, [to]),
  ];
  const toStream = DEVIATION / Math.sqrt(2 * layers);
  const blocks = Array.from({ length: layers }, (_, layer) => `transformer.h.${layer}`).flatMap((at) => [
    ...norm(`${at}.ln_1`),
    ...linear(`${at}.attn.c_attn`, [width, 3 * width]),
    ...linear(`${at}.attn.c_proj`, [width, width], toStream),
    ...norm(`${at}.ln_2`),
    ...linear(`${at}.mlp.c_fc`, [width, 4 * width]),
    ...linear(`${at}.mlp.c_proj`, [4 * width, width], toStream),
  ]);
  return [
    weight("transformer.wte.weight", [vocabulary, width]),
    weight("transformer.wpe.weight", [positions, width]),
    ...blocks,
    ...norm("transformer.ln_f"),
  ];
}

const configOf = (layers: number) => ({
  architectures: ["GPT2LMHeadModel"],
  model_type: "gpt2",
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  n_layer: layers,
  n_head: SIZES.heads,
  n_embd: SIZES.width,
  n_positions: SIZES.positions,
  n_ctx: SIZES.positions,
  vocab_size: SIZES.vocabulary,
  bos_token_id: 0,
  eos_token_id: 0,
  tie_word_embeddings: true,
});

/** The rows are token ids: a tokenizer has to be there, and is never asked. */
const TOKENIZER = {
  version: "1.0",
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: "Whitespace" },
  post_processor: null,
  decoder: null,
  model: { type: "WordLevel", vocab: { "<unk>": 0, the: 1 }, unk_token: "<unk>" },
};

/** The directory with the model, written there if it is not. GPT-2 small has 12 layers. */
export async function seededGpt2(cache: string, { layers }: { readonly layers: number }): Promise<string> {
  const directory = join(cache, `gpt2-small-shaped-${layers}`);
  const weights = join(directory, "model.safetensors");
  if ((await stat(weights).catch(() => undefined)) !== undefined) return directory;
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "config.json"), JSON.stringify(configOf(layers), null, 2));
  await writeFile(join(directory, "tokenizer.json"), JSON.stringify(TOKENIZER, null, 2));
  const partial = `${weights}.partial`;
  await writeWeights(partial, layers);
  await rename(partial, weights);
  return directory;
}

async function writeWeights(path: string, layers: number): Promise<void> {
  const list = entries(layers);
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const { name, shape } of list) {
    const bytes = 4 * shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc(-json.length & 7, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));

  const stream = createWriteStream(path);
  const write = (bytes: Uint8Array): Promise<void> =>
    new Promise((resolve, reject) => {
      stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  await write(length);
  await write(padded);
  const source = random(SEED);
  for (const { shape, fill } of list) {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const values =
      "constant" in fill
        ? new Float32Array(size).fill(fill.constant)
        : Float32Array.from({ length: size }, () => source.normal() * fill.deviation);
    await write(new Uint8Array(values.buffer));
  }
  stream.end();
  await finished(stream);
}
