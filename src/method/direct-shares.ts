/** @file Every component's share of a sum of logits: heads, MLPs, neurons, embeddings and biases, at one position. */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { dot, projectRows, subtractRow } from "../numeric/projection.ts";
import type { Direction } from "../run/direction.ts";
import type { Cache, Capture } from "../run/forward.ts";
import { runPart, type WeightedProgram } from "../run/part.ts";
import type { SiteName } from "../run/site.ts";
import { withWeights } from "../run/with-layer.ts";

/** A captured run and the position whose logits are split. */
export interface ShareRun {
  readonly cache: Cache;
  readonly position: number;
  readonly direction: Direction;
}

export interface ShareOptions {
  /** Each head's share by the position that it reads from. */
  readonly sources: boolean;
  /** Layers whose MLP is split into neurons. */
  readonly neuronLayers: readonly number[];
}

/** Shares of one run; those of heads, MLPs, embeddings and bias sum to the logits' own sum. */
export interface Shares {
  /** [layer, head] */
  readonly head: Float64Array;
  /** [layer], biases of the MLP included. */
  readonly mlp: Float64Array;
  readonly embed: number;
  /** Of learned positions, where the model has them. */
  readonly posEmbed: number | undefined;
  /** Output biases of attention, bias of the final norm, bias of the unembedding. */
  readonly bias: number;
  /** [layer, head, src] */
  readonly headSource: Float64Array | undefined;
  /** [chosen layer, neuron] */
  readonly neuron: Float64Array | undefined;
  /** [chosen layer] share of the MLP's own output bias. */
  readonly neuronBias: Float64Array | undefined;
}

/** What a forward pass has to capture for {@link shares}. */
export function shareCaptures(model: Model, { sources, neuronLayers }: ShareOptions): Capture[] {
  const block = model.definition.blocks[0];
  const sites: SiteName[] = ["z", ...(sources ? (["pattern", "v"] as const) : [])];
  for (const site of ["attn_raw", "mlp_raw", "mlp_out"] as const)
    if (block?.sites.has(site)) sites.push(site);
  const capture: Capture[] = sites.map((site) => ({ site }));
  if (neuronLayers.length > 0) capture.push({ site: "mlp_post", layers: neuronLayers });
  return capture;
}

/** Splits runs that were captured with {@link shareCaptures}. */
export async function shares(
  model: Model,
  runs: readonly ShareRun[],
  options: ShareOptions,
): Promise<Shares[]> {
  const ends = await endShares(model, runs);
  const found = await layerShares(model, runs, options);
  return found.map((own, index) => ({
    ...own,
    embed: ends.embed[index] ?? 0,
    posEmbed: ends.posEmbed?.[index],
  }));
}

/** The same of what layers add alone. */
export async function layerShares(
  model: Model,
  runs: readonly ShareRun[],
  options: ShareOptions,
): Promise<Omit<Shares, "embed" | "posEmbed">[]> {
  const { heads } = model.architecture;
  const layers = model.definition.blocks.length;
  const found = runs.map(({ cache, direction }) => ({
    head: new Float64Array(layers * heads),
    mlp: new Float64Array(layers),
    bias: direction.constant,
    headSource: options.sources ? new Float64Array(layers * heads * cache.ids.length) : undefined,
    neuron:
      options.neuronLayers.length > 0
        ? new Float64Array(options.neuronLayers.length * model.architecture.dMlp)
        : undefined,
    neuronBias: options.neuronLayers.length > 0 ? new Float64Array(options.neuronLayers.length) : undefined,
  }));
  for (const [layer, program] of model.definition.blocks.entries()) {
    await withWeights(model, layer, async (weights) => {
      const block: WeightedProgram = { program, weights };
      if (layer + 1 < layers) model.weights.prefetch(layer + 1);
      const attention = await attentionShares(model, block, { runs, layer, sources: options.sources });
      for (const [index, run] of runs.entries()) {
        const into = found[index] as (typeof found)[number];
        const { head, source, bias } = attention[index] as AttentionShares;
        into.head.set(head, layer * heads);
        into.bias += bias;
        if (source !== undefined) into.headSource?.set(source, layer * source.length);
        if (program.sites.has("mlp_out")) {
          into.mlp[layer] = dot(rowAt(run, "mlp_out", layer), run.direction.weights);
        }
      }
      const chosen = options.neuronLayers.indexOf(layer);
      if (chosen < 0) return;
      const split = await neuronShares(model, block, { runs, layer });
      for (const [index, { neuron, bias }] of split.entries()) {
        found[index]?.neuron?.set(neuron, chosen * neuron.length);
        found[index]?.neuronBias?.set([bias], chosen);
      }
    });
  }
  return found;
}

