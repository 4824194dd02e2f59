/**
 * @file What sources write to the residual stream in one run and not in another: the first factor of every edge's
 * estimate. Held are the outputs before the projection of heads (one residual stream's worth a layer) and the MLPs';
 * what each head makes of its own is worked out when it is asked for, a layer at a time.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Program } from "../program/program.ts";
import { gradientSite, vjp } from "../program/vjp.ts";
import type { Batch } from "./batch.ts";
import { contextCache } from "./batch.ts";
import type { Layer } from "./block.ts";
import { runBlock } from "./block.ts";
import { forward } from "./forward.ts";
import { bytesOf } from "./pass-memory.ts";
import type { SiteName } from "./site.ts";
import { repeatRows, rowLayout } from "./slot-gradients.ts";
import type { Trajectory } from "./trajectory.ts";
import { withLayer } from "./with-layer.ts";

/** Sites of a trajectory that {@link runDifferences} reads. */
export const DIFFERENCE_SITES: readonly SiteName[] = ["z", "mlp_out"];

/** One run's values less another's, for all tokens of a batch. */
export interface RunDifferences {
  readonly batch: Batch;
  /** Of the embedding [token, d]. */
  readonly input: FloatArray;
  /** Of each layer's heads before their projection [token, H, dh]; undefined where a layer has none. */
  readonly z: readonly (FloatArray | undefined)[];
  /** Of what each layer's MLP adds to the stream [token, d]. */
  readonly mlp: readonly (FloatArray | undefined)[];
}

/**
 * Clean less corrupt, of a trajectory that has {@link DIFFERENCE_SITES} and other sequences of the same lengths, which
 * are run for it.
 * @param of which of the two the trajectory is
 */
export async function runDifferences(
  model: Model,
  path: Trajectory,
  { others, of }: { readonly others: readonly (readonly number[])[]; readonly of: "clean" | "corrupt" },
): Promise<{
  readonly differences: RunDifferences;
  /** Final residual streams of the others [token, d], in the trajectory's order. */
  readonly residuals: FloatArray;
}> {
  const { blocks } = model.definition;
  const having = (site: SiteName): number[] =>
    [...blocks.keys()].filter((layer) => blocks[layer]?.sites.has(site));
  const { caches, residuals } = await forward(model, others, {
    capture: [
      { site: "resid_pre", layers: [0] },
      ...DIFFERENCE_SITES.map((site) => ({ site, layers: having(site) })),
    ],
  });
  const difference = (own: FloatArray, site: SiteName, layer: number): FloatArray => {
    const out = model.backend.allocate(own.length);
    const width = own.length / path.batch.tokens;
    const sign = of === "clean" ? 1 : -1;
    for (const [row, cache] of caches.entries()) {
      const from = (path.batch.offsets[row] ?? 0) * width;
      const { data } = cache.get(site, layer);
      for (let i = 0; i < data.length; i++) out[from + i] = sign * ((own[from + i] ?? 0) - (data[i] ?? 0));
    }
    return out;
  };
  let input: FloatArray | undefined;
  const z: (FloatArray | undefined)[] = [];
  const mlp: (FloatArray | undefined)[] = [];
  for (const layer of blocks.keys()) {
    const values = await path.values(layer);
    const less = (site: SiteName): FloatArray | undefined => {
      const own = values.get(site);
      return own === undefined ? undefined : difference(own as FloatArray, site, layer);
    };
    input ??= less("resid_pre");
    z.push(less("z"));
    mlp.push(less("mlp_out"));
  }
  const final = model.backend.allocate(path.final.length);
  for (const [row, residual] of residuals.entries())
    final.set(residual, (path.batch.offsets[row] ?? 0) * model.architecture.dModel);
  return {
    differences: { batch: path.batch, input: input ?? model.backend.allocate(0), z, mlp },
    residuals: final,
  };
}

/** Bytes of heads' contributions that are kept from one target layer to the next; the others are worked out again. */
const KEPT_BYTES = 256 * 2 ** 20;

/** Contributions to the residual stream, laid out pair by pair so that each pair's can be multiplied at once. */
export interface Contributions {
  /** Of a layer's heads: for each row of the batch [H, token of the row, d], one after the other. */
  heads(layer: number): Promise<FloatArray>;
}

const shared = new WeakMap<RunDifferences, Contributions>();

