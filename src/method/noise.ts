/** @file Noise for the subject's token embeddings: how large, of which shape, from which seed. */

import { oncePer } from "../core/once.ts";
import { random } from "../core/random.ts";
import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { addScaled, dot } from "../numeric/projection.ts";
import { runPart } from "../run/part.ts";

/** `gaussian` and `uniform`: every number by itself; `covariance`: Gaussian with the covariance of the embeddings. */
export const distributions = ["gaussian", "uniform", "covariance"] as const;
export type Distribution = (typeof distributions)[number];

/** Standard deviation of the noise over that of the embeddings: Meng et al. 2022. */
export const DEFAULT_FACTOR = 3;
/** Noised runs of a fact: as many as ROME takes. */
export const DEFAULT_SAMPLES = 10;

/** Ids embedded at once. */
const CHUNK = 4096;

/** Token embeddings [id, d] in chunks, as they go into the stream (scaled where a family scales them), without positions. */
async function* embeddings(
  model: Model,
  ids: Int32Array,
): AsyncGenerator<{ rows: FloatArray; first: number }> {
  const { embed: program } = model.definition;
  const weights = await model.weights.get("ends");
  try {
    for (let first = 0; first < ids.length; first += CHUNK) {
      const chunk = ids.slice(first, first + CHUNK);
      const contexts: Record<string, Tensor> = { ids: { data: chunk, shape: [chunk.length] } };
      const want = program.sites.has("embed") ? "embed" : "resid_pre";
      yield {
        first,
        rows: await runPart(model, { program, weights: { ...weights, ...contexts } }, { given: {}, want }),
      };
    }
  } finally {
    model.weights.release("ends");
  }
}

/** Token embeddings [id, d] as they go into the stream, without positions. */
export async function tokenEmbeddings(model: Model, ids: readonly number[]): Promise<Float64Array> {
  const width = model.architecture.dModel;
  const out = new Float64Array(ids.length * width);
  for await (const { rows, first } of embeddings(model, Int32Array.from(ids))) out.set(rows, first * width);
  return out;
}

const everyId = ({ architecture }: Model): Int32Array =>
  Int32Array.from({ length: architecture.vocabulary }, (_, id) => id);

const spreadOfAll = oncePer((model: Model) => spread(model, everyId(model)));

/**
 * Standard deviation of all entries of the embeddings of some tokens, of the whole table if none are named.
 * ROME takes those of all known subjects (Meng et al. 2022, appendix B).
 */
export function embeddingSpread(model: Model, ids?: readonly number[]): Promise<number> {
  return ids === undefined ? spreadOfAll(model) : spread(model, Int32Array.from(ids));
}

async function spread(model: Model, ids: Int32Array): Promise<number> {
  let count = 0;
  let sum = 0;
  let squares = 0;
  for await (const { rows } of embeddings(model, ids)) {
    count += rows.length;
    for (let i = 0; i < rows.length; i++) sum += rows[i] ?? 0;
    squares += dot(rows, rows);
  }
  return Math.sqrt((squares - (sum * sum) / count) / (count - 1));
}

export interface NoiseOptions {
  readonly distribution: Distribution;
  /** Standard deviation of one entry. */
  readonly sigma: number;
  /** Of noise over the embeddings' own; scales the covariance. */
  readonly factor: number;
  readonly samples: number;
  /** Subject tokens. */
  readonly tokens: number;
  /** The second half of the samples is the first with its sign turned. */
  readonly antithetic: boolean;
  readonly seed: number;
}

/** Noise [sample, subject token, d]. The same seed gives the same noise, whatever the prompt. */
export async function drawNoise(model: Model, options: NoiseOptions): Promise<Float64Array> {
  const { samples, tokens, antithetic, sigma, distribution, seed } = options;
  const size = tokens * model.architecture.dModel;
  const drawn = antithetic ? samples / 2 : samples;
  const source = random(seed);
  const noise = new Float64Array(samples * size);
  if (distribution === "covariance") {
    noise.set(await correlated(model, { vectors: drawn * tokens, factor: options.factor, seed }));
  } else {
    const half = Math.sqrt(3) * sigma; // a uniform variable's half-width is √3 of its standard deviation
    const draw =
      distribution === "gaussian" ? () => sigma * source.normal() : () => half * (2 * source.uniform() - 1);
    for (let i = 0; i < drawn * size; i++) noise[i] = draw();
  }
  if (antithetic) for (let i = 0; i < drawn * size; i++) noise[drawn * size + i] = -(noise[i] ?? 0);
  return noise;
}

/**
 * Vectors of the normal distribution with factor² times the covariance of the embedding table: random combinations of
 * its centred rows, Σ g (x − x̄)/√(n − 1) with g standard normal, have that covariance exactly.
 */
async function correlated(
  model: Model,
  { vectors, factor, seed }: { readonly vectors: number; readonly factor: number; readonly seed: number },
): Promise<Float64Array> {
  const width = model.architecture.dModel;
  const ids = everyId(model);
  const sources = Array.from({ length: vectors }, (_, vector) => random(seed + 1000 * (vector + 1)));
  const sums = sources.map(() => ({ weighted: new Float64Array(width), weights: 0 }));
  const all = new Float64Array(width);
  for await (const { rows } of embeddings(model, ids)) {
    for (let at = 0; at < rows.length; at += width) {
      const row = rows.subarray(at, at + width);
      addScaled(all, row, 1);
      for (const [vector, sum] of sums.entries()) {
        const weight = sources[vector]?.normal() ?? 0;
        addScaled(sum.weighted, row, weight);
        sum.weights += weight;
      }
    }
  }
  const out = new Float64Array(vectors * width);
  for (const [vector, { weighted, weights }] of sums.entries()) {
    addScaled(weighted, all, -weights / ids.length);
    out.set(
      weighted.map((value) => (factor * value) / Math.sqrt(ids.length - 1)),
      vector * width,
    );
  }
  return out;
}

/** Standard deviation of given noise. */
export function deviationOf(noise: ArrayLike<number>): number {
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < noise.length; i++) {
    sum += noise[i] ?? 0;
    squares += (noise[i] ?? 0) ** 2;
  }
  return Math.sqrt(Math.max(0, (squares - (sum * sum) / noise.length) / Math.max(1, noise.length - 1)));
}
