/** @file Gradients through whole models: every site of every family against central differences in float64. */

import { afterAll, describe, expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { nodeBackend } from "../backend/ort/node.node.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { InputError } from "../core/errors.ts";
import { random } from "../core/random.ts";
import { sizeOf } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Edit } from "./edit.ts";
import type { GradientRun, Objective } from "./end-gradients.ts";
import { unembed } from "./ends.ts";
import { forward } from "./forward.ts";
import type { Gradients } from "./gradients.ts";
import { gradients } from "./gradients.ts";
import type { SiteName } from "./site.ts";
import { siteShape, sitesOf } from "./site.ts";

const ort = nodeBackend({ threads: 1 });
afterAll(() => ort.close());
const reference = referenceBackend();

/** A fixed random functional of the logits at two positions, curved so that its gradient depends on them. */
function objective(length: number, vocabulary: number): Objective {
  const { normal } = random(length);
  const positions = [length - 3, length - 1];
  const weights = positions.map(() => Float64Array.from({ length: vocabulary }, () => normal() / vocabulary));
  return {
    positions,
    evaluate(logits) {
      let value = 0;
      const gradient = logits.map((row, step) =>
        Float64Array.from(row, (logit, id) => {
          const weight = weights[step]?.[id] ?? 0;
          value += weight * (logit + 0.1 * logit * logit);
          return weight * (1 + 0.2 * logit);
        }),
      );
      return { value, gradient };
    },
  };
}

const runsOf = (model: Model, sequences: readonly (readonly number[])[]): GradientRun[] =>
  sequences.map((ids) => ({ ids, objective: objective(ids.length, model.architecture.vocabulary) }));

async function scalarOf(
  model: Model,
  { ids, objective }: GradientRun,
  edits: readonly Edit[],
): Promise<number> {
  const { dModel, vocabulary } = model.architecture;
  const { residuals } = await forward(model, [ids], { edits: [edits] });
  const { logits } = await unembed(model, residuals[0], { logits: true });
  const rows = objective.positions.map((position) =>
    (logits ?? new Float64Array(0)).subarray(position * vocabulary, (position + 1) * vocabulary),
  );
  expect(residuals[0].length).toBe(ids.length * dModel);
  return objective.evaluate(rows).value;
}

/** Adds a random direction to the whole site. */
function nudge(model: Model, place: { site: SiteName; layer: number; length: number }) {
  const shape = siteShape(place.site, model.architecture, place.length);
  const { normal } = random(place.layer + 17);
  const direction = Float64Array.from({ length: sizeOf(shape) }, () => normal());
  const edit = (by: number): Edit => ({
    site: place.site,
    layer: place.layer,
    where: {},
    action: "add",
    value: { kind: "given", shape, data: direction.map((x) => by * x) },
  });
  return { direction, edit };
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

/** The derivative along a random direction at every site and layer, and by central differences. */
async function expectDerivatives(
  model: Model,
  run: GradientRun,
  options: { readonly edits?: readonly Edit[]; readonly keepBytes?: number } = {},
) {
  const { edits = [], keepBytes = Number.POSITIVE_INFINITY } = options;
  const sites = sitesOf(model.definition.blocks[0]);
  const [found] = await gradients(model, [run], { sites, edits: [edits], keepBytes });
  const step = 2e-6; // curvature costs about step², rounding 1e-16/step
  const off: string[] = [];
  for (const [layer] of model.definition.blocks.entries()) {
    for (const site of sites) {
      const { direction, edit } = nudge(model, { site, layer, length: run.ids.length });
      const moved = (by: number) => scalarOf(model, run, [...edits, edit(by)]);
      const numeric = ((await moved(step)) - (await moved(-step))) / (2 * step);
      const analytic = dot(direction, found.get(site, layer).data);
      if (!(Math.abs(analytic - numeric) < 2e-7 * Math.max(1, Math.abs(numeric)))) {
        off.push(`${site} of layer ${layer}: ${analytic}, by differences ${numeric}`);
      }
    }
  }
  expect(off).toEqual([]);
}

describe.each(families())("$name", ({ name }) => {
  const [prompt] = goldenFacts(name).prompts;

  test("gradients by every site are derivatives", async () => {
    const model = await loadGolden(name, reference);
    await expectDerivatives(model, runsOf(model, [prompt])[0]);
  });
});

/** Every site and layer of each sequence's gradients, one after the other. */
function everything(model: Model, found: readonly Gradients[]): Float64Array {
  const all = found.flatMap(({ value, get }) => [
    value,
    ...model.definition.blocks.flatMap((block, layer) =>
      sitesOf(block).flatMap((site) => [...get(site, layer).data]),
    ),
  ]);
  return Float64Array.from(all);
}

const largestGap = (a: Float64Array, b: Float64Array): number => {
  expect(a.length).toBe(b.length);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);
};

