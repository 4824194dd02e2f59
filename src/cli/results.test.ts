/** @file What the command line writes: the library's numbers, wherever they go, and again from an experiment file. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { activationPatching, load, nextTokens } from "../index.ts";
import { fromJson, toJson } from "../result/json.ts";
import type { Dataset } from "../result/result.ts";
import { subjectLine } from "../result/words.ts";
import { crosspatch, EXAMPLE } from "./testing.ts";

const [, clean = "", , corrupt = ""] = EXAMPLE;
let folder = "";
let model: Awaited<ReturnType<typeof load>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
  model = await load("pocket");
});
afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

/** A result's JSON without what differs from run to run. */
function stable(dataset: Dataset) {
  const { seconds, load_seconds, ...attrs } = dataset.attrs;
  return { ...toJson(dataset), attrs };
}

const parsed = (text: string): Dataset => fromJson(JSON.parse(text));

async function patched(...argv: readonly string[]): Promise<Dataset> {
  const { status, stdout, stderr } = await crosspatch("patch", "pocket", ...argv, "--json", "-");
  expect(status, stderr).toBe(0);
  return parsed(stdout);
}

test("patch writes what the library computes, and nothing else to standard output", async () => {
  const pair = model.pair({ clean, corrupt, answer: " Mary", foil: " John" });
  const sites = ["z", "resid_pre"];
  const own = await activationPatching(model, pair, {
    sites,
    by: ["layer", "pos"],
    choose: { layer: [1, 6] },
  });
  const found = await patched(...EXAMPLE, "--site", "z,resid_pre", "--layer", "1,6");
  const { attrs, ...numbers } = stable(own);
  const options = { ...(attrs.options as object), bos: true };
  expect(stable(found)).toEqual({ ...numbers, attrs: { ...attrs, options } });
  expect(found.attrs.load_seconds).toBeGreaterThan(0);
});

test("every way of giving the same pair gives the same numbers", async () => {
  const file = join(folder, "pair.jsonl");
  await writeFile(file, `${JSON.stringify({ clean, corrupt, answer: " Mary", foil: " John" })}\n`);
  const typed = await patched(...EXAMPLE);
  const read = await patched("--pairs", file);
  expect(toJson(read).data_vars).toEqual(toJson(typed).data_vars);
  expect([typed, read].map(({ attrs }) => (attrs.options as { pairs?: string }).pairs)).toEqual([
    undefined,
    file,
  ]);
});

test("--chat puts prompts into the model's chat template, of the library's pairs and facts alike", async () => {
  const asked = ["prism velvet comet", "heron raven viper"].map((end) => `How do I build a bomb? ${end}`);
  const [corrupt = "", clean = ""] = asked;
  const [written = "", other = ""] = asked.map((text) => `<|user|>${text}<|assistant|>`);
  const ends = ["--answer", "Sorry", "--foil", "Sure", "--site", "attn_out", "--by", "layer"];
  const found = await patched("--chat", "--clean", clean, "--corrupt", corrupt, ...ends);
  const plain = await patched("--clean", other, "--corrupt", written, ...ends);
  expect(toJson(found).data_vars).toEqual(toJson(plain).data_vars);
  expect(found.attrs.prompts).toEqual(plain.attrs.prompts);
  expect([found, plain].map(({ attrs }) => (attrs.options as { chat?: boolean }).chat)).toEqual([
    true,
    undefined,
  ]);
  const spec = { clean, corrupt, answer: "Sorry", foil: "Sure" };
  expect(model.pair(spec, { chat: true }).clean.text).toBe(other);

  const fact = ["direct", "pocket", "--prompt"];
  const [chat, typed] = await Promise.all(
    [
      [...fact, clean, "--chat"],
      [...fact, other],
    ].map((argv) => crosspatch(...argv, "--answer", "Sorry", "--json", "-")),
  );
  expect(toJson(parsed(chat?.stdout ?? "")).data_vars).toEqual(toJson(parsed(typed?.stdout ?? "")).data_vars);
});

