/** @file What estimates hide and what finding the truth costs, on networks where both are known. */

import { expect, test } from "vitest";
import { chainNet } from "../../test/helpers/chain-net.ts";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Pair } from "../model/pair.ts";
import type { Dataset } from "../result/result.ts";
import { attribution } from "./attribution.ts";
import { attributionPathologies } from "./attribution-pathologies.ts";
import { attributionRecall, verifiedCosts } from "./attribution-recall.ts";

const tokens = (ids: readonly number[], text: string): Pair["clean"] => ({
  text,
  ids,
  pieces: ids.map((id) => `<${id}>`),
});

const pairOf = (
  clean: readonly number[],
  corrupt: readonly number[],
  [answer, foil]: readonly number[],
): Pair => ({
  id: "0",
  where: "pair 0",
  clean: tokens(clean, "clean"),
  corrupt: tokens(corrupt, "corrupt"),
  answers: [tokens([answer], "answer")],
  foils: [tokens([foil], "foil")],
  differing: clean.flatMap((token, position) => (token === corrupt[position] ? [] : [position])),
});

const numbers = (result: Dataset, name: string): number[] => Array.from(result.dataVars[name].data, Number);
const labels = (result: Dataset, name: string): string[] => Array.from(result.coords[name].data, String);
const reference = referenceBackend();
const pair = pairOf([1, 2, 3, 4, 2], [1, 5, 3, 0, 6], [1, 6]);

test("queries of a saturated head are flagged, and the corrected estimate is the exact effect", async () => {
  const model = linearNet(reference, 2, { layers: 1, queryScale: 300 });
  const found = await attributionPathologies(model, [pair], { sites: ["q"], direction: "noise" });
  const flagged = labels(found, "pathology").flatMap((kind, i) => (kind === "saturation" ? [i] : []));
  expect(flagged.length).toBeGreaterThan(0);
  for (const i of flagged) {
    expect(numbers(found, "probability")[i]).toBeGreaterThan(0.95);
    expect(numbers(found, "qk_fixed")[i]).toBeCloseTo(numbers(found, "estimate_exact")[i], 9);
    expect(Math.abs(numbers(found, "estimate")[i])).toBeLessThan(
      0.1 * Math.abs(numbers(found, "qk_fixed")[i]),
    );
  }
});

/** Nodes that carry a flag, with it. */
const flags = (result: Dataset): string[] =>
  labels(result, "node").flatMap((node, i) => {
    const flag = labels(result, "pathology")[i];
    return flag === "none" ? [] : [`${node}: ${flag}`];
  });
const valueAt = (result: Dataset, name: string, node: string): number =>
  numbers(result, name)[labels(result, "node").indexOf(node)];

test("of a chain in which one block erases what another wrote, that other alone is flagged as cancelled", async () => {
  const kept = 2 ** -10;
  // The stream is 1 for the clean token, 3 for the corrupt one. Block 0 writes it once more, block 3 takes away all but
  // a thousandth, block 4 trebles what is left.
  const chain = (erased: number) => chainNet([1, 0, 0, -erased, 2], { embedding: [0, 1, 3], head: true });
  const options = { sites: ["mlp_out"], by: ["layer"] };
  const found = await attributionPathologies(chain(1 - kept), [pairOf([1], [2], [0, 4])], options);
  expect(flags(found)).toEqual(["mlp_out layer 0: cancellation"]);
  expect(found.attrs.flagged).toEqual({ saturation: 0, "zero gradient": 0, cancellation: 1 });
  const of = (name: string) => valueAt(found, name, "mlp_out layer 0");
  const change = 1 - 3; // clean less corrupt of what block 0 writes
  expect(of("estimate")).toBeCloseTo(3 * kept * change, 12);
  expect(of("estimate_exact")).toBeCloseTo(3 * kept * change, 12);
  // Dropped: block 3, whose erasing is then gone; 1 and 2, which change nothing; 4, which trebles no more; over 5 − 1.
  expect(of("grad_drop")).toBeCloseTo(((3 + 2 * 3 * kept + kept) / 4) * Math.abs(change), 12);
  // Half of it left is no cancellation.
  expect(flags(await attributionPathologies(chain(0.5), [pairOf([1], [2], [0, 4])], options))).toEqual([]);
});

test("of a chain with one gate that the base run leaves shut, that gate alone is flagged as without gradient", async () => {
  // Stream of the base run: −1, −2, −2 (shut), −3. Of the source run: 2, 4, 12, 18.
  const model = chainNet([1, 2, 0.5], { relu: [1], embedding: [0, 2, -1, -3], head: true });
  const options = { sites: ["mlp_pre"], by: ["layer"] };
  const gated = pairOf([1], [2], [0, 4]);
  const found = await attributionPathologies(model, [gated], options);
  expect(flags(found)).toEqual(["mlp_pre layer 1: zero gradient"]);
  expect(found.attrs.flagged).toEqual({ saturation: 0, "zero gradient": 1, cancellation: 0 });
  const of = (name: string) => [0, 1, 2].map((layer) => valueAt(found, name, `mlp_pre layer ${layer}`));
  // Gradients: 1.5 of 4.5 (the gate of the source run is open), 0 of 1.5, 1 of 1.
  expect(of("gradient_ratio")).toEqual([1 / 3, 0, 1]);
  // Values of the source run in place of the base's: 2 for −1, 8 for −4, 6 for −1.
  expect(of("estimate")).toEqual([4.5, 0, 7]);
  // Block 0 moves the stream to 1, which opens the gate; the gate alone lets 8 through, times 1.5.
  expect(of("estimate_exact")).toEqual([7.5, 12, 7]);
  // Seen from the run whose gate is open, and between two runs whose gates are shut, nothing is flagged.
  for (const [pairs, direction] of [
    [gated, "noise"],
    [pairOf([3], [2], [0, 4]), "denoise"],
  ] as const) {
    expect(flags(await attributionPathologies(model, [pairs], { ...options, direction }))).toEqual([]);
  }
});