describe.each(["gemma3", "phi-qk-norm"])("%s", (name) => {
  const { prompts, patching } = goldenFacts(name);
  const sequences = [prompts[1], patching.clean, prompts[0], patching.corrupt];
  const model = loadGolden(name, reference);

  test("sequences of several lengths together have the gradients that each has by itself", async () => {
    const loaded = await model;
    const sites = sitesOf(loaded.definition.blocks[0]);
    const runs = runsOf(loaded, sequences);
    const together = await gradients(loaded, runs, { sites });
    const alone = await Promise.all(runs.map(async (run) => (await gradients(loaded, [run], { sites }))[0]));
    expect(largestGap(everything(loaded, together), everything(loaded, alone))).toBeLessThan(1e-12);
  });

  test("what was not kept is computed again to the same bits", async () => {
    const loaded = await model;
    const sites = sitesOf(loaded.definition.blocks[0]);
    const runs = runsOf(loaded, sequences);
    const kept = everything(loaded, await gradients(loaded, runs, { sites }));
    expect(everything(loaded, await gradients(loaded, runs, { sites, keepBytes: 0 }))).toEqual(kept);
  });

  test("onnxruntime has the reference's gradients", async () => {
    const loaded = await model;
    const single = await loadGolden(name, ort);
    const sites = sitesOf(loaded.definition.blocks[0]);
    const exact = everything(loaded, await gradients(loaded, runsOf(loaded, sequences), { sites }));
    const found = everything(loaded, await gradients(single, runsOf(loaded, sequences), { sites }));
    const size = exact.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    expect(largestGap(found, exact)).toBeLessThan(1e-5 * size);
  });

  test.each(["resid_pre", "q", "pattern", "z", "mlp_post", "resid_post"] as const)(
    "onnxruntime has the reference's gradients of a run that is edited at %s",
    async (site) => {
      const loaded = await model;
      const single = await loadGolden(name, ort);
      const sites = sitesOf(loaded.definition.blocks[0]);
      const edit: Edit = { site, layer: 1, where: {}, action: "scale", value: { kind: "fill", value: 0.5 } };
      const runs = runsOf(loaded, [prompts[0]]);
      const exact = everything(loaded, await gradients(loaded, runs, { sites, edits: [[edit]] }));
      const found = everything(loaded, await gradients(single, runs, { sites, edits: [[edit]] }));
      const size = exact.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      expect(largestGap(found, exact)).toBeLessThan(1e-5 * size);
    },
  );

  test.each([
    ["replace", "mlp_post"],
    ["scale", "pattern"],
    ["replace", "pattern"],
    ["scale", "resid_mid"],
    ["add", "q"],
    ["replace", "z"],
    ["replace", "k_heads"],
    ["scale", "v_heads"],
    ["scale", "mlp_pre"],
    ["scale", "k"],
  ] as const)("gradients of a run with an edit (%s %s) are derivatives of that run", async (action, site) => {
    const loaded = await model;
    if (!loaded.definition.blocks[0].sites.has(site)) return;
    const along = ["pattern", "k_heads", "v_heads"].includes(site)
      ? { head: [1], src: [1, 2] }
      : { pos: [1, 4] };
    const edit: Edit = { site, layer: 1, where: along, action, value: { kind: "fill", value: 0.3 } };
    // By an edited site the derivative is that by its value after the edit: a nudge made afterwards.
    await expectDerivatives(loaded, runsOf(loaded, [prompts[0]])[0], { edits: [edit] });
  });
});

test("nothing flows back through a value that was replaced", async () => {
  const model = await loadGolden("gpt2", reference);
  const [ids] = goldenFacts("gpt2").prompts;
  const replaced: Edit = {
    site: "resid_post",
    layer: 0,
    where: {},
    action: "replace",
    value: { kind: "fill", value: 0.1 },
  };
  const [found] = await gradients(model, runsOf(model, [ids]), {
    sites: ["resid_post", "resid_pre", "v"],
    edits: [[replaced]],
  });
  expect(Math.max(...found.get("resid_post", 0).data.map(Math.abs))).toBeGreaterThan(0);
  for (const site of ["resid_pre", "v"] as const) {
    expect([...found.get(site, 0).data].every((x) => x === 0)).toBe(true);
  }
});

test("sites and layers that were not asked for are refused", async () => {
  const model = await loadGolden("gpt2", reference);
  const [ids] = goldenFacts("gpt2").prompts;
  const [found] = await gradients(model, runsOf(model, [ids]), { sites: ["z"], layers: [1] });
  expect(() => found.get("z", 0)).toThrow("the gradient by z of layer 0 was not asked for");
  expect(() => found.get("q", 1)).toThrow("the gradient by q of layer 1 was not asked for");
});

test("sites, layers, tokens and positions that there are not, all at once", async () => {
  const model = await loadGolden("llama", reference);
  const nothing: Objective = { positions: [2], evaluate: () => ({ value: 0, gradient: [] }) };
  const runs: GradientRun[] = [
    { ids: [0, 1_000_000], objective: nothing },
    { ids: [], objective: nothing },
  ];
  const refused = gradients(model, runs, { sites: ["zz" as SiteName], layers: [-1, 99] });
  await expect(refused).rejects.toThrow(InputError);
  const { faults } = (await refused.catch((error: unknown) => error)) as InputError;
  expect(faults.map(({ where, found }) => `${where}: ${found}`)).toEqual([
    "sites: zz",
    "layers: -1, 99",
    "sequences 0, ids: 1000000",
    "sequences 0, objective.positions: 2",
    "sequences 1: no token",
  ]);
  expect(await gradients(model, [], { sites: ["z"] })).toEqual([]);
});
