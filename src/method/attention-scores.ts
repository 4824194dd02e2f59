/**
 * @file What each head of some prompts attends to and copies: patterns, and what heads write from each position.
 * Source: Kobayashi et al. 2020, "Attention is not only a weight" (patterns weighted by what is written); Elhage et al.
 * 2021 and Olsson et al. 2022 (copying heads).
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { standing, valueWeighted } from "../numeric/attention.ts";
import { projectRows, subtractRow } from "../numeric/projection.ts";
import { type Direction, directions } from "../run/direction.ts";
import { type Cache, type Capture, forward } from "../run/forward.ts";
import { runPart, type WeightedProgram } from "../run/part.ts";
import { withWeights } from "../run/with-layer.ts";

/** Attention of one layer on one prompt. */
export interface LayerAttention {
  readonly prompt: number;
  readonly layer: number;
  /** [head, dst, src] */
  readonly pattern: FloatArray;
  /** [head, dst, src] each entry times the length of what the head writes from there. */
  readonly valuePattern: Float64Array;
  /** [src, head] where the token read stands among those of the prompt that the head raises, -1 to 1. */
  readonly standings: Float64Array;
}

export interface AttentionRequest {
  readonly sequences: readonly (readonly number[])[];
  /** All layers if absent. */
  readonly layers?: readonly number[] | undefined;
  /** Without them, which take the longest, they are NaN. Default true. */
  readonly standings?: boolean | undefined;
  readonly onLayer: (attention: LayerAttention) => void;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

/** Prompts that go through the model together. */
const BATCH = 8;
/** Patterns and values that are held at once; where prompts are long, passes are made over fewer layers each. */
const MAX_HELD_NUMBERS = 64e6;

/** Hands out patterns and what follows from them, layer by layer of batches of prompts. */
export async function readAttention(
  model: Model,
  { sequences, standings = true, onLayer, onProgress, signal, ...asked }: AttentionRequest,
): Promise<void> {
  const { heads, kvHeads, dHead, dModel } = model.architecture;
  const layers = asked.layers ?? [...model.definition.blocks.keys()];
  let done = 0;
  for (let start = 0; start < sequences.length; start += BATCH) {
    const batch = sequences.slice(start, start + BATCH);
    const ways = standings ? await tokenDirections(model, batch) : [];
    const held = batch.reduce((sum, { length }) => sum + length * (heads * length + kvHeads * dHead), 0);
    const some = Math.max(1, Math.floor(MAX_HELD_NUMBERS / held));
    for (let first = 0; first < layers.length; first += some) {
      if (signal?.aborted) throw new Error("cancelled");
      const chunk = layers.slice(first, first + some);
      const capture: Capture[] = [
        { site: "pattern", layers: chunk },
        { site: "v", layers: chunk },
      ];
      const { caches } = await forward(model, batch, { capture, stopAfter: Math.max(...chunk) + 1 });
      for (const layer of chunk) {
        const program = model.definition.blocks[layer] as WeightedProgram["program"];
        await withWeights(model, layer, async (weights) => {
          const block: WeightedProgram = { program, weights };
          for (const [index, cache] of caches.entries()) {
            const pattern = cache.get("pattern", layer).data;
            const written = await writtenFrom(model, block, { cache, layer });
            const { tokens = [], columns = cache.ids } = ways[index] ?? {};
            onLayer({
              prompt: start + index,
              layer,
              pattern,
              valuePattern: valueWeighted(pattern, written.raw, heads),
              standings: standingsOf(written.added, { tokens, columns, heads, dModel }),
            });
            onProgress?.(++done, sequences.length * layers.length);
          }
        });
      }
    }
  }
}

/** The distinct tokens of a prompt, each with the direction of its logit; `columns` says which one is at each position. */
interface TokenDirections {
  readonly tokens: readonly Direction[];
  readonly columns: readonly number[];
}

async function tokenDirections(
  model: Model,
  batch: readonly (readonly number[])[],
): Promise<TokenDirections[]> {
  const width = model.architecture.dModel;
  const { residuals } = await forward(model, batch);
  const found: TokenDirections[] = [];
  for (const [index, ids] of batch.entries()) {
    const distinct = [...new Set(ids)];
    const last = residuals[index]?.slice(-width) ?? [];
    const rows = model.backend.allocate(distinct.length * width);
    for (const at of distinct.keys()) rows.set(last, at * width);
    const sums = distinct.map((id) => ({ terms: [{ id, weight: 1 }], centred: false }));
    found.push({
      tokens: await directions(model, rows, sums),
      columns: ids.map((id) => distinct.indexOf(id)),
    });
  }
  return found;
}

/** What each head would write if it read one position alone [src, head, d]: itself, and through a norm behind attention. */
async function writtenFrom(
  model: Model,
  block: WeightedProgram,
  { cache, layer }: { readonly cache: Cache; readonly layer: number },
): Promise<{ readonly raw: FloatArray; readonly added: FloatArray }> {
  const { heads, kvHeads, dHead, dModel } = model.architecture;
  const { allocate } = model.backend;
  const length = cache.ids.length;
  const values = cache.get("v", layer).data;
  const z = allocate(length * heads * dHead);
  for (let at = 0; at < length * heads; at++) {
    const kvHead = Math.floor(((at % heads) * kvHeads) / heads);
    const from = (Math.floor(at / heads) * kvHeads + kvHead) * dHead;
    z.set(values.subarray(from, from + dHead), at * dHead);
  }
  const given = { z: { data: z, shape: [length, heads, dHead] } };
  const raw = await runPart(model, block, { given, want: "result" });
  if (!block.program.sites.has("attn_raw")) return { raw, added: raw };
  // Whatever positive scale that norm has, it raises the same tokens.
  const count = length * heads;
  const normed = async (rows: FloatArray, scale: number): Promise<FloatArray> => {
    const many = rows.length / dModel;
    return runPart(model, block, {
      given: {
        attn_raw: { data: rows, shape: [many, dModel] },
        attn_scale: { data: allocate(many).fill(scale), shape: [many, 1] },
      },
      want: "attn_out",
    });
  };
  const added = allocate(count * dModel);
  added.set(subtractRow(await normed(raw, 1), await normed(allocate(dModel), 1)));
  return { raw, added };
}

function standingsOf(
  added: FloatArray,
  of: TokenDirections & { readonly heads: number; readonly dModel: number },
): Float64Array {
  const effects = of.tokens.map(({ weights }) => projectRows(added, weights)); // each [src, head]
  const count = of.columns.length * of.heads;
  if (effects.length < 2) return new Float64Array(count).fill(Number.NaN);
  return Float64Array.from({ length: count }, (_, at) =>
    standing(
      effects.map((effect) => effect[at] ?? Number.NaN),
      of.columns[Math.floor(at / of.heads)] ?? 0,
    ),
  );
}
