/** @file Patching grids that PyTorch computed, one whole pass a cell, against the sweep (test/goldens/README.md). */

import { describe, expect, test } from "vitest";
import type { Edit } from "../../src/run/edit.ts";
import { patch } from "../../src/run/edit.ts";
import { families, golden, golden64, goldenFacts } from "../goldens/load.ts";
import { bothBackends } from "../helpers/backends.ts";
import { useGolden } from "../helpers/golden-model.ts";
import { swept } from "../helpers/readings.ts";

const SITES = ["resid_pre", "attn_out", "mlp_out", "z"] as const;
const backends = bothBackends();

describe.each(families())("$name", ({ name }) => {
  describe.each(backends)("$name", (backend) => {
    const open = useGolden(name, backend);

    test("every cell of every grid", async () => {
      const model = await open();
      const { clean, corrupt, answer, foil, baseline_clean, baseline_corrupt } = goldenFacts(name).patching;
      const [single, exact] = [golden(name), golden64(name)];
      const cells = SITES.flatMap((site) => {
        const [layers, columns] = single.get(`patching.${site}`)?.shape ?? [0, 0];
        return Array.from({ length: layers * columns }, (_, index) => {
          const [layer, column] = [Math.floor(index / columns), index % columns];
          const where = site === "z" ? { head: [column] } : { pos: [column] };
          const edit: Edit = patch(site, layer, { run: 0, where });
          return {
            edit,
            float32: single.get(`patching.${site}`)?.data[index],
            float64: exact.get(`patching64.${site}`)?.data[index],
          };
        });
      });
      const { dModel, heads, layers } = model.architecture;
      expect(cells.length).toBe(layers.length * (3 * corrupt.length + heads));

      const found = await swept(
        model,
        {
          runs: [{ ids: clean }, { ids: corrupt }],
          variants: cells.map(({ edit }) => ({ run: 1, edits: [edit] })),
        },
        { batchTokens: 64, stateBytes: 2000 * dModel },
      );
      const metric = ([row]: readonly Float64Array[]): number => row[answer] - row[foil];
      expect(metric(found.runs[0])).toBeCloseTo(baseline_clean, 4);
      expect(metric(found.runs[1])).toBeCloseTo(baseline_corrupt, 4);
      const double = backend.precision === "float64";
      let worst = 0;
      for (const [index, cell] of cells.entries()) {
        const wanted = (double ? cell.float64 : cell.float32) ?? Number.NaN;
        const off = Math.abs(metric(found.logits[index]) - wanted);
        worst = Math.max(worst, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
      }
      // In float32 a difference of two logits: twice the promise for one.
      expect(worst).toBeLessThan(double ? 1e-11 : 1e-4);
    });
  });
});
