/**
 * @file Logits as linear functions of the final residual stream: with the scale of the final norm held at a run's own
 * value, what each part of the stream adds to a logit is a product with one direction, and the parts sum to the logit.
 * Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; nostalgebraist 2020.
 */

import { oncePer } from "../core/once.ts";
import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { addScaled, dot, projectRows, subtractRow } from "../numeric/projection.ts";
import { runPart } from "./part.ts";
import {
  meanUnembedding,
  type UnembeddingInputs,
  type UnembeddingRow,
  unembeddingInputs,
} from "./unembedding.ts";

/** A weighted sum of logits, e.g. that of the answer less that of the foil. */
export interface LogitSum {
  readonly terms: readonly { readonly id: number; readonly weight: number }[];
  /** Each logit less the mean over the vocabulary: what softmax sees of it. */
  readonly centred: boolean;
}

/** The sum of logits at one position: direction · stream + constant. */
export interface Direction {
  /** [d] */
  readonly weights: Float64Array;
  /** What no part of the stream adds: the biases of the final norm and of the unembedding. */
  readonly constant: number;
  /** The logits' own sum, by the whole stream. */
  readonly total: number;
}

/** The final norm with scale 1: linear map [d, d] (row: what a unit of one coordinate becomes) and bias [d]. */
interface FrozenNorm {
  readonly map: Float64Array;
  readonly bias: Float64Array;
}

interface Unembedding extends UnembeddingInputs {
  /** The weights of the final norm. */
  readonly normWeights: Readonly<Record<string, Tensor>>;
  readonly norm: FrozenNorm | undefined;
}

const unembedding = oncePer(readUnembedding);

/**
 * The direction of a sum of logits at each of some positions.
 *
 * A soft cap (Gemma 2) is held at the run's own ratio of capped to uncapped logit, as the norm is at its own scale, so
 * that shares still sum to the logit.
 * @param residuals resid_post of the last layer [position, d]
 */
export async function directions(
  model: Model,
  residuals: FloatArray,
  sums: readonly LogitSum[],
): Promise<Direction[]> {
  const width = model.architecture.dModel;
  const head = await unembedding(model);
  const positions = residuals.length / width;
  const ends = { program: model.definition.unembed, weights: head.normWeights };
  const scales =
    head.norm === undefined
      ? undefined
      : await runPart(model, ends, {
          given: { resid_post: { data: residuals, shape: [positions, width] } },
          want: "final_scale",
        });
  const rows = await rowsOf(model, head, sums);
  const mean = sums.some(({ centred }) => centred) ? await meanUnembedding(model) : undefined;
  return sums.map((sum, position) => {
    const residual = residuals.subarray(position * width, (position + 1) * width);
    const scale = scales?.[position] ?? 1;
    const normed = normalise(head.norm, residual, scale);
    const row = new Float64Array(width);
    let bias = 0;
    let total = 0;
    const add = (factor: number, from: ArrayLike<number>, constant: number): void => {
      addScaled(row, from, factor);
      bias += factor * constant;
      total += factor * (dot(from, normed) + constant);
    };
    for (const { id, weight } of sum.terms) {
      const { row: from, bias: constant } = rows.get(id) as UnembeddingRow;
      add(weight * capRatio(model, head, dot(from, normed) + constant), from, constant);
    }
    if (sum.centred && mean !== undefined) {
      if (head.capped) throw new RangeError("logits with a soft cap have no centred shares");
      add(-sum.terms.reduce((all, { weight }) => all + weight, 0), mean.row, mean.bias);
    }
    if (head.norm === undefined) return { weights: row, constant: bias, total };
    const weights = projectRows(head.norm.map, row).map((value) => value / scale);
    return { weights, constant: bias + dot(row, head.norm.bias), total };
  });
}

/** Whether the model's logits pass through a soft cap. */
export async function hasSoftcap(model: Model): Promise<boolean> {
  return (await unembedding(model)).capped;
}

function normalise(norm: FrozenNorm | undefined, residual: FloatArray, scale: number): Float64Array {
  const width = residual.length;
  if (norm === undefined) return Float64Array.from(residual);
  const out = Float64Array.from(norm.bias);
  for (let i = 0; i < width; i++) {
    addScaled(out, norm.map.subarray(i * width, (i + 1) * width), (residual[i] ?? 0) / scale);
  }
  return out;
}

function capRatio({ definition }: Model, { capped }: Unembedding, logit: number): number {
  if (!capped || logit === 0) return 1;
  const node = definition.unembed.nodes.findLast(({ op }) => op === "scale");
  const cap = node?.op === "scale" ? node.attrs.by : Number.NaN;
  return (cap * Math.tanh(logit / cap)) / logit;
}

/** The rows of the sums' terms alone: whole tables are large. */
async function rowsOf(
  model: Model,
  { table, bias }: Unembedding,
  sums: readonly LogitSum[],
): Promise<ReadonlyMap<number, UnembeddingRow>> {
  const width = model.architecture.dModel;
  const ids = [...new Set(sums.flatMap(({ terms }) => terms.map(({ id }) => id)))];
  const rows = await model.weights.rows(table, ids);
  const biases = bias === undefined ? undefined : await model.weights.rows(bias, ids);
  return new Map(
    ids.map((id, index) => [
      id,
      { row: rows.data.subarray(index * width, (index + 1) * width), bias: biases?.data[index] ?? 0 },
    ]),
  );
}

async function readUnembedding(model: Model): Promise<Unembedding> {
  const { unembed: program } = model.definition;
  const width = model.architecture.dModel;
  const { table, bias, capped } = unembeddingInputs(model);
  const normWeights: Record<string, Tensor> = {};
  for (const { name, role } of program.inputs) {
    if (role.kind !== "weight" || name === bias || role.stored.length > 1) continue;
    normWeights[name] = await model.weights.rows(name, [...Array(role.stored[0] ?? 0).keys()]);
  }
  const norm = await frozenNorm(model, { program, weights: normWeights, width });
  return { table, bias, capped, normWeights, norm };
}

async function frozenNorm(
  model: Model,
  {
    program,
    weights,
    width,
  }: {
    readonly program: Model["definition"]["unembed"];
    readonly weights: Readonly<Record<string, Tensor>>;
    readonly width: number;
  },
): Promise<FrozenNorm | undefined> {
  if (!program.sites.has("final_scale")) return undefined;
  const { allocate } = model.backend;
  const basis = allocate((width + 1) * width); // the last row is the origin
  for (let i = 0; i < width; i++) basis[i * width + i] = 1;
  const ones = allocate(width + 1).fill(1);
  const found = await runPart(
    model,
    { program, weights },
    {
      given: {
        resid_post: { data: basis, shape: [width + 1, width] },
        final_scale: { data: ones, shape: [width + 1, 1] },
      },
      want: "final_norm",
    },
  );
  const bias = Float64Array.from(found.subarray(width * width));
  return { map: subtractRow(found.subarray(0, width * width), bias), bias };
}
