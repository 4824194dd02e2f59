/** @file What the command line refuses, by the text that a user reads; nothing may be written. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { crosspatch, EXAMPLE } from "./testing.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** The message of a refusal, having made sure that it is one. */
async function refusal(...argv: readonly string[]): Promise<string> {
  const before = await readdir(folder);
  const { status, stdout, stderr } = await crosspatch(...argv);
  expect({ status, stdout, files: await readdir(folder) }).toEqual({ status: 2, stdout: "", files: before });
  return stderr;
}

test("a model that does not exist", async () => {
  expect(await refusal("patch", "nowhere.gguf", ...EXAMPLE, "--json", join(folder, "r.json"))).toBe(
    'model: found "nowhere.gguf", which does not exist; wanted a .gguf file, a directory with config.json and safetensors, hf:owner/name, or one of pocket, pocket-v1, pocket-aligned.\n',
  );
});

test("a model's name or a task's mistyped", async () => {
  expect(await refusal("patch", "poket", "--task", "ioi")).toMatch(
    /^model: found "poket", which does not exist; wanted .* pocket-aligned\. Did you mean "pocket"\?\n$/,
  );
  expect(await refusal("patch", "pocket", "--task", "iio")).toMatch(
    /^--task: found "iio"; wanted one of ioi, .*\. Did you mean "ioi"\?\n$/,
  );
});

test("an unknown site and prompts of different length, both at once", async () => {
  const pair = [
    "--clean",
    "When Mary went to the park",
    "--corrupt",
    "When Mary and John went to the park",
    "--answer",
    " and",
  ];
  const message = await refusal(
    "patch",
    "pocket",
    ...pair,
    "--site",
    "resid_pree",
    "--out",
    join(folder, "run"),
  );
  expect(message.split("\n")).toEqual([
    "pair: found 7 tokens in clean, 9 in corrupt; wanted the same number, token below token. Reword one of them:",
    "    clean   |<|begin|>|When| Mary|    |     | went| to| the| park|",
    "    corrupt |<|begin|>|When| Mary| and| John| went| to| the| park|",
    expect.stringMatching(/^--site: found "resid_pree"; wanted one of resid_pre, q_in, .*, resid_post\.$/),
    "",
  ]);
});

test("an unknown dim, and one that the site does not have", async () => {
  expect(await refusal("patch", "pocket", ...EXAMPLE, "--by", "layr,pos")).toBe(
    '--by: found "layr"; wanted some of layer, pos, head, kv_head, neuron, dst, src.\n',
  );
  expect(await refusal("patch", "pocket", ...EXAMPLE, "--by", "layer,head")).toBe(
    "--by: found head for resid_pre; wanted dims of the site: layer, pos.\n",
  );
});

test("names that no model has come with the other options' faults, each list once", async () => {
  const names = ["--site", "z,resid_pr,foo,blocks.3.attn.hook_q", "--by", "laier,pos,heads"];
  const message = await refusal("patch", "pocket", "--task", "ioi", "--metric", "foo", ...names);
  expect(message.split("\n")).toEqual([
    '--metric: found "foo"; wanted one of logit_diff, logprob, prob, kl, kl_reverse, loss.',
    expect.stringMatching(/^--site: found "resid_pr", "foo"; wanted one of resid_pre, .*, resid_post\.$/),
    '--by: found "laier", "heads"; wanted some of layer, pos, head, kv_head, neuron, dst, src.',
    "",
  ]);
  const labels = ["--layer", "99", "--head", "9"];
  expect((await refusal("patch", "pocket", "--task", "ioi", ...names, ...labels)).split("\n")).toEqual([
    expect.stringMatching(/^--site: found "resid_pr", "foo"; wanted one of resid_pre, .*, resid_post\.$/),
    '--by: found "laier", "heads"; wanted some of layer, pos, head, kv_head, neuron, dst, src.',
    "--layer: found 99; wanted 0 to 7.",
    "--head: found 9; wanted 0 to 3.",
    "--layer: found blocks.3.attn.hook_q, which names its layer; wanted one of the two.",
    "",
  ]);
});

test("prompts of different lengths, where cells by position or of the whole stream are all there is", async () => {
  const typed = ["patch", "pocket", "--task", "facts", "--n", "5"];
  expect(await refusal(...typed, "--site", "attn_out,mlp_out", "--by", "pos")).toBe(
    "--by: found pos over prompts of different lengths; wanted prompts with the same number of tokens. Leave the position out of --by, or use prompts of one length.\n",
  );
  const wanted =
    "--by: found none, and its default, layer,pos, over prompts of different lengths; wanted prompts with the same number of tokens. Give cells without a position, such as --site attn_out,mlp_out --by layer, or use prompts of one length.\n";
  expect(await refusal(...typed, "--site", "attn_out,resid_post")).toBe(wanted);
  expect(await refusal(...typed, "--pos", "2")).toBe(wanted);
});

