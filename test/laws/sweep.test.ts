/**
 * @file The sweep against the plain path: whatever is skipped, shared or batched, every reading is that of a whole
 * forward pass with the same edits.
 */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { families, goldenFacts } from "../goldens/load.ts";
import { bothBackends } from "../helpers/backends.ts";
import { useGolden } from "../helpers/golden-model.ts";
import { distance, magnitude, plain, swept } from "../helpers/readings.ts";
import { anyVariant } from "../helpers/variants.ts";

const backends = bothBackends();

/**
 * Allowed difference as a share of the largest logit (at least 1). In float32, edits out of all proportion saturate
 * softmax and norms, which makes rounding count for more than in the goldens; a wrong cell is off by 1e-2 and more.
 */
const SHARE = { float64: 1e-10, float32: 5e-4 };

describe.each(families())("$name", ({ name }) => {
  describe.each(backends)("$name", (backend) => {
    const open = useGolden(name, backend);

    test("joint edits of any sites, layers and cells read as by whole passes", async () => {
      const model = await open();
      const { patching, prompts } = goldenFacts(name);
      const runs = [
        { ids: patching.clean, read: [2, 5, 8] },
        { ids: patching.corrupt },
        { ids: prompts[1], read: [0, 11] },
        { ids: prompts[1].slice(5, 9), read: [3] },
      ];
      const small = { batchTokens: 20, stateBytes: 64 * model.architecture.dModel * 8 };
      const property = fc.asyncProperty(
        fc.array(anyVariant(model, runs), { minLength: 8, maxLength: 12 }),
        fc.constantFrom({}, small),
        async (variants, options) => {
          const fast = await swept(model, { runs, variants }, options);
          const slow = await plain(model, { runs, variants });
          for (const [index, { run }] of variants.entries()) {
            const allowed = SHARE[backend.precision] * Math.max(1, magnitude(slow[index]));
            const off = distance(fast.logits[index], slow[index]);
            if (!(off <= allowed)) throw new Error(`variant ${index} is off by ${off}`);
            if (!fast.exact[index]) continue;
            expect(fast.logits[index]).toEqual(fast.runs[run]);
          }
        },
      );
      const numRuns = backend.precision === "float64" ? 8 : 2;
      await fc.assert(property, { numRuns, seed: 20_240_701, endOnFailure: true });
    });
  });
});
