/** @file The goldens agree with themselves: a damaged or half-remade file shows here first. */

import { describe, expect, test } from "vitest";
import { families, golden, golden64, goldenFacts } from "./load.ts";

describe.each(families())("$name", ({ name }) => {
  test("the residual stream is the sum of what the blocks add", () => {
    const tensors = golden(name);
    for (let layer = 0; layer < goldenFacts(name).layers; layer++) {
      const [before, attention, mlp, after] = ["resid_pre", "attn_out", "mlp_out", "resid_post"].map(
        (site) => tensors.get(`prompt0.layer${layer}.${site}`)?.data ?? new Float32Array(),
      );
      expect(after?.length).toBeGreaterThan(0);
      after?.forEach((value, i) => {
        expect(before[i] + attention[i] + mlp[i]).toBeCloseTo(value, 4);
      });
    }
  });

  test("float32 logits are within the recorded rounding of float64", () => {
    const facts = goldenFacts(name);
    const single = golden(name).get("prompt1.logits");
    const exact = golden64(name).get("prompt1.logits64");
    expect(exact?.shape).toEqual([facts.prompts[1].length, facts.vocabulary]);
    const largest = Math.max(...(exact?.data ?? []).map((value, i) => Math.abs(value - (single?.data[i] ?? Number.NaN))));
    expect(largest).toBeLessThanOrEqual(facts.float32_rounding);
  });

  test("putting the whole clean stream in at the changed position restores the clean metric", () => {
    const { patching } = goldenFacts(name);
    const grid = golden64(name).get("patching64.resid_pre");
    const changed = patching.clean.findIndex((id, i) => id !== patching.corrupt[i]);
    expect(grid?.data[changed]).toBeCloseTo(patching.baseline_clean, 4);
  });
});
