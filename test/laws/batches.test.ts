/** @file Sequences of different lengths in one batch: each as if alone, and every captured site as PyTorch has it. */

import { describe, expect, test } from "vitest";
import { forward } from "../../src/run/forward.ts";
import type { SiteName } from "../../src/run/site.ts";
import { families, golden, goldenFacts } from "../goldens/load.ts";
import { bothBackends, rounding } from "../helpers/backends.ts";
import { useGolden } from "../helpers/golden-model.ts";
import { namesOf } from "../helpers/variants.ts";

const backends = bothBackends();

describe.each(families())("$name", ({ name }) => {
  describe.each(backends)("$name", (backend) => {
    const open = useGolden(name, backend);
    const [short, long] = goldenFacts(name).prompts;
    const sequences = [long, short, long.slice(0, 3), short, long.slice(4, 5), long];

    test("runs in a batch are what they are alone", async () => {
      const model = await open();
      const together = await forward(model, sequences);
      for (const [index, ids] of sequences.entries()) {
        const alone = await forward(model, [ids]);
        const [found, wanted] = [together.residuals[index], alone.residuals[0]];
        if (backend.precision === "float64") expect(found).toEqual(wanted);
        else expect(farthest(found, wanted)).toBeLessThan(rounding(backend));
      }
    });

    test("captured sites are PyTorch's", async () => {
      const model = await open();
      const sites = namesOf(model);
      const { caches } = await forward(model, sequences, { capture: sites.map((site) => ({ site })) });
      const wanted = golden(name);
      let compared = 0;
      for (const [key, value] of wanted) {
        const [, prompt, layer, site] = /^prompt(\d)\.layer(\d+)\.(.*)$/.exec(key) ?? [];
        if (site === undefined || !sites.includes(site as SiteName)) continue;
        for (const index of prompt === "0" ? [1, 3] : [0, 5]) {
          const found = caches[index].get(site as SiteName, Number(layer));
          expect(found.shape, key).toEqual(value.shape);
          // Scores reach 40, where float32 rounds in steps of 4e-6: hence a share of the value besides.
          expect(farthest(found.data, value.data, 1e-5), key).toBeLessThan(5e-5);
          compared += 1;
        }
      }
      expect(compared).toBeGreaterThan(40);
    });
  });
});

/** Largest difference, each less a share of the value. */
function farthest(a: ArrayLike<number>, b: ArrayLike<number>, share = 0): number {
  expect(a.length).toBe(b.length);
  let worst = 0;
  for (let i = 0; i < b.length; i++) {
    const off = Math.abs(a[i] - b[i]) - share * Math.abs(b[i]);
    worst = Math.max(worst, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
  }
  return worst;
}
