/** @file What estimates hide and what finding the truth costs, on networks where both are known. */

import { expect, test } from "vitest";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Pair } from "../model/pair.ts";
import type { Dataset } from "../result/result.ts";
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

test("verified recall waits for the last of the true top", () => {
  expect(verifiedCosts([4, 2, 0, 1, 3], [2, 3, 4], 3)).toEqual([2, 5, 5]);
});
