/** @file Which labels options restrict cells to. */
import type { Chosen } from "../method/grid.ts";
import type { CellOptions } from "./options/cells.ts";

/** Labels to take along the dims that the options restrict. */
export function chosen({ layer, pos, head, "kv-head": kvHead, neuron, dst, src }: CellOptions): Chosen {
  const given = Object.entries({ layer, pos, head, kv_head: kvHead, neuron, dst, src });
  return Object.fromEntries(given.filter(([, labels]) => labels !== undefined));
}

/** The same without positions, which are not known before there are prompts. */
export function withoutPositions(labels: Chosen | undefined): Chosen {
  return { ...labels, pos: undefined, dst: undefined, src: undefined };
}
