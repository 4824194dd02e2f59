/** @file Collecting garbage when a budget of memory says so. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Share of a budget from which on garbage is looked for. */
const NEARLY_FULL = 0.75;
/** Dead arrays worth a collection, which takes some 10 ms. */
const GARBAGE_BYTES = 4e6;

/**
 * A function that collects garbage where the resident set comes near the budget and arrays take more than is in use.
 * V8 lets up to 64 MB of dead arrays stand, as it does not know of any budget; there is no other way to tell it while
 * it runs.
 */
export function garbageCollector(budget: number): (usedBytes: number) => void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  return (usedBytes) => {
    const { rss, external } = process.memoryUsage();
    if (rss > NEARLY_FULL * budget && external > usedBytes + GARBAGE_BYTES) collect();
  };
}
