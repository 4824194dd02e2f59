/**
 * @file Edges as variants of a sweep: what the target of a patched edge puts out is worked out beforehand, wave by
 * wave, and is then an edit like any other.
 *
 * An edge is patched by replacing its source's contribution to its target's input, and nothing else: the target reads
 * resid + (source in the other run − source in base). For a slot of a head that is an edit of the head's z; for an
 * MLP or the logits the difference itself is added to what they read. The target's own effect on everything behind it
 * is the sweep's.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { EdgeGraph, EdgeSource, EdgeTarget } from "../model/edge-graph.ts";
import { edgeAt } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import { contextCache } from "./batch.ts";
import type { SlotOutputs } from "./edge-slots.ts";
import { reached, slotOutputs } from "./edge-slots.ts";
import type { EdgeRun, EdgeRuns } from "./edge-sources.ts";
import { differingFrom, edgeRun } from "./edge-sources.ts";
import type { Edit } from "./edit.ts";
import type { SiteName } from "./site.ts";
import type { SweepInput, Variant } from "./variant.ts";
import { withLayer } from "./with-layer.ts";

/** Which edges of which pairs of runs are patched, one at a time. */
export interface EdgeInput {
  readonly graph: EdgeGraph;
  /** Numbers of edges of the graph. */
  readonly edges: ArrayLike<number>;
  readonly pairs: readonly EdgeRuns[];
  /** The sweep's run that is the base of a pair. */
  readonly baseRun: (pair: number) => number;
  /** Further runs that have to be read before a pair's edges are. */
  readonly beside?: (pair: number) => readonly number[];
}

/** The edges of all pairs, as part of a sweep's input. */
export interface EdgeVariants extends Pick<SweepInput, "count" | "variant"> {
  /** The pair, and the edge as index into the list. */
  readonly place: (index: number) => { readonly pair: number; readonly edge: number };
  /**
   * Works out the values of some variants, and forgets those of others. A variant that was not prepared names the
   * same cells, or more than it turns out to change, and has no values: enough to plan a sweep by.
   */
  readonly prepare: (range: { readonly first: number; readonly end: number }) => Promise<void>;
}

/** What edges from one source into one layer need. */
interface Prepared {
  readonly changed: readonly number[];
  readonly slots: SlotOutputs | undefined;
  /** [T, d] */
  readonly difference: FloatArray;
}

/** The layer whose input is read; behind the last one for the logits. */
function layerOf(target: EdgeTarget, layers: number): number {
  return target.kind === "logits" ? layers : target.layer;
}

/**
 * The variants, in an order in which edges of one source into one layer stand together: what they need is computed
 * once, and is as much as a wave's share.
 */
export function edgeVariants(
  model: Model,
  { graph, edges, pairs, baseRun, beside }: EdgeInput,
): EdgeVariants {
  const { architecture, definition } = model;
  const layers = definition.blocks.length;
  const contexts = contextCache(architecture, model.backend.allocate);
  const places = Array.from(edges, (edge) => {
    const { source, target } = edgeAt(graph, edge);
    const to = graph.targets[target];
    const from = graph.sources[source];
    if (to === undefined || from === undefined) throw new RangeError(`edge ${edge}`);
    return { source, from, to, layer: layerOf(to, layers) };
  });
  const order = [...places.keys()].sort((a, b) => {
    const [one, other] = [places[a] as Place, places[b] as Place];
    return one.layer - other.layer || one.source - other.source || a - b;
  });
  const expected = pairs.map((runs) => expectedChanges(runs, architecture.causal));
  const runs = new Map<number, EdgeRun>();
  const prepared = new Map<string, Prepared>();
  const place = (index: number): { pair: number; edge: number } => ({
    pair: Math.floor(index / order.length),
    edge: order[index % order.length] ?? -1,
  });

  return {
    count: order.length * pairs.length,
    place,
    variant(index): Variant {
      const { pair, edge } = place(index);
      const { source, from, to, layer } = places[edge] as Place;
      const values = prepared.get(keyOf(pair, layer, source));
      const changed = values?.changed ?? expected[pair]?.(from) ?? [];
      const length = pairs[pair]?.base.length ?? 0;
      const edits = [editOf(model, { to, changed, length, values })];
      return { run: baseRun(pair), edits, beside: beside?.(pair) };
    },
    async prepare({ first, end }) {
      prepared.clear();
      const wanted = sourcesByLayer(first, end, (index) => {
        const { pair, edge } = place(index);
        return { pair, ...(places[edge] as Place) };
      });
      for (const pair of runs.keys()) if (!wanted.has(pair)) runs.delete(pair);
      for (const [pair, byLayer] of wanted) {
        const run = runs.get(pair) ?? (await edgeRun(model, pairs[pair] as EdgeRuns, { graph, contexts }));
        runs.set(pair, run);
        for (const [layer, { sources, slots: withSlots }] of byLayer) {
          const active = withSlots.filter((source) => changes(run, source).length > 0);
          const slots =
            active.length === 0
              ? undefined
              : await withLayer(model, { index: layer, contexts }, (open) => slotOutputs(open, run, active));
          for (const source of sources) {
            prepared.set(keyOf(pair, layer, source), {
              changed: changes(run, source),
              slots: slots?.get(source),
              difference: wholeDifference(model, run, source),
            });
          }
        }
      }
    },
  };
}

