/** @file One backward pass's share of all edges' estimates: gradients by every input, times what every source writes. */

import type { FloatArray } from "../core/tensor.ts";
import type { EdgeGraph, Slot } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import type { Contributions, RunDifferences } from "../run/contributions.ts";
import { contributions } from "../run/contributions.ts";
import type { Edit } from "../run/edit.ts";
import { backward } from "../run/gradients.ts";
import { products } from "../run/products.ts";
import type { SiteName } from "../run/site.ts";
import { flatOf, rowLayout, SLOT_GRADIENT_SITES, slotGradients } from "../run/slot-gradients.ts";
import type { Trajectory } from "../run/trajectory.ts";

/** Sites that a trajectory has to have, where the model does, for {@link addPass}. */
export const PASS_SITES: readonly SiteName[] = ["attn_raw"];

/** Sources that write together. */
export interface SourceGroup {
  readonly kind: "input" | "head" | "mlp";
  readonly layer: number;
}

export interface Pass {
  readonly graph: EdgeGraph;
  /** Of each row of the trajectory, [edge]; added to. */
  readonly scores: readonly Float64Array[];
  readonly differences: RunDifferences;
  readonly path: Trajectory;
  /** By the final residual stream [token, d]. */
  readonly gradient: FloatArray;
  readonly edits?: readonly (readonly Edit[])[];
  /** Of this pass among those whose gradients are averaged. */
  readonly weight: number;
  /** Only edges from these sources. */
  readonly only?: SourceGroup | undefined;
}

/** Adds one backward pass's share to the scores. @returns the passes gone back, over the number of layers. */
export async function addPass(model: Model, pass: Pass): Promise<number> {
  const { path, graph, only } = pass;
  const { heads, kvHeads, dModel } = model.architecture;
  const { batch } = path;
  const numbers = numbersOf(graph);
  /** Each query head's target; an edge into keys that heads share has the sum of what each does with them. */
  const slotTargets = (slot: Slot, layer: number): number[] => {
    const start = numbers.targets.get(`${slot} ${layer}`) ?? 0;
    const shared = graph.groupKv && slot !== "q" ? heads / kvHeads : 1;
    return Array.from({ length: heads }, (_, head) => start + Math.floor(head / shared));
  };
  const writing: Writing = {
    heads: contributions(model, pass.differences, await rawOutputs(model, path)),
    singles: singleSources(model, pass.differences),
  };
  const add = (gradients: FloatArray, targets: readonly number[]): Promise<void> =>
    addTargets(model, pass, { writing, numbers, gradients, targets });

  await add(pass.gradient, [graph.targets.length - 1]);
  return await backward(model, path, {
    gradient: pass.gradient,
    ...(pass.edits === undefined ? {} : { edits: pass.edits }),
    sites: [...SLOT_GRADIENT_SITES, "mlp_in"],
    lowest: only === undefined ? 0 : only.layer,
    async onLayer({ layer, values, streams: [stream] }) {
      if (stream === undefined) return;
      const { place } = stream;
      // All that the layer reads together: what was written before it is then gone through once.
      const slots = SLOTS.filter((slot) => numbers.targets.has(`${slot} ${layer.index}`));
      const mlp = numbers.targets.get(`mlp ${layer.index}`);
      const targets = slots.flatMap((slot) => slotTargets(slot, layer.index));
      if (mlp !== undefined) targets.push(mlp);
      const into = layer.contexts.scratch("gradients of a layer", batch.tokens * targets.length * dModel);
      const layout = rowLayout(batch, { vectors: targets.length, width: dModel });
      const residual = values.get("resid_pre") as FloatArray;
      for (const [index, slot] of slots.entries())
        await slotGradients(layer, slot, { batch, residual, place, into, layout, first: index * heads });
      if (mlp !== undefined) {
        const own = flatOf(layer, { batch, place, site: "mlp_in", width: dModel });
        for (let token = 0; token < batch.tokens; token++)
          into.set(own.subarray(token * dModel, (token + 1) * dModel), layout(token, targets.length - 1));
      }
      await add(into, targets);
    },
  });
}

const SLOTS: readonly Slot[] = ["q", "k", "v"];

interface Writing {
  readonly heads: Contributions;
  readonly singles: SingleSources;
}

/** Sources that are one vector a token: the input, and the MLP of each layer that has one. */
interface SingleSources {
  readonly groups: readonly SourceGroup[];
  /** For each row [source, token, d]. */
  readonly values: FloatArray;
}

