/** @file Whatever is in a file of any format, it loads or is refused as bad input, soon and within its bounds. */

import { describe, expect, test } from "vitest";
import { InputError } from "../../src/core/errors.ts";
import { random } from "../../src/core/random.ts";
import { formats } from "./formats.ts";

/** Longest that one file may take: what is stated for untrusted input, far above the milliseconds that they do take. */
const MAX_CASE_MS = 5_000;
const MAX_FORMAT_MS = 60_000;

/** Seeds of one format are apart from those of the others. */
const SEEDS_PER_FORMAT = 10_000;

describe.each(formats.map((format, index) => ({ ...format, firstSeed: index * SEEDS_PER_FORMAT })))(
  "$name",
  ({ name, cases, sound, damaged, firstSeed }) => {
    test("sound files load", async () => {
      await sound();
    });

    test("damaged files load or are refused", { timeout: MAX_FORMAT_MS }, async () => {
      let loaded = 0;
      for (let index = 0; index < cases; index++) {
        const seed = firstSeed + index;
        const started = performance.now();
        try {
          await damaged(random(seed));
          loaded++;
        } catch (error) {
          if (!(error instanceof InputError)) {
            throw new Error(
              `${name}, case ${index}: damaged(random(${seed})) threw ${String(error).slice(0, 500)}`,
              { cause: error },
            );
          }
          expect(error.faults.length, `faults of case ${index}, seed ${seed}`).toBeGreaterThan(0);
        }
        expect(performance.now() - started, `ms of case ${index}, seed ${seed}`).toBeLessThan(MAX_CASE_MS);
      }
      // Both outcomes are frequent, so that neither side of the law is empty.
      expect(loaded / cases).toBeGreaterThan(0.02);
      expect(loaded / cases).toBeLessThan(0.98);
    });
  },
);
