/**
 * @file What a sweep will do and cost, worked out before it starts: which variants cannot differ from their run, what
 * the others need, and the waves they are computed in.
 *
 * Counted is what has to be computed, as `wave.ts` goes about it: from the edited site on, at the positions that can
 * differ; in the last layer keys and values of those, and all else only where it is read. The unedited runs count
 * once in every wave. Equal inputs give equal plans on every machine, so that a sweep can be taken up by another
 * process wave by wave.
 */

import type { Model } from "../model/model.ts";
import { type BlockCost, blockCosts, type PartCost } from "./block-cost.ts";
import { knownDifferences } from "./differ.ts";
import { bytesOf } from "./pass-memory.ts";
import type { SiteName } from "./site.ts";
import type { SweepInput, SweepRun, Variant } from "./variant.ts";

/** Variants that go through the layers together. */
export interface PlannedWave {
  /** The wave has the variants from `first` to before `end` that can differ from their run. */
  readonly first: number;
  readonly end: number;
  readonly variants: number;
  /** Runs that the variants edit or take values from, ascending. */
  readonly runs: readonly number[];
  /** Those of them that no earlier wave has: they are read by themselves as well. */
  readonly newRuns: readonly number[];
  /** FLOPs of each layer, and behind them those of reading. */
  readonly flops: Float64Array;
}

export interface SweepPlan {
  readonly variants: number;
  /** Variants that read as their run does, whatever the weights; they are not run. */
  readonly unchanged: number;
  readonly isUnchanged: (variant: number) => boolean;
  readonly waves: readonly PlannedWave[];
  /** All waves together. */
  readonly flops: number;
  /** Variants times the layers that each goes through. */
  readonly rows: number;
  /** Bytes of the residual streams of the largest wave. */
  readonly stateBytes: number;
}

export interface PlanOptions {
  /** Bytes for the residual streams of a wave. */
  readonly stateBytes?: number | undefined;
}

const DEFAULT_STATE_BYTES = 512 * 2 ** 20;

/**
 * FLOPs of a wave's variants: half a minute on a slow machine (10 GFLOP/s), as much as a run that is cut short loses.
 * A number and no measurement, so that waves are the same everywhere.
 */
const WAVE_WORK = 300e9;
/** Taking a variant through a layer costs, apart from FLOPs, about as long as these: 0.1 ms on that machine. */
const ROW_WORK = 1e6;
/** Every wave computes the runs again that it needs; their share must stay small. */
const COMPANION_SHARE = 0.02;

type PlannedModel = Pick<Model, "definition" | "architecture" | "stateBytes"> & {
  readonly backend: Pick<Model["backend"], "precision">;
};

/**
 * Plans a sweep. Takes some microseconds a variant of a short prompt, and in proportion to the tokens from its edit on
 * (0.1 ms for 2,000); memory for the waves alone.
 */
export function planSweep(model: PlannedModel, input: SweepInput, options: PlanOptions = {}): SweepPlan {
  const { stateBytes = model.stateBytes ?? DEFAULT_STATE_BYTES } = options;
  const { runs, count } = input;
  const layers = model.definition.blocks.length;
  const costs = variantCosts(model, runs);
  const perPosition = bytesOf(model, model.architecture.dModel);
  const bits = new Uint8Array(Math.ceil(count / 8));
  const isRead = new Set<number>();
  const waves: PlannedWave[] = [];
  let [unchanged, rows, mostHeld] = [0, 0, 0];

  let wave = openWave(0, layers);
  const close = (end: number): void => {
    const all = [...wave.runs].sort((a, b) => a - b);
    const newRuns = all.filter((run) => !isRead.has(run));
    for (const run of newRuns) {
      isRead.add(run);
      addTo(wave.flops, costs.reading(run));
    }
    const { first, variants, flops } = wave;
    waves.push({ first, end, variants, runs: all, newRuns, flops });
    mostHeld = Math.max(mostHeld, wave.held);
    wave = openWave(end, layers);
  };
  const addRun = (run: number): void => {
    if (wave.runs.has(run)) return;
    wave.runs.add(run);
    const flops = costs.run(run);
    addTo(wave.flops, flops);
    wave.companions += total(flops);
    wave.held += 2 * lengthOf(runs[run]);
  };

  for (let index = 0; index < count; index++) {
    const variant = input.variant(index);
    const cost = costs.variant(variant);
    if (cost === undefined) {
      bits[index >> 3] = (bits[index >> 3] ?? 0) | (1 << (index & 7));
      unchanged += 1;
      continue;
    }
    const work = cost.total + ROW_WORK * cost.rows;
    // What goes into a block and what comes out of it are alive at once.
    const size = 2 * lengthOf(runs[variant.run]);
    const fits =
      wave.held + size <= stateBytes / perPosition &&
      wave.work + work <= Math.max(WAVE_WORK, wave.companions / COMPANION_SHARE);
    if (wave.variants > 0 && !fits) close(index);
    addRun(variant.run);
    for (const run of variant.beside ?? []) if (!isRead.has(run)) addRun(run);
    for (const { value } of variant.edits) if (value.kind === "run") addRun(value.run);
    wave.variants += 1;
    wave.work += work;
    wave.held += size;
    addTo(wave.flops, cost.flops);
    rows += cost.rows;
  }
  if (wave.variants > 0) close(count);
  for (const [run, { read }] of runs.entries()) {
    if (isRead.has(run) || read.length === 0) continue;
    if (wave.runs.size > 0 && wave.companions + total(costs.run(run)) > WAVE_WORK) close(count);
    addRun(run);
  }
  if (wave.runs.size > 0) close(count);

  return {
    variants: count,
    unchanged,
    isUnchanged: (variant) => (((bits[variant >> 3] ?? 0) >> (variant & 7)) & 1) === 1,
    waves,
    flops: waves.reduce((sum, { flops }) => sum + total(flops), 0),
    rows,
    stateBytes: mostHeld * perPosition,
  };
}

