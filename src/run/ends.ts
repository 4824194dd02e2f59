/** @file From tokens to the residual stream, and from the residual stream to what a metric reads. */

import type { Fault } from "../core/errors.ts";
import { refuse } from "../core/errors.ts";
import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";

/**
 * resid_pre of layer 0 [token, d]; positions are those of each token in its sequence.
 * @throws InputError for ids outside the vocabulary, and positions for which no embedding was learned.
 */
export async function embed(model: Model, ids: Int32Array, positions: Int32Array): Promise<FloatArray> {
  requireTokens(model, ids, positions);
  const executable = await model.compile(model.definition.embed, { given: [], want: ["resid_pre"] });
  const weights = await model.weights.get("ends");
  const context: Record<string, Tensor> = {
    ids: { data: ids, shape: [ids.length] },
    positions: { data: positions, shape: [positions.length] },
  };
  const inputs = executable.program.inputs.map(({ name }) => [name, context[name] ?? weights[name]] as const);
  const found = await executable.run(Object.fromEntries(inputs) as Record<string, Tensor>);
  return (found.resid_pre as Tensor<FloatArray>).data;
}

/** What a run's token embeddings are moved by, as in causal tracing. */
export interface EmbeddingOffset {
  /** Positions moved, each once. */
  readonly positions: readonly number[];
  /** Added to resid_pre of layer 0: [position listed, d], row-major. */
  readonly values: ArrayLike<number>;
}

/** Moves the embeddings of a run whose first token is `firstToken` of `residual` [token, d], in place. */
export function addOffset(
  residual: FloatArray,
  firstToken: number,
  offset: EmbeddingOffset | undefined,
): void {
  if (offset === undefined) return;
  const width = offset.values.length / offset.positions.length;
  for (const [row, position] of offset.positions.entries()) {
    const to = (firstToken + position) * width;
    for (let i = 0; i < width; i++) {
      residual[to + i] = (residual[to + i] ?? 0) + (offset.values[row * width + i] ?? 0);
    }
  }
}

/** Engines differ in what they take a row outside a table for: an error, the last row, or whatever lies there. */
function requireTokens({ architecture, definition }: Model, ids: Int32Array, positions: Int32Array): void {
  const { vocabulary, maxPositions } = architecture;
  const faults: Fault[] = [];
  const id = ids.find((one) => one < 0 || one >= vocabulary);
  if (id !== undefined) {
    faults.push({ where: "token ids", found: String(id), wanted: `0 to ${vocabulary - 1}` });
  }
  const learned = definition.embed.inputs.some(({ name }) => name === "positions");
  const length = 1 + positions.reduce((most, position) => Math.max(most, position), -1);
  if (learned && length > maxPositions) {
    faults.push({
      where: "prompt",
      found: `${length} tokens`,
      wanted: `at most ${maxPositions}, as many positions as were learned`,
      fix: "Shorten the prompt.",
    });
  }
  refuse(faults);
}

/** What to read at the end of the model; everything is per token. */
export interface Readout {
  /** Token ids whose logits are wanted. */
  readonly columns?: readonly number[];
  /** log Σ exp over the whole vocabulary. */
  readonly logsumexp?: boolean;
  /** All logits. */
  readonly logits?: boolean;
}

export interface Read {
  /** [token, columns]. */
  readonly columns?: FloatArray;
  /** [token]. */
  readonly logsumexp?: FloatArray;
  /** [token, vocabulary]. */
  readonly logits?: FloatArray;
}

/** Applies final norm and unembedding to resid_post of the last layer [token, d], computing only what is read. */
export async function unembed(model: Model, residual: FloatArray, readout: Readout): Promise<Read> {
  const { columns = [], logsumexp = false, logits = false } = readout;
  const want = [
    ...(columns.length > 0 ? ["columns"] : []),
    ...(logsumexp ? ["logsumexp"] : []),
    ...(logits ? ["logits"] : []),
  ];
  if (want.length === 0 || residual.length === 0) return {};
  const executable = await model.compile(model.definition.unembed, { given: ["resid_post"], want });
  const weights = await model.weights.get("ends");
  const width = model.architecture.dModel;
  const context: Record<string, Tensor> = {
    resid_post: { data: residual, shape: [residual.length / width, width] },
    columns: { data: Int32Array.from(columns), shape: [columns.length] },
  };
  const inputs = executable.program.inputs.map(({ name }) => [name, context[name] ?? weights[name]] as const);
  const found = await executable.run(Object.fromEntries(inputs) as Record<string, Tensor>);
  return Object.fromEntries(want.map((site) => [site, found[site]?.data])) as Read;
}