test("layers that are no range where one is run backwards; a prompt too long to plan for", async () => {
  expect(await refusal("redundancy", "pocket", "--middle", "2,5")).toContain(
    '--middle: found "2,5"; wanted one range of layers, such as 8-21.\n',
  );
  expect(await refusal("info", "pocket", "--tokens", "1000000")).toBe(
    '--tokens: found "1000000"; wanted a whole number from 1 to 8192.\n',
  );
});

test("a task's prompts have their form already", async () => {
  expect(await refusal("patch", "pocket", "--task", "ioi", "--chat")).toBe(
    "--chat: found --task, whose prompts have a form of their own; wanted one of the two.\n",
  );
});

test("labels outside the prompt", async () => {
  expect(await refusal("patch", "pocket", ...EXAMPLE, "--pos", "14-16")).toBe(
    "--pos: found 15, 16; wanted 0 to 14.\n",
  );
});

test("every fault of every option at once, files included", async () => {
  const file = join(folder, "taken");
  await writeFile(file, "");
  const message = await refusal(
    "patch",
    "pocket",
    ...["--pairs", join(folder, "pairs.jsonl"), "--clean", "When", "--n", "x", "--layer", "9-3"],
    ...[
      "--metric",
      "logit",
      "--memory",
      "4 apples",
      "--mean",
      "all",
      "--json",
      join(file, "r.json"),
      "--out",
      file,
    ],
  );
  expect(message.replaceAll(folder, "…").split("\n")).toEqual([
    '--n: found "x"; wanted a whole number from 1 to 100000.',
    '--layer: found "9-3"; wanted whole numbers and ranges, each number once, as in 3,7-9.',
    '--metric: found "logit"; wanted one of logit_diff, logprob, prob, kl, kl_reverse, loss.',
    '--memory: found "4 apples"; wanted a size such as 4GB or 512MiB, at least 1MB.',
    "--pairs: found --clean and --corrupt, --pairs; wanted prompts from one of --clean and --corrupt, --pairs FILE, --task NAME.",
    "--mean: found --ablate source; wanted --ablate mean with it.",
    '--pairs: found "…/pairs.jsonl", which does not exist; wanted a file.',
    "--json: found …/taken, a file; wanted a directory to write into.",
    "--out: found …/taken, a file; wanted a directory, which is made if need be.",
    "",
  ]);
});

test("options and commands that do not exist, with a suggestion", async () => {
  expect(await refusal("patch", "pocket", "--sites", "z")).toBe(
    "error: unknown option '--sites'\n(Did you mean --site?)\n(crosspatch patch --help lists the options)\n",
  );
  expect(await refusal("pach", "pocket")).toMatch(/^error: unknown command 'pach'\n\(Did you mean patch\?\)/);
});

test("missing arguments and prompts", async () => {
  expect(await refusal("patch")).toMatch(/^error: missing required argument 'model'\n/);
  expect(await refusal("patch", "pocket", "--by")).toMatch(/^error: option '--by <dims>' argument missing\n/);
  expect(await refusal("run", "pocket", "--temperature", "1")).toBe(
    "--temperature: found no --generate; wanted --generate with it.\n--prompt: found none; wanted a text. Give --prompt TEXT.\n",
  );
  expect(await refusal("patch", "pocket")).toBe(
    "--clean: found no prompts; wanted prompts from one of --clean and --corrupt, --pairs FILE, --task NAME.\n",
  );
});

test("bad lines of a file of pairs, and an answer of several tokens", async () => {
  const file = join(folder, "pairs.jsonl");
  await writeFile(file, '{"clean": "John"}\nnonsense\n');
  expect((await refusal("patch", "pocket", "--pairs", file)).replaceAll(file, "pairs.jsonl")).toBe(
    "pairs.jsonl:1, corrupt: found nothing; wanted a non-empty string.\npairs.jsonl:2: found what is not JSON: nonsense; wanted one JSON object a line.\n",
  );
  const twoNames = EXAMPLE.map((text) => (text === " Mary" ? " Mary John" : text));
  expect(await refusal("patch", "pocket", ...twoNames)).toBe(
    'pair, answer: found " Mary John", 2 tokens: [" Mary" " John"]; wanted one token for the metric logit_diff. Choose a text of one token, or use the metric logprob, prob or loss.\n',
  );
});

