import { expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { type HandLayer, handNet } from "../../test/helpers/hand-net.ts";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { InputError } from "../core/errors.ts";
import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { dot } from "../numeric/projection.ts";
import type { Dataset } from "../result/result.ts";
import { directions } from "../run/direction.ts";
import type { Edit } from "../run/edit.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import { type HydraOptions, hydra } from "./hydra.ts";

const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });
const prompted = (ids: readonly number[], answer: number, foil?: number): Prompted => ({
  id: ids.join(),
  where: "prompt",
  clean: tokens(ids),
  answers: [tokens([answer])],
  foils: foil === undefined ? [] : [tokens([foil])],
});
function named(model: Model): Model {
  return { ...model, tokenizer: { ...model.tokenizer, pieces: (ids) => ids.map(String) } };
}
const values = (result: Dataset, name: string): number[] =>
  [...(result.dataVars[name]?.data ?? [])].map(Number);
const zero = { kind: "zero" } as const;

test.each(families())(
  "$name: parts sum to the whole, upstream is exactly 0, later parts are a whole pass's",
  async ({ name }) => {
    const model = named(await loadGolden(name, referenceBackend()));
    const { clean, corrupt } = goldenFacts(name).patching;
    const prompts = [prompted(clean, 3, 5), prompted(corrupt, 3, 5)];
    const found = await hydra(model, prompts, { ablation: zero, perPair: true, clamp: true });
    const layers = model.architecture.layers.length;
    const parallel = !model.definition.blocks[0]?.sites.has("resid_mid");
    const of = (variable: string): number[] => values(found, variable);
    expect(Number(found.attrs.sum_max_abs_diff)).toBeLessThan(1e-9);
    for (const kind of ["attn", "mlp", "head"]) {
      for (const [unit, total] of of(`${kind}_total`).entries()) {
        const parts = ["direct", "by_attn", "by_mlp", "norm"].map((part) => of(`${kind}_${part}`)[unit] ?? 0);
        expect(parts.reduce((sum, value) => sum + value, 0)).toBeCloseTo(total, 9);
      }
      // Zero ablation takes exactly the share away, unless a norm behind the module lies between.
      const hasPostNorm = model.definition.blocks[0]?.sites.has("attn_raw");
      if (kind === "head" && hasPostNorm) continue;
      for (const [unit, share] of of(`${kind}_share`).entries())
        expect(of(`${kind}_direct`)[unit]).toBeCloseTo(-share, 9);
    }
    for (const [kind, to] of [
      ["attn", "attn"],
      ["attn", "mlp"],
      ["mlp", "attn"],
      ["mlp", "mlp"],
    ] as const) {
      for (let layer = 0; layer < layers; layer++) {
        for (let later = 0; later < layers; later++) {
          const reached =
            kind === to ? layer <= later : kind === "attn" && !parallel ? layer <= later : layer < later;
          if (!reached) expect(of(`${kind}_to_${to}`)[layer * layers + later]).toBe(0);
        }
      }
    }
    const last = layers - 1;
    expect(of("mlp_compensation")[last]).toBe(0);
    expect(of("attn_by_attn")[last]).toBe(0);
    if (parallel) expect(of("attn_compensation")[last]).toBe(0);

    // One unit by whole passes: all later parts, and the total with later attention held.
    const position = clean.length - 1;
    const width = model.architecture.dModel;
    const sites = ["attn_out", "mlp_out"] as const;
    const capture = sites.map((site) => ({ site }));
    const ablate = { site: "attn_out", layer: 0, where: { pos: [position] }, action: "replace" } as const;
    const edit: Edit = { ...ablate, value: { kind: "fill", value: 0 } };
    const base = await forward(model, [clean], { capture });
    const edited = await forward(model, [clean], { capture, edits: [[edit]] });
    const held = Array.from({ length: layers - 1 }, (_, index): Edit => {
      const value = { kind: "run", run: 0 } as const;
      return { ...ablate, layer: index + 1, value };
    });
    const clamped = await forward(model, [clean], { edits: [[edit, ...held]], runs: base.caches });
    const row = (residual: ArrayLike<number> | undefined): Float64Array =>
      Float64Array.from(residual ?? []).slice(-width);
    const sum = {
      terms: [
        { id: 3, weight: 1 },
        { id: 5, weight: -1 },
      ],
      centred: false,
    };
    const [direction] = await directions(model, row(base.residuals[0]), [sum]);
    const logit = async (residual: ArrayLike<number> | undefined): Promise<number> => {
      const { columns } = await unembed(model, row(residual), { columns: [3, 5] });
      return (columns?.[0] ?? Number.NaN) - (columns?.[1] ?? Number.NaN);
    };
    const clear = await logit(base.residuals[0]);
    expect(of("attn_total_per_pair")[0]).toBeCloseTo((await logit(edited.residuals[0])) - clear, 9);
    expect(of("attn_attn_clamped_per_pair")[0]).toBeCloseTo((await logit(clamped.residuals[0])) - clear, 9);
    for (const site of sites) {
      const matrix = of(`attn_to_${site.slice(0, -4)}_per_pair`);
      for (let layer = 0; layer < layers; layer++) {
        const [after, before] = [edited, base].map(({ caches }) =>
          dot(row(caches[0]?.get(site, layer).data), direction?.weights ?? []),
        );
        expect(matrix[layer]).toBeCloseTo((after ?? 0) - (before ?? 0), 9);
      }
    }
  },
);

