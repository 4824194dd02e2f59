import { expect, test } from "vitest";
import { families } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { plantedHydra } from "../../test/helpers/planted-hydra.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { at } from "../result/cells.ts";
import { activationPatching, type PatchingOptions } from "./activation-patching.ts";
import { backups } from "./backups.ts";
import { grids } from "./grid.ts";
import { hydra } from "./hydra.ts";
import { directEffects } from "./self-repair.ts";

const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });
const pairOf = (clean: readonly number[], corrupt: readonly number[]): Pair => ({
  id: clean.join(),
  where: "pair",
  clean: tokens(clean),
  corrupt: tokens(corrupt),
  answers: [tokens([0])],
  foils: [tokens([1])],
  differing: [...clean.keys()].filter((position) => clean[position] !== corrupt[position]),
});
const heads: PatchingOptions = { sites: ["z"], by: ["layer", "head"], ablate: { kind: "zero" } };
const planted = [pairOf([0, 1, 2], [1, 1, 2])];

test("a planted Hydra: patch says that its single effects hide what the primary gives, and the backup is found", async () => {
  const model = plantedHydra();
  const { attrs, ...found } = await activationPatching(model, planted, heads);
  for (const layer of [0, 1, 2]) {
    for (const head of [0, 1]) {
      expect(at({ attrs, ...found }, "z", { layer, head }).effect).toBeCloseTo(0, 9);
    }
  }
  expect(attrs.self_repair).toMatchObject({
    checked: 6,
    repaired: 1,
    cells: [{ site: "z", layer: 0, head: 0 }],
  });
  expect(attrs.warnings).toEqual([
    "self-repair: of 6 components ablated one at a time, 1 costs less than half of what they themselves add to the logit " +
      "difference (z of head 0.0 0.00 of -1.00 logits). Others make up for them, so that their single effects say too " +
      "little: ablate several together, with crosspatch hydra --backups",
  ]);
  const together = await backups(model, planted, { ablation: { kind: "zero" }, rounds: 1, perRound: 1 });
  expect(together.attrs.found).toEqual(["0.0", "2.1"]);
  expect(Number(together.dataVars.set_total?.data[1])).toBeCloseTo(-1, 9);
});

test("nothing is said where effects arrive, or where the question does not arise", async () => {
  const model = plantedHydra();
  // The backup alone, of a run whose primary sees no fact: what it adds is what it costs.
  const layer = { ...heads, choose: { layer: [2] } };
  const { attrs } = await activationPatching(model, planted, layer);
  expect(attrs.self_repair).toMatchObject({ checked: 2, repaired: 0, cells: [] });
  expect(attrs.warnings).toEqual([]);
  for (const other of [
    { ...heads, direction: "denoise" as const },
    { ...heads, metric: "kl" as const },
    { ...heads, sites: ["resid_pre"], by: ["layer", "pos"] },
    { ...heads, sites: ["z", "mlp_out"], by: ["layer"], joint: true },
    { ...heads, by: ["head"] },
  ]) {
    const { attrs: own } = await activationPatching(model, planted, { ...other, normalize: false });
    expect(own.self_repair).toBeUndefined();
  }
});

const names = families().map(({ name }) => name);
test.each(names)("%s: direct effects are those of hydra", async (name) => {
  const golden = await loadGolden(name, referenceBackend());
  const model: Model = {
    ...golden,
    tokenizer: { ...golden.tokenizer, pieces: (ids) => ids.map(String) },
  };
  const pair = pairOf([2, 5, 3, 4], [2, 6, 3, 7]);
  const has = (site: "attn_out" | "mlp_out"): boolean => model.definition.blocks[0]?.sites.has(site) ?? false;
  const sites = ["z", ...(["attn_out", "mlp_out"] as const).filter(has)];
  const laid = sites.flatMap((site) =>
    grids(model, {
      sites: [site],
      by: site === "z" ? ["layer", "head", "pos"] : ["layer", "pos"],
      positions: 4,
    }),
  );
  const references = [pair.corrupt.ids];
  for (const [replacement, ablation] of [
    [{ kind: "zero" }, { kind: "zero" }],
    [{ kind: "runs", of: [references] }, { kind: "mean" }],
  ] as const) {
    const found = await directEffects(model, { pairs: [pair], grids: laid, replacement });
    const expected = await hydra(model, [pair], {
      ablation,
      references: ablation.kind === "zero" ? undefined : references,
    });
    for (const [index, kind] of ["head", "attn", "mlp"].slice(0, sites.length).entries()) {
      // A head is held against the norm behind attention as it was; hydra lets that norm see the head go.
      if (kind === "head" && model.definition.blocks[0]?.sites.has("attn_raw")) continue;
      const direct = Array.from(expected.dataVars[`${kind}_direct`]?.data ?? [], Number);
      for (const [cell, value] of direct.entries()) {
        expect(found[index]?.[4 * cell + 3]).toBeCloseTo(value, 9);
        expect(found[index]?.[4 * cell]).toBeNaN(); // an earlier position has no direct effect
      }
    }
  }
});
