/**
 * @file What a model loses with layers deleted, exchanged, run twice or backwards, and whether later layers make up for
 * a deleted one: its direct effect, its own output taken out of the final stream alone, beside the total.
 * Source: McGrath et al. 2023, "The Hydra Effect"; Lad et al. 2024, "The Remarkable Robustness of LLMs"; Men et al. 2024,
 * "ShortGPT", equation 1 (block influence); Sun et al. 2024, "Transformer Layers as Painters".
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, refuse } from "../core/errors.ts";
import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { klDivergence, logSumExp, rankOf } from "../numeric/logits.ts";
import { meanCosine } from "../numeric/projection.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { Edit } from "../run/edit.ts";
import { type Cache, forward } from "../run/forward.ts";
import type { Reading } from "../run/read.ts";
import { reordered } from "../run/reorder.ts";
import { sweep } from "../run/sweep.ts";
import type { SweepRun, Variant } from "../run/variant.ts";
import { meanOver, type Sample } from "./mean-over.ts";
import { provenance } from "./provenance.ts";

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

/** Bytes of the unedited runs' logits held at once, against which every edited run is compared. */
const LOGITS_BYTES = 256 * 2 ** 20;

/** Effects on the loss below this many nats count as none in the verdict: a twentieth of a bit, and more than rounding. */
const SMALL_NATS = 0.05;

/** How an edited run compares with the unedited one, mean over positions. */
interface Comparison {
  /** −log P of the next token, in nats. */
  readonly loss: number;
  /** Share of positions whose most probable token is the same. */
  readonly agreement: number;
  /** KL(unedited ‖ edited) in nats. */
  readonly kl: number;
}

/**
 * Deletes, exchanges and repeats every layer on each text.
 *
 * @returns a dataset of losses (nats a token; means over texts with 95 % intervals) over dim layer: `delete`; `direct`
 * (only the layer's own output taken out of the final stream, later layers as they were); `swap` (with the next layer);
 * `repeat`; over (blocks, layer) `delete_block`, that many layers from `layer` on; `reverse_middle`. Each has `_effect`
 * (less the unedited loss), `_agreement` (share of positions with the same most probable token) and `_kl`.
 * `block_influence` is 1 − the mean cosine between a layer's input and output. `verdict` puts total and direct effect together.
 * @throws InputError for texts of fewer than two tokens, layers that are not there.
 */
