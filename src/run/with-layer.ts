/** @file Weights of a model, and one layer of it, opened for as long as they are needed. */

import type { Model } from "../model/model.ts";
import type { Part, Weights } from "../model/store.ts";
import type { ContextCache } from "./batch.ts";
import type { Layer } from "./block.ts";

/** Which layer is opened, and what it shares with the others. */
interface Opened {
  readonly index: number;
  readonly contexts: ContextCache;
}

/** Calls `use` with the weights of one part, and lets go of them afterwards: no result may have them in it. */
export async function withWeights<T>(
  model: Model,
  part: Part,
  use: (weights: Weights) => T | Promise<T>,
): Promise<T> {
  const weights = await model.weights.get(part);
  try {
    return await use(weights);
  } finally {
    model.weights.release(part);
  }
}

/** Calls `use` with a layer whose weights are in hand, and lets go of them afterwards. @throws RangeError for one that is not there. */
export async function withLayer<T>(
  model: Model,
  { index, contexts }: Opened,
  use: (layer: Layer) => Promise<T>,
): Promise<T> {
  const program = model.definition.blocks[index];
  const kind = model.architecture.layers[index];
  if (program === undefined || kind === undefined) throw new RangeError(`layer ${index}`);
  return withWeights(model, index, (weights) => use({ model, index, kind, program, weights, contexts }));
}
