/** @file The commands trace, direct and redundancy on pocket: refusals by their text, results against each other. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { crosspatch } from "./testing.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
});
afterAll(() => rm(folder, { recursive: true }));

const PROMPT = "When Mary and John went to the store, John gave a drink to";
const FACT = ["--prompt", PROMPT, "--subject", "Mary", "--answer", " Mary"];

async function json(...argv: readonly string[]) {
  const { status, stdout, stderr } = await crosspatch(...argv, "--json", "-", "--quiet");
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

test("noise that was written and is read again gives the same trace", async () => {
  const file = join(folder, "noise.safetensors");
  const common = ["trace", "pocket", ...FACT, "--samples", "4", "--metric", "prob", "--window", "2"];
  const drawn = await json(...common, "--antithetic", "--write-noise", file);
  const given = await json(
    ...["trace", "pocket", ...FACT, "--metric", "prob", "--window", "2", "--noise", file],
  );
  expect(given.dims).toEqual({ layer: 8, pos: 15 });
  for (const site of ["resid_post", "mlp_out", "attn_out"]) {
    expect(given.data_vars[site].dims).toEqual(["layer", "pos"]);
    const [a, b] = [drawn, given].map((found) => found.data_vars[site].data.flat());
    a.forEach((value: number, i: number) => {
      expect(Math.abs(value - b[i])).toBeLessThan(1e-6);
    });
  }
  expect(Math.abs(given.attrs.baseline_corrupt - drawn.attrs.baseline_corrupt)).toBeLessThan(1e-6);
  expect(given.attrs.baseline_corrupt).toBeLessThan(given.attrs.baseline_clean);
  // The last state at the end is all that is read.
  expect(given.data_vars.resid_post.data[7][14]).toBeCloseTo(given.attrs.baseline_clean, 6);
});

test("a file of facts gives roles; direct sums to its total; the lens ends in what the model says", async () => {
  const facts = join(folder, "facts.jsonl");
  await writeFile(
    facts,
    `${JSON.stringify({ prompt: PROMPT, subject: "Mary" })}\n${JSON.stringify({ prompt: `${PROMPT} Mary`, subject: "Mary and John" })}\n`,
  );
  const traced = await json("trace", "pocket", "--facts", facts, "--samples", "2", "--site", "resid_post");
  expect(traced.data_vars.resid_post.dims).toEqual(["layer", "role"]);
  expect(traced.attrs.subjects).toEqual([[2], [2, 3, 4]]);
  const split = await json("direct", "pocket", "--prompt", PROMPT, "--answer", " Mary", "--foil", " John");
  const { head, mlp, embed, bias } = split.data_vars;
  const sum = [head, mlp, embed, bias]
    .flatMap(({ data }) => [data].flat(3))
    .reduce((all, value) => all + value, 0);
  expect(sum).toBeCloseTo(split.attrs.total, 4);
  const lens = await json(
    "direct",
    "pocket",
    "--prompt",
    PROMPT,
    "--answer",
    " Mary",
    "--foil",
    " John",
    "--lens",
  );
  expect(lens.data_vars.resid_post.data[7][14]).toBeCloseTo(split.attrs.total, 4);
  expect(lens.data_vars.resid_post_top.data[7][14]).toBe(" Mary");
});

test("redundancy reads a text in stretches and replays from its directory", async () => {
  const text = join(folder, "text.txt");
  await writeFile(text, `${PROMPT} Mary. `.repeat(4));
  const found = await json(
    "redundancy",
    "pocket",
    "--text",
    text,
    "--n",
    "2",
    "--tokens",
    "12",
    "--blocks",
    "2",
  );
  expect(found.data_vars.delete.dims).toEqual(["layer"]);
  expect(found.data_vars.delete_block.dims).toEqual(["blocks", "layer"]);
  expect(found.prompts ?? found.attrs.prompts.tokens.map((ids: number[]) => ids.length)).toEqual([12, 12]);
  const out = join(folder, "run");
  const { status, stderr } = await crosspatch(
    "redundancy",
    "pocket",
    "--text",
    text,
    "--n",
    "2",
    "--tokens",
    "12",
    "--blocks",
    "2",
    "--out",
    out,
    "--quiet",
  );
  expect([status, stderr]).toEqual([0, ""]);
  const replay = await json("experiment", join(out, "experiment.json"));
  expect(replay.data_vars).toEqual(JSON.parse(await readFile(join(out, "result.json"), "utf8")).data_vars);
});

test("what is asked amiss is refused, all at once, with nothing computed", async () => {
  const noise = join(folder, "none.safetensors");
  await writeFile(noise, "nothing of the kind");
  const asked: readonly (readonly [readonly string[], readonly RegExp[]])[] = [
    [["trace", "pocket"], [/--prompt: found no prompts; wanted prompts from one place/]],
    [
      ["trace", "pocket", "--prompt", "a b"],
      [/--subject: found none; wanted the part of the prompt that is noised/],
    ],
    [
      ["trace", "pocket", "--prompt", PROMPT, "--subject", "Paris"],
      [/prompt, subject: found "Paris"; wanted a part of "When/],
    ],
    [
      ["trace", "pocket", ...FACT, "--noise", noise, "--sigma", "2"],
      [/--sigma: found --noise beside it; wanted one of the two/],
    ],
    [["trace", "pocket", ...FACT, "--noise", noise], [/none.safetensors/]],
    [
      ["trace", "pocket", ...FACT, "--site", "mlp_out", "--sever", "mlp"],
      [/--site: found "mlp_out"; wanted a state for --sever mlp/],
    ],
    [
      ["direct", "pocket", "--prompt", "a", "--facts", noise, "--lens", "--on", "corrupt"],
      [/--facts: found --prompt, --facts/, /--on: found --lens/],
    ],
    [["redundancy", "pocket"], [/--text: found none; wanted a file of running text/]],
  ];
  for (const [argv, wanted] of asked) {
    const { status, stdout, stderr } = await crosspatch(...argv, "--quiet");
    for (const pattern of wanted) expect(stderr).toMatch(pattern);
    expect([status, stdout]).toEqual([2, ""]);
  }
});
