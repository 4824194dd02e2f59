/**
 * @file How far off the data a corruption drives the model, before anything is restored: distance of the stream from
 * natural ones, its norm, and how evenly attention spreads, against the clean run's.
 */

import { random } from "../core/random.ts";
import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { type Cloud, distances, entropies, fitCloud } from "../numeric/mahalanobis.ts";
import { dot } from "../numeric/projection.ts";
import { mean } from "../numeric/statistics.ts";
import { type Cache, forward } from "../run/forward.ts";
import type { Layout } from "./corruption-cells.ts";
import type { Corrupted, CorruptedRun } from "./corruption-kinds.ts";
import { offsetEdits } from "./verify.ts";

/** States that a cloud is made of at most: its cost rises with the square. */
const MAX_STATES = 256;
/** Fewer say nothing about spread. */
const MIN_STATES = 16;
/** Sequences captured at once: bounds what their attention takes. */
const BATCH = 16;

/** [layer · roles + role] of one run, at the tokens of each role; NaN where the pair has none. */
export interface RunStates {
  /** Mahalanobis distance of resid_post from natural states; NaN without a reference. */
  readonly distance: Float64Array;
  /** log of the norm of resid_post over the clean run's. */
  readonly logNorm: Float64Array;
  /** Entropy of the pattern's row less the clean run's, mean over heads, in nats. */
  readonly entropyShift: Float64Array;
  /** Distance of the last layer's stream at the last token. */
  readonly lastDistance: number;
}

/** The reference that distances are from. */
export interface NaturalStates {
  readonly from: "other pairs" | "reference prompts" | "none";
  readonly prompts: number;
  /** Of one cloud: the least over pairs. */
  readonly states: number;
  /** Mean over layers and pairs. */
  readonly shrinkage: number;
}

export interface OffData {
  /** [pair] */
  readonly clean: readonly RunStates[];
  /** [pair][corruption][sample] */
  readonly corrupted: readonly (readonly (readonly RunStates[])[])[];
  /** [pair]: distance of a last stream. */
  readonly distanceOf: readonly (((stream: FloatArray) => number) | undefined)[];
  readonly natural: NaturalStates;
}

export interface OffDataOptions {
  readonly layout: Layout;
  readonly corrupted: Corrupted;
  /** Natural prompts; the other pairs' prompts if absent. */
  readonly references: readonly (readonly number[])[] | undefined;
  readonly seed: number;
}

/**
 * Measures every run of every pair.
 *
 * Natural states are those of the reference prompts at every token but the first, whose state is unlike any other in
 * most models; without reference prompts, of the clean and corrupt prompts of all other pairs, so that no run is held
 * against its own prompt.
 */
export async function offData(
  model: Model,
  pairs: readonly Pair[],
  options: OffDataOptions,
): Promise<OffData> {
  const { layout, corrupted } = options;
  const natural = await naturalStates(model, pairs, options);
  const clean: RunStates[] = [];
  const others: RunStates[][][] = [];
  const distanceOf: (((stream: FloatArray) => number) | undefined)[] = [];
  let least = Number.POSITIVE_INFINITY;
  const shrinkages: number[] = [];
  for (const [index, pair] of pairs.entries()) {
    const clouds = natural.cloudsFor(index);
    for (const { shrinkage, count } of clouds ?? []) {
      shrinkages.push(shrinkage);
      least = Math.min(least, count);
    }
    const runs: CorruptedRun[] = [{ ids: pair.clean.ids }, ...(corrupted.runs[index] ?? []).flat()];
    const found: RunStates[] = [];
    let base: Cache | undefined;
    for (let start = 0; start < runs.length; start += BATCH) {
      const caches = await captured(model, runs.slice(start, start + BATCH), ["resid_post", "pattern"]);
      base ??= caches[0];
      for (const cache of caches) {
        found.push(
          statesOf(model, { cache, base: base ?? cache, clouds, positions: layout.positions[index] ?? [] }),
        );
      }
    }
    const [own, ...rest] = found;
    if (own !== undefined) clean.push(own);
    let at = 0;
    others.push(
      (corrupted.runs[index] ?? []).map((samples) => {
        at += samples.length;
        return rest.slice(at - samples.length, at);
      }),
    );
    const last = clouds?.at(-1);
    distanceOf.push(last && ((stream) => distances(last, stream)[0] ?? Number.NaN));
  }
  const { from, prompts } = natural;
  const isThere = shrinkages.length > 0;
  return {
    clean,
    corrupted: others,
    distanceOf,
    natural: isThere
      ? { from, prompts, states: least, shrinkage: mean(shrinkages) }
      : { from: "none", prompts: 0, states: 0, shrinkage: Number.NaN },
  };
}

async function captured(
  model: Model,
  runs: readonly CorruptedRun[],
  sites: readonly ("resid_post" | "pattern")[],
): Promise<readonly Cache[]> {
  const { caches } = await forward(
    model,
    runs.map(({ ids }) => ids),
    {
      capture: sites.map((site) => ({ site })),
      edits: runs.map((run) => offsetEdits(model, { ...run, read: [] })),
    },
  );
  return caches;
}

