/** @file One layer of a model, opened for as long as it is needed. */

import type { Model } from "../model/model.ts";
import type { ContextCache } from "./batch.ts";
import type { Layer } from "./block.ts";

/** Which layer is opened, and what it shares with the others. */
interface Opened {
  readonly index: number;
  readonly contexts: ContextCache;
}

/** A layer whose weights are in hand, for those who release them elsewhere. @throws RangeError for one that is not there. */
export async function openLayer(model: Model, { index, contexts }: Opened): Promise<Layer> {
  const program = model.definition.blocks[index];
  const kind = model.architecture.layers[index];
  if (program === undefined || kind === undefined) throw new RangeError(`layer ${index}`);
  return { model, index, kind, program, weights: await model.weights.get(index), contexts };
}

/** Calls `use` with a layer whose weights are in hand, and lets go of them afterwards. */
export async function withLayer<T>(
  model: Model,
  opened: Opened,
  use: (layer: Layer) => Promise<T>,
): Promise<T> {
  const layer = await openLayer(model, opened);
  try {
    return await use(layer);
  } finally {
    model.weights.release(layer.index);
  }
}