test("an experiment with every kind of fault", async () => {
  const file = join(folder, "e.json");
  const options = { by: 3, sites: "z", pairs: "pairs.jsonl" };
  await writeFile(
    file,
    JSON.stringify({ format: "x", command: "patch", model: "pocket", options, extra: 1 }),
  );
  expect((await refusal("experiment", file)).replaceAll(folder, "…").split("\n")).toEqual([
    "…/e.json, extra: found an unknown key; wanted only format, command, model, options.",
    '…/e.json, format: found "x"; wanted "crosspatch.experiment/1".',
    "…/e.json, options.by: found 3; wanted names separated by commas.",
    expect.stringMatching(/^…\/e\.json, options\.sites: found an unknown option; wanted one of clean, /),
    '…/e.json, options.pairs: found "…/pairs.jsonl", which does not exist; wanted a file.',
    "",
  ]);
});

test("an experiment that gives a key twice", async () => {
  const file = join(folder, "twice.json");
  await writeFile(
    file,
    '{"format":"crosspatch.experiment/1","command":"info",\n"model":"pocket","model":"x"}',
  );
  expect((await refusal("experiment", file)).replaceAll(folder, "…")).toBe(
    '…/twice.json:2: found the key "model" again in the same object; wanted each key once.\n',
  );
});

test("edits that do not fit the model", async () => {
  const file = join(folder, "edits.json");
  const value = { kind: "fill", value: 0 };
  const edits = [
    { site: "z", layer: 9, where: { head: [4], neuron: [0] }, value },
    { site: "resid_pre", layer: 0, value: { kind: "run", run: 0 } },
    { site: "mlp_out", layer: 0, value: { kind: "given", shape: [1, 3], data: [1, 2] } },
  ];
  await writeFile(file, JSON.stringify({ edits, runs: ["When Mary"] }));
  const message = await refusal("run", "pocket", "--prompt", "When John went to", "--edit", file);
  expect(message.replaceAll(file, "edits.json").split("\n")).toEqual([
    "edits.json, edits 0: found layer 9; wanted 0 to 7.",
    "edits.json, edits 0, where.head: found 4; wanted 0 to 3.",
    "edits.json, edits 0: found where.neuron; wanted axes of z: pos, head, d_head.",
    "edits.json, edits 1, value.run: found a run of 3 tokens; wanted the same number as the prompt, 5, or positions that both have.",
    "edits.json, edits 2, value.shape: found [1, 3]; wanted [5, 128], or 1 along an axis that one value serves.",
    "edits.json, edits 2, value.data: found 2 numbers; wanted 3.",
    "",
  ]);
});

test("attribution: faults of prompts, sites, dims and metric at once", async () => {
  const prompts = ["--clean", "When Mary went", "--corrupt", "When Mary and John went", "--answer", " a"];
  const message = await refusal(
    ...["attribute", "pocket", ...prompts, "--by", "layer,head", "--layer", "77", "--site", "q,z"],
    ...["--metric", "kl", "--direction", "noise", "--json", join(folder, "r.json")],
  );
  expect(message.split("\n")).toEqual([
    "pair: found 4 tokens in clean, 6 in corrupt; wanted the same number, token below token. Reword one of them:",
    "    clean   |<|begin|>|When| Mary|    |     | went|",
    "    corrupt |<|begin|>|When| Mary| and| John| went|",
    expect.stringMatching(/^--metric: found kl with --direction noise; wanted a metric whose gradient/),
    "--layer: found 77; wanted 0 to 7.",
    "",
  ]);
  expect(await refusal("attribute", "pocket", ...EXAMPLE, "--by", "pos")).toBe(
    "--by: found no layer for q, k, v, z; wanted layer among the dims. Add layer.\n",
  );
  expect(await refusal("attribute", "pocket", ...EXAMPLE, "--by", "layer,pos", "--pos", "15")).toBe(
    "--pos: found 15; wanted 0 to 14.\n",
  );
});

test("attribution: every fault of its own options at once", async () => {
  const message = await refusal(
    ...[
      "attribute",
      "pocket",
      ...EXAMPLE,
      "--method",
      "atp",
      "--no-qk-fix",
      "--steps",
      "0",
      "--rule",
      "paper",
    ],
    ...[
      "--confidence",
      "1",
      "--samples",
      "-1",
      "--recall",
      "--verify-top",
      "0",
      "--out",
      join(folder, "run"),
    ],
  );
  expect(message.split("\n")).toEqual([
    '--steps: found "0"; wanted a whole number from 1 to 10000.',
    '--samples: found "-1"; wanted a whole number from 0 to 10000.',
    '--confidence: found "1"; wanted a number of at least 0.5 and below 1.',
    "--qk-fix: found --method atp; wanted --method atp-star with it.",
    "--rule: found --method atp; wanted --method ig with it.",
    "--verify-top: found 0 with --recall; wanted at least 1 cell to find.",
    "--method: found --recall; wanted one of the two: --recall has every method.",
    "",
  ]);
});
