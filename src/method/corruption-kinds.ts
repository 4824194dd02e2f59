/**
 * @file Ways to corrupt the same tokens of a prompt: noise on their embeddings, other tokens in their place, their mean,
 * nothing. Each is a run, or several that are drawn.
 */

import { type Fault, refuse } from "../core/errors.ts";
import { atLeast, type OptionChecks, oneOf, seed, someOf, whole } from "../core/options.ts";
import { random } from "../core/random.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { meanRow } from "../numeric/projection.ts";
import type { EmbeddingOffset } from "../run/ends.ts";
import { MAX_DRAWS } from "./ablation.ts";
import { drawNoise, embeddingSpread, tokenEmbeddings } from "./noise.ts";

export const corruptionKinds = ["noise", "replacement", "resample", "mean", "zero"] as const;
export type CorruptionKind = (typeof corruptionKinds)[number];

export interface CorruptionOptions {
  /** All five if absent; `resample` is then left out where the pairs allow none. */
  readonly kinds?: readonly CorruptionKind[] | undefined;
  /** Standard deviations of the noise, each over that of the embedding table. Default 1 and 3. */
  readonly factors?: readonly number[] | undefined;
  /** Noised runs of each pair and deviation. Default: {@link defaultSamples} of the pairs. */
  readonly samples?: number | undefined;
  /** Other pairs whose tokens take the place of a pair's own. Default 1. */
  readonly draws?: number | undefined;
  readonly seed?: number | undefined;
}

export const corruptionChecks: OptionChecks<CorruptionOptions> = {
  kinds: someOf(oneOf(corruptionKinds), "kinds of corruption"),
  factors: someOf(atLeast(0), "numbers"),
  samples: whole(1, MAX_DRAWS),
  draws: whole(1, MAX_DRAWS),
  seed,
};

/** What is drawn for a kind that is not among them. */
export function strayFaults({ kinds, ...options }: CorruptionOptions): Fault[] {
  if (kinds === undefined) return [];
  const needed = { factors: "noise", samples: "noise", draws: "resample" } as const;
  return (["factors", "samples", "draws"] as const)
    .filter((option) => options[option] !== undefined && !kinds.includes(needed[option]))
    .map((option) => ({
      where: `options.${option}`,
      found: `the kinds ${kinds.join(", ")}`,
      wanted: `${needed[option]} among them`,
    }));
}

/** One way to corrupt, of a certain strength. */
export interface Corruption {
  /** `noise 3σ`, `replacement`, … */
  readonly name: string;
  readonly kind: CorruptionKind;
  /** Deviation of the noise over that of the embeddings. */
  readonly factor?: number;
}

/** A corrupted run of one pair. */
export interface CorruptedRun {
  readonly ids: readonly number[];
  readonly offset?: EmbeddingOffset | undefined;
}

/** All corruptions of all pairs. */
export interface Corrupted {
  readonly corruptions: readonly Corruption[];
  /** [pair][corruption][sample]; as many samples for every pair. */
  readonly runs: readonly (readonly (readonly CorruptedRun[])[])[];
  /** Standard deviation of the embeddings' entries. */
  readonly spread: number;
  readonly warnings: readonly string[];
}

export const DEFAULT_FACTORS: readonly number[] = [1, 3];
/**
 * Noised runs of a single pair and deviation. Of one fact of the embedded model they take 31 % of what replacement takes,
 * with a standard deviation of 19 %: two may say "nothing" or "half", the interval of forty reaches 6 % to either side.
 */
export const SINGLE_SAMPLES = 40;
/** Of several pairs, over which intervals then are: runs of all together, */
export const TOTAL_SAMPLES = 20;
/** … and of each at least, so that some of its noise averages out. */
export const LEAST_SAMPLES = 2;
export const DEFAULT_DRAWS = 1;

/** Noised runs of each pair and deviation where none are asked for. */
export function defaultSamples(pairs: number): number {
  return pairs === 1 ? SINGLE_SAMPLES : Math.max(LEAST_SAMPLES, Math.ceil(TOTAL_SAMPLES / pairs));
}

/**
 * Corrupts the tokens at which the prompts of each pair differ.
 *
 * - noise: Gaussian, independent in every entry, the same directions for every deviation and pair.
 * - replacement: the pair's own corrupt prompt (symmetric token replacement of Zhang & Nanda 2024).
 * - resample: tokens of other pairs at as many differing positions, whose answer is another.
 * - mean: the mean embedding of the differing tokens of all pairs, clean and corrupt.
 * - zero: no token embedding; what is added for the position stays.
 *
 * @throws InputError where resampling is asked for and a pair has nothing to draw from.
 */
