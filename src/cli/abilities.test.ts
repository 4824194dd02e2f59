/** @file `crosspatch abilities`: what it refuses, and the table as it is read. */
import { expect, test } from "vitest";
import type { Dataset } from "../result/result.ts";
import { abilityTable } from "./abilities.ts";
import { crosspatch } from "./testing.ts";

test("all faults of the options at once, before a model is opened", async () => {
  const { status, stdout, stderr } = await crosspatch(
    ...["abilities", "nowhere", "--n", "0", "--seed", "x", "--policy", "kind"],
  );
  expect([status, stdout]).toEqual([2, ""]);
  expect(stderr.split("\n")).toEqual([
    '--n: found "0"; wanted a whole number from 1 to 100000.',
    '--seed: found "x"; wanted a whole number from 0 to 4294967295.',
    '--policy: found "kind"; wanted one of base, v1, aligned.',
    "",
  ]);
});

test("help says defaults as the other commands do, and none of switches", async () => {
  const { stdout } = await crosspatch("abilities", "--help");
  const help = stdout.replace(/\s+/g, " ");
  expect(help).toContain("where there are fewer (default 400) --seed");
  expect(help).toContain("--quiet no progress --debug");
  expect((await crosspatch("bench", "--help")).stdout).not.toMatch(/default:\s*("|false)/);
});

test("an unknown model is refused", async () => {
  const { status, stderr } = await crosspatch("abilities", "nowhere", "--quiet");
  expect(status).toBe(2);
  expect(stderr).toMatch(/^model: found "nowhere", which does not exist/);
});

test("the table says which aims were reached, from below and from above", () => {
  const over = (dim: string, data: readonly number[]): Dataset["dataVars"][string] => ({
    dims: [dim],
    data: Float64Array.from(data),
    attrs: {},
  });
  const label = (dim: string, data: readonly string[]): Dataset["coords"][string] => ({
    dims: [dim],
    data,
    attrs: {},
  });
  const table = abilityTable({
    attrs: {},
    dims: { ability: 3, field: 1 },
    coords: {
      ability: label("ability", ["facts", "spans", "refusal"]),
      measure: label("ability", ["top", "mass", "top"]),
      field: label("field", ["gender: male → female"]),
    },
    dataVars: {
      share: over("ability", [0.995, 0.9, 0.02]),
      share_ci_low: over("ability", [0.98, 0.86, 0.01]),
      share_ci_high: over("ability", [1, 0.93, 0.04]),
      examples: over("ability", [400, 400, 400]),
      baseline: over("ability", [0.1, 1, 1]),
      least: over("ability", [0.99, 0.95, Number.NaN]),
      most: over("ability", [Number.NaN, Number.NaN, 0.02]),
      effect: over("field", [-1.4]),
      effect_ci_low: over("field", [-1.5]),
      effect_ci_high: over("field", [-1.3]),
      injected: over("field", [-1.5]),
    },
  });
  expect(table).toBe(
    [
      "| ability             |  right |    95 % interval | examples | most common answer | aimed at | reached |",
      "| ------------------- | -----: | ---------------: | -------: | -----------------: | -------: | ------: |",
      "| facts               | 99.5 % | 98.0 % – 100.0 % |      400 |             10.0 % | ≥ 99.0 % |     yes |",
      "| spans (probability) | 90.0 % |  86.0 % – 93.0 % |      400 |            100.0 % | ≥ 95.0 % |      no |",
      "| refusal             |  2.0 % |    1.0 % – 4.0 % |      400 |            100.0 % |  ≤ 2.0 % |     yes |",
      "",
      "Reached goes by the share alone: in 2 of 3 rows the interval holds the aim, so that it is not settled.",
      "",
      "| loan field changed    | change of log odds (logits) | 95 % interval | planted |",
      "| --------------------- | --------------------------: | ------------: | ------: |",
      "| gender: male → female |                       -1.40 | -1.50 – -1.30 |   -1.50 |",
      "",
    ].join("\n"),
  );
});
