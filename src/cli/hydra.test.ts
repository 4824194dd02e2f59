import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { backups, hydra, load } from "../index.ts";
import { fromJson, toJson } from "../result/json.ts";
import type { Dataset } from "../result/result.ts";
import { crosspatch } from "./testing.ts";

const prompts = [
  { prompt: "When Mary and John went to the store, John gave a drink to", answer: " Mary", foil: " John" },
  { prompt: "When Mary and John went to the store, Mary gave a drink to", answer: " John", foil: " Mary" },
];
let folder = "";
let file = "";
let model: Awaited<ReturnType<typeof load>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
  file = join(folder, "prompts.jsonl");
  await writeFile(file, prompts.map((prompt) => `${JSON.stringify(prompt)}\n`).join(""));
  model = await load("pocket");
});
afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

async function repaired(...argv: readonly string[]): Promise<Dataset> {
  const { status, stdout, stderr } = await crosspatch(
    "hydra",
    "pocket",
    "--prompts",
    file,
    ...argv,
    "--json",
    "-",
  );
  expect(status, stderr).toBe(0);
  return fromJson(JSON.parse(stdout));
}

test("hydra writes what the library computes, and its parts sum to the total", async () => {
  const own = await hydra(model, prompts, { ablation: { kind: "mean" }, clamp: true });
  const found = await repaired("--ablate", "mean", "--clamp");
  expect(toJson(found).data_vars).toEqual(toJson(own).data_vars);
  const of = (name: string, layer: number): number => Number(found.dataVars[name]?.data[layer]);
  for (const kind of ["attn", "mlp"]) {
    for (const layer of [0, 1, 2, 3, 4, 5, 6, 7]) {
      const parts = ["direct", "by_attn", "by_mlp", "norm"].map((part) => of(`${kind}_${part}`, layer));
      expect(parts.reduce((sum, part) => sum + part, 0)).toBeCloseTo(of(`${kind}_total`, layer), 4);
    }
  }
});

test("a centred logit is the logit less the mean over the vocabulary", async () => {
  await writeFile(file, prompts.map(({ prompt }) => `${JSON.stringify(prompt)}\n`).join(""));
  const centred = await repaired("--ablate", "zero", "--no-heads");
  const plain = await repaired("--ablate", "zero", "--no-heads", "--no-centred");
  expect(centred.attrs).toMatchObject({ metric: "centred_logit" });
  expect(plain.attrs).toMatchObject({ metric: "logit" });
  const runs = await Promise.all(
    prompts.map(({ prompt }) =>
      crosspatch("run", "pocket", "--prompt", prompt, "--top", "2351", "--json", "-"),
    ),
  );
  const logits = runs.map(({ stdout }) =>
    [...(fromJson(JSON.parse(stdout)).dataVars.logit?.data ?? [])].map(Number),
  );
  const over = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(plain.attrs.baseline_clean).toBeCloseTo(over(logits.map(([top = Number.NaN]) => top)), 4);
  const difference = Number(plain.attrs.baseline_clean) - Number(centred.attrs.baseline_clean);
  expect(difference).toBeCloseTo(over(logits.map(over)), 4);
});

test("--backups writes what the library computes", async () => {
  await writeFile(file, prompts.map((prompt) => `${JSON.stringify(prompt)}\n`).join(""));
  const own = await backups(model, prompts, {
    ablation: { kind: "zero" },
    rounds: 1,
    first: [{ layer: 3, head: 3 }],
  });
  const found = await repaired("--ablate", "zero", "--backups", "--rounds", "1", "--first", "3.3");
  expect(toJson(found).data_vars).toEqual(toJson(own).data_vars);
  expect(found.attrs.found).toEqual(own.attrs.found);
});

test("heads to begin with are named once each, before a model is opened", async () => {
  const { status, stderr } = await crosspatch(
    ...["hydra", "nowhere", "--task", "ioi", "--backups", "--first", "3.1,3.1"],
  );
  expect([status, stderr]).toEqual([
    2,
    '--first: found "3.1,3.1"; wanted heads such as 9.6,9.9, each once.\n',
  ]);
});

test("a line of prompts that is no JSON, and an answer that is given twice, are refused", async () => {
  const strange = join(folder, "strange.jsonl");
  const lines = ['"When Mary went to","answer":" Mary"', '{"prompt":"When","answer":" a","answer":" b"}'];
  await writeFile(strange, lines.join("\n"));
  const { status, stderr } = await crosspatch("hydra", "pocket", "--prompts", strange);
  expect(status).toBe(2);
  expect(stderr.replaceAll(strange, "f").split("\n")).toEqual([
    'f:1: found what is not JSON: "When Mary went to","answer":" Mary"; wanted a JSON string or an object such as {"prompt": "…", "answer": " …"}, one a line.',
    'f:2: found the key "answer" again in the same object; wanted each key once.',
    "",
  ]);
});
