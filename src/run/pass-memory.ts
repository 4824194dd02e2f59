/**
 * @file How many tokens go forward and back together where a budget of memory is set: what a pass that is gone back
 * over holds of each token, and how often that fits into what the budget leaves for states.
 */

import type { Model } from "../model/model.ts";

type Sized = Pick<Model, "architecture" | "definition" | "backend" | "stateBytes">;

/** Values of a block and gradients by them, and the engine's copy of either. */
const COPIES = 2;

/** Numbers that one block takes of each token on the way back, values and gradients together, in prompts of so many tokens. */
export function blockNumbers({ architecture }: Pick<Model, "architecture">, length: number): number {
  const { dModel, heads, kvHeads, dHead, dMlp } = architecture;
  return COPIES * (3 * dModel + 2 * (heads + kvHeads) * dHead + 3 * dMlp + 2 * heads * length);
}

/** Numbers of one residual stream of each layer. */
export function streamNumbers({ architecture, definition }: Sized): number {
  return definition.blocks.length * architecture.dModel;
}

/** Bytes of so many numbers in the engine's precision. */
export function bytesOf(
  { backend }: { readonly backend: Pick<Model["backend"], "precision"> },
  numbers: number,
): number {
  return numbers * (backend.precision === "float32" ? 4 : 8);
}

/** Tokens of `numbers` each that fit into the budget; `most` where there is none. */
export function tokensWithin(model: Sized, numbers: number, most: number): number {
  const { stateBytes } = model;
  return stateBytes === undefined ? most : Math.min(most, Math.floor(stateBytes / bytesOf(model, numbers)));
}

/** What to say where even the longest prompts that have to stay together, of `tokens` in all, do not fit: they run all the same. */
export function passWarnings(model: Sized, numbers: number, tokens: number): string[] {
  const { stateBytes } = model;
  const bytes = bytesOf(model, numbers) * tokens;
  if (stateBytes === undefined || bytes <= stateBytes) return [];
  const megabytes = (size: number): string => `${Math.ceil(size / 1e6)} MB`;
  return [
    `memory: ${tokens} tokens that go forward and back together take about ${megabytes(bytes)} beside the weights, ` +
      `of which the budget leaves ${megabytes(stateBytes)}; it is exceeded by as much`,
  ];
}