function statesOf(
  { architecture }: Model,
  {
    cache,
    base,
    clouds,
    positions,
  }: {
    readonly cache: Cache;
    readonly base: Cache;
    readonly clouds: readonly Cloud[] | undefined;
    readonly positions: readonly (readonly number[])[];
  },
): RunStates {
  const { layers, heads, dModel } = architecture;
  const length = cache.ids.length;
  const size = layers.length * positions.length;
  const [distance, logNorm, entropyShift] = [0, 1, 2].map(() => new Float64Array(size)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const stateAt = (from: Cache, layer: number, pos: number): FloatArray =>
    from.get("resid_post", layer).data.subarray(pos * dModel, (pos + 1) * dModel);
  const entropyAt = (from: Cache, layer: number, pos: number): number => {
    const { data } = from.get("pattern", layer);
    const rows = Array.from({ length: heads }, (_, head) => {
      const start = (head * length + pos) * length;
      return entropies(data.subarray(start, start + length), length)[0] ?? Number.NaN;
    });
    return mean(rows);
  };
  const far = (layer: number, pos: number): number => {
    const cloud = clouds?.[layer];
    return cloud === undefined ? Number.NaN : (distances(cloud, stateAt(cache, layer, pos))[0] ?? Number.NaN);
  };
  for (const layer of layers.keys()) {
    for (const [role, list] of positions.entries()) {
      const at = layer * positions.length + role;
      distance[at] = mean(list.map((pos) => far(layer, pos)));
      logNorm[at] = mean(
        list.map((pos) => Math.log(norm(stateAt(cache, layer, pos)) / norm(stateAt(base, layer, pos)))),
      );
      entropyShift[at] = mean(list.map((pos) => entropyAt(cache, layer, pos) - entropyAt(base, layer, pos)));
    }
  }
  return { distance, logNorm, entropyShift, lastDistance: far(layers.length - 1, length - 1) };
}

const norm = (state: FloatArray): number => Math.sqrt(dot(state, state));

interface Natural {
  readonly from: "other pairs" | "reference prompts";
  readonly prompts: number;
  /** [layer]; none where there are too few states. */
  cloudsFor(pair: number): readonly Cloud[] | undefined;
}

async function naturalStates(
  model: Model,
  pairs: readonly Pair[],
  { references, seed }: OffDataOptions,
): Promise<Natural> {
  const width = model.architecture.dModel;
  const sequences = references ?? [
    // A pair and its reverse have the same prompts.
    ...new Map(
      pairs.flatMap(({ clean, corrupt }) => [clean.ids, corrupt.ids]).map((ids) => [ids.join(), ids]),
    ).values(),
  ];
  // States are chosen before anything runs, so that prompts without any are not run.
  const places = sequences.flatMap((ids, sequence) =>
    ids.slice(1).map((_, index) => ({ sequence, pos: index + 1 })),
  );
  const chosen = random(seed + 2)
    .shuffle(places)
    .slice(0, MAX_STATES)
    .sort((a, b) => a.sequence - b.sequence || a.pos - b.pos);
  const used = [...new Set(chosen.map(({ sequence }) => sequence))];
  const states = model.architecture.layers.map(() => new Float64Array(chosen.length * width));
  let at = 0;
  for (let start = 0; start < used.length; start += BATCH) {
    const batch = used.slice(start, start + BATCH);
    const caches = await captured(
      model,
      batch.map((sequence) => ({ ids: sequences[sequence] ?? [] })),
      ["resid_post"],
    );
    for (const [index, sequence] of batch.entries()) {
      for (const { pos } of chosen.filter((place) => place.sequence === sequence)) {
        for (const [layer, rows] of states.entries()) {
          const found = caches[index]?.get("resid_post", layer).data.subarray(pos * width, (pos + 1) * width);
          rows.set(found ?? [], at * width);
        }
        at += 1;
      }
    }
  }
  const fitWithout = (without: readonly (readonly number[])[]): readonly Cloud[] | undefined => {
    const left = new Set(without.map((ids) => ids.join()));
    const rows = chosen.flatMap(({ sequence }, row) =>
      left.has((sequences[sequence] ?? []).join()) ? [] : [row],
    );
    if (rows.length < MIN_STATES) return undefined;
    return states.map((all) => {
      const own = new Float64Array(rows.length * width);
      for (const [to, row] of rows.entries())
        own.set(all.subarray(row * width, (row + 1) * width), to * width);
      return fitCloud(own, width);
    });
  };
  let shared: readonly Cloud[] | undefined;
  return {
    from: references === undefined ? "other pairs" : "reference prompts",
    prompts: used.length,
    cloudsFor(pair) {
      const own = pairs[pair];
      if (references === undefined && own !== undefined) return fitWithout([own.clean.ids, own.corrupt.ids]);
      shared ??= fitWithout([]);
      return shared;
    },
  };
}
