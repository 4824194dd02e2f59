/** @file One budget for memory: what the process takes as it is, decoded weights, and the state of a sweep. */

import { inputError } from "../core/errors.ts";

/** Bytes: fewer are a slip of the unit. */
export const MIN_BUDGET = 1e6;

/**
 * What the engine takes beside weights and state once it runs: its library, compiled programs, working memory, freed
 * memory that the allocator keeps. Measured on sweeps of SmolLM2-135M: 120 to 140 MB.
 */
const ENGINE_BYTES = 135e6;

/**
 * Of the whole budget, not of what the process leaves of it: that differs from run to run, and a sweep that goes on
 * where another was cut short must be split into the same waves.
 */
const STATE_SHARE = 1 / 32;
/** A few variants; with less, most of the time goes into reading layers again. */
const MIN_STATE_BYTES = 8e6;
const MAX_STATE_BYTES = 512 * 2 ** 20; // more variants under way at once do not run faster

export interface MemorySplit {
  readonly weightBytes: number;
  readonly stateBytes: number;
}

/**
 * Splits a budget of bytes.
 * @param processBytes resident set of the process with the model opened and no weight decoded
 * @param layerBytes float32 bytes of the largest layer; two are held at a time, one of them being read
 * @throws InputError where the budget cannot be met.
 */
export function splitMemory(
  budget: number,
  { processBytes, layerBytes }: { readonly processBytes: number; readonly layerBytes: number },
): MemorySplit {
  const fixed = processBytes + ENGINE_BYTES;
  const stateBytes = Math.min(MAX_STATE_BYTES, Math.max(MIN_STATE_BYTES, Math.floor(budget * STATE_SHARE)));
  const least = fixed + 2 * layerBytes + stateBytes;
  if (budget < least) {
    throw inputError(
      "memory",
      megabytes(budget),
      `at least ${megabytes(least)}: ${megabytes(fixed)} for the program itself, ` +
        `${megabytes(2 * layerBytes)} for two layers, ${megabytes(stateBytes)} for what runs through them`,
      "Give it more, or leave it out.",
    );
  }
  return { stateBytes, weightBytes: budget - fixed - stateBytes };
}

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;