interface Place {
  readonly source: number;
  readonly from: EdgeSource;
  readonly to: EdgeTarget;
  readonly layer: number;
}

const keyOf = (pair: number, layer: number, source: number): string => `${pair}.${layer}.${source}`;

const changes = (run: EdgeRun, source: number): readonly number[] => run.differences[source]?.changed ?? [];

/** Where sources can write differently, as far as tokens tell. */
function expectedChanges(runs: EdgeRuns, causal: boolean): (source: EdgeSource) => readonly number[] {
  const all = [...differingFrom(runs, causal)];
  const tokens = all.filter((position) => runs.base[position] !== runs.other[position]);
  return ({ kind }) => (kind === "input" ? tokens : all);
}

interface LayerSources {
  readonly sources: number[];
  /** Those that enter a head. */
  readonly slots: number[];
}

/** By pair and layer, the sources of the variants of a range. */
function sourcesByLayer(
  first: number,
  end: number,
  at: (index: number) => Place & { readonly pair: number },
): Map<number, Map<number, LayerSources>> {
  const found = new Map<number, Map<number, LayerSources>>();
  for (let index = first; index < end; index++) {
    const { pair, source, layer, to } = at(index);
    const byLayer = found.get(pair) ?? new Map<number, LayerSources>();
    found.set(pair, byLayer);
    const lists = byLayer.get(layer) ?? { sources: [], slots: [] };
    byLayer.set(layer, lists);
    if (lists.sources.at(-1) !== source) lists.sources.push(source);
    const entersHead = to.kind === "head" || to.kind === "kv";
    if (entersHead && lists.slots.at(-1) !== source) lists.slots.push(source);
  }
  return found;
}

/** A source's difference over the whole sequence [T, d]. */
function wholeDifference({ backend }: Model, run: EdgeRun, source: number): FloatArray {
  const values = run.differences[source]?.values ?? backend.allocate(0);
  const width = values.length / Math.max(1, run.positions.length);
  const whole = backend.allocate(run.length * width);
  whole.set(values, (run.positions[0] ?? 0) * width);
  return whole;
}

const NO_VALUES = new Float32Array(0);

/** The edit that patches an edge. */
function editOf(
  { architecture, definition }: Model,
  edge: {
    readonly to: EdgeTarget;
    readonly changed: readonly number[];
    readonly length: number;
    readonly values: Prepared | undefined;
  },
): Edit {
  const { heads, kvHeads, dHead, dModel, causal } = architecture;
  const { to, changed, length, values } = edge;
  if (to.kind === "mlp" || to.kind === "logits") {
    const [site, layer]: [SiteName, number] =
      to.kind === "mlp" ? ["mlp_in", to.layer] : ["resid_post", definition.blocks.length - 1];
    const value = { kind: "given", shape: [length, dModel], data: values?.difference ?? NO_VALUES } as const;
    return { site, layer, where: { pos: changed }, action: "add", value };
  }
  const { slot, layer } = to;
  const group = heads / kvHeads;
  const head =
    to.kind === "head" ? [to.head] : Array.from({ length: group }, (_, i) => to.kvHead * group + i);
  const pos = reached(changed, { slot, length, causal });
  const data = values?.slots?.[slot] ?? NO_VALUES;
  const value = { kind: "given", shape: [length, heads, dHead], data } as const;
  return { site: "z", layer, where: { pos, head }, action: "replace", value };
}
