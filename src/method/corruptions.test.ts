/** @file Corruption comparison: against activation patching, whole passes and clouds by hand, and its laws. */
import { describe, expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { handNet } from "../../test/helpers/hand-net.ts";
import { idPair, idTokens } from "../../test/helpers/pairs.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { distances, fitCloud } from "../numeric/mahalanobis.ts";
import type { Dataset } from "../result/result.ts";
import { patch } from "../run/edit.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import type { SiteName } from "../run/site.ts";
import { activationPatching } from "./activation-patching.ts";
import { type ComparisonOptions, corruptionComparison } from "./corruptions.ts";

const NAME = "llama-gqa-tied";
const { patching } = goldenFacts(NAME);
const model: Model = await loadGolden(NAME, referenceBackend());
const LAYERS = model.architecture.layers.length;
const { answer, foil } = patching;
const { clean } = patching;
const replaced = (at: Readonly<Record<number, number>>): number[] => clean.map((id, pos) => at[pos] ?? id);
const pair = idPair(clean, replaced({ 2: 7, 4: 9 }), { answer, foil });
const others = [
  idPair(replaced({ 0: 3 }), replaced({ 0: 3, 3: 11, 4: 12 }), { answer: 5, foil: 8, id: "1" }),
  idPair(replaced({ 1: 4 }), replaced({ 1: 4, 4: 13, 5: 14 }), { answer: 6, foil: 9, id: "2" }),
];
const run = (
  options: ComparisonOptions = {},
  pairs: readonly Pair[] = [pair],
  on = model,
): Promise<Dataset> => corruptionComparison(on, pairs, { verify: 0, windows: [1, 2], ...options });
const values = (result: Dataset, name: string): number[] =>
  [...(result.dataVars[name]?.data ?? [])].map(Number);
const labels = (result: Dataset, name: string): string[] =>
  [...(result.coords[name]?.data ?? [])].map(String);

test("replacement is activation patching, under every metric, cell by cell", async () => {
  const found = await run({ kinds: ["replacement"], windows: [1], sites: ["resid_pre", "mlp_out", "z"] });
  expect(labels(found, "role")).toEqual([
    "first corrupted token",
    "last corrupted token",
    "next token",
    "later tokens",
    "last token",
  ]);
  const later = Array.from({ length: clean.length - 7 }, (_, at) => 6 + at);
  const positions = [[2], [4], [5], later, [clean.length - 1]];
  for (const metric of ["prob", "logit_diff", "kl"] as const) {
    for (const [role, pos] of positions.entries()) {
      const patched = await activationPatching(model, [pair], {
        sites: ["resid_pre", "mlp_out"],
        by: ["layer"],
        choose: { pos },
        metric,
        verify: 0,
      });
      for (const site of ["resid_pre", "mlp_out"]) {
        for (let layer = 0; layer < LAYERS; layer++) {
          const wanted = values(patched, site)[layer] ?? Number.NaN;
          const at = layer * positions.length + role;
          expect(values(found, `${site}_${metric}`)[at]).toBeCloseTo(wanted, 10);
          // The fall of KL is what is towards the clean run.
          const base = Number(patched.attrs.baseline_corrupt);
          const effect = (metric === "kl" ? -1 : 1) * (wanted - base);
          expect(values(found, `${site}_${metric}_effect`)[at]).toBeCloseTo(effect, 10);
          const gap = (metric === "kl" ? -1 : 1) * (Number(patched.attrs.baseline_clean) - base);
          expect(values(found, `${site}_${metric}_normalized`)[at]).toBeCloseTo(effect / gap, 8);
        }
      }
    }
    const heads = await activationPatching(model, [pair], {
      sites: ["z"],
      by: ["layer", "head"],
      metric,
      verify: 0,
    });
    for (const [cell, wanted] of values(heads, "z").entries())
      expect(values(found, `z_${metric}`)[cell]).toBeCloseTo(wanted, 10);
  }
});

test("every corruption agrees with whole passes wherever it is checked", async () => {
  const found = await run({ verify: 20, samples: 2, factors: [1, 3], windows: [2] }, [pair, ...others]);
  expect(labels(found, "corruption")).toEqual([
    "noise 1σ",
    "noise 3σ",
    "replacement",
    "resample",
    "mean",
    "zero",
  ]);
  for (const worst of Object.values(found.attrs.verify_max_abs_diff_by_metric ?? {}))
    expect(Number(worst)).toBeLessThan(1e-10);
});

describe("laws", () => {
  test("noise of deviation 0 corrupts nothing: every effect is 0, every state is the clean run's", async () => {
    const found = await run({ kinds: ["noise"], factors: [0], samples: 2 }, [pair, ...others]);
    for (const grid of ["resid_pre", "mlp_out", "mlp_out_window_2", "attn_out"]) {
      for (const metric of ["prob", "logit_diff", "kl"])
        expect(new Set(values(found, `${grid}_${metric}_effect`).filter((x) => !Number.isNaN(x)))).toEqual(
          new Set([0]),
        );
      expect(values(found, "detections").every((count) => count === 0)).toBe(true);
    }
    expect(found.attrs.cells_unchanged).toBe(found.attrs.cells);
    expect(values(found, "norm_ratio").every((ratio) => Number.isNaN(ratio) || ratio === 1)).toBe(true);
    expect(values(found, "entropy_shift").every((shift) => Number.isNaN(shift) || shift === 0)).toBe(true);
    expect(values(found, "distance")).toEqual(values(found, "distance_clean"));
  });

  test("tokens of the same embedding corrupt nothing", async () => {
    const twins = handNet(referenceBackend(), {
      d: 2,
      heads: 1,
      dHead: 2,
      neurons: 1,
      embedding: [
        [1, 2],
        [1, 2],
        [0, 1],
      ],
      unembedding: [
        [1, 0],
        [0, 1],
        [0, 0],
      ],
      layers: [{ v: [[0, 0, 1]], o: [[1, 0, 1]] }],
    });
    const same = idPair([0, 2], [1, 2], { answer: 0, foil: 1 });
    const found = await run({ kinds: ["replacement", "mean"], metrics: ["logit_diff"] }, [same], twins);
    for (const grid of ["resid_pre", "mlp_out", "attn_out"])
      expect(new Set(values(found, `${grid}_logit_diff_effect`))).toEqual(new Set([0]));
  });

  test("restoring all that differs before the first layer, or the last state at the end, is the clean run", async () => {
    const one = idPair(clean, replaced({ 3: 9 }), { answer, foil });
    const found = await run(
      { samples: 2, sites: ["resid_pre", "resid_post"], kinds: ["noise", "mean", "zero", "replacement"] },
      [one],
    );
    const roles = labels(found, "role");
    const size = LAYERS * roles.length;
    for (const metric of ["prob", "logit_diff", "kl"]) {
      const whole = (found.attrs.baselines_clean as Record<string, number>)[metric];
      for (const [corruption] of labels(found, "corruption").entries()) {
        const first = corruption * size + roles.indexOf("last corrupted token");
        const last = corruption * size + size - 1;
        expect(values(found, `resid_pre_${metric}`)[first]).toBeCloseTo(whole ?? Number.NaN, 10);
        expect(values(found, `resid_post_${metric}`)[last]).toBeCloseTo(whole ?? Number.NaN, 10);
        expect(values(found, `resid_post_${metric}_normalized`)[last]).toBeCloseTo(1, 8);
      }
    }
  });

  test("of several pairs with one differing token, what is restored before the first layer has the share 1 in every resample", async () => {
    const pairs = [3, 5, 7].map((other, at) =>
      idPair(replaced({ 0: 2 + at }), replaced({ 0: 2 + at, 3: other }), { answer, foil, id: String(at) }),
    );
    const found = await run(
      { sites: ["resid_pre"], kinds: ["noise", "replacement", "zero"], factors: [3] },
      pairs,
    );
    expect(found.attrs.options).toMatchObject({ samples: [7, 1, 1] }); // 7 · 3 noised runs are the first to reach 20
    const roles = labels(found, "role");
    // KL is lost in every run; of a gap that may be nothing there is no interval.
    for (const suffix of ["", "_ci_low", "_ci_high"]) {
      const shares = values(found, `resid_pre_kl_normalized${suffix}`);
      for (const corruption of [0, 1, 2]) {
        const at = corruption * LAYERS * roles.length + roles.indexOf("last corrupted token");
        expect(shares[at]).toBeCloseTo(1, 8);
      }
    }
  });

  test("both ways round, replacement takes the logit difference to its negative, and effects are the mean of both", async () => {
    const options = { kinds: ["replacement"], windows: [1] } as const;
    const both = await run({ ...options, symmetric: true }, [pair, ...others]);
    const { logit_diff: whole = Number.NaN } = both.attrs.baselines_clean as Record<string, number>;
    expect(values(both, "baseline_logit_diff")[0]).toBeCloseTo(-whole, 12);
    const reversed = [pair, ...others].map((one) => ({
      ...one,
      clean: one.corrupt,
      corrupt: one.clean,
      answers: one.foils,
      foils: one.answers,
    }));
    const [there, back] = [await run(options, [pair, ...others]), await run(options, reversed)];
    for (const name of ["resid_pre_prob_effect", "attn_out_kl_effect", "entropy_shift"]) {
      const [a, b] = [values(there, name), values(back, name)];
      for (const [cell, value] of values(both, name).entries())
        expect(value).toBeCloseTo(((a[cell] ?? 0) + (b[cell] ?? 0)) / 2, 10);
    }
    // A pair and its reverse are one prompt pair, for intervals and for what is natural to it.
    expect(both.attrs.natural_states).toMatchObject({
      states: (there.attrs.natural_states as { states: number }).states,
    });
  });

  test("mean and zero do to the embeddings what their names say; resampling takes other pairs' tokens", async () => {
    const found = await run({ kinds: ["zero", "mean", "resample"], draws: 1, metrics: ["logit_diff"] }, [
      pair,
      ...others,
    ]);
    expect(labels(found, "corruption")).toEqual(["resample", "mean", "zero"]);
    const width = model.architecture.dModel;
    const embedded = (ids: readonly number[]) =>
      forward(model, [ids], { capture: [{ site: "resid_pre", layers: [0] }] }).then(
        ({ caches: [cache] }) => cache?.get("resid_pre", 0).data ?? new Float64Array(0),
      );
    const all = [pair, ...others]
      .flatMap((one) => [one.clean, one.corrupt].map(({ ids }) => one.differing.map((pos) => ids[pos] ?? 0)))
      .flat();
    const rows = await embedded(all);
    const mean = Float64Array.from(
      { length: width },
      (_, i) => all.reduce((sum, __, row) => sum + (rows[row * width + i] ?? 0), 0) / all.length,
    );
    let sums = [0, 0];
    for (const one of [pair, ...others]) {
      for (const [which, state] of [mean, new Float64Array(width)].entries()) {
        const data = Float64Array.from(
          { length: one.clean.ids.length * width },
          (_, i) => state[i % width] ?? 0,
        );
        const value = { kind: "given", shape: [one.clean.ids.length, width], data } as const;
        const edit = {
          site: "resid_pre",
          layer: 0,
          where: { pos: one.differing },
          action: "replace",
          value,
        } as const;
        const { residuals } = await forward(model, [one.clean.ids], { edits: [[edit]] });
        const columns = [one.answers[0]?.ids[0] ?? 0, one.foils[0]?.ids[0] ?? 0];
        const read = await unembed(model, (residuals[0] ?? new Float64Array(0)).slice(-width), { columns });
        sums = sums.map(
          (sum, at) => sum + (at === which ? (read.columns?.[0] ?? 0) - (read.columns?.[1] ?? 0) : 0),
        );
      }
    }
    expect(values(found, "baseline_logit_diff")[1]).toBeCloseTo((sums[0] ?? 0) / 3, 10);
    expect(values(found, "baseline_logit_diff")[2]).toBeCloseTo((sums[1] ?? 0) / 3, 10);
  });
});

test("distances are from the other pairs' states, first tokens left out", async () => {
  const pairs = [pair, ...others];
  const found = await run({ kinds: ["replacement"], windows: [1] }, pairs);
  const width = model.architecture.dModel;
  const layer = 1;
  const role = labels(found, "role").indexOf("last corrupted token");
  const at = layer * labels(found, "role").length + role;
  const states = async (ids: readonly number[]): Promise<Float64Array> => {
    const { caches } = await forward(model, [ids], { capture: [{ site: "resid_post", layers: [layer] }] });
    return Float64Array.from(caches[0]?.get("resid_post", layer).data ?? []);
  };
  let [own, other] = [0, 0];
  for (const one of pairs) {
    const rest = pairs
      .filter((candidate) => candidate !== one)
      .flatMap((candidate) => [candidate.clean.ids, candidate.corrupt.ids]);
    const rows: number[] = [];
    for (const ids of rest) rows.push(...(await states(ids)).subarray(width));
    const cloud = fitCloud(Float64Array.from(rows), width);
    const last = one.differing.at(-1) ?? 0;
    const far = async (ids: readonly number[]): Promise<number> =>
      distances(cloud, (await states(ids)).subarray(last * width, (last + 1) * width))[0] ?? Number.NaN;
    own += (await far(one.clean.ids)) / pairs.length;
    other += (await far(one.corrupt.ids)) / pairs.length;
  }
  expect(values(found, "distance_clean")[at]).toBeCloseTo(own, 8);
  expect(values(found, "distance")[at]).toBeCloseTo(other, 8);
});

test("a restored run's distance is that of its last stream at the last token, whatever was restored", async () => {
  const pairs = [pair, ...others];
  const found = await run({ kinds: ["replacement"], windows: [1], sites: ["mlp_out", "z"] }, pairs);
  const width = model.architecture.dModel;
  const roles = labels(found, "role");
  const lastStates = async (ids: readonly number[]): Promise<Float64Array> =>
    Float64Array.from((await forward(model, [ids])).residuals[0] ?? []);
  const role = roles.indexOf("last corrupted token");
  const cells: readonly { site: SiteName; layer: number; head?: number; cell: number }[] = [
    ...[0, LAYERS - 1].map((layer) => ({
      site: "mlp_out" as const,
      layer,
      cell: layer * roles.length + role,
    })),
    { site: "z", layer: 1, head: 2, cell: model.architecture.heads + 2 },
  ];
  const sums = cells.map(() => 0);
  for (const one of pairs) {
    const rows: number[] = [];
    for (const other of pairs.filter((candidate) => candidate !== one))
      for (const { ids } of [other.clean, other.corrupt])
        rows.push(...(await lastStates(ids)).subarray(width));
    const cloud = fitCloud(Float64Array.from(rows), width);
    for (const [at, { site, layer, head }] of cells.entries()) {
      const { caches } = await forward(model, [one.clean.ids], { capture: [{ site, layers: [layer] }] });
      const where = head === undefined ? { pos: [one.differing.at(-1) ?? 0] } : { head: [head] };
      const edit = patch(site, layer, { run: 0, where });
      const { residuals } = await forward(model, [one.corrupt.ids], { edits: [[edit]], runs: caches });
      const [far = Number.NaN] = distances(cloud, (residuals[0] ?? new Float64Array(0)).slice(-width));
      sums[at] = (sums[at] ?? 0) + far / pairs.length;
    }
  }
  for (const [at, { site, cell }] of cells.entries())
    expect(values(found, `${site}_distance`)[cell]).toBeCloseTo(sums[at] ?? Number.NaN, 8);
});

test("what cannot be compared is refused, or left out with a word", async () => {
  await expect(run({ kinds: ["resample"] })).rejects.toThrow(
    "pair 0, --corruption resample: found no other pair with 2 differing tokens and another answer; wanted at least one to draw from.",
  );
  const alone = await run({ samples: 2, factors: [1], sites: ["mlp_out"], windows: [1] });
  expect(labels(alone, "corruption")).not.toContain("resample");
  expect(alone.attrs.warnings).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/^resample is left out/),
      expect.stringMatching(/^distances are left out/),
    ]),
  );
  await expect(run({ sites: ["nowhere", "scores"] })).rejects.toThrow(
    /--site: found "nowhere".*\n.*--site: found "scores"/,
  );
  await expect(run({ symmetric: true }, [idPair(clean, replaced({ 2: 7 }), { answer })])).rejects.toThrow(
    "pair 0, foil: found none; wanted the corrupt prompt's own answer for --symmetric",
  );
  const long = { ...pair, answers: [idTokens([1, 2])] };
  await expect(run({ metrics: ["prob"] }, [long])).rejects.toThrow(
    "pair 0, answer: found several tokens; wanted answers of one token",
  );
});