/** A site's value at the run's position. */
function rowAt({ cache, position }: ShareRun, site: SiteName, layer: number): FloatArray {
  const { data, shape } = cache.get(site, layer);
  const width = data.length / (shape[0] ?? 1);
  return data.subarray(position * width, (position + 1) * width);
}

function stack(model: Model, rows: readonly FloatArray[], shape: readonly number[]): Tensor<FloatArray> {
  const width = rows[0]?.length ?? 0;
  const data = model.backend.allocate(rows.length * width);
  for (const [index, row] of rows.entries()) data.set(row, index * width);
  return { data, shape: [rows.length, ...shape] };
}

async function endShares(
  model: Model,
  runs: readonly ShareRun[],
): Promise<{ readonly embed: readonly number[]; readonly posEmbed: readonly number[] | undefined }> {
  const { embed: program } = model.definition;
  const width = model.architecture.dModel;
  const given: Record<string, Tensor> = {
    ids: {
      data: Int32Array.from(runs, ({ cache, position }) => cache.ids[position] ?? 0),
      shape: [runs.length],
    },
    positions: { data: Int32Array.from(runs, ({ position }) => position), shape: [runs.length] },
  };
  return withWeights(model, "ends", async (weights) => {
    const of = async (want: string): Promise<number[]> => {
      // Ids are no site of the program, so that they are given beside the weights.
      const rows = await runPart(model, { program, weights: { ...weights, ...given } }, { given: {}, want });
      return runs.map(({ direction }, index) =>
        dot(rows.subarray(index * width, (index + 1) * width), direction.weights),
      );
    };
    return {
      embed: await of(program.sites.has("embed") ? "embed" : "resid_pre"),
      posEmbed: program.sites.has("pos_embed") ? await of("pos_embed") : undefined,
    };
  });
}

interface AttentionShares {
  /** [head] */
  readonly head: Float64Array;
  /** [head, src] */
  readonly source: Float64Array | undefined;
  readonly bias: number;
}

async function attentionShares(
  model: Model,
  block: WeightedProgram,
  {
    runs,
    layer,
    sources,
  }: { readonly runs: readonly ShareRun[]; readonly layer: number; readonly sources: boolean },
): Promise<AttentionShares[]> {
  const { heads, dHead, dModel } = model.architecture;
  const results = async (z: Tensor<FloatArray>): Promise<FloatArray> =>
    runPart(model, block, { given: { z }, want: "result" });
  const whole = await results(
    stack(
      model,
      runs.map((run) => rowAt(run, "z", layer)),
      [heads, dHead],
    ),
  );
  const nothing = stack(model, [model.backend.allocate(heads * dHead)], [heads, dHead]);
  const raw = block.program.sites.has("attn_raw");
  const origin = await runPart(model, block, { given: { z: nothing }, want: raw ? "attn_raw" : "attn_out" });

  const found: AttentionShares[] = [];
  for (const [index, run] of runs.entries()) {
    const { weights } = run.direction;
    const frozen = await frozenOutput(model, block, { run, layer, module: "attn" });
    const share = async (rows: FloatArray): Promise<Float64Array> =>
      projectRows(await frozen.parts(rows), weights);
    const size = heads * dModel;
    const head = await share(whole.subarray(index * size, (index + 1) * size));
    const bias = dot(await frozen.whole(origin), weights);
    if (!sources) {
      found.push({ head, source: undefined, bias });
      continue;
    }
    const mixed = await results(mixedBySource(model, run, layer));
    found.push({ head, source: transposed(await share(mixed), heads), bias });
  }
  return found;
}

/** What a module adds to the stream, as a function of its raw output: itself, or its post-norm with the run's scale. */
interface FrozenOutput {
  /** Parts of the raw output [n, d] → parts of what is added. */
  parts(rows: FloatArray): Promise<FloatArray>;
  /** The same of what no part has, the post-norm's own bias included: one row. */
  whole(row: FloatArray): Promise<FloatArray>;
}

