/** @file One layer of a model, opened for as long as it is needed. */

import type { Model } from "../model/model.ts";
import type { ContextCache } from "./batch.ts";
import type { Layer } from "./block.ts";

/** Calls `use` with a layer whose weights are in hand, and lets go of them afterwards. */
export async function withLayer<T>(
  model: Model,
  { index, contexts }: { readonly index: number; readonly contexts: ContextCache },
  use: (layer: Layer) => Promise<T>,
): Promise<T> {
  const program = model.definition.blocks[index];
  const kind = model.architecture.layers[index];
  if (program === undefined || kind === undefined) throw new RangeError(`layer ${index}`);
  const weights = await model.weights.get(index);
  try {
    return await use({ model, index, kind, program, weights, contexts });
  } finally {
    model.weights.release(index);
  }
}