interface OpenWave {
  readonly first: number;
  readonly runs: Set<number>;
  readonly flops: Float64Array;
  variants: number;
  /** FLOPs of the variants, with what taking them along costs. */
  work: number;
  /** FLOPs of the runs. */
  companions: number;
  /** Positions. */
  held: number;
}

const openWave = (first: number, layers: number): OpenWave => ({
  first,
  runs: new Set(),
  flops: new Float64Array(layers + 1),
  variants: 0,
  work: 0,
  companions: 0,
  held: 0,
});

/** FLOPs of a whole forward pass, all layers at all positions, without the unembedding. */
export function passFlops(model: Pick<Model, "definition" | "architecture">, length: number): number {
  const run: SweepRun = {
    ids: new Array<number>(length).fill(0),
    read: span(0, length).map((position) => ({ position, readout: {} })),
  };
  return total(variantCosts(model, [run]).run(0));
}

interface VariantCost {
  /** By layer, and reading. */
  readonly flops: Float64Array;
  readonly total: number;
  /** Layers gone through. */
  readonly rows: number;
}

interface VariantCosts {
  run(run: number): Float64Array;
  reading(run: number): Float64Array;
  /** Nothing where the variant reads as its run does. */
  variant(variant: Variant): VariantCost | undefined;
}

/** Most costs kept: there are few kinds of variants, but for joint edits. */
const MAX_KNOWN = 20_000;

