/** @file Attribution patching against closed forms: linear networks, one head behind a softmax, an erased stream, frozen blocks. */

import { describe, expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { chainNet } from "../../test/helpers/chain-net.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { idPair } from "../../test/helpers/pairs.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { InputError } from "../core/errors.ts";
import { metricRun } from "../metric/objective.ts";
import { metricPlan } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { at } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import type { Edit } from "../run/edit.ts";
import { forward } from "../run/forward.ts";
import { gradients } from "../run/gradients.ts";
import type { SiteName } from "../run/site.ts";
import { sitesOf } from "../run/site.ts";
import { activationPatching } from "./activation-patching.ts";
import type { AttributionOptions, Estimator } from "./attribution.ts";
import { attribution } from "./attribution.ts";

const reference = referenceBackend();

const toyPair = idPair([1, 2, 3, 4, 2], [1, 5, 3, 0, 2], { answer: 1, foil: 6 });
const values = (result: Dataset, name: string): number[] =>
  Array.from(result.dataVars[name]?.data ?? [], Number);
const QUICK: AttributionOptions = { verifyTop: 0, samples: 0 };

/** Exact effects of the same cells. */
async function exactOf(
  model: Model,
  pairs: readonly Pair[],
  options: AttributionOptions,
  site: string,
): Promise<number[]> {
  const { by = ["layer", "head"], direction = "denoise", choose, ungroup } = options;
  const result = await activationPatching(model, pairs, {
    sites: [site],
    by,
    direction,
    choose,
    ungroup,
    normalize: false,
    verify: 0,
  });
  return values(result, `${site}_effect`);
}

function expectClose(found: readonly number[], wanted: readonly number[], within: number): void {
  expect(found.length).toBe(wanted.length);
  expect(Math.max(...wanted.map(Math.abs))).toBeGreaterThan(100 * within);
  found.forEach((value, i) => {
    expect(Math.abs(value - wanted[i])).toBeLessThan(within);
  });
}

describe("a linear network", () => {
  const model = linearNet(reference);

  test.each([
    ["resid_pre", ["layer", "pos"], "denoise"],
    ["resid_post", ["layer", "pos"], "noise"],
    ["v", ["layer", "kv_head"], "denoise"],
    ["v", ["layer", "pos", "head"], "noise"],
    ["z", ["layer", "pos", "head"], "denoise"],
    ["result", ["layer", "head"], "noise"],
    ["v_heads", ["layer", "src", "head"], "denoise"],
  ] as const)("%s by %s, %s: the estimate is exact", async (site, by, direction) => {
    const options = { ...QUICK, sites: [site], by, direction };
    const found = values(await attribution(model, [toyPair], options), site);
    expectClose(found, await exactOf(model, [toyPair], options, site), 1e-10);
  });

  test("only the cells that are chosen are laid out, each with its own estimate", async () => {
    const options = {
      ...QUICK,
      sites: ["z"],
      by: ["head", "layer", "pos"],
      choose: { layer: [2, 1], head: [3, 1], pos: [4, 1] },
    };
    const result = await attribution(model, [toyPair], options);
    const whole = await attribution(model, [toyPair], {
      ...QUICK,
      sites: ["z"],
      by: ["layer", "pos", "head"],
    });
    for (const layer of [2, 1]) {
      for (const head of [3, 1]) {
        for (const pos of [4, 1]) {
          const labels = { layer, head, pos };
          expect(at(result, "z", labels).value).toBe(at(whole, "z", labels).value);
        }
      }
    }
  });

  test("verified cells carry the exact value, and the attributes say how well the estimates agree", async () => {
    const result = await attribution(model, [toyPair], { sites: ["z"], verifyTop: 3, samples: 40 });
    const checked = values(result, "z_exact").filter((value) => !Number.isNaN(value));
    expect(checked.length).toBe(3);
    expect(result.attrs.verify_max_abs_error).toBeLessThan(1e-9);
    expect(result.attrs.verify_rank_correlation).toBeCloseTo(1, 12);
    expect(result.attrs.verify_sign_agreement).toBe(1);
    expect([result.attrs.forwards, result.attrs.backwards]).toEqual([2, 1]);
    // No interactions here: the bound holds for what was not verified.
    const rest = values(result, "z").toSorted((a, b) => Math.abs(b) - Math.abs(a))[3];
    expect((result.attrs.hidden as { bound: number }).bound).toBeGreaterThan(Math.abs(rest));
  });

  test("exact values of several pairs have an interval of their own, from the least pair to the greatest of two", async () => {
    const { clean, corrupt } = toyPair;
    const other = idPair(clean.ids, corrupt.ids.with(0, 2), { answer: 6, foil: 1, id: "1" });
    const options = { sites: ["z"], samples: 0 };
    const [both, ...each] = await Promise.all(
      [[toyPair, other], [toyPair], [other]].map((pairs) =>
        attribution(model, pairs, { ...options, verifyTop: pairs.length === 2 ? 3 : 1e6 }),
      ),
    );
    const [first, second] = each.map((one) => values(one, "z_exact"));
    const known = values(both as Dataset, "z_exact").flatMap((value, cell) =>
      Number.isNaN(value) ? [] : [cell],
    );
    expect(known.length).toBe(3);
    for (const [end, pick] of [["low", Math.min] as const, ["high", Math.max] as const]) {
      const found = values(both as Dataset, `z_exact_ci_${end}`);
      for (const [cell, value] of found.entries()) {
        if (!known.includes(cell)) expect(value).toBeNaN();
        else expect(value).toBeCloseTo(pick(first?.[cell] ?? 0, second?.[cell] ?? 0), 12);
      }
    }
  });

  test("the bound on what was not verified covers it as often as it says, and closes in on it", async () => {
    const all = values(await attribution(model, [toyPair], { ...QUICK, sites: ["z"] }), "z");
    const rest = all.toSorted((a, b) => Math.abs(b) - Math.abs(a))[3] ?? Number.NaN;
    const bound = async (samples: number, seed: number): Promise<number> => {
      const options = { sites: ["z"], verifyTop: 3, samples, confidence: 0.9, seed };
      const { attrs } = await attribution(model, [toyPair], options);
      return (attrs.hidden as { bound: number }).bound;
    };
    let covered = 0;
    const trials = 50;
    for (let seed = 0; seed < trials; seed++) if ((await bound(16, seed)) >= Math.abs(rest)) covered++;
    expect(covered / trials).toBeGreaterThan(0.9 - 2 * Math.sqrt((0.9 * 0.1) / trials));
    // Where nothing interacts, a cell's difference of means is its effect: the bound is that and its error.
    const excess = [await bound(100, 1), await bound(1000, 1)].map((value) => value - Math.abs(rest));
    expect(excess[1]).toBeLessThan(0.4 * (excess[0] ?? 0));
  });

  test("the mean of sizes keeps what the mean of signed effects cancels", async () => {
    const { clean, corrupt } = toyPair;
    const swapped = idPair(corrupt.ids, clean.ids, { answer: 1, foil: 6, id: "1" });
    const result = await attribution(model, [toyPair, swapped], { ...QUICK, sites: ["z"] });
    const alone = await attribution(model, [toyPair], { ...QUICK, sites: ["z"] });
    expectClose(values(result, "z_score"), values(alone, "z").map(Math.abs), 1e-10);
    for (const value of values(result, "z")) expect(Math.abs(value)).toBeLessThan(1e-10);
  });
});

describe("one layer of attention under a linear readout", () => {
  // The last token differs too: of one layer, its query is the only one that matters.
  const toyPair = idPair([1, 2, 3, 4, 2], [1, 5, 3, 0, 6], { answer: 1, foil: 6 });
  const keysAndQueries = { by: ["layer", "pos", "head"], direction: "noise" } as const;

  test.each([0.3, 3, 30, 300])(
    "queries and keys scaled by %d: exact behind the softmax",
    async (queryScale) => {
      const model = linearNet(reference, 2, { layers: 1, queryScale });
      for (const [site, ungroup] of [
        ["q", false],
        ["k", true],
      ] as const) {
        const options = { ...QUICK, ...keysAndQueries, sites: [site], ungroup };
        const exact = await exactOf(model, [toyPair], options, site);
        const star = { kind: "atp-star", gradDrop: false } as const;
        const fixed = values(await attribution(model, [toyPair], { ...options, estimator: star }), site);
        expectClose(fixed, exact, 1e-9);
      }
    },
  );

  test("a key of several query heads has the sum of what they do with it", async () => {
    const model = linearNet(reference, 2, { layers: 1, queryScale: 3 });
    const options = { ...QUICK, sites: ["k"], by: ["layer", "pos", "kv_head"], direction: "noise" } as const;
    const star = { kind: "atp-star", gradDrop: false } as const;
    const fixed = values(await attribution(model, [toyPair], { ...options, estimator: star }), "k");
    expectClose(fixed, await exactOf(model, [toyPair], options, "k"), 1e-9);
  });

  test("the plain estimate vanishes as the softmax saturates, while the effect does not", async () => {
    const model = linearNet(reference, 2, { layers: 1, queryScale: 300 });
    const options = { ...QUICK, ...keysAndQueries, sites: ["q"] };
    const largest = (numbers: number[]) => Math.max(...numbers.map(Math.abs));
    const plain = largest(values(await attribution(model, [toyPair], options), "q"));
    const exact = largest(await exactOf(model, [toyPair], options, "q"));
    expect(exact).toBeGreaterThan(0.1);
    expect(plain).toBeLessThan(1e-6 * exact);
  });
});

test("what a last block erases is seen when that block is dropped", async () => {
  const model = chainNet([1, 0, 0, 0, -0.999]);
  const pair = idPair([1], [2], { answer: 0, foil: 4 });
  const [clean, corrupt] = await Promise.all(
    [1, 2].map(async (id) => (await forward(model, [[id]], { stopAfter: 1 })).residuals[0][0] / 2),
  );
  const change = Math.abs(clean - corrupt);
  const options = { ...QUICK, sites: ["mlp_out"], by: ["layer"], choose: { layer: [0] } };
  const plain = await attribution(model, [pair], options);
  const star = await attribution(model, [pair], { ...options, estimator: { kind: "atp-star" } });
  expect(at(plain, "mlp_out", { layer: 0 }).value / (clean - corrupt)).toBeCloseTo(0.001, 7);
  // Of 5 blocks its own adds 0, the one that erases 1, three others 0.001 each; over 5 − 1.
  expect(at(star, "mlp_out_score", { layer: 0 }).value / change).toBeCloseTo((1 + 3 * 0.001) / 4, 7);
});

describe.each(["gemma3", "gpt-neox", "qwen2-sliding"])("%s", (name) => {
  const { patching } = goldenFacts(name);
  const pair = idPair(patching.clean, patching.corrupt, patching);

  test("gradients with a block dropped are those of a run in which its contribution is held", async () => {
    const model = await loadGolden(name, reference);
    const blocks = model.definition.blocks.length;
    const sites: SiteName[] = ["resid_pre", "v", "z", "mlp_post"];
    const contributions = ["attn_out", "mlp_out"] as const;
    const run = metricRun(pair.corrupt.ids, metricPlan(pair, "logit_diff"));
    const { caches } = await forward(model, [pair.corrupt.ids, pair.clean.ids], {
      capture: [...sites, ...contributions].map((site) => ({ site })),
    });
    const result = await attribution(model, [pair], {
      ...QUICK,
      sites,
      by: ["layer", "pos"],
      estimator: { kind: "atp-star" },
    });
    const wanted = new Map(sites.map((site) => [site, new Float64Array(blocks * pair.clean.ids.length)]));
    for (let dropped = 0; dropped < blocks; dropped++) {
      const held = contributions.map(
        (site): Edit => ({
          site,
          layer: dropped,
          where: {},
          action: "replace",
          value: { kind: "given", ...caches[0].get(site, dropped) },
        }),
      );
      const [found] = await gradients(model, [run], { sites, edits: [held] });
      for (const site of sites) {
        for (let layer = 0; layer < blocks; layer++) {
          // Held: nothing flows into the block, also not by its own attention.
          const [base, source] = caches.map((cache) => cache.get(site, layer).data);
          const { data } = found.get(site, layer);
          const width = data.length / pair.clean.ids.length;
          for (let pos = 0; pos < pair.clean.ids.length; pos++) {
            let sum = 0;
            for (let i = pos * width; i < (pos + 1) * width; i++) sum += (source[i] - base[i]) * data[i];
            const terms = site === "resid_pre" ? blocks : blocks - 1;
            (wanted.get(site) as Float64Array)[layer * pair.clean.ids.length + pos] += Math.abs(sum) / terms;
          }
        }
      }
    }
    for (const site of sites)
      expectClose(values(result, `${site}_score`), [...(wanted.get(site) ?? [])], 1e-10);
    // The whole gradient and those that have parted from it above each layer.
    expect(result.attrs.backwards).toBe(1 + (blocks - 1) / 2);
  });

  test("queries that are all patched have the effect of the pattern that they make", async () => {
    const model = await loadGolden(name, reference);
    const last = model.definition.blocks.length - 1;
    const star: Estimator = { kind: "atp-star", gradDrop: false };
    const found = await attribution(model, [pair], { ...QUICK, sites: ["q"], estimator: star });
    const run = metricRun(pair.corrupt.ids, metricPlan(pair, "logit_diff"));
    const [gradient] = await gradients(model, [run], { sites: ["pattern"] });
    const { caches } = await forward(model, [pair.clean.ids], { capture: [{ site: "q" }] });
    for (let layer = 0; layer <= last; layer++) {
      const edit: Edit = { site: "q", layer, where: {}, action: "replace", value: { kind: "run", run: 0 } };
      const capture = [{ site: "pattern" as const, layers: [layer] }];
      const [patched] = (await forward(model, [pair.corrupt.ids], { capture, edits: [[edit]], runs: caches }))
        .caches;
      const [own] = (await forward(model, [pair.corrupt.ids], { capture })).caches;
      const g = gradient.get("pattern", layer).data;
      const cells = g.length / model.architecture.heads;
      for (let head = 0; head < model.architecture.heads; head++) {
        let sum = 0;
        for (let i = head * cells; i < (head + 1) * cells; i++) {
          sum += (patched.get("pattern", layer).data[i] - own.get("pattern", layer).data[i]) * g[i];
        }
        expect(at(found, "q", { layer, head }).value).toBeCloseTo(sum, 10);
      }
    }
  });

  test("the error of the first order is of the second", async () => {
    const model = await loadGolden(name, reference);
    const run = metricRun(pair.corrupt.ids, metricPlan(pair, "logit_diff"));
    const { caches } = await forward(model, [pair.corrupt.ids, pair.clean.ids], { capture: [{ site: "z" }] });
    const [{ get, value }] = await gradients(model, [run], { sites: ["z"] });
    const [base, source] = caches.map((cache) => cache.get("z", 0).data);
    let slope = 0;
    for (const [i, g] of get("z", 0).data.entries()) slope += g * (source[i] - base[i]);
    const error = async (by: number): Promise<number> => {
      const { shape } = caches[0].get("z", 0);
      const data = base.map((x, i) => x + by * (source[i] - base[i]));
      const edit: Edit = {
        site: "z",
        layer: 0,
        where: {},
        action: "replace",
        value: { kind: "given", shape, data },
      };
      const [moved] = await gradients(model, [run], { sites: [], layers: [0], edits: [[edit]] });
      return (moved.value - value - by * slope) / by ** 2;
    };
    const [large, small, smaller] = [await error(1e-3), await error(1e-4), await error(5e-5)];
    expect(Math.abs(small)).toBeGreaterThan(1e-6);
    expect(Math.abs(small / smaller - 1)).toBeLessThan(0.05);
    expect(Math.abs(large / small - 1)).toBeLessThan(0.5);
  });
});

test("every site of every family has an estimate, 0 where nothing differs", async () => {
  for (const { name } of families()) {
    const model = await loadGolden(name, reference);
    const { patching, causal } = goldenFacts(name);
    const pair = idPair(patching.clean, patching.corrupt, patching);
    const sites = sitesOf(model.definition.blocks[0]);
    const result = await attribution(model, [pair], {
      ...QUICK,
      sites,
      by: ["layer", "pos"],
      estimator: { kind: "atp-star" },
    });
    const [first] = pair.differing;
    for (const site of sites) {
      const found = values(result, site);
      // In Mistral's windows, no query that reaches the answer sees the tokens that differ.
      if (["resid_pre", "v", "z", "mlp_post"].includes(site)) {
        expect(found.some((value) => Math.abs(value) > 1e-9)).toBe(true);
      }
      const same = found.filter((_, i) => causal && i % pair.clean.ids.length < first);
      expect(same.every((value) => value === 0)).toBe(true);
    }
  }
});

test.each([
  { kind: "atp" },
  { kind: "atp-star" },
  { kind: "ig" },
  { kind: "ig", over: "activations", steps: 2 },
] as const)("between two equal runs every estimate is 0: %o", async (estimator) => {
  const model = await loadGolden("gemma3", reference);
  const { clean, answer, foil } = goldenFacts("gemma3").patching;
  const result = await attribution(model, [idPair(clean, clean, { answer, foil })], { ...QUICK, estimator });
  for (const site of ["q", "k", "v", "z"]) {
    expect(new Set(values(result, site).map(Math.abs))).toEqual(new Set([0]));
    expect(new Set(values(result, `${site}_score`))).toEqual(new Set([0]));
  }
});

test("cells without a layer, and KL at its own minimum, are refused with the reason", async () => {
  const model = linearNet(reference);
  const refused = async (options: AttributionOptions): Promise<string> => {
    const error = await attribution(model, [toyPair], options).catch((reason: unknown) => reason);
    return error instanceof InputError ? error.message : String(error);
  };
  expect(await refused({ sites: ["z", "v"], by: ["head"] })).toBe(
    "--by: found no layer for z, v; wanted layer among the dims. Add layer.",
  );
  expect(await refused({ metric: "kl", direction: "noise" })).toMatch(
    /^--metric: found kl with --direction noise; wanted a metric whose gradient at the clean run is not 0/,
  );
});
