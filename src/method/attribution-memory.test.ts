/** @file What estimates hold at once under a budget of memory; they are the same whatever it is. */

import { describe, expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { idPair } from "../../test/helpers/pairs.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { sizeOf } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Dataset } from "../result/result.ts";
import { attribution } from "./attribution.ts";
import { edgeAttribution } from "./edge-attribution.ts";

const reference = referenceBackend();
const QUICK = { verifyTop: 0, samples: 0 } as const;

interface Watched {
  readonly model: Model;
  /** Of all that went into and came out of one run of a program, weights aside, the most. */
  bytes(): number;
}

function watched(model: Model, stateBytes: number | undefined): Watched {
  let most = 0;
  const compile: Model["compile"] = async (program, options) => {
    const made = await model.compile(program, options);
    const states = made.program.inputs.flatMap(({ name, role }) => (role.kind === "state" ? [name] : []));
    return {
      ...made,
      async run(inputs, into) {
        const found = await made.run(inputs, into);
        const tensors = [...states.map((name) => inputs[name]), ...Object.values(found)];
        most = Math.max(
          most,
          tensors.reduce((sum, tensor) => sum + sizeOf(tensor?.shape ?? [0]), 0),
        );
        return found;
      },
    };
  };
  return { model: { ...model, stateBytes, compile }, bytes: () => 8 * most };
}

const ofMemory = ({ attrs }: Dataset): string[] =>
  (attrs.warnings as string[]).filter((warning) => warning.startsWith("memory: "));
const everything = ({ dataVars }: Dataset): number[] =>
  Object.values(dataVars).flatMap(({ data }) => Array.from(data, Number));

describe.each(["gemma3", "phi-qk-norm"])("%s", (name) => {
  const { patching } = goldenFacts(name);
  const { answer, foil } = patching;
  const pairs = [0, 1, 2, 0].map((less) =>
    idPair(
      patching.clean.slice(0, patching.clean.length - less),
      patching.corrupt.slice(0, patching.corrupt.length - less),
      { answer, foil },
    ),
  );

  test.each([
    ["AtP", (model: Model) => attribution(model, pairs, QUICK)],
    ["AtP*", (model: Model) => attribution(model, pairs, { ...QUICK, estimator: { kind: "atp-star" } })],
    ["IG", (model: Model) => attribution(model, pairs, { ...QUICK, estimator: { kind: "ig" } })],
    ["edges", (model: Model) => edgeAttribution(model, pairs, { verifyTop: QUICK.verifyTop })],
  ])("%s: less memory, smaller runs, the same estimates", async (_, estimate) => {
    const loaded = await loadGolden(name, reference);
    const free = watched(loaded, undefined);
    const whole = await estimate(free.model);
    expect(ofMemory(whole)).toEqual([]);
    const most = free.bytes();
    // Below one pair there is nothing to split, and a warning instead.
    for (const stateBytes of [most / 2, 1]) {
      const bounded = watched(loaded, stateBytes);
      const found = await estimate(bounded.model);
      const warnings = ofMemory(found);
      if (warnings.length === 0) expect(bounded.bytes()).toBeLessThanOrEqual(stateBytes);
      else
        expect(warnings).toEqual([
          expect.stringMatching(
            /^memory: \d+ tokens that go forward and back together take about 1 MB beside the weights, of which the budget leaves 1 MB/,
          ),
        ]);
      expect(bounded.bytes()).toBeLessThan(0.6 * most);
      const [values, wanted] = [everything(found), everything(whole)];
      expect(values.length).toBe(wanted.length);
      for (const [i, value] of values.entries()) expect(value).toBeCloseTo(wanted[i], 9);
      if (stateBytes === 1) expect(warnings).toHaveLength(1);
    }
  });
});
