/** @file What attribution refuses where no command line has checked its options. */

import { expect, test, vi } from "vitest";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { InputError } from "../core/errors.ts";
import type { MetricName } from "../metric/plan.ts";
import type { Pair } from "../model/pair.ts";
import type { EstimateOptions } from "./attribution.ts";
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
  const refused = async (pairs: readonly Pair[], options: EstimateOptions): Promise<string[]> => {
    const error = await method(model, pairs, options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InputError);
    return (error as InputError).faults.map(({ where, found }) => `${where}: ${found}`);
  };
  // What options and pairs are by themselves …
  expect(
    await refused([pair([1, 2], [1])], {
      metric: "logits" as MetricName,
      direction: "back" as "noise",
      choose: { layer: [0.5] },
    }),
  ).toEqual([
    'options.metric: "logits"',
    'options.direction: "back"',
    "options.choose.layer[0]: 0.5",
    "pair 0: 2 tokens in clean, 1 in corrupt",
  ]);
  expect(await refused([], {})).toEqual(["pairs: none"]);
  // … and then what they are together and to the model.
  expect(
    await refused([pair([1, 2], [1, 3])], { by: ["head"], choose: { layer: [7] }, metric: "logit_diff" }),
  ).toEqual(["pair 0, foil: none", "--layer: 7"]);
  expect(await refused([pair([1, 2], [1, 3])], { by: ["head"] })).toEqual(["--by: no layer for q, k, v, z"]);
  expect(read).not.toHaveBeenCalled();
});

test("counts, shares, steps of integrated gradients, and the number of cells whose recall is asked for", async () => {
  const model = linearNet(referenceBackend(), 2, { layers: 1 });
  const pairs = [pair([1, 2], [1, 3])];
  const refused = attribution(model, pairs, {
    estimator: { kind: "ig", steps: 0 },
    verifyTop: -1,
    samples: 1.5,
    confidence: 1,
    seed: Number.NaN,
  });
  await expect(refused).rejects.toThrow(
    [
      "options.estimator.steps: found 0; wanted a whole number from 1 to 10000.",
      "options.verifyTop: found -1; wanted a whole number, 0 or more.",
      "options.samples: found 1.5; wanted a whole number from 0 to 10000.",
      "options.confidence: found 1; wanted a number of at least 0.5 and below 1.",
      "options.seed: found NaN; wanted a whole number from 0 to 4294967295.",
    ].join("\n"),
  );
  await expect(attributionRecall(model, pairs, { top: 0 })).rejects.toThrow(
    "options.top: found 0; wanted a whole number, 1 or more.",
  );
});