test("an estimate that is far off for a reason that no test looks for is named in the attributes", async () => {
  // Stream of the base run: −1, 1, 2. Of the source run, which shuts the gate of block 0: 5, 5, 10.
  const model = chainNet([-2, 1], { relu: [0], embedding: [0, 5, -1], head: true });
  const options = { sites: ["resid_pre"], by: ["layer"] };
  const found = await attributionPathologies(model, [pairOf([1], [2], [0, 4])], options);
  expect(flags(found)).toEqual([]);
  const of = (name: string) => [0, 1].map((layer) => valueAt(found, name, `resid_pre layer ${layer}`));
  expect(of("estimate")).toEqual([-2 * 6, 2 * 4]); // through the open gate the gradient is 2 · (1 − 2)
  expect(of("estimate_exact")).toEqual([8, 8]);
  const cells = ["resid_pre layer 0"];
  expect(found.attrs.unexplained_curvature).toEqual({ cells, off_by: 0.5, negligible: 0.05 });
});

test("an estimate that is exact costs its passes and one patch a cell; the oracle's overhead is 1", async () => {
  const model = linearNet(reference);
  const second = pairOf([3, 2, 0, 4, 2], [3, 5, 0, 0, 2], [1, 6]);
  const found = await attributionRecall(model, [pair, second], { sites: ["z"], top: 5 });
  const names = labels(found, "estimator");
  const cost = numbers(found, "cost");
  const of = (name: string) => cost.slice(5 * names.indexOf(name), 5 * names.indexOf(name) + 5);
  expect(of("AtP")).toEqual([5, 6, 7, 8, 9]); // two forwards, one backward that counts twice
  expect(of("oracle")).toEqual([1, 2, 3, 4, 5]);
  expect(of("exhaustive")).toEqual(Array(5).fill(12));
  expect(of("random")[0]).toBeCloseTo(13 / 2, 12);
  expect(numbers(found, "overhead")[names.indexOf("oracle")]).toBeCloseTo(1, 12);
  expect(numbers(found, "recall")[0]).toBe(1);
  expect(numbers(found, "recall_ci_low")[0]).toBe(1);
});

test("what an estimate misses is found by as many passes as the dearest one spends, if the cells are few", async () => {
  // The chain with a gate that the base run leaves shut, as above: the exact effects are 7.5, 12, 7, the estimates 4.5, 0, 7.
  const options = { sites: ["mlp_pre"], by: ["layer"], top: 1 };
  const chain = (factors: number[]) =>
    chainNet(factors, { relu: [1], embedding: [0, 2, -1, -3], head: true });
  const found = await attributionRecall(chain([1, 2, 0.5]), [pairOf([1], [2], [0, 4])], options);
  const row = labels(found, "estimator").indexOf("AtP");
  expect(numbers(found, "recall")[row]).toBe(0);
  // IG takes 2 + 5 forwards and 5 backwards, and may patch one cell; AtP in as many passes all of the three.
  expect(found.attrs.budget).toBe(2 + 5 + 2 * 5 + 1);
  expect(found.attrs.patches).toMatchObject({ AtP: 3, IG: 1 });
  expect(numbers(found, "budget_recall")[row]).toBe(1);
  expect(numbers(found, "cost")[row]).toBe(4 + 3); // last of three in the order of AtP, behind its own passes
  const random = labels(found, "estimator").indexOf("random");
  expect(numbers(found, "recall")[random]).toBe(1 / 3);
});

test("shares are those of cells counted by hand from estimates and exact effects", async () => {
  const model = linearNet(reference, 2, { layers: 2, queryScale: 300 });
  const options = { sites: ["q", "k", "v"], by: ["layer", "pos", "head"], direction: "noise" } as const;
  const top = 8;
  const found = await attributionRecall(model, [pair], { ...options, top });
  const all = await attribution(model, [pair], { ...options, verifyTop: 1000, samples: 0 });
  const ranked = (suffix: string): number[] => {
    const sizes = options.sites.flatMap((site) => numbers(all, site + suffix).map(Math.abs));
    return [...sizes.keys()].sort((a, b) => sizes[b] - sizes[a]);
  };
  const truth = ranked("_exact").slice(0, top);
  const share = (patches: number): number => {
    const patched = ranked("_score").slice(0, patches);
    return truth.filter((cell) => patched.includes(cell)).length / top;
  };
  const { AtP: patches } = found.attrs.patches as Record<string, number>;
  expect(patches).toBe(2 + 5 + 2 * 5 + top - 4); // what IG spends and AtP does not
  const values = [share(top), share(patches)];
  expect([numbers(found, "recall")[0], numbers(found, "budget_recall")[0]]).toEqual(values);
  expect(values[0]).toBeLessThan(values[1]);
  expect(values[1]).toBeLessThan(1);
  // Of several sites, each by itself says what a run with that site alone says.
  for (const site of options.sites) {
    const alone = await attributionRecall(model, [pair], { ...options, sites: [site], top });
    for (const name of ["recall", "budget_recall", "recall_gain"])
      expect(numbers(found, `${site}_${name}`)).toEqual(numbers(alone, name));
  }
});

test("verified recall waits for the last of the true top", () => {
  expect(verifiedCosts([4, 2, 0, 1, 3], [2, 3, 4], 3)).toEqual([2, 5, 5]);
});
