/** @file Where the network is linear, effects add up, scale, and have closed forms. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { random } from "../../src/core/random.ts";
import { sizeOf } from "../../src/core/tensor.ts";
import type { Model } from "../../src/model/model.ts";
import type { Edit, Where } from "../../src/run/edit.ts";
import { patch } from "../../src/run/edit.ts";
import type { SiteName } from "../../src/run/site.ts";
import { siteShape } from "../../src/run/site.ts";
import { bothBackends } from "../helpers/backends.ts";
import { linearNet } from "../helpers/linear-net.ts";
import type { Logits } from "../helpers/readings.ts";
import { magnitude, swept } from "../helpers/readings.ts";

/** Everything that the answer is linear in, as queries and keys stay as they are. */
const LINEAR: readonly SiteName[] = [
  "resid_pre",
  "v_in",
  "v",
  "values",
  "v_heads",
  "z",
  "result",
  "attn_out",
  "resid_post",
];
const RUNS = [{ ids: [3, 1, 4, 1, 5, 2], read: [2, 5] }, { ids: [2, 6, 5, 3, 0, 6] }];
const LENGTH = RUNS[0].ids.length;

/** Adds random numbers all over a site. */
function disturbance(
  model: Model,
  { site, layer, seed }: { site: SiteName; layer: number; seed: number },
): Edit {
  const shape = siteShape(site, model.architecture, LENGTH);
  const { normal } = random(seed);
  const data = Float64Array.from({ length: sizeOf(shape) }, () => normal());
  return { site, layer, where: {}, action: "add", value: { kind: "given", shape, data } };
}

const minus = (a: Logits, b: Logits): Logits => a.map((row, i) => row.map((value, j) => value - b[i][j]));
const plus = (all: readonly Logits[]): Logits =>
  all[0].map((row, i) => row.map((_, j) => all.reduce((sum, one) => sum + one[i][j], 0)));

describe.each(bothBackends())("$name", (backend) => {
  const model = linearNet(backend);
  const layers = model.definition.blocks.length;
  const share = backend.precision === "float64" ? 1e-13 : 1e-5;

  const effects = async (edits: readonly (readonly Edit[])[]): Promise<Logits[]> => {
    const found = await swept(model, {
      runs: RUNS,
      variants: edits.map((list) => ({ run: 0, edits: list })),
    });
    return found.logits.map((logits) => minus(logits, found.runs[0]));
  };
  const expectEqual = (found: Logits, wanted: Logits): void => {
    expect(magnitude(minus(found, wanted))).toBeLessThan(share * Math.max(1, magnitude(wanted)));
  };

  test("the effect of joint additions is the sum of their effects, at any sites and layers", async () => {
    const anyEdit = fc
      .record({ site: fc.constantFrom(...LINEAR), layer: fc.nat({ max: layers - 1 }), seed: fc.nat() })
      .map((options) => disturbance(model, options));
    const property = fc.asyncProperty(fc.array(anyEdit, { minLength: 2, maxLength: 5 }), async (edits) => {
      const [joint, ...single] = await effects([edits, ...edits.map((edit) => [edit])]);
      expect(magnitude(joint)).toBeGreaterThan(1e-3);
      expectEqual(joint, plus(single));
    });
    await fc.assert(property, { numRuns: 12, seed: 5, endOnFailure: true });
  });

  test("twice the addition has twice the effect", async () => {
    for (const site of LINEAR) {
      const edit = disturbance(model, { site, layer: 1, seed: 8 });
      const [once, twice] = await effects([[edit], [edit, edit]]);
      expectEqual(twice, plus([once, once]));
    }
  });

  test("patches side by side add up: heads to all heads, positions to all positions", async () => {
    const at = (site: SiteName, where: Where = {}): Edit[] => [patch(site, 1, { run: 1, where })];
    const heads = [0, 1, 2, 3].map((head) => at("z", { head: [head] }));
    const positions = [0, 1, 2, 3, 4, 5].map((pos) => at("resid_pre", { pos: [pos] }));
    const found = await effects([at("attn_out"), ...heads, at("resid_pre"), ...positions]);
    expectEqual(plus(found.slice(1, 5)), found[0]);
    expectEqual(plus(found.slice(6)), found[5]);
  });

  test("keys do not matter while queries are 0", async () => {
    for (const site of ["k_in", "k", "rot_k", "keys", "k_heads"] as const) {
      for (const [layer] of model.definition.blocks.entries()) {
        const [effect] = await effects([[disturbance(model, { site, layer, seed: 2 })]]);
        expect(magnitude(effect)).toBe(0);
      }
    }
  });

  test("an addition to one head's value at one position, closed form", async () => {
    // The last position sees all 6 evenly: Δlogits = W_U W_O[:, head] δ / 6 from the last layer.
    const { heads, dHead, dModel, vocabulary } = model.architecture;
    const [head, position] = [2, 4];
    const shape = [1, heads, dHead];
    const data = Float64Array.from({ length: heads * dHead }, (_, index) => Math.sin(1 + index));
    const edit: Edit = {
      site: "v_heads",
      layer: layers - 1,
      where: { src: [position], head: [head] },
      action: "add",
      value: { kind: "given", shape, data },
    };
    const [effect] = await effects([[edit]]);
    const { head: unembedding } = await model.weights.get("ends");
    const { "o.weight": output } = await model.weights.get(layers - 1);
    const stream = Array.from({ length: dModel }, (_, row) => {
      let sum = 0;
      for (let i = 0; i < dHead; i++)
        sum += output.data[row * heads * dHead + head * dHead + i] * data[head * dHead + i];
      return sum / LENGTH;
    });
    const wanted = Float64Array.from({ length: vocabulary }, (_, id) =>
      stream.reduce((sum, value, row) => sum + unembedding.data[id * dModel + row] * value, 0),
    );
    // Position 2, the first that is read, does not see position 4.
    expect(magnitude([effect[0]])).toBe(0);
    expectEqual([effect[1]], [wanted]);
  });
});
