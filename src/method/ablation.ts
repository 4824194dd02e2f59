/** @file What replaces an activation: another run's, nothing, a mean, or draws from other prompts. */

import type { Fault } from "../core/errors.ts";
import { InputError } from "../core/errors.ts";
import { type Check, oneKindOf, oneOf, required, seed, whole } from "../core/options.ts";
import { random } from "../core/random.ts";
import { sizeOf } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { EditValue } from "../run/edit.ts";
import { forward } from "../run/forward.ts";
import type { SiteName } from "../run/site.ts";
import { SITES } from "../run/site.ts";

/** What a mean is over: each position by itself, or all positions together. */
export const meansOver = ["position", "all"] as const;
export type MeanOver = (typeof meansOver)[number];

/** Most draws of a resample ablation: their mean moves by less than 1 % of the draws' spread. */
export const MAX_DRAWS = 10_000;

export type Ablation =
  /** The source run's value at the same cells. */
  | { readonly kind: "source" }
  | { readonly kind: "zero" }
  /** Mean over the reference prompts. */
  | { readonly kind: "mean"; readonly over: MeanOver }
  /** Values of `draws` reference prompts in turn; their effects are averaged, never their activations. */
  | { readonly kind: "resample"; readonly draws: number; readonly seed: number };

export const ablationCheck: Check<Ablation> = oneKindOf<Ablation>({
  source: {},
  zero: {},
  mean: { over: required(oneOf(meansOver)) },
  resample: { draws: required(whole(1, MAX_DRAWS)), seed: required(seed) },
});

/** Reference prompts captured at once for a mean: bounds what their activations take. */
const REFERENCE_BATCH = 8;

/** Means of sites over reference prompts, by `layer.site`. */
export type Means = ReadonlyMap<string, EditValue>;

/**
 * Mean activations over reference prompts.
 * @throws InputError where means by position are asked of prompts of different lengths.
 */
export async function referenceMeans(
  model: Model,
  references: readonly (readonly number[])[],
  options: { readonly sites: readonly SiteName[]; readonly over: MeanOver },
): Promise<Means> {
  const { sites, over } = options;
  const lengths = new Set(references.map((ids) => ids.length));
  const faults: Fault[] = [];
  if (references.length === 0)
    faults.push({ where: "--reference", found: "no prompts", wanted: "at least one" });
  if (over === "position" && lengths.size > 1) {
    faults.push({
      where: "--mean position",
      found: `reference prompts of ${[...lengths].sort((a, b) => a - b).join(", ")} tokens`,
      wanted: "prompts with the same number of tokens",
      fix: "Use --mean all, or prompts of one length.",
    });
  }
  for (const site of sites.filter((name) => over === "all" && SITES[name].axes.includes("src"))) {
    faults.push({
      where: "--mean all",
      found: site,
      wanted: "a site with one position axis",
      fix: "Use --mean position.",
    });
  }
  if (faults.length > 0) throw new InputError(faults);

  const sums = new Map<
    string,
    { readonly sum: Float64Array; readonly shape: readonly number[]; count: number }
  >();
  for (let start = 0; start < references.length; start += REFERENCE_BATCH) {
    const { caches } = await forward(model, references.slice(start, start + REFERENCE_BATCH), {
      capture: sites.map((site) => ({ site })),
    });
    for (const cache of caches) {
      for (const layer of model.architecture.layers.keys()) {
        for (const site of sites) {
          const { data, shape } = cache.get(site, layer);
          const kept = over === "all" ? [1, ...shape.slice(1)] : shape;
          const key = `${layer}.${site}`;
          const held = sums.get(key) ?? { sum: new Float64Array(sizeOf(kept)), shape: kept, count: 0 };
          for (let i = 0; i < data.length; i++) {
            const at = i % held.sum.length;
            held.sum[at] = (held.sum[at] ?? 0) + (data[i] ?? 0);
          }
          held.count += data.length / held.sum.length;
          sums.set(key, held);
        }
      }
    }
  }
  return new Map(
    [...sums].map(([key, { sum, shape, count }]) => [
      key,
      { kind: "given", shape, data: sum.map((value) => value / count) },
    ]),
  );
}

/**
 * Which reference prompts each pair draws from: those of its own length that are not its base prompt.
 * @throws InputError naming every pair that has none.
 */
export function drawReferences(
  bases: readonly { readonly ids: readonly number[]; readonly where: string }[],
  references: readonly (readonly number[])[],
  options: { readonly draws: number; readonly seed: number },
): number[][] {
  const source = random(options.seed);
  const faults: Fault[] = [];
  const drawn = bases.map(({ ids, where }) => {
    const text = ids.join();
    const candidates = [...references.keys()].filter((index) => {
      const other = references[index] ?? [];
      return other.length === ids.length && other.join() !== text;
    });
    if (candidates.length === 0) {
      faults.push({
        where,
        found: `no other reference prompt of ${ids.length} tokens`,
        wanted: "at least one to draw from",
        fix: "Give more pairs of the same length, or use --ablate mean or zero.",
      });
      return [];
    }
    return Array.from({ length: options.draws }, () => candidates[source.integer(candidates.length)] ?? 0);
  });
  if (faults.length > 0) throw new InputError(faults);
  return drawn;
}