export async function corrupt(
  model: Model,
  pairs: readonly Pair[],
  options: CorruptionOptions,
): Promise<Corrupted> {
  const {
    factors = DEFAULT_FACTORS,
    samples = defaultSamples(pairs.length),
    draws = DEFAULT_DRAWS,
    seed = 0,
  } = options;
  const drawn = drawOthers(pairs, { draws, seed });
  const lacking = pairs.filter((_, index) => drawn[index]?.length === 0);
  if (options.kinds?.includes("resample")) refuse(lacking.map(nothingToDraw));
  const kinds = (options.kinds ?? corruptionKinds).filter(
    (kind) => kind !== "resample" || lacking.length === 0,
  );
  const corruptions = corruptionKinds
    .filter((kind) => kinds.includes(kind))
    .flatMap((kind): Corruption[] =>
      kind === "noise"
        ? factors.map((factor) => ({ name: `noise ${factor}σ`, kind, factor }))
        : [{ name: kind, kind }],
    );
  const spread = await embeddingSpread(model);
  const all = pairs.flatMap((pair) => [
    ...tokensAt(pair.clean.ids, pair),
    ...tokensAt(pair.corrupt.ids, pair),
  ]);
  const mean = meanRow(await tokenEmbeddings(model, all), model.architecture.dModel);
  const runs: CorruptedRun[][][] = [];
  for (const [index, pair] of pairs.entries()) {
    const { ids } = pair.clean;
    const positions = pair.differing;
    const own = await tokenEmbeddings(model, tokensAt(ids, pair));
    const moved = (values: Float64Array): CorruptedRun[] => [{ ids, offset: { positions, values } }];
    const noised = async (factor: number): Promise<CorruptedRun[]> => {
      const values = await drawNoise(model, {
        distribution: "gaussian",
        sigma: factor * spread,
        factor,
        samples,
        tokens: positions.length,
        antithetic: false,
        seed,
      });
      const size = values.length / samples;
      return Array.from({ length: samples }, (_, sample) => ({
        ids,
        offset: { positions, values: values.subarray(sample * size, (sample + 1) * size) },
      }));
    };
    const of: {
      readonly [K in CorruptionKind]: (factor: number) => Promise<CorruptedRun[]> | CorruptedRun[];
    } = {
      noise: noised,
      replacement: () => [{ ids: pair.corrupt.ids }],
      resample: () => (drawn[index] ?? []).map((tokens) => ({ ids: withTokens(pair, tokens) })),
      mean: () => moved(own.map((value, i) => (mean[i % mean.length] ?? 0) - value)),
      zero: () => moved(own.map((value) => -value)),
    };
    runs.push(await Promise.all(corruptions.map(({ kind, factor = 0 }) => of[kind](factor))));
  }
  const warnings =
    options.kinds === undefined && lacking.length > 0
      ? [
          `resample is left out: ${lacking.length === pairs.length ? "no pair" : `${lacking.map(({ where }) => where).join(", ")} does not`} find${lacking.length === pairs.length ? "s" : ""} another with as many differing tokens and another answer`,
        ]
      : [];
  return { corruptions, runs, spread, warnings };
}

function nothingToDraw({ where, differing }: Pair): Fault {
  return {
    where: `${where}, --corruption resample`,
    found: `no other pair with ${differing.length} differing token${differing.length === 1 ? "" : "s"} and another answer`,
    wanted: "at least one to draw from",
    fix: "Give more pairs, or leave resample out of --corruption.",
  };
}

const tokensAt = (ids: readonly number[], { differing }: Pair): number[] =>
  differing.map((position) => ids[position] ?? 0);

function withTokens({ clean, differing }: Pair, tokens: readonly number[]): number[] {
  const ids = [...clean.ids];
  for (const [index, position] of differing.entries()) ids[position] = tokens[index] ?? 0;
  return ids;
}

/** [pair][draw]: differing tokens of other pairs, drawn with replacement; none where no other pair has any that fit. */
function drawOthers(
  pairs: readonly Pair[],
  { draws, seed }: { readonly draws: number; readonly seed: number },
): number[][][] {
  const source = random(seed);
  const sides = pairs.flatMap((pair) => [
    { tokens: tokensAt(pair.clean.ids, pair), answers: pair.answers },
    { tokens: tokensAt(pair.corrupt.ids, pair), answers: pair.foils },
  ]);
  return pairs.map((pair) => {
    const { clean, corrupt: other, answers, differing } = pair;
    const own = [clean, other].map(({ ids }) => tokensAt(ids, pair).join());
    const answerIds = new Set(answers.map(({ ids }) => ids.join()));
    const fitting = sides.filter(
      (side) =>
        side.tokens.length === differing.length &&
        !own.includes(side.tokens.join()) &&
        !side.answers.some(({ ids }) => answerIds.has(ids.join())),
    );
    if (fitting.length === 0) return [];
    return Array.from({ length: draws }, () => fitting[source.integer(fitting.length)]?.tokens ?? []);
  });
}