async function frozenOutput(
  model: Model,
  block: WeightedProgram,
  { run, layer, module }: { readonly run: ShareRun; readonly layer: number; readonly module: "attn" | "mlp" },
): Promise<FrozenOutput> {
  const raw = `${module}_raw` as const;
  if (!block.program.sites.has(raw)) return { parts: async (rows) => rows, whole: async (row) => row };
  const width = model.architecture.dModel;
  const given = { [raw]: stack(model, [rowAt(run, raw, layer)], [width]) };
  const [scale = 1] = await runPart(model, block, { given, want: `${module}_scale` });
  const apply = (rows: FloatArray): Promise<FloatArray> => {
    const count = rows.length / width;
    const scales = model.backend.allocate(count).fill(scale);
    return runPart(model, block, {
      given: {
        [raw]: { data: rows, shape: [count, width] },
        [`${module}_scale`]: { data: scales, shape: [count, 1] },
      },
      want: `${module}_out`,
    });
  };
  const origin = await apply(model.backend.allocate(width));
  return {
    async parts(rows) {
      const out = model.backend.allocate(rows.length);
      out.set(subtractRow(await apply(rows), origin));
      return out;
    },
    whole: apply,
  };
}

/** z of the run's position as if it read from one position alone, for each: [src, H, dh]. */
function mixedBySource(model: Model, { cache, position }: ShareRun, layer: number): Tensor<FloatArray> {
  const { heads, kvHeads, dHead } = model.architecture;
  const length = cache.ids.length;
  const pattern = cache.get("pattern", layer).data;
  const values = cache.get("v", layer).data;
  const data = model.backend.allocate(length * heads * dHead);
  for (let source = 0; source < length; source++) {
    for (let head = 0; head < heads; head++) {
      const weight = pattern[(head * length + position) * length + source] ?? 0;
      const from = (source * kvHeads + Math.floor((head * kvHeads) / heads)) * dHead;
      const to = (source * heads + head) * dHead;
      for (let i = 0; i < dHead; i++) data[to + i] = weight * (values[from + i] ?? 0);
    }
  }
  return { data, shape: [length, heads, dHead] };
}

/** [src, head] → [head, src] */
function transposed(values: Float64Array, heads: number): Float64Array {
  const sources = values.length / heads;
  return values.map((_, at) => values[(at % sources) * heads + Math.floor(at / sources)] ?? 0);
}

/** Neurons whose output rows are computed at once. */
const NEURON_ROWS = 512;

async function neuronShares(
  model: Model,
  block: WeightedProgram,
  { runs, layer }: { readonly runs: readonly ShareRun[]; readonly layer: number },
): Promise<{ readonly neuron: Float64Array; readonly bias: number }[]> {
  const { dMlp } = model.architecture;
  const want = block.program.sites.has("mlp_raw") ? "mlp_raw" : "mlp_out";
  const outputs = (post: FloatArray): Promise<FloatArray> =>
    runPart(model, block, {
      given: { mlp_post: { data: post, shape: [post.length / dMlp, dMlp] } },
      want,
    });
  const origin = await outputs(model.backend.allocate(dMlp));
  const found = await Promise.all(
    runs.map(async (run) => {
      const frozen = await frozenOutput(model, block, { run, layer, module: "mlp" });
      return { run, frozen, neuron: new Float64Array(dMlp), post: rowAt(run, "mlp_post", layer) };
    }),
  );
  for (let first = 0; first < dMlp; first += NEURON_ROWS) {
    const count = Math.min(NEURON_ROWS, dMlp - first);
    const basis = model.backend.allocate(count * dMlp);
    for (let i = 0; i < count; i++) basis[i * dMlp + first + i] = 1;
    const rows = model.backend.allocate(count * model.architecture.dModel);
    rows.set(subtractRow(await outputs(basis), origin));
    for (const { run, frozen, neuron, post } of found) {
      const unit = projectRows(await frozen.parts(rows), run.direction.weights);
      for (const [i, share] of unit.entries()) neuron[first + i] = share * (post[first + i] ?? 0);
    }
  }
  return Promise.all(
    found.map(async ({ run, frozen, neuron }) => ({
      neuron,
      bias: dot(await frozen.whole(origin), run.direction.weights),
    })),
  );
}