test("without norms or MLPs, an ablated head with later attention held loses its direct effect and no more", async () => {
  const model = named(linearNet(referenceBackend()));
  const prompts = [prompted([1, 2, 3], 4, 5), prompted([2, 6, 0, 1], 4, 5), prompted([5, 5], 1, 0)];
  const found = await hydra(model, prompts, { ablation: { kind: "resample", draws: 3 }, clamp: true });
  for (const kind of ["attn", "head"]) {
    for (const [unit, direct] of values(found, `${kind}_direct`).entries()) {
      expect(values(found, `${kind}_attn_clamped`)[unit]).toBeCloseTo(direct, 9);
      expect(values(found, `${kind}_norm`)[unit]).toBeCloseTo(0, 9);
    }
  }
  // Everything is linear, so the mean over all other prompts' values is the value of their mean.
  const [first] = prompts;
  const others = prompts.slice(1).map(({ clean }) => clean.ids);
  const options = { references: others } as const;
  const drawn = await hydra(model, [first as Prompted], {
    ...options,
    ablation: { kind: "resample", draws: 9 },
  });
  const meant = await hydra(model, [first as Prompted], { ...options, ablation: { kind: "mean" } });
  for (const [unit, total] of values(drawn, "head_total").entries())
    expect(values(meant, "head_total")[unit]).toBeCloseTo(total, 9);
});

// One number u along axis 1, read off as logit 0: token t carries t along axis 0, which attention copies to axis 1.
const motif = (mlp: HandLayer): Model =>
  named(
    handNet(referenceBackend(), {
      d: 2,
      heads: 1,
      dHead: 1,
      neurons: 2,
      embedding: [1, 2, 3, 4].map((value) => [value, 0]),
      unembedding: [
        [0, 1],
        [0, 0],
        [0, 0],
        [0, 0],
      ],
      layers: [{ v: [[0, 0, 1]], o: [[1, 0, 1]] }, mlp],
    }),
  );
const motifPrompts = [0, 1, 2, 3].map((token) => prompted([token], 0, 1));
const run = (model: Model, options: HydraOptions = {}): Promise<Dataset> =>
  hydra(model, motifPrompts, { ablation: zero, clamp: true, ...options });

test("an MLP that erases gives back exactly what an ablated layer no longer writes", async () => {
  // f = −relu(x) of x ≥ 0: y = x + f is 0 with x and without it.
  const found = await run(motif({ up: [[0, 1, 1]], down: [[1, 0, -1]] }));
  const u = 2.5; // mean of 1, 2, 3, 4
  expect(found.attrs.baseline_clean).toBeCloseTo(0, 12);
  expect(values(found, "attn_share")[0]).toBeCloseTo(u, 12);
  expect(values(found, "attn_direct")[0]).toBeCloseTo(-u, 12);
  expect(values(found, "attn_total")[0]).toBeCloseTo(0, 12);
  expect(values(found, "attn_by_mlp")[0]).toBeCloseTo(u, 12);
  expect(values(found, "attn_repaired")[0]).toBeCloseTo(1, 12);
  expect(values(found, "attn_mlp_clamped")[0]).toBeCloseTo(-u, 12);
  expect(values(found, "attn_slope")[0]).toBeCloseTo(1, 12);
  expect(values(found, "attn_r2")[0]).toBeCloseTo(1, 12);
  expect(values(found, "erasure_correlation")[1]).toBeCloseTo(-1, 12);
  expect(values(found, "erasure_release")[1]).toBeCloseTo(1, 12);
  expect(found.dataVars.erasure?.data).toEqual(["no", "erases"]);
  expect(values(found, "head_top_mlp")[0]).toBe(1);
});

test("an MLP that repairs writes what is missing, and is no eraser", async () => {
  // f = relu(u − x) with u = 4 from the constant part: 0 where x = 4.
  const model = motif({ up: [[0, 1, -1]], upBias: [[0, 0, 4]], down: [[1, 0, 1]] });
  const found = await hydra(model, [prompted([3], 0, 1)], { ablation: zero });
  expect(found.attrs.baseline_clean).toBeCloseTo(4, 12);
  expect(values(found, "attn_direct")[0]).toBeCloseTo(-4, 12);
  expect(values(found, "attn_total")[0]).toBeCloseTo(0, 12);
  expect(values(found, "mlp_share")[1]).toBeCloseTo(0, 12);
  const all = await run(model);
  expect(all.dataVars.erasure?.data[1]).toBe("no");
});

test("prompts that cannot be asked about are refused, all at once", async () => {
  const model = motif({});
  const two = { ...prompted([1], 0), answers: [tokens([0, 1])] };
  await expect(hydra(model, [two, two])).rejects.toThrow(/2 tokens.*\n.*2 tokens/);
  await expect(hydra(model, [prompted([1], 0)])).rejects.toThrow(InputError);
  await expect(hydra(model, [prompted([1], 0)])).rejects.toThrow(
    /no other prompt to draw from; .* Give more prompts, --reference FILE, or --ablate zero\.$/,
  );
});
