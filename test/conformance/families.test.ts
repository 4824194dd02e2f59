/**
 * @file Every family on every backend against what PyTorch computes: logits and every site of every layer.
 * Goldens: test/goldens/README.md.
 */

import { afterAll, describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import { nodeBackend } from "../../src/backend/ort/node.node.ts";
import { referenceBackend } from "../../src/backend/reference/reference.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { families, golden, golden64, goldenFacts } from "../goldens/load.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { type PlainRun, plainRun } from "./plain-run.ts";

/** Allowed distance from a golden x: absolute + relative · |x|. */
interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/** The project's promise for logits, in float32 against float32. */
const LOGITS: Tolerance = { absolute: 5e-5, relative: 0 };
/** Scores reach 40, and a sum of that size is rounded in steps of 4e-6. */
const SITES: Tolerance = { absolute: 5e-5, relative: 1e-5 };
/** Two orders of summation in float64 over a few layers. */
const FLOAT64: Tolerance = { absolute: 1e-11, relative: 0 };

const backends: readonly Backend[] = [referenceBackend(), nodeBackend({ threads: 1 })];
afterAll(async () => {
  for (const backend of backends) await backend.close();
});

describe.each(families())("$name", ({ name, directory }) => {
  const single = golden(name);
  const exact = golden64(name);

  test.each(backends)("$name", async (backend) => {
    const faults: string[] = [];
    const { definition, weights } = await openCheckpoint(directory);
    for (const [number, ids] of goldenFacts(name).prompts.entries()) {
      const run = await plainRun({ definition, weights, backend }, ids);
      const prompt = `prompt${number}.`;
      const sites = [...single].filter(([key]) => key.startsWith(prompt));
      expect(sites.length).toBeGreaterThan(10);
      for (const [key, wanted] of sites) {
        const label = key.slice(prompt.length);
        const tolerance = label === "logits" ? LOGITS : SITES;
        faults.push(...differences(`${name} ${key}`, goldenSite(run, label), { wanted, tolerance }));
      }
      if (backend.precision === "float64") {
        const wanted = exact.get(`${prompt}logits64`);
        if (wanted === undefined) throw new Error(`${name} has no ${prompt}logits64`);
        faults.push(
          ...differences(`${name} ${prompt}logits64`, run.ends.logits, { wanted, tolerance: FLOAT64 }),
        );
      }
    }
    await weights.close();
    expect(faults).toEqual([]);
  });
});

/** `layer0.z` or `final_norm` of a run. */
function goldenSite({ layers, ends }: PlainRun, label: string): Tensor | undefined {
  const [, layer, site] = /^layer(\d+)\.(.*)$/.exec(label) ?? [];
  return layer === undefined ? ends[label] : layers[Number(layer)]?.[site];
}

/** The worst element, if it is further off than allowed. */
function differences(
  where: string,
  found: Tensor | undefined,
  { wanted, tolerance }: { readonly wanted: Tensor; readonly tolerance: Tolerance },
): string[] {
  if (found === undefined) return [`${where}: the program has no such site`];
  if (found.data.length !== wanted.data.length) return [`${where}: [${found.shape}], not [${wanted.shape}]`];
  let worst = 0;
  let excess = 0;
  for (const [i, value] of wanted.data.entries()) {
    const allowed = tolerance.absolute + tolerance.relative * Math.abs(value);
    const ratio = Math.abs(found.data[i] - value) / allowed;
    const beyond = Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio;
    if (beyond > excess) [worst, excess] = [i, beyond];
  }
  if (excess <= 1) return [];
  const off = Math.abs(found.data[worst] - wanted.data[worst]);
  return [
    `${where}: element ${worst} is ${found.data[worst]}, not ${wanted.data[worst]}: off by ${off.toExponential(1)}`,
  ];
}
