/**
 * @file Attribution patching: first-order effects of patching every cell, from two forward passes and one backward.
 *
 * AtP: Nanda 2023, "Attribution patching". AtP*: Kramár et al. 2024, eqs. 4–12: queries and keys are linearised only
 * behind the softmax (QK fix), and gradients are also taken with each block dropped, so that an effect that is
 * cancelled by a later one is seen (GradDrop).
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Place } from "../numeric/attribution.ts";
import { addEffects, addFirstOrder, keyEffects, queryEffects } from "../numeric/attribution.ts";
import { placeOf } from "../run/apply.ts";
import type { Layer, SiteValue } from "../run/block.ts";
import { runBlock } from "../run/block.ts";
import type { GradientRun } from "../run/end-gradients.ts";
import { endGradients } from "../run/end-gradients.ts";
import type { LayerGradients } from "../run/gradients.ts";
import { backward } from "../run/gradients.ts";
import { blockNumbers, passWarnings, streamNumbers, tokensWithin } from "../run/pass-memory.ts";
import type { SiteName } from "../run/site.ts";
import { SITES } from "../run/site.ts";
import type { Trajectory } from "../run/trajectory.ts";
import { trajectory } from "../run/trajectory.ts";
import type { LayerCells } from "./attribution-cells.ts";

/** Two runs of one length: values of `source` would be put into `base`, whose metric is differentiated. */
export interface AttributionPair {
  readonly base: GradientRun;
  readonly source: GradientRun;
}

