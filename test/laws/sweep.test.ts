import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { nodeBackend } from "../../src/backend/ort/node.node.ts";
import { referenceBackend } from "../../src/backend/reference/reference.ts";
import { families, goldenFacts } from "../goldens/load.ts";
import { loadGolden } from "../helpers/golden-model.ts";
import { distance, magnitude, plain, swept } from "../helpers/readings.ts";
import { anyVariant } from "../helpers/variants.ts";

const backends = [referenceBackend(), nodeBackend({ threads: 1 })];
describe.each(families())("$name", ({ name }) => {
  test.each(backends)("$name", async (backend) => {
    const model = loadGolden(name, backend);
    const { patching, prompts } = goldenFacts(name);
    const runs = [
      { ids: patching.clean, read: [2, 5, 8] },
      { ids: patching.corrupt },
      { ids: prompts[1], read: [0, 11] },
      { ids: prompts[0].slice(0, 4), read: [3] },
    ];
    let worst = 0;
    let big = 0;
    const t = performance.now();
    await fc.assert(
      fc.asyncProperty(fc.array(anyVariant(model, runs), { minLength: 1, maxLength: 12 }), async (variants) => {
        const a = await swept(model, { runs, variants }, { batchTokens: 20, stateBytes: 8000 });
        const b = await plain(model, { runs, variants });
        for (const i of variants.keys()) {
          const off = distance(a.logits[i], b[i]);
          worst = Math.max(worst, off);
          big = Math.max(big, magnitude(b[i]));
          if (!(off < (backend.name === "reference" ? 1e-9 : 1e-2))) throw new Error(`variant ${i}: off by ${off}`);
        }
      }),
      { numRuns: 30, seed: 1, endOnFailure: true },
    );
    console.log(name, backend.name, worst, big, performance.now() - t);
  });
});
