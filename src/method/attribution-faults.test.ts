/** @file What attribution refuses where no command line has checked its options. */

import { expect, test, vi } from "vitest";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { InputError } from "../core/errors.ts";
import type { MetricName } from "../metric/plan.ts";
import type { Pair } from "../model/pair.ts";
import type { AttributionOptions } from "./attribution.ts";
import { attribution } from "./attribution.ts";
import { attributionPathologies } from "./attribution-pathologies.ts";
import { attributionRecall } from "./attribution-recall.ts";

const tokens = (ids: readonly number[]): Pair["clean"] => ({ text: "", ids, pieces: ids.map(String) });
const pair = (clean: readonly number[], corrupt: readonly number[]): Pair => ({
  id: "0",
  where: "pair 0",
  clean: tokens(clean),
  corrupt: tokens(corrupt),
  answers: [tokens([1])],
  foils: [],
  differing: [],
});
const methods = { attribution, attributionPathologies, attributionRecall };

test.each(Object.entries(methods))("%s names all faults and runs nothing", async (_, method) => {
  const model = linearNet(referenceBackend(), 2, { layers: 2 });
  const read = vi.spyOn(model.weights, "get");
  const refused = async (pairs: readonly Pair[], options: AttributionOptions): Promise<string[]> => {
    const error = await method(model, pairs, options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InputError);
    return (error as InputError).faults.map(({ where, found }) => `${where}: ${found}`);
  };
  expect(
    await refused([pair([1, 2], [1])], {
      sites: ["q", "k"],
      by: ["layer", "head"],
      choose: { layer: [7] },
      metric: "logit_diff",
      verifyTop: -1,
      samples: 1.5,
      confidence: 1,
      seed: Number.NaN,
    }),
  ).toEqual([
    "pair 0: 2 tokens in clean, 1 in corrupt",
    "pair 0, foil: none",
    "--verify-top: -1",
    "--samples: 1.5",
    "--seed: NaN",
    "--confidence: 1",
    "--layer: 7",
  ]);
  expect(await refused([], { metric: "logits" as MetricName, by: ["head"] })).toEqual([
    "pairs: none",
    '--metric: "logits"',
    "--by: no layer for q, k, v, z",
  ]);
  expect(read).not.toHaveBeenCalled();
});

test("steps of integrated gradients, and the number of cells whose recall is asked for", async () => {
  const model = linearNet(referenceBackend(), 2, { layers: 1 });
  const pairs = [pair([1, 2], [1, 3])];
  await expect(attribution(model, pairs, { estimator: { kind: "ig", steps: 0 } })).rejects.toThrow(
    "--steps: found 0; wanted a whole number of at least 1.",
  );
  await expect(attributionRecall(model, pairs, { top: 0 })).rejects.toThrow(
    "--verify-top: found 0; wanted a whole number of at least 1.",
  );
});
