/** @file Corruptions compared on a planted case: a guard that noise sets off, and replacement does not. */
import { describe, expect, test } from "vitest";
import { type HandLayer, handNet } from "../../test/helpers/hand-net.ts";
import { idPair } from "../../test/helpers/pairs.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Dataset } from "../result/result.ts";
import { type ComparisonOptions, corruptionComparison } from "./corruptions.ts";

const run = (net: Model, pair: Pair, options: ComparisonOptions): Promise<Dataset> =>
  corruptionComparison(net, [pair], { verify: 0, ...options });
const values = (result: Dataset, name: string): number[] =>
  [...(result.dataVars[name]?.data ?? [])].map(Number);
const labels = (result: Dataset, name: string): string[] =>
  [...(result.coords[name]?.data ?? [])].map(String);

describe("a planted case", () => {
  // The answer is told by feature 0 (+1 or −1) in layer 1. Layer 5 is a guard: where feature 1, which both subjects have,
  // is missing it drowns the answer. Replacement leaves the guard alone; noise and zero set it off.
  const layers: HandLayer[] = Array.from({ length: 8 }, () => ({}));
  layers[1] = {
    up: [
      [0, 0, 1],
      [1, 0, -1],
    ],
    down: [
      [2, 0, 1],
      [2, 1, -1],
    ],
  };
  layers[5] = { up: [[0, 1, -1]], upBias: [[0, 0, 1]], down: [[2, 0, -6]] };
  const net = handNet(referenceBackend(), {
    d: 3,
    heads: 1,
    dHead: 1,
    neurons: 2,
    embedding: [
      [1, 1, 0],
      [-1, 1, 0],
    ],
    unembedding: [
      [0, 0, 1],
      [0, 0, -1],
    ],
    layers,
  });
  const planted = idPair([0], [1], { answer: 0, foil: 1 });

  test("noise and zero find the guard, replacement the layer that tells; the verdict says so", async () => {
    const found = await run(net, planted, {
      sites: ["mlp_out"],
      windows: [1],
      metrics: ["logit_diff"],
      kinds: ["noise", "replacement", "zero"],
      factors: [3],
    });
    expect(found.attrs.options).toMatchObject({ samples: [40, 1, 1] });
    const names = labels(found, "corruption");
    const of = (name: string): number[] =>
      values(found, "mlp_out_logit_diff_effect").slice(names.indexOf(name) * 8, names.indexOf(name) * 8 + 8);
    // Logit difference 2 · (what layer 1 writes − 6 · what the guard lacks): 2 clean, −2 replaced, −12 without embedding.
    expect(found.attrs.baseline_clean).toBe(2);
    expect(of("replacement")).toEqual([0, 4, 0, 0, 0, 0, 0, 0]);
    expect(of("zero")).toEqual([0, 2, 0, 0, 0, 12, 0, 0]);
    expect(values(found, "mlp_out_logit_diff_detected").slice(8, 16)).toEqual([0, 1, 0, 0, 0, 0, 0, 0]);
    const at = (variable: string, name: string): number =>
      values(found, variable)[names.indexOf(name)] ?? Number.NaN;
    expect(at("peak_layer", "replacement")).toBe(1);
    expect(at("peak_layer", "noise 3σ")).toBe(5);
    expect(at("peak_share", "zero")).toBeCloseTo(12 / 14, 12);
    expect(at("peak_ratio", "zero")).toBeCloseTo(3, 12);
    expect(at("detections_shared", "zero")).toBe(0);
    const verdicts = found.attrs.verdicts as readonly { corruption: string; status: string }[];
    expect(verdicts.map(({ corruption, status }) => [corruption, status])).toEqual([
      ["noise 3σ", "part"],
      ["zero", "part"],
    ]);
    expect((found.attrs.verdict as string[]).join("\n")).toContain(
      "Zero: parts from replacement in mlp_out (it alone finds layer 5, last corrupted token: 0.86 of what it took, against 0.00; replacement alone finds layer 1, last corrupted token: 1.00 of what it took, against 0.14)",
    );
  });

  test("where the samples do not tell whether noise takes a fifth, the verdict says so and how many would", async () => {
    const asked = { sites: ["mlp_out"], windows: [1], metrics: ["logit_diff"], factors: [3] } as const;
    const found = await run(net, planted, { ...asked, kinds: ["noise", "replacement"], samples: 8 });
    const [value = 0, low = 0, high = 0] = ["", "_ci_low", "_ci_high"].map(
      (side) => values(found, `taken_share${side}`)[0],
    );
    // The interval is Student's t of the eight samples' gaps over the 4 that replacement takes.
    const [gap, ends] = [2 - (values(found, "baseline_logit_diff")[0] ?? 0), [low, high]];
    expect(value).toBeCloseTo(gap / 4, 12);
    expect(ends[0]).toBeLessThan(0.2);
    expect(ends[1]).toBeGreaterThan(0.2);
    expect(found.attrs.verdicts).toEqual([{ corruption: "noise 3σ", grid: "mlp_out", status: "untold" }]);
    const percent = (share: number): number => Math.round(100 * share);
    const wanted = Math.ceil((8 * ((value - low) / (value - 0.2)) ** 2) / 10) * 10;
    expect((found.attrs.verdict as string[])[0]).toBe(
      `Noise 3σ takes ${percent(value)} % (${percent(low)} to ${percent(high)} %) of what replacement takes: whether that is less than 20 %, and too little to restore, cannot be told, and so not what restores it either. About ${wanted} samples of noise would tell.`,
    );
    const more = await run(net, planted, { ...asked, kinds: ["noise", "replacement"], samples: wanted });
    expect(more.attrs.verdicts).toEqual([{ corruption: "noise 3σ", grid: "mlp_out", status: "part" }]);
  });

  test("a corruption that takes nothing is not asked what restores it", async () => {
    const found = await run(net, planted, {
      sites: ["mlp_out"],
      windows: [1],
      metrics: ["logit_diff"],
      kinds: ["noise", "replacement"],
      factors: [0],
      samples: 2,
    });
    expect(found.attrs.verdicts).toEqual([{ corruption: "noise 0σ", grid: "mlp_out", status: "weak" }]);
  });
});