/**
 * What heads add to the stream: to first order where a norm stands between (Gemma 2 and 3), as it is in the run
 * whose `raw` attention outputs are given.
 */
export function contributions(
  model: Model,
  differences: RunDifferences,
  raw: (layer: number) => FloatArray | undefined,
): Contributions {
  // Without such norms they are the same whatever run gradients are taken at.
  const depends = model.definition.blocks.some((block) => block.sites.has("attn_raw"));
  const known = depends ? undefined : shared.get(differences);
  if (known !== undefined) return known;
  const made = workedOut(model, differences, raw);
  shared.set(differences, made);
  return made;
}

function workedOut(
  model: Model,
  { batch, z }: RunDifferences,
  raw: (layer: number) => FloatArray | undefined,
): Contributions {
  const { architecture, backend } = model;
  const { heads, dModel } = architecture;
  const bytes = bytesOf(model, batch.tokens * heads * dModel);
  // The lowest layers are kept: every higher one asks for them.
  const keep = Math.floor(Math.min(KEPT_BYTES, model.stateBytes ?? Infinity) / bytes);
  const kept = new Map<number, FloatArray>();
  const contexts = contextCache(architecture, backend.allocate);

  const compute = async (layer: Layer): Promise<FloatArray> => {
    const own = z[layer.index];
    if (own === undefined) throw new RangeError(`layer ${layer.index}`);
    // The projection has no bias of heads: what it makes of a difference is the difference of what it makes.
    const found = await runBlock(layer, { batch, known: new Map([["z", own]]), want: ["result"] });
    const results = found.get("result") as FloatArray;
    const through = layer.program.sites.has("attn_raw")
      ? await pushForward(layer, results, raw(layer.index))
      : results;
    return byRow(model, through, { batch, vectors: heads });
  };
  return {
    async heads(index) {
      const found = kept.get(index) ?? (await withLayer(model, { index, contexts }, compute));
      if (index < keep) kept.set(index, found);
      return found;
    },
  };
}

/** [token, vector, d] → for each row of the batch [vector, token of the row, d]. */
function byRow(
  { architecture: { dModel }, backend }: Model,
  value: FloatArray,
  { batch, vectors }: { readonly batch: Batch; readonly vectors: number },
): FloatArray {
  const out = backend.allocate(value.length);
  const layout = rowLayout(batch, { vectors, width: dModel });
  for (let token = 0; token < batch.tokens; token++) {
    for (let vector = 0; vector < vectors; vector++) {
      const from = (token * vectors + vector) * dModel;
      out.set(value.subarray(from, from + dModel), layout(token, vector));
    }
  }
  return out;
}

const forwards = new WeakMap<Program, Program>();

/** Each head's change through the norm behind attention, to first order: the transpose of going back through it. */
async function pushForward(
  layer: Layer,
  results: FloatArray,
  raw: FloatArray | undefined,
): Promise<FloatArray> {
  if (raw === undefined) throw new Error("the norm behind attention needs attn_raw");
  const { model, program } = layer;
  const { heads, dModel } = model.architecture;
  const [back, forth] = [gradientSite("attn_raw"), gradientSite("attn_out")];
  let pushed = forwards.get(program);
  if (pushed === undefined) {
    pushed = vjp(vjp(program, { of: ["attn_out"], wrt: ["attn_raw"] }), { of: [back], wrt: [forth] });
    forwards.set(program, pushed);
  }
  const [change, found] = [gradientSite(back), gradientSite(forth)];
  const repeated = layer.contexts.scratch("attn_raw of heads", results.length);
  repeatRows(repeated, raw, { width: dModel, times: heads });
  const executable = await model.compile(pushed, { given: ["attn_raw", forth, change], want: [found] });
  const shape = [results.length / dModel, dModel];
  const values = await executable.run({
    ...Object.fromEntries(
      executable.program.inputs.flatMap(({ name, role }) => {
        const weight = role.kind === "weight" ? layer.weights[name] : undefined;
        return weight === undefined ? [] : [[name, weight]];
      }),
    ),
    attn_raw: { data: repeated, shape },
    [change]: { data: results, shape },
    [forth]: { data: results, shape }, // of which only the shape is read: going back is linear in it
  });
  const out = values[found];
  if (out === undefined) throw new Error(`${found} was not computed`);
  return out.data;
}