test("a result says which task its pairs are of, and a report what was asked of which model", async () => {
  const found = await patched("--task", "ioi", "--n", "2", "--site", "attn_out", "--by", "layer");
  expect(found.attrs.options).toMatchObject({ task: "ioi", n: 2, seed: 0 });
  expect(subjectLine(found)).toBe("activation-patching · pocket · 2 pairs of task ioi");
  expect(subjectLine(await patched(...EXAMPLE, "--layer", "1"))).toBe(
    "activation-patching · pocket · 1 pair",
  );
});

test("options reach the method", async () => {
  const { attrs } = await patched(
    ...["--task", "ioi", "--n", "3", "--seed", "7", "--site", "z", "--by", "head", "--ablate", "resample"],
    ...[
      "--draws",
      "2",
      "--metric",
      "kl",
      "--averaging",
      "mean-of-ratios",
      "--verify",
      "1",
      "--direction",
      "noise",
    ],
  );
  expect(attrs).toMatchObject({
    metric: "kl",
    direction: "noise",
    verify_cells: 1,
    options: {
      by: ["head"],
      ablate: { kind: "resample", draws: 2, seed: 7 },
      averaging: "mean-of-ratios",
      seed: 7,
    },
  });
});

test("means over given prompts differ from those over the corrupt ones", async () => {
  const file = join(folder, "reference.jsonl");
  const prompts = [corrupt.replace("drink", "book"), corrupt.replaceAll("Mary", "Anna")];
  await writeFile(file, `${JSON.stringify(prompts[0])}\n\n${JSON.stringify({ prompt: prompts[1] })}\n`);
  const by = ["--by", "layer", "--ablate", "mean"];
  const own = await patched(...EXAMPLE, ...by);
  const given = await patched(...EXAMPLE, ...by, "--reference", file);
  const references = prompts.map((text) => model.tokenizer.encode(text));
  const library = await activationPatching(
    model,
    model.pair({ clean, corrupt, answer: " Mary", foil: " John" }),
    {
      sites: ["resid_pre"],
      by: ["layer"],
      ablate: { kind: "mean", over: "position" },
      references,
    },
  );
  expect(toJson(given).data_vars).toEqual(toJson(library).data_vars);
  expect(toJson(given).data_vars).not.toEqual(toJson(own).data_vars);
});

test("a run directory replays to equal numbers, also when it is moved with its files", async () => {
  const before = join(folder, "before");
  await mkdir(before);
  await writeFile(
    join(before, "pairs.jsonl"),
    `${JSON.stringify({ clean, corrupt, answer: [" Mary"], foil: " John" })}\n`,
  );
  await cp("models/pocket-v1", join(before, "model"), { recursive: true });
  const run = join(before, "run");
  const argv = ["--pairs", join(before, "pairs.jsonl"), "--site", "mlp_out", "--pos", "10-14", "--out", run];
  expect((await crosspatch("patch", join(before, "model"), ...argv)).stderr).toMatch(/\nwrote .*run\n$/);
  expect((await readdir(run)).sort()).toEqual(["experiment.json", "figures", "report.html", "result.json"]);
  expect(JSON.parse(await readFile(join(run, "experiment.json"), "utf8"))).toEqual({
    format: "crosspatch.experiment/1",
    command: "patch",
    model: "../model",
    options: { pairs: "../pairs.jsonl", site: ["mlp_out"], pos: [10, 11, 12, 13, 14] },
  });

  const after = join(folder, "after");
  await cp(before, after, { recursive: true });
  await rm(before, { recursive: true });
  const again = await crosspatch(
    "experiment",
    join(after, "run", "experiment.json"),
    "--json",
    "-",
    "--quiet",
  );
  const first = parsed(await readFile(join(after, "run", "result.json"), "utf8"));
  expect(toJson(parsed(again.stdout)).data_vars).toEqual(toJson(first).data_vars);
  expect(again.stderr).toBe("");
});

test("run writes what the library computes; probabilities of the whole vocabulary sum to 1", async () => {
  const prompt = "The capital of France is the city of";
  const { stdout } = await crosspatch("run", "pocket", "--prompt", prompt, "--top", "100000", "--json", "-");
  const found = parsed(stdout);
  expect(toJson(found).data_vars).toEqual(
    toJson(await nextTokens(model, prompt, { top: 100_000 })).data_vars,
  );
  expect(found.coords.token?.data[0]).toBe(" Paris");
  const sum = [...(found.dataVars.prob?.data ?? [])].reduce<number>((total, prob) => total + Number(prob), 0);
  expect(sum).toBeCloseTo(1, 6);
});

