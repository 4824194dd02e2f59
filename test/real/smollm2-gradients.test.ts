/** @file Gradients through SmolLM2-135M-Instruct against PyTorch autograd (tools/goldens/gradients.py). */

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { metricRun } from "../../src/metric/objective.ts";
import { metricPlan } from "../../src/metric/plan.ts";
import { load } from "../../src/model/load.node.ts";
import { gradients } from "../../src/run/gradients.ts";
import type { SiteName } from "../../src/run/site.ts";
import { goldenGradients } from "../goldens/load.ts";
import { relativeGap } from "../helpers/gaps.ts";

interface Facts {
  readonly file: string;
  readonly value: number;
  readonly layers: readonly number[];
  readonly positions: readonly number[];
  readonly norms: Readonly<Record<string, number>>;
}

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../goldens/smollm2/${name}`, import.meta.url), "utf8"));
const facts: Facts = read("gradients.json");
const models =
  process.env.CROSSPATCH_MODELS ?? fileURLToPath(new URL("../../../shared/models", import.meta.url));
const path = `${models}/${facts.file}`;
const present = existsSync(path);
const reason = present ? "" : ` (not run: ${facts.file} is not in CROSSPATCH_MODELS or ../shared/models)`;

test.runIf(present)(`gradients by six sites of every layer are PyTorch's${reason}`, async () => {
  const model = await load(path);
  const { clean, corrupt, answer, foil } = read("ioi.json").ioi;
  const pair = model.pair({ clean, corrupt, answer, foil });
  const run = metricRun(pair.corrupt.ids, metricPlan(pair, "logit_diff"));
  const sites: readonly SiteName[] = ["resid_pre", "q", "k", "v", "z", "mlp_post"];
  const [found] = await gradients(model, [run], { sites });
  expect(Math.abs(found.value - facts.value)).toBeLessThan(5e-4);
  const wanted = goldenGradients("smollm2");
  expect(wanted.size).toBe(sites.length * facts.layers.length);
  for (const [key, norm] of Object.entries(facts.norms)) {
    const [, layer, site] = /^layer(\d+)\.(.*)$/.exec(key) ?? [];
    const { data, shape } = found.get(site as SiteName, Number(layer));
    const size = Math.hypot(...data);
    expect(Math.abs(size - norm) / norm).toBeLessThan(1e-4);
    const values = wanted.get(key);
    if (values === undefined) continue;
    const width = data.length / shape[0];
    const chosen = facts.positions.flatMap((pos) => [...data.subarray(pos * width, (pos + 1) * width)]);
    expect(relativeGap(chosen, values.data)).toBeLessThan(1e-4);
  }
  await model.close();
});
