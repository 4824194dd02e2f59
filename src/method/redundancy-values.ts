/** @file Texts through a model with layers deleted, exchanged, repeated and reversed, against the unedited one. */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { klDivergence, logSumExp, rankOf } from "../numeric/logits.ts";
import { meanCosine } from "../numeric/projection.ts";
import { mean } from "../numeric/statistics.ts";
import { type Cache, forward } from "../run/forward.ts";
import type { Reading } from "../run/read.ts";
import { reordered } from "../run/reorder.ts";
import { sweep } from "../run/sweep.ts";
import type { SweepOptions, SweepRun, Variant } from "../run/variant.ts";
import { type Cut, cutsOf, type RedundancyPlan } from "./redundancy-cuts.ts";

/** Bytes of the unedited runs' logits held at once, against which every edited run is compared. */
const LOGITS_BYTES = 256 * 2 ** 20;

/** How an edited run compares with the unedited one, mean over positions. */
interface Comparison {
  /** −log P of the next token, in nats. */
  readonly loss: number;
  /** Share of positions whose most probable token is the same. */
  readonly agreement: number;
  /** KL(unedited ‖ edited) in nats. */
  readonly kl: number;
}

/** Texts whose unedited logits fit the memory for them, at least one at a time. */
export function groupsOf({ architecture }: Model, texts: readonly Tokens[]): Tokens[][] {
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

/** A text through the model as it is, and as it is changed. */
export interface ChangedText {
  /** Of the unedited model, nats a token. */
  readonly loss: number;
  /** By variable: `delete`, `direct`, `swap`, `repeat`, `delete_block`, `reverse_middle`. */
  readonly changed: Readonly<Record<string, Table>>;
  /** [layer] block influence. */
  readonly influence: Float64Array;
}

interface Measure {
  readonly plan: RedundancyPlan;
  readonly limits: Pick<SweepOptions, "stateBytes" | "signal">;
  readonly progress: (share: number) => void;
}

/** Runs texts through the model in every form. */
export async function measureTexts(
  model: Model,
  texts: readonly Tokens[],
  { plan, limits, progress }: Measure,
): Promise<ChangedText[]> {
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
      ...limits,
      onRun(run, reading) {
        base[run] ??= reading.map(({ logits }) => logits ?? new Float64Array(0));
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
      { ...limits, onReading: () => {}, onRun: (run, reading) => put(run, order, reading) },
    );
    progress(sweepShare + ((1 - sweepShare) * (index + 1)) / orders.length);
  }
  return texts.map((text, index) => {
    const own = compareBase(text.ids, base[index] ?? []);
    const influence = Float64Array.from({ length: layers }, (_, layer) =>
      influenceOf(caches[index] as Cache, layer),
    );
    return { loss: own, changed: found[index] ?? {}, influence };
  });
}

/** Of one variable, by cell. */
export type Table = { readonly [K in keyof Comparison]: Float64Array };

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