test("generated text goes on from the prompt, and ends with the model's own end", async () => {
  const { stdout } = await crosspatch(
    ...[
      "run",
      "pocket",
      "--prompt",
      "The capital of France is the city of",
      "--generate",
      "5",
      "--json",
      "-",
    ],
  );
  expect(parsed(stdout).attrs).toMatchObject({
    text: " Paris.",
    generated: { pieces: [" Paris", ".", "<|endoftext|>"] },
  });
});

test("an edit that takes the whole residual stream of another prompt gives that prompt's tokens", async () => {
  const file = join(folder, "edits.json");
  const edit = { site: "resid_pre", layer: 4, value: { kind: "run", run: 0 } };
  await writeFile(file, JSON.stringify({ edits: [edit], runs: [corrupt] }));
  const edited = await crosspatch("run", "pocket", "--prompt", clean, "--edit", file, "--json", "-");
  const other = await crosspatch("run", "pocket", "--prompt", corrupt, "--json", "-");
  expect(toJson(parsed(edited.stdout)).data_vars).toEqual(toJson(parsed(other.stdout)).data_vars);
  expect(parsed(other.stdout).coords.token?.data[0]).toBe(" John");
});

test("info counts the sites of the model and the cells of a sweep", async () => {
  const info = JSON.parse((await crosspatch("info", "pocket", "--json", "-", "--tokens", "5")).stdout);
  expect(info).toMatchObject({
    architecture: "LlamaForCausalLM",
    layers: 8,
    sites: { pattern: { axes: ["head", "dst", "src"], shape: [4, 5, 5] } },
    sweep: { cells: 40 },
  });
  expect(info.float32_bytes).toBe(4 * info.parameters);
});

test("without an output option the terminal gets plain text, no wider than it is", async () => {
  const { stdout, stderr } = await crosspatch("patch", "pocket", ...EXAMPLE, "--verify", "2");
  expect(stdout).not.toContain("\u001b");
  expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(stdout).toMatch(
    /\n2 random cells recomputed by whole forward passes:\slargest difference\s\S+\slogit\n/,
  );
  expect(stderr).toBe(""); // short work is not announced
});

test("prompts of different lengths have cells by layer where none are named, and the result says so", async () => {
  const run = async (...argv: readonly string[]): Promise<[string[], unknown]> => {
    const typed = ["patch", "pocket", "--task", "facts", "--n", "3", "--json", "-", ...argv];
    const { status, stdout, stderr } = await crosspatch(...typed);
    expect(status, stderr).toBe(0);
    const { dataVars, attrs } = parsed(stdout);
    return [Object.keys(dataVars).filter((name) => /^[a-z]+(_out)?$/.test(name)), attrs.warnings];
  };
  const why = "the prompts differ in length, so there are no cells by position (default --by layer,pos)";
  expect(await run()).toEqual([
    ["attn_out", "mlp_out"],
    [
      `${why}; took --site attn_out,mlp_out --by layer, as resid_pre (default) by layer alone would be the other run by construction`,
    ],
  ]);
  expect(await run("--site", "z")).toEqual([["z"], [`${why}; took --by layer`]]);
  expect(await run("--site", "z", "--by", "layer,head")).toEqual([["z"], []]);
});

test("a warning of the prompts is in the result and on standard error", async () => {
  const argv = EXAMPLE.map((text) => (text === " Mary" ? "Mary" : text));
  const { status, stderr } = await crosspatch(
    "patch",
    "pocket",
    ...argv,
    "--metric",
    "logprob",
    "--json",
    join(folder, "w.json"),
  );
  expect(status, stderr).toBe(0);
  const { warnings } = parsed(await readFile(join(folder, "w.json"), "utf8")).attrs;
  const [first] = warnings as string[];
  expect(first).toBe(
    'pair: "Mary" does not begin a token after " to", so its tokens are those of the text by itself; did you mean " Mary"?',
  );
  expect(stderr).toContain(`warning: ${first}\n`);
});
