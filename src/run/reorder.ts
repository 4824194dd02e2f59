/** @file A model whose layers are run in another order, some twice, some not at all. */

import type { Definition } from "../model/architecture.ts";
import type { Model } from "../model/model.ts";
import type { Part } from "../model/store.ts";

/**
 * The model with other layers in place of its own: `order` lists layers of the given model, each any number of times.
 * Weights, programs and windows go with their layer. It is a model like any other and is run, swept and read as one;
 * closing it closes the given one.
 * @throws RangeError for layers that are not there.
 */
export function reordered(model: Model, order: readonly number[]): Model {
  const { definition, weights } = model;
  const blocks = order.map((layer) => {
    const block = definition.blocks[layer];
    if (block === undefined) throw new RangeError(`layer ${layer} of ${definition.blocks.length}`);
    return block;
  });
  const from = (part: Part): Part => (part === "ends" ? part : (order[part] ?? part));
  const architecture = {
    ...definition.architecture,
    layers: order.map((layer) => definition.architecture.layers[layer] ?? {}),
  };
  const changed: Definition = {
    ...definition,
    architecture,
    blocks,
    layerPrefix: (layer) => definition.layerPrefix(order[layer] ?? layer),
  };
  return {
    ...model,
    architecture,
    definition: changed,
    weights: {
      ...weights,
      get: (part) => weights.get(from(part)),
      release: (part) => weights.release(from(part)),
      prefetch: (part) => weights.prefetch(from(part)),
      bytes: (part) => weights.bytes(from(part)),
    },
  };
}
