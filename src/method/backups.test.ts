import { expect, test } from "vitest";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { plantedHydra } from "../../test/helpers/planted-hydra.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Prompted } from "../model/fact.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import type { Dataset } from "../result/result.ts";
import { backups } from "./backups.ts";
import { hydra } from "./hydra.ts";

const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });
const prompted = (ids: readonly number[]): Prompted => ({
  id: ids.join(),
  where: "prompt",
  clean: tokens(ids),
  answers: [tokens([0])],
  foils: [tokens([1])],
});
const values = (result: Dataset, name: string): number[] =>
  [...(result.dataVars[name]?.data ?? [])].map(Number);

const prompts = [prompted([0, 1, 2]), prompted([1, 0, 2]), prompted([0, 1, 1, 2])];
const zero = { kind: "zero" } as const;

test("a planted Hydra: single ablation shows nothing, both together everything, and the backup is found", async () => {
  const model = plantedHydra();
  const found = await backups(model, prompts, { ablation: zero, rounds: 1, perRound: 1 });
  expect(found.attrs.baseline_clean).toBeCloseTo(1, 9);
  for (const effect of values(found, "single")) expect(effect).toBeCloseTo(0, 9);
  expect(found.attrs.found).toEqual(["0.0", "2.1"]);
  expect(found.dataVars.found_role?.data).toEqual(["primary", "backup"]);
  expect(values(found, "set_total")[0]).toBeCloseTo(0, 9);
  expect(values(found, "set_total")[1]).toBeCloseTo(-1, 9);
  expect(values(found, "set_sum")[1]).toBeCloseTo(0, 9);
  expect(values(found, "pair_interaction")[1]).toBeCloseTo(-1, 9);
  expect(values(found, "pair_interaction")[0]).toBeNaN();
  const first = values(found, "conditional").slice(0, 6);
  expect(first.map((value) => Math.round(1e6 * value) / 1e6)).toEqual([NaN, 0, 0, 0, 0, -1]);
});

test("of the planted Hydra, hydra says that the primary's effect is repaired, by later attention", async () => {
  const found = await hydra(plantedHydra(), prompts, { ablation: zero, clamp: true });
  expect(values(found, "head_direct")[0]).toBeCloseTo(-1, 9);
  expect(values(found, "head_total")[0]).toBeCloseTo(0, 9);
  expect(values(found, "head_by_attn")[0]).toBeCloseTo(1, 9);
  expect(values(found, "head_by_mlp")[0]).toBe(0);
  expect(values(found, "head_attn_clamped")[0]).toBeCloseTo(-1, 9);
  expect(values(found, "head_mlp_clamped")[0]).toBeCloseTo(0, 9);
  expect(values(found, "attn_to_attn")[2]).toBeCloseTo(1, 9);
});

test("a set to begin with is taken as it is; heads that cost nothing are never added", async () => {
  const model = plantedHydra();
  const first = [{ layer: 2, head: 1 }];
  const found = await backups(model, prompts, { ablation: zero, first, rounds: 3, perRound: 2 });
  expect(found.attrs.found).toEqual(["2.1", "0.0"]);
});

test("heads that are not there or named twice are refused before anything is computed", async () => {
  const first = [
    [9, 0],
    [0, -1],
    [2, 1],
    [0, 0.5],
    [2, 1],
  ].map(([layer = 0, head = 0]) => ({ layer, head }));
  let steps = 0;
  const onProgress = (): void => {
    steps += 1;
  };
  await expect(backups(plantedHydra(), prompts, { first, onProgress })).rejects.toThrow(
    [
      "--first: found 9.0, 0.-1, 0.0.5; wanted layers 0 to 2 with heads 0 to 1.",
      "--first: found 2.1 again; wanted each head once.",
    ].join("\n"),
  );
  expect(steps).toBe(0);
});

test("a set of one is a single ablation, and interactions are symmetric", async () => {
  const golden = await loadGolden("gpt2", referenceBackend());
  const model = {
    ...golden,
    tokenizer: { ...golden.tokenizer, pieces: (ids: readonly number[]) => ids.map(String) },
  };
  const asked = [prompted([1, 5, 9, 2]), prompted([7, 3, 3, 8])];
  const first = [{ layer: 0, head: 1 }];
  const found = await backups(model, asked, { ablation: { kind: "mean" }, first, rounds: 1, perRound: 2 });
  const [, single = 0] = values(found, "single");
  expect(values(found, "set_total")[0]).toBe(single);
  const { heads } = golden.architecture;
  const add = String(found.attrs.found).split(",")[1] ?? "";
  const [layer = 0, head = 0] = add.split(".").map(Number);
  // conditional of the one found first = its own effect + their interaction
  const cell = layer * heads + head;
  const pair = values(found, "pair_interaction");
  const width = found.dims.with ?? 0;
  expect(values(found, "conditional")[cell]).toBeCloseTo(
    (values(found, "single")[cell] ?? 0) + (pair[1] ?? 0),
    9,
  );
  expect(pair[width]).toBe(pair[1]);
  expect(values(found, "interaction")[cell]).toBeCloseTo(pair[1] ?? 0, 9);
});