/** Adds the products of what all sources write with gradients, for each row [target, token, d]. */
async function addTargets(
  model: Model,
  { graph, path: { batch }, scores, weight, only }: Pass,
  how: {
    readonly writing: Writing;
    readonly numbers: Numbers;
    readonly gradients: FloatArray;
    readonly targets: readonly number[];
  },
): Promise<void> {
  const { writing, numbers, gradients, targets } = how;
  const { heads, dModel } = model.architecture;
  const reads = targets.map((target) => graph.reads[target] ?? 0);
  const most = Math.max(...reads);
  /** Number of a group's first source, where any of these targets reads it and it is asked for. */
  const wanted = ({ kind, layer }: SourceGroup): number | undefined => {
    if (only !== undefined && !(only.kind === kind && only.layer === layer)) return undefined;
    const source = numbers.sources.get(`${kind} ${layer}`);
    return source !== undefined && source < most ? source : undefined;
  };
  const against = async (values: FloatArray, sources: readonly (number | undefined)[]): Promise<void> => {
    for (const [row, { length }] of batch.rows.entries()) {
      const start = (batch.offsets[row] ?? 0) * dModel;
      const size = length * dModel;
      const of = (array: FloatArray, count: number): FloatArray =>
        array.subarray(start * count, (start + size) * count);
      const found = await products(model, {
        left: of(values, sources.length),
        right: of(gradients, targets.length),
        size,
      });
      const into = scores[row] as Float64Array;
      for (const [i, source] of sources.entries()) {
        if (source === undefined) continue;
        for (const [j, target] of targets.entries()) {
          if (source >= (reads[j] ?? 0)) continue;
          const edge = (graph.first[target] ?? 0) + source;
          into[edge] = (into[edge] ?? 0) + weight * (found[i * targets.length + j] ?? 0);
        }
      }
    }
  };

  const singles = writing.singles.groups.map(wanted);
  if (singles.some((source) => source !== undefined)) await against(writing.singles.values, singles);
  for (const layer of model.definition.blocks.keys()) {
    const first = wanted({ kind: "head", layer });
    if (first === undefined) continue;
    const all = Array.from({ length: heads }, (_, head) => first + head);
    await against(await writing.heads.heads(layer), all);
  }
}

/** First numbers of sources by kind and layer, and of targets by slot and layer. */
interface Numbers {
  readonly sources: ReadonlyMap<string, number>;
  readonly targets: ReadonlyMap<string, number>;
}

function numbersOf({ sources, targets }: EdgeGraph): Numbers {
  const first = (keys: readonly string[]): Map<string, number> => {
    const found = new Map<string, number>();
    for (const [index, key] of keys.entries()) if (!found.has(key)) found.set(key, index);
    return found;
  };
  return {
    sources: first(sources.map((source) => `${source.kind} ${source.kind === "input" ? 0 : source.layer}`)),
    targets: first(
      targets.map((target) => {
        if (target.kind === "logits") return "logits";
        return `${target.kind === "mlp" ? "mlp" : target.slot} ${target.layer}`;
      }),
    ),
  };
}

function singleSources(model: Model, { batch, input, mlp }: RunDifferences): SingleSources {
  const { dModel } = model.architecture;
  const present = mlp.flatMap((value, layer) => (value === undefined ? [] : [{ layer, value }]));
  const vectors = [input, ...present.map(({ value }) => value)];
  const groups: SourceGroup[] = [
    { kind: "input", layer: 0 },
    ...present.map(({ layer }): SourceGroup => ({ kind: "mlp", layer })),
  ];
  const values = model.backend.allocate(vectors.length * input.length);
  for (const [row, { length }] of batch.rows.entries()) {
    const start = (batch.offsets[row] ?? 0) * dModel;
    for (const [index, vector] of vectors.entries())
      values.set(
        vector.subarray(start, start + length * dModel),
        start * vectors.length + index * length * dModel,
      );
  }
  return { groups, values };
}

/** What attention puts out in a run before the norm behind it, of all layers: contributions are linearised there. */
async function rawOutputs(
  model: Model,
  path: Trajectory,
): Promise<(layer: number) => FloatArray | undefined> {
  const raw = new Map<number, FloatArray>();
  for (const [layer, block] of model.definition.blocks.entries()) {
    if (!block.sites.has("attn_raw")) continue;
    const value = (await path.values(layer)).get("attn_raw");
    if (value !== undefined) raw.set(layer, value as FloatArray);
  }
  return (layer) => raw.get(layer);
}
