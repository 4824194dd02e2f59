/**
 * @file What a model loses with layers deleted, exchanged, run twice or backwards, and whether later layers make up for
 * a deleted one: its direct effect, its own output taken out of the final stream alone, beside the total.
 * Source: McGrath et al. 2023, "The Hydra Effect"; Lad et al. 2024, "The Remarkable Robustness of LLMs"; Men et al. 2024,
 * "ShortGPT", equation 1 (block influence); Sun et al. 2024, "Transformer Layers as Painters".
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, refuse } from "../core/errors.ts";
import {
  bytes,
  callback,
  listOf,
  type OptionChecks,
  optionFaults,
  seed,
  signal,
  such,
  whole,
} from "../core/options.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { meanOver } from "./mean-over.ts";
import { provenance } from "./provenance.ts";
import { ordersOf, type RedundancyPlan } from "./redundancy-cuts.ts";
import { described, SMALL_NATS, sampleOf, verdictOf } from "./redundancy-summary.ts";
import { type ChangedText, groupsOf, measureTexts } from "./redundancy-values.ts";

/** Lengths of runs of layers that are deleted together. */
export const DEFAULT_BLOCKS: readonly number[] = [2, 4];

export interface RedundancyOptions {
  /** Lengths of runs of layers deleted together. Default 2 and 4. */
  readonly blocks?: readonly number[] | undefined;
  /** First and last of the layers run backwards; the middle half of the model if absent. */
  readonly middle?: readonly [first: number, last: number] | undefined;
  readonly seed?: number | undefined;
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

export const redundancyChecks: OptionChecks<RedundancyOptions> = {
  blocks: listOf(whole(1), "whole numbers"),
  middle: such<readonly [first: number, last: number]>(
    "a list of two layers, the first and the last",
    (given) => Array.isArray(given) && given.length === 2 && given.every(Number.isSafeInteger),
  ),
  seed,
  stateBytes: bytes,
  onProgress: callback,
  signal,
};

/**
 * Deletes, exchanges and repeats every layer on each text.
 *
 * @returns a dataset of losses (nats a token; means over texts with 95 % intervals) over dim layer: `delete`; `direct`
 * (only the layer's own output taken out of the final stream, later layers as they were); `swap` (with the next layer);
 * `repeat`; over (blocks, layer) `delete_block`, that many layers from `layer` on; `reverse_middle`. Each has `_effect`
 * (less the unedited loss of the same text; its interval is of that difference), `_agreement` (share of positions with the same most probable token) and `_kl`.
 * `block_influence` is 1 − the mean cosine between a layer's input and output. `verdict` puts total and direct effect together.
 * @throws InputError for texts of fewer than two tokens, layers that are not there.
 */
export async function layerRedundancy(
  model: Model,
  texts: readonly Tokens[],
  options: RedundancyOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, redundancyChecks), ...noTexts(texts)]);
  const layers = model.architecture.layers.length;
  const blocks = (options.blocks ?? DEFAULT_BLOCKS).filter(
    (length) => options.blocks !== undefined || length < layers,
  );
  const [first, last] = options.middle ?? [
    Math.floor(layers / 4),
    Math.max(0, Math.ceil((3 * layers) / 4) - 1),
  ];
  refuse(faultsOf(texts, { layers, blocks, first, last }));
  const plan: RedundancyPlan = { layers, blocks, orders: ordersOf(layers, { first, last }) };

  const { stateBytes, signal } = options;
  const limits = {
    ...(stateBytes === undefined ? {} : { stateBytes }),
    ...(signal === undefined ? {} : { signal }),
  };
  const found: ChangedText[] = [];
  const groups = groupsOf(model, texts);
  for (const [at, group] of groups.entries()) {
    const progress = (share: number): void =>
      options.onProgress?.(Math.round(1000 * (at + share)), 1000 * groups.length);
    found.push(...(await measureTexts(model, group, { plan, limits, progress })));
  }
  const means = meanOver(found.map(sampleOf), {
    unit: "nat",
    quantity: "metric",
    perSample: false,
    seed: options.seed ?? 0,
    over: "texts",
  });
  const dataVars = Object.fromEntries(
    Object.entries(means.dataVars).map(([name, found]) => [name, described(name, found)]),
  );
  return dataset({
    attrs: {
      method: "redundancy",
      metric: "loss",
      unit: "nat",
      direction: "noise",
      baseline_clean: mean(found.map(({ loss }) => loss)),
      question: "What does the model lose with layers deleted, exchanged, repeated or run backwards?",
      reversed: [first, last],
      small_nats: SMALL_NATS,
      options: { blocks: [...blocks], middle: [first, last], seed: options.seed ?? 0 },
      ...means.attrs,
      ...(await provenance(model, [])),
      prompts: { texts: texts.map(({ text }) => text), tokens: texts.map(({ ids }) => [...ids]) },
      seconds: (milliseconds() - started) / 1000,
    },
    dims: { layer: layers, ...(blocks.length === 0 ? {} : { blocks: blocks.length }) },
    coords: blocks.length === 0 ? {} : { blocks: { dims: ["blocks"], data: [...blocks], attrs: {} } },
    dataVars: { ...dataVars, verdict: verdictOf(dataVars) },
  });
}

function noTexts(texts: readonly Tokens[]): Fault[] {
  return texts.length > 0 ? [] : [{ where: "texts", found: "none", wanted: "at least one" }];
}

function faultsOf(
  texts: readonly Tokens[],
  {
    layers,
    blocks,
    first,
    last,
  }: {
    readonly layers: number;
    readonly blocks: readonly number[];
    readonly first: number;
    readonly last: number;
  },
): Fault[] {
  const faults = texts.flatMap(({ ids }, index): Fault[] =>
    ids.length > 1
      ? []
      : [
          {
            where: `text ${index + 1}`,
            found: `${ids.length} tokens`,
            wanted: "two or more: one to read, one to foresee",
          },
        ],
  );
  const long = blocks.filter((length) => length < 1 || length > layers);
  if (long.length > 0)
    faults.push({ where: "--blocks", found: long.join(", "), wanted: `1 to ${layers} layers` });
  if (!(first >= 0 && first <= last && last < layers)) {
    faults.push({
      where: "--middle",
      found: `${first}-${last}`,
      wanted: `layers between 0 and ${layers - 1}`,
    });
  }
  return faults;
}