export async function layerRedundancy(
  model: Model,
  texts: readonly Tokens[],
  options: RedundancyOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  const layers = model.architecture.layers.length;
  const blocks = (options.blocks ?? DEFAULT_BLOCKS).filter(
    (length) => options.blocks !== undefined || length < layers,
  );
  const [first, last] = options.middle ?? [
    Math.floor(layers / 4),
    Math.max(0, Math.ceil((3 * layers) / 4) - 1),
  ];
  refuse(faultsOf(texts, { layers, blocks, first, last }));
  const plan: Plan = { layers, blocks, orders: ordersOf(layers, { first, last }) };

  const samples: Sample[] = [];
  const losses: number[] = [];
  const groups = groupsOf(model, texts);
  for (const [at, group] of groups.entries()) {
    const progress = (share: number): void =>
      options.onProgress?.(Math.round(1000 * (at + share)), 1000 * groups.length);
    for (const { loss, sample } of await measure(model, group, { plan, options, progress })) {
      losses.push(loss);
      samples.push(sample);
    }
  }
  const means = meanOver(samples, {
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
      baseline_clean: mean(losses),
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

interface Plan {
  readonly layers: number;
  readonly blocks: readonly number[];
  readonly orders: readonly Order[];
}

/** Layers in another order, and the variable and cell that the run stands for. */
interface Order {
  readonly name: "swap" | "repeat" | "reverse_middle";
  readonly cell: number;
  readonly order: readonly number[];
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
  if (texts.length === 0) faults.push({ where: "texts", found: "none", wanted: "at least one" });
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

function ordersOf(
  layers: number,
  { first, last }: { readonly first: number; readonly last: number },
): Order[] {
  const all = [...Array(layers).keys()];
  const before = all.slice(0, first);
  return [
    ...all
      .slice(0, -1)
      .map((cell): Order => ({ name: "swap", cell, order: all.with(cell, cell + 1).with(cell + 1, cell) })),
    ...all.map(
      (cell): Order => ({ name: "repeat", cell, order: [...all.slice(0, cell + 1), ...all.slice(cell)] }),
    ),
    {
      name: "reverse_middle",
      cell: 0,
      order: [...before, ...all.slice(first, last + 1).reverse(), ...all.slice(last + 1)],
    },
  ];
}

/** Texts whose unedited logits fit the memory for them, at least one at a time. */
function groupsOf({ architecture }: Model, texts: readonly Tokens[]): Tokens[][] {
  const groups: Tokens[][] = [];
  let held = Number.POSITIVE_INFINITY;
  for (const text of texts) {
    const bytes = 8 * text.ids.length * architecture.vocabulary;
    if (held + bytes > LOGITS_BYTES) {
      groups.push([]);
      held = 0;
    }
    groups.at(-1)?.push(text);
    held += bytes;
  }
  return groups;
}

/** An edited run of the sweep: which variable and cell, and how it is edited on one text. */
interface Cut {
  readonly name: "delete" | "direct" | "delete_block";
  readonly cell: number;
  readonly edits: (text: number) => Edit[];
}

const nothing = (site: "attn_out" | "mlp_out", layer: number): Edit => ({
  site,
  layer,
  where: {},
  action: "replace",
  value: { kind: "fill", value: 0 },
});

/** A layer whose attention and MLP add nothing hands its input on. */
const deletion = (layer: number): Edit[] => [nothing("attn_out", layer), nothing("mlp_out", layer)];

function cutsOf(plan: Plan, caches: readonly Cache[]): Cut[] {
  const { layers, blocks } = plan;
  const all = [...Array(layers).keys()];
  return [
    ...all.map((layer): Cut => ({ name: "delete", cell: layer, edits: () => deletion(layer) })),
    ...all.map(
      (layer): Cut => ({
        name: "direct",
        cell: layer,
        edits: (text) => [withoutOutput(caches[text] as Cache, { layer, last: layers - 1 })],
      }),
    ),
    ...blocks.flatMap((length, at) =>
      all.slice(0, layers - length + 1).map(
        (first): Cut => ({
          name: "delete_block",
          cell: at * layers + first,
          edits: () => all.slice(first, first + length).flatMap(deletion),
        }),
      ),
    ),
  ];
}

/** The final stream less what one layer added to it; the final norm works on what is left. */
function withoutOutput(
  cache: Cache,
  { layer, last }: { readonly layer: number; readonly last: number },
): Edit {
  const attention = cache.get("attn_out", layer);
  const mlp = cache.get("mlp_out", layer).data;
  const data = Float64Array.from(attention.data, (value, i) => -(value + (mlp[i] ?? 0)));
  const value = { kind: "given", shape: attention.shape, data } as const;
  return { site: "resid_post", layer: last, where: {}, action: "add", value };
}

interface Measure {
  readonly plan: Plan;
  readonly options: RedundancyOptions;
  readonly progress: (share: number) => void;
}

async function measure(
  model: Model,
  texts: readonly Tokens[],
  { plan, options, progress }: Measure,
): Promise<{ readonly loss: number; readonly sample: Sample }[]> {
  const { layers, blocks, orders } = plan;
  const { caches } = await forward(
    model,
    texts.map(({ ids }) => ids),
    { capture: [{ site: "resid_pre" }, { site: "attn_out" }, { site: "mlp_out" }, { site: "resid_post" }] },
  );
  const runs = texts.map(
    ({ ids }): SweepRun => ({
      ids,
      read: ids.slice(0, -1).map((_, position) => ({ position, readout: { logits: true } })),
    }),
  );
  const cuts = cutsOf(plan, caches);
  const base: (readonly FloatArray[])[] = [];
  const found = texts.map(() => tables(layers, blocks.length));
  const put = (
    text: number,
    at: { readonly name: string; readonly cell: number },
    reading: Reading,
  ): void => {
    const compared = compare(texts[text]?.ids ?? [], { base: base[text] ?? [], reading });
    for (const key of ["loss", "agreement", "kl"] as const)
      found[text]?.[at.name]?.[key].set([compared[key]], at.cell);
  };
  // By FLOPs, deletions take about as long as all other orders.
  const sweepShare = 0.5;
  const common = {
    ...(options.stateBytes === undefined ? {} : { stateBytes: options.stateBytes }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
  await sweep(
    model,
    {
      runs,
      count: cuts.length * texts.length,
      variant: (index): Variant => {
        const run = Math.floor(index / cuts.length);
        return { run, edits: cuts[index % cuts.length]?.edits(run) ?? [] };
      },
    },
    {
      ...common,
      onRun(run, reading) {
        base[run] ??= reading.map(({ logits }) => logits?.slice() ?? new Float64Array(0));
      },
      onReading: (index, reading) =>
        put(Math.floor(index / cuts.length), cuts[index % cuts.length] as Cut, reading),
      onProgress: (done, total) => progress((sweepShare * done) / total),
    },
  );
  for (const [index, order] of orders.entries()) {
    await sweep(
      reordered(model, order.order),
      { runs, count: 0, variant: () => ({ run: 0, edits: [] }) },
      { ...common, onReading: () => {}, onRun: (run, reading) => put(run, order, reading) },
    );
    progress(sweepShare + ((1 - sweepShare) * (index + 1)) / orders.length);
  }
  return texts.map((text, index) => {
    const own = compareBase(text.ids, base[index] ?? []);
    const influence = Float64Array.from({ length: layers }, (_, layer) =>
      influenceOf(caches[index] as Cache, layer),
    );
    return { loss: own, sample: sampleOf(found[index] ?? {}, { loss: own, influence }) };
  });
}

type Table = { readonly [K in keyof Comparison]: Float64Array };

/** NaN where there is nothing to do: a last layer has no next one to be exchanged with. */
function tables(layers: number, blocks: number): Record<string, Table> {
  const table = (size: number): Table => ({
    loss: new Float64Array(size).fill(Number.NaN),
    agreement: new Float64Array(size).fill(Number.NaN),
    kl: new Float64Array(size).fill(Number.NaN),
  });
  return {
    delete: table(layers),
    direct: table(layers),
    swap: table(layers),
    repeat: table(layers),
    ...(blocks === 0 ? {} : { delete_block: table(blocks * layers) }),
    reverse_middle: table(1),
  };
}

function sampleOf(
  found: Readonly<Record<string, Table>>,
  { loss, influence }: { readonly loss: number; readonly influence: Float64Array },
): Sample {
  const dimsOf: Readonly<Record<string, readonly string[]>> = {
    delete_block: ["blocks", "layer"],
    reverse_middle: [],
  };
  const sample: Record<string, Sample[string]> = {};
  for (const [name, table] of Object.entries(found)) {
    const dims = dimsOf[name] ?? ["layer"];
    sample[name] = { dims, data: table.loss };
    sample[`${name}_effect`] = { dims, data: table.loss.map((value) => value - loss) };
    sample[`${name}_agreement`] = { dims, data: table.agreement };
    sample[`${name}_kl`] = { dims, data: table.kl };
  }
  sample.block_influence = { dims: ["layer"], data: influence };
  return sample;
}

const compareBase = (ids: readonly number[], base: readonly FloatArray[]): number =>
  mean(base.map((logits, position) => logSumExp(logits) - (logits[ids[position + 1] ?? 0] ?? Number.NaN)));

function compare(
  ids: readonly number[],
  { base, reading }: { readonly base: readonly FloatArray[]; readonly reading: Reading },
): Comparison {
  const each = reading.map(({ logits }, position) => {
    const own = base[position] ?? new Float64Array(0);
    const edited = logits ?? new Float64Array(0);
    return {
      loss: logSumExp(edited) - (edited[ids[position + 1] ?? 0] ?? Number.NaN),
      agreement: rankOf(edited, own.indexOf(maximum(own))) === 1 ? 1 : 0,
      kl: klDivergence(own, edited),
    };
  });
  return {
    loss: mean(each.map(({ loss }) => loss)),
    agreement: mean(each.map(({ agreement }) => agreement)),
    kl: mean(each.map(({ kl }) => kl)),
  };
}

function maximum(values: FloatArray): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) if (value > most) most = value;
  return most;
}

/** 1 − the mean cosine between a layer's input and its output, over positions. */
function influenceOf(cache: Cache, layer: number): number {
  const { data, shape } = cache.get("resid_pre", layer);
  return 1 - meanCosine(data, cache.get("resid_post", layer).data, shape[1] ?? 1);
}

/** Units and words of a variable; what goes along with another is its detail. */
function described(name: string, { dims, data, attrs }: Variable): Variable {
  const words: Record<string, Json> = { ...attrs };
  if (/_agreement(_|$)/.test(name)) {
    Object.assign(words, {
      unit: "1",
      detail: true,
      long_name: "share of positions with the same most probable token",
    });
  } else if (/_kl(_|$)/.test(name)) {
    Object.assign(words, { detail: true, long_name: "KL(unedited ‖ edited), mean over positions" });
  } else if (name.startsWith("block_influence")) {
    Object.assign(words, {
      unit: "1",
      quantity: "influence",
      long_name: "1 − cosine between input and output",
    });
  }
  return { dims, data, attrs: words };
}

function verdictOf(variables: Readonly<Record<string, Variable>>): Variable {
  const of = (name: string): number[] => Array.from(variables[name]?.data ?? [], Number);
  const direct = of("direct_effect");
  return {
    dims: ["layer"],
    data: of("delete_effect").map((total, layer) => verdict(total, direct[layer] ?? Number.NaN)),
    attrs: { long_name: "what total and direct effect of deletion say together" },
  };
}

/** Little lost either way: redundant. Less than half of the direct loss in the end: self-repaired. */
function verdict(total: number, direct: number): string {
  if (Math.abs(total) < SMALL_NATS && Math.abs(direct) < SMALL_NATS) return "redundant";
  return direct >= SMALL_NATS && total < direct / 2 ? "self-repaired" : "needed";
}