export interface EstimateOptions {
  /** Queries and keys behind the softmax. */
  readonly qkFix: boolean;
  /** Also with each block dropped. */
  readonly gradDrop: boolean;
  readonly keepBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What passes cost, as whole passes of one prompt. */
export interface PassCount {
  readonly forwards: number;
  readonly backwards: number;
}

export interface Estimates {
  /** [pair, cell] estimated change of the metric, one array a grid. */
  readonly signed: readonly Float64Array[];
  /** [pair, cell] what cells are ranked by: its size, or with GradDrop the mean size over dropped blocks. */
  readonly score: readonly Float64Array[];
  /** Metric of the unedited runs, by pair. */
  readonly base: Float64Array;
  readonly source: Float64Array;
  readonly passes: PassCount;
}

const QUERY_SITES: readonly SiteName[] = ["q", "rot_q", "queries"];
const KEY_SITES: readonly SiteName[] = ["k", "rot_k", "keys", "k_heads"];
/** Between blocks, or beside a block's contribution: dropping that block leaves their gradient. */
const STREAM_SITES: readonly SiteName[] = ["resid_pre", "resid_mid", "resid_post"];

/** Tokens of one forward pass, memory allowing: many pairs go together, all of them only where they are few. */
const TOKENS_AT_ONCE = 2048;

/** Effects of all cells on all pairs. Costs two forward passes and one backward a pair (with GradDrop, about half as many backward passes as there are layers). */
export async function estimateEffects(
  model: Model,
  pairs: readonly AttributionPair[],
  options: EstimateOptions & { readonly cells: readonly LayerCells[] },
): Promise<Estimates> {
  const { cells } = options;
  const made = () => cells.map(({ grid }) => new Float64Array(grid.size * pairs.length));
  const [signed, score] = [made(), made()];
  const base = new Float64Array(pairs.length);
  const source = new Float64Array(pairs.length);
  let backwards = 0;
  let done = 0;
  const tokens = passTokens(model, pairs, { streams: options.gradDrop ? 1 : 0 });
  for (const some of together(pairs, { tokens })) {
    const chunk = some.map((index) => pairs[index] as AttributionPair);
    const passed = await estimateTogether(model, chunk, {
      ...options,
      onValues(row, values) {
        base[some[row] ?? 0] = values.base;
        source[some[row] ?? 0] = values.source;
      },
      onCell(row, found) {
        const at = (some[row] ?? 0) * (cells[found.grid]?.grid.size ?? 0) + found.cell;
        (signed[found.grid] as Float64Array)[at] = found.signed;
        (score[found.grid] as Float64Array)[at] = found.score;
      },
    });
    backwards += passed * some.length;
    done += some.length;
    options.onProgress?.(done, pairs.length);
  }
  return { signed, score, base, source, passes: { forwards: 2 * pairs.length, backwards } };
}

/** How many residual streams of all layers, beside the pass's own, are held at once. */
interface Beside {
  readonly streams: 0 | 1;
}

/** Numbers that a token takes on its way: residual streams of all layers, and one block's values and gradients. */
function passNumbers(model: Model, pairs: readonly AttributionPair[], { streams }: Beside): number {
  return (1 + streams) * streamNumbers(model) + blockNumbers(model, longest(pairs));
}

/** Tokens that go through the model together, as many as the budget allows. */
export function passTokens(model: Model, pairs: readonly AttributionPair[], beside: Beside): number {
  return tokensWithin(model, passNumbers(model, pairs, beside), TOKENS_AT_ONCE);
}

/** What a user who set a budget of memory should know. */
export function memoryWarnings(model: Model, pairs: readonly AttributionPair[], beside: Beside): string[] {
  return passWarnings(model, passNumbers(model, pairs, beside), 2 * longest(pairs));
}

/** Tokens of the longest prompt. */
export function longest(pairs: readonly AttributionPair[]): number {
  return Math.max(0, ...pairs.map(({ base }) => base.ids.length));
}

/**
 * Pairs that are run together, by index: neighbours in length, so that attention has large groups. A pair is never
 * split: alone it may have more tokens.
 * @param limit.rows how many prompts a pair counts for; default 2
 */
export function* together(
  pairs: readonly AttributionPair[],
  { rows = 2, tokens }: { readonly rows?: number; readonly tokens: number },
): Generator<number[]> {
  const length = (index: number): number => pairs[index]?.base.ids.length ?? 0;
  const order = [...pairs.keys()].sort((a, b) => length(a) - length(b));
  let some: number[] = [];
  let held = 0;
  for (const index of order) {
    if (some.length > 0 && held + rows * length(index) > tokens) {
      yield some;
      some = [];
      held = 0;
    }
    some.push(index);
    held += rows * length(index);
  }
  if (some.length > 0) yield some;
}

interface TogetherOptions extends EstimateOptions {
  readonly cells: readonly LayerCells[];
  readonly onValues: (row: number, values: { readonly base: number; readonly source: number }) => void;
  readonly onCell: (
    row: number,
    found: { readonly grid: number; readonly cell: number; readonly signed: number; readonly score: number },
  ) => void;
}

async function estimateTogether(
  model: Model,
  pairs: readonly AttributionPair[],
  options: TogetherOptions,
): Promise<number> {
  const { cells, qkFix, gradDrop } = options;
  const fixed = (site: SiteName): boolean =>
    qkFix && (QUERY_SITES.includes(site) || KEY_SITES.includes(site));
  const sites = [...new Set(cells.map(({ site }) => site))];
  const path = await trajectory(
    model,
    [...pairs.map(({ base }) => base.ids), ...pairs.map(({ source }) => source.ids)],
    {
      sites: sites.filter((site) => !fixed(site)),
      ...(options.keepBytes === undefined ? {} : { keepBytes: options.keepBytes }),
    },
  );
  const ends = await endGradients(
    model,
    pairs.map(({ base }) => base),
    path,
  );
  const sources = await endGradients(
    model,
    pairs.map(({ source }) => source),
    path,
    {
      firstRow: pairs.length,
      valuesOnly: true,
    },
  );
  for (const row of pairs.keys()) {
    options.onValues(row, {
      base: ends.values[row] ?? Number.NaN,
      source: sources.values[row] ?? Number.NaN,
    });
  }
  const lowest = lowestLayer(model, cells);
  const blocks = model.definition.blocks.length;
  return await backward(model, path, {
    gradient: ends.gradient,
    rows: pairs.length,
    sites: [...new Set(sites.map((site): SiteName => (fixed(site) ? "pattern" : site)))],
    lowest,
    drop: gradDrop,
    async onLayer(found) {
      const { layer, streams } = found;
      const attention = sites.some(fixed)
        ? await attentionBehind(found, { path, pairs: pairs.length })
        : undefined;
      for (const [grid, part] of cells.entries()) {
        const cellOf = part.cellOf(layer.index);
        if (cellOf === undefined || !layer.program.sites.has(part.site)) continue;
        for (const [row, { base }] of pairs.entries()) {
          const effect = (stream: LayerGradients["streams"][number]): Float64Array =>
            fixed(part.site)
              ? behindSoftmax(part, { model, row, length: base.ids.length, attention, stream })
              : firstOrder(part, {
                  model,
                  row,
                  pairs: pairs.length,
                  length: base.ids.length,
                  path,
                  found,
                  stream,
                });
          const [whole = new Float64Array(0), ...dropped] = streams.map(effect);
          // Blocks below this layer: dropping them changes nothing here.
          const unchanged = layer.index;
          const terms = STREAM_SITES.includes(part.site) ? blocks : Math.max(1, blocks - 1);
          for (let cell = 0; cell < part.size; cell++) {
            const signed = whole[cell] ?? 0;
            const sizes = dropped.reduce((sum, values) => sum + Math.abs(values[cell] ?? 0), 0);
            const score =
              gradDrop && blocks > 1 ? (unchanged * Math.abs(signed) + sizes) / terms : Math.abs(signed);
            options.onCell(row, { grid, cell: cellOf(cell), signed, score });
          }
        }
      }
    },
  });
}

/** The lowest layer in which any grid has cells. */
export function lowestLayer(model: Model, cells: readonly LayerCells[]): number {
  return model.definition.blocks.findIndex((_, layer) =>
    cells.some((part) => part.cellOf(layer) !== undefined),
  );
}

/** (source − base)·gradient, summed over each cell of the layer. */
function firstOrder(
  part: LayerCells,
  from: {
    readonly model: Model;
    readonly row: number;
    readonly pairs: number;
    readonly length: number;
    readonly path: Trajectory;
    readonly found: LayerGradients;
    readonly stream: LayerGradients["streams"][number];
  },
): Float64Array {
  const { model, row, pairs, length, path, found, stream } = from;
  const value = found.values.get(part.site);
  if (value === undefined) throw new Error(`${part.site} was not kept`);
  const place = (index: number): Place =>
    placeOf(value, { architecture: model.architecture, batch: path.batch, row: index, site: part.site });
  const sums = new Float64Array(part.size);
  const parts = part.parts(length);
  addFirstOrder(
    sums,
    { base: place(row), source: place(pairs + row), gradient: stream.place(part.site, row) },
    SITES[part.site].axes.map((axis) => parts[axis] ?? []),
  );
  return sums;
}

/** What the QK fix looks at of one layer: [head, dst, src] of each pair. */
interface AttentionBehind {
  readonly layer: Layer;
  readonly pattern: (row: number) => { readonly base: Place; readonly patched: Place };
  readonly scores: (row: number) => { readonly base: Place; readonly patched: Place };
  readonly mask: (row: number) => FloatArray;
}

/** The base runs' patterns with the source's queries, and their scores with the source's keys. */
async function attentionBehind(
  { layer, values }: LayerGradients,
  { path, pairs }: { readonly path: Trajectory; readonly pairs: number },
): Promise<AttentionBehind> {
  const { batch } = path;
  const [queries, keys, v] = (["rot_q", "rot_k", "v"] as const).map((site) => values.get(site) as FloatArray);
  const twice = (value: FloatArray | undefined): FloatArray => {
    const copy = (value as FloatArray).slice();
    copy.copyWithin(copy.length / 2, 0, copy.length / 2);
    return copy;
  };
  const run = async (
    site: "pattern" | "scores",
    known: readonly (readonly [SiteName, SiteValue | undefined])[],
  ) => {
    const given = known.map(([name, value]) => [name, value as SiteValue] as const);
    const found = await runBlock(layer, { batch, known: new Map(given), want: [site] });
    return (row: number) => {
      const place = (index: number): Place =>
        placeOf(found.get(site) as SiteValue, {
          architecture: layer.model.architecture,
          batch,
          row: index,
          site,
        });
      return { base: place(row), patched: place(pairs + row) };
    };
  };
  return {
    layer,
    pattern: await run("pattern", [
      ["rot_q", queries],
      ["rot_k", twice(keys)],
      ["v", v],
    ]),
    scores: await run("scores", [
      ["rot_q", twice(queries)],
      ["rot_k", keys],
      ["v", v],
    ]),
    mask(row) {
      const group = batch.groups.find(({ firstRow, rows }) => row >= firstRow && row < firstRow + rows);
      if (group === undefined) throw new RangeError(`row ${row}`);
      return layer.contexts.mask(layer.kind, group);
    },
  };
}

/** Effects of queries or keys behind the softmax, summed over each cell of the layer. */
function behindSoftmax(
  part: LayerCells,
  from: {
    readonly model: Model;
    readonly row: number;
    readonly length: number;
    readonly attention: AttentionBehind | undefined;
    readonly stream: LayerGradients["streams"][number];
  },
): Float64Array {
  const { model, row, length, attention, stream } = from;
  if (attention === undefined) throw new Error("attention was not computed");
  const { heads, kvHeads } = model.architecture;
  const gradient = stream.place("pattern", row);
  const sizes = { heads, length };
  const effects = QUERY_SITES.includes(part.site)
    ? queryEffects({ ...attention.pattern(row), gradient }, sizes)
    : keyEffects({ ...attention.scores(row), gradient, mask: attention.mask(row) }, sizes);
  const parts = part.parts(length);
  const positions = parts.pos ?? parts.dst ?? parts.src ?? [];
  // A key that several query heads share has the sum of their effects.
  const ofHead =
    parts.head ??
    Int32Array.from({ length: heads }, (_, h) => parts.kv_head?.[Math.floor((h * kvHeads) / heads)] ?? 0);
  const sums = new Float64Array(part.size);
  addEffects(sums, effects, [positions, ofHead]);
  return sums;
}
