/** @file Integrated gradients: completeness over inputs and over activations, and where the rules put their steps. */

import { describe, expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { idPair } from "../../test/helpers/pairs.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Dataset } from "../result/result.ts";
import { activationPatching } from "./activation-patching.ts";
import type { AttributionOptions, Estimator } from "./attribution.ts";
import { attribution } from "./attribution.ts";

const reference = referenceBackend();
const values = (result: Dataset, name: string): number[] =>
  Array.from(result.dataVars[name]?.data ?? [], Number);
const QUICK: AttributionOptions = { verifyTop: 0, samples: 0 };

describe("integrated gradients", () => {
  const name = "llama-gqa-tied";
  const { patching } = goldenFacts(name);
  const pair = idPair(patching.clean, patching.corrupt, patching);
  const gap = async (rule: "midpoint" | "paper" | "code", steps: number, direction: "denoise" | "noise") => {
    const model = await loadGolden(name, reference);
    const estimator: Estimator = { kind: "ig", steps, rule };
    const result = await attribution(model, [pair], {
      ...QUICK,
      sites: ["resid_pre"],
      by: ["layer", "pos"],
      choose: { layer: [0] },
      estimator,
      direction,
    });
    const total = values(result, "resid_pre").reduce((sum, value) => sum + value, 0);
    const { baseline_clean: clean, baseline_corrupt: corrupt } = result.attrs;
    const change = Number(clean) - Number(corrupt);
    return total - (direction === "denoise" ? change : -change);
  };

  test.each(["denoise", "noise"] as const)(
    "over inputs sum to the change of the metric, %s",
    async (direction) => {
      const midpoint = await gap("midpoint", 32, direction);
      expect(Math.abs(midpoint)).toBeLessThan(0.02);
      expect(Math.abs(midpoint)).toBeLessThan(Math.abs(await gap("midpoint", 16, direction)) / 3);
    },
  );

  test("the rules' steps lie where they should: what is of order 1/m in the end rules is their difference", async () => {
    const [paper, code, middle] = await Promise.all([
      gap("paper", 4, "noise"),
      gap("code", 4, "noise"),
      gap("midpoint", 4, "noise"),
    ]);
    expect(await gap("paper", 8, "noise")).toBeCloseTo((paper + middle) / 2, 9);
    expect(await gap("code", 8, "noise")).toBeCloseTo((code + middle) / 2, 9);
    const ends = (await gap("paper", 1, "noise")) - (await gap("code", 1, "noise"));
    expect(Math.abs(ends)).toBeGreaterThan(0.1);
    expect(paper - code).toBeCloseTo(ends / 4, 9);
  });

  test("one step of the paper's rule is the plain estimate at the clean run", async () => {
    const model = await loadGolden(name, reference);
    const options = { ...QUICK, sites: ["z"], direction: "noise" } as const;
    const one = await attribution(model, [pair], {
      ...options,
      estimator: { kind: "ig", steps: 1, rule: "paper" },
    });
    const plain = values(await attribution(model, [pair], options), "z");
    expect(Math.max(...plain.map(Math.abs))).toBeGreaterThan(1e-3);
    for (const [cell, value] of values(one, "z").entries()) expect(value).toBeCloseTo(plain[cell], 10);
  });

  test("over activations sum, over a whole site, to the exact effect of patching it", async () => {
    const model = await loadGolden(name, reference);
    const estimator: Estimator = { kind: "ig", over: "activations", steps: 24 };
    const options = { ...QUICK, sites: ["z"], estimator };
    const found = values(await attribution(model, [pair], options), "z");
    const patched = await activationPatching(model, [pair], { sites: ["z"], by: ["layer"], verify: 0 });
    const whole = values(patched, "z_effect");
    const { heads } = model.architecture;
    for (const [layer, exact] of whole.entries()) {
      const sum = found.slice(layer * heads, (layer + 1) * heads).reduce((total, value) => total + value, 0);
      expect(Math.abs(sum - exact)).toBeLessThan(2e-3 * Math.max(1, Math.abs(exact)));
    }
  });
});
