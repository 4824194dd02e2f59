/** @file The command corruptions on pocket: its files, its replay, its refusals by their text. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { crosspatch, EXAMPLE } from "./testing.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
});
afterAll(() => rm(folder, { recursive: true }));

const SMALL = ["--site", "mlp_out", "--window", "1", "--samples", "2", "--sigma", "3"];

test("replacement of one pair is what patch finds at the same tokens; the experiment replays to the same numbers", async () => {
  const out = join(folder, "run");
  const ran = await crosspatch("corruptions", "pocket", ...EXAMPLE, ...SMALL, "--out", out, "--quiet");
  expect(ran.status, ran.stderr).toBe(0);
  const result = JSON.parse(await readFile(join(out, "result.json"), "utf8"));
  const { corruption, role } = result.coords;
  expect(corruption.data).toEqual(["noise 3σ", "replacement", "mean", "zero"]);
  expect(result.attrs.warnings[0]).toMatch(/^resample is left out/);
  const patched = await crosspatch(
    ...["patch", "pocket", ...EXAMPLE, "--site", "mlp_out", "--by", "layer,pos", "--json", "-", "--quiet"],
  );
  const { mlp_out: wanted } = JSON.parse(patched.stdout).data_vars;
  const [replaced] = result.data_vars.mlp_out_logit_diff.data.slice(1);
  const places = [
    [role.data.indexOf("last corrupted token"), 10],
    [role.data.indexOf("last token"), 14],
  ] as const;
  for (const [layer, row] of replaced.entries())
    for (const [at, pos] of places) expect(Math.abs(row[at] - wanted.data[layer][pos])).toBeLessThan(1e-4);

  const again = await crosspatch("experiment", join(out, "experiment.json"), "--json", "-", "--quiet");
  expect(JSON.parse(again.stdout).data_vars).toEqual(result.data_vars);
});

test("all that is wrong is said at once, and nothing is computed", async () => {
  const wrong = await crosspatch(
    ...["corruptions", "pocket", "--task", "ioi", "--clean", "a", "--corruption", "noise,blur"],
    ...["--sigma", "1,1", "--window", "0", "--metric", "loss", "--reference", join(folder, "none")],
  );
  expect(wrong.status).toBe(2);
  expect(wrong.stdout).toBe("");
  expect(wrong.stderr.split("\n").filter((line) => line !== "")).toEqual([
    expect.stringContaining(
      '--corruption: found "noise,blur"; wanted some of noise, replacement, resample, mean, zero',
    ),
    expect.stringContaining(
      '--sigma: found "1,1"; wanted numbers separated by commas, each 0 or more and given once',
    ),
    expect.stringContaining('--metric: found "loss"; wanted some of prob, logit_diff, kl, logprob'),
    expect.stringContaining("--task: found --clean and --corrupt, --task; wanted prompts from one of"),
    expect.stringContaining("--window: found 0; wanted 1 layer or more"),
    expect.stringContaining("--reference: found"),
  ]);
  const needless = await crosspatch(
    ...["corruptions", "pocket", ...EXAMPLE, "--corruption", "zero", "--sigma", "3", "--draws", "2"],
  );
  expect(needless.status).toBe(2);
  expect(needless.stderr).toContain("--sigma: found --corruption zero; wanted noise among them");
  expect(needless.stderr).toContain("--draws: found --corruption zero; wanted resample among them");
  const alone = await crosspatch("corruptions", "pocket", ...EXAMPLE, "--corruption", "resample");
  expect(alone.status).toBe(2);
  expect(alone.stderr).toContain(
    "--corruption resample: found no other pair with 1 differing token and another answer",
  );
});

test("reference prompts give a single pair its distances", async () => {
  const file = join(folder, "natural.jsonl");
  const names = ["Anna", "Tom", "Sarah", "Paul"];
  await writeFile(
    file,
    names
      .map((name) => JSON.stringify(`When ${name} and John went to the store, John gave a drink to`))
      .join("\n"),
  );
  const { stdout, stderr, status } = await crosspatch(
    ...["corruptions", "pocket", ...EXAMPLE, ...SMALL, "--reference", file, "--json", "-", "--quiet"],
  );
  expect(status, stderr).toBe(0);
  const { attrs, data_vars: variables } = JSON.parse(stdout);
  expect(attrs.natural_states).toMatchObject({ from: "reference prompts", prompts: 4, states: 56 });
  expect(variables.off_distance.data.flat().every((ratio: number) => ratio > 0)).toBe(true);
});
