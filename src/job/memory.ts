/** @file One budget for memory, shared by decoded weights and the state of a sweep. */

const STATE_SHARE = 0.25;
const MAX_STATE_BYTES = 512 * 2 ** 20; // more variants under way at once do not run faster

/** Bytes of a budget for variants under way. */
export function stateBytes(memory: number): number {
  return Math.min(MAX_STATE_BYTES, Math.floor(memory * STATE_SHARE));
}

/** Bytes of a budget for decoded weights. */
export function weightBytes(memory: number): number {
  return memory - stateBytes(memory);
}