function variantCosts(
  model: Pick<Model, "definition" | "architecture">,
  runs: readonly SweepRun[],
): VariantCosts {
  const { causal, dModel, vocabulary } = model.architecture;
  const blocks = blockCosts(model);
  const last = blocks.length - 1;
  const differences = knownDifferences(model, runs);
  const keys = keyCounts(model);

  const flopsOf = (
    { keysValues, rest, perKey }: PartCost,
    where: {
      readonly layer: number;
      readonly length: number;
      readonly rows: Positions;
      readonly read: Positions;
    },
  ): number => {
    const { layer, length, rows, read } = where;
    const needed = layer === last ? read : rows;
    return (
      rows.length * keysValues +
      needed.length * rest +
      (perKey === 0 ? 0 : perKey * keys(layer, needed, length))
    );
  };
  const readFlops = ({ read }: SweepRun, from: number): number =>
    read.reduce((sum, { position, readout }) => {
      if (position < from) return sum;
      const whole = readout.logits || readout.logsumexp;
      return sum + 2 * dModel * (whole ? vocabulary : (readout.columns?.length ?? 0));
    }, 0);

  /** Whole blocks from `layer` on at the positions from `start` on. */
  const addWhole = (
    flops: Float64Array,
    run: SweepRun,
    { layer, start }: { layer: number; start: number },
  ): void => {
    const length = run.ids.length;
    const rows = span(start, length);
    const read = positionsRead(run).filter((position) => position >= start);
    for (let index = layer; index <= last; index++) {
      const { whole } = blocks[index] as BlockCost;
      flops[index] = (flops[index] ?? 0) + flopsOf(whole, { layer: index, length, rows, read });
    }
  };

  const costOf = (run: SweepRun, edited: readonly EditedLayer[]): VariantCost | undefined => {
    const flops = new Float64Array(blocks.length + 1);
    const length = run.ids.length;
    const [first, ...later] = edited;
    if (first === undefined) return undefined;
    const read = positionsRead(run);
    const { layer } = first;
    const reached = layer === last ? read.filter((position) => first.positions.includes(position)) : [];
    let start = causal ? (first.positions[0] ?? length) : 0;
    if (layer === last ? reached.length === 0 : !read.some((position) => position >= start)) {
      // Edits further on are judged by themselves: up to there the variant reads as its run.
      return costOf(run, later);
    }
    flops[layer] = flopsOf((blocks[layer] as BlockCost).after(first.sites), {
      layer,
      length,
      rows: first.positions,
      read: reached,
    });
    let next = layer + 1;
    for (const { layer: at, positions } of later) {
      // A later edit may reach positions that have not changed so far.
      const from = causal ? Math.min(start, positions[0] ?? start) : 0;
      if (from === start) continue;
      const upTo = new Float64Array(blocks.length + 1);
      addWhole(upTo, run, { layer: next, start });
      for (let index = next; index < at; index++) flops[index] = (flops[index] ?? 0) + (upTo[index] ?? 0);
      next = Math.max(next, at);
      start = from;
    }
    addWhole(flops, run, { layer: next, start });
    flops[blocks.length] = readFlops(run, 0);
    return { flops, total: total(flops), rows: blocks.length - layer };
  };

  const known = new Map<string, VariantCost | undefined>();
  const shapes = new Map<string, number>();
  const shapeOf = runs.map((run) => {
    const key = JSON.stringify([run.ids.length, run.read]);
    const shape = shapes.get(key) ?? shapes.size;
    shapes.set(key, shape);
    return shape;
  });
  const at = (run: number): SweepRun => runs[run] as SweepRun;
  return {
    run(run) {
      const flops = new Float64Array(blocks.length + 1);
      addWhole(flops, at(run), { layer: 0, start: 0 });
      return flops;
    },
    reading(run) {
      const flops = new Float64Array(blocks.length + 1);
      flops[blocks.length] = readFlops(at(run), 0);
      return flops;
    },
    variant({ run, edits }) {
      const edited = editedLayers(
        edits.map(({ site, layer }, index) => ({
          site,
          layer,
          positions: differences.changed(edits[index] as (typeof edits)[number], run),
        })),
      );
      if (edited.length === 0) return undefined;
      const key = `${shapeOf[run]}|${edited.map(({ layer, sites, positions }) => `${layer} ${sites.join()} ${wordOf(positions)}`).join("|")}`;
      if (!known.has(key)) {
        if (known.size >= MAX_KNOWN) known.clear();
        known.set(key, costOf(at(run), edited));
      }
      return known.get(key);
    },
  };
}

/** Ascending. */
type Positions = readonly number[];

/** What is edited of one layer, and the positions that can differ for it. */
interface EditedLayer {
  readonly layer: number;
  readonly sites: readonly SiteName[];
  readonly positions: Positions;
}

/** Edits that can change something, by layer, ascending. */
function editedLayers(
  edits: readonly { readonly site: SiteName; readonly layer: number; readonly positions: Positions }[],
): EditedLayer[] {
  const effective = edits.filter(({ positions }) => positions.length > 0);
  const [only] = effective;
  if (only !== undefined && effective.length === 1) {
    return [{ layer: only.layer, sites: [only.site], positions: only.positions }];
  }
  const layers = [...new Set(effective.map(({ layer }) => layer))].sort((a, b) => a - b);
  return layers.map((layer) => {
    const here = effective.filter((edit) => edit.layer === layer);
    const positions = [...new Set(here.flatMap((edit) => edit.positions))].sort((a, b) => a - b);
    return { layer, sites: [...new Set(here.map(({ site }) => site))].sort(), positions };
  });
}

/** Short where the positions follow one another. */
function wordOf(positions: Positions): string {
  const [first = 0] = positions;
  const isSpan = positions.at(-1) === first + positions.length - 1;
  return isSpan ? `${first}+${positions.length}` : positions.join();
}

/** Counts the keys that queries see: (layer, positions of the queries, length of the sequence). */
function keyCounts({
  architecture: { causal, layers },
}: Pick<Model, "architecture">): (layer: number, queries: Positions, length: number) => number {
  return (layer, queries, length) => {
    const reach = layers[layer]?.window ?? Number.POSITIVE_INFINITY;
    let seen = 0;
    for (const position of queries) {
      const before = Math.min(position, reach - 1);
      seen += 1 + before + (causal ? 0 : Math.min(length - 1 - position, reach - 1));
    }
    return seen;
  };
}

const positionsRead = ({ read }: SweepRun): number[] => read.map(({ position }) => position);
const lengthOf = (run: SweepRun | undefined): number => run?.ids.length ?? 0;
const span = (start: number, end: number): number[] =>
  Array.from({ length: Math.max(0, end - start) }, (_, index) => start + index);

export function total(flops: Float64Array): number {
  return flops.reduce((sum, value) => sum + value, 0);
}

function addTo(target: Float64Array, values: Float64Array): void {
  for (const [index, value] of values.entries()) target[index] = (target[index] ?? 0) + value;
}
