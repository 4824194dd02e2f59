/** @file Gradients through every family against PyTorch autograd in float64 (tools/goldens/gradients.py). */

import { expect, test } from "vitest";
import { gradients } from "../../src/run/gradients.ts";
import type { SiteName } from "../../src/run/site.ts";
import { families, goldenFacts, goldenGradients } from "../goldens/load.ts";
import { bothBackends } from "../helpers/backends.ts";
import { relativeGap } from "../helpers/gaps.ts";
import { loadGolden } from "../helpers/golden-model.ts";

const SITES: readonly SiteName[] = ["resid_pre", "q", "k", "v", "z", "mlp_post"];
const backends = bothBackends();

test.each(families())("$name", async ({ name }) => {
  const wanted = goldenGradients(name);
  const { corrupt, answer, foil } = goldenFacts(name).patching;
  const objective = {
    positions: [corrupt.length - 1],
    columns: [answer, foil],
    evaluate: ([row]: readonly ArrayLike<number>[]) => ({ value: row[0] - row[1], gradient: [[1, -1]] }),
  };
  for (const backend of backends) {
    const model = await loadGolden(name, backend);
    const [found] = await gradients(model, [{ ids: corrupt, objective }], { sites: SITES });
    expect(wanted.size).toBe(SITES.length * model.definition.blocks.length);
    const off: string[] = [];
    for (const [key, gradient] of wanted) {
      const [, layer, site] = /^layer(\d+)\.(.*)$/.exec(key) ?? [];
      const gap = relativeGap(found.get(site as SiteName, Number(layer)).data, gradient.data);
      // The goldens are kept in float32.
      if (!(gap < (backend.precision === "float64" ? 1e-7 : 2e-5)))
        off.push(`${backend.name} ${key}: ${gap}`);
    }
    expect(off).toEqual([]);
  }
});
