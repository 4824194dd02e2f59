import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { load, mcq } from "../index.ts";
import { at } from "../result/cells.ts";
import { fromJson, toJson } from "../result/json.ts";
import { crosspatch } from "./testing.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("mcq of a few of pocket's questions: shares sum to the metric, what is written is what is shown", async () => {
  const [json, svg] = [join(folder, "mcq.json"), join(folder, "mcq.svg")];
  const { status, stdout, stderr } = await crosspatch(
    ...["mcq", "pocket", "--n", "8", "--draws", "1", "--max-rank", "2", "--quiet"],
    ...["--json", json, "--svg", svg, "--show"],
  );
  expect(status, stderr).toBe(0);
  const found = fromJson(JSON.parse(await readFile(json, "utf8")));
  const model = await load("pocket");
  const own = await mcq(model, { n: 8 }, { draws: 1, maxRank: 2 });
  await model.close();
  expect(toJson(found).data_vars).toEqual(toJson(own).data_vars);
  const metric = at(found, "logit_diff", {}).value;
  expect(found.attrs.baseline_clean).toBeCloseTo(metric, 6);
  const sum = (name: string): number =>
    Array.from(found.dataVars[name]?.data ?? [], Number).reduce((all, value) => all + value, 0);
  const shares = ["share_head", "share_mlp", "share_embed", "share_bias"].reduce(
    (all, name) => all + sum(name),
    0,
  );
  expect(Math.abs(shares - metric)).toBeLessThan(1e-4);
  expect(sum("total_head")).toBeCloseTo(sum("direct_head") + sum("indirect_head"), 9);
  // The whole rank is no cut.
  expect(Math.abs(at(found, "rank_loss_change", { cut: "qkv", rank: 32 }).value)).toBeLessThan(1e-4);
  const shown = /right letter − mean of others \(logit\) +(\S+) \[/.exec(stdout)?.[1];
  expect(shown).toBe(String(Number(metric.toFixed(2))));
  for (const line of found.attrs.verdict as readonly string[])
    expect(stdout.replace(/\s+/g, " ")).toContain(`- ${line}`);
  const figure = await readFile(svg, "utf8");
  for (const title of ["2. share of the metric", "6. rise of the loss", "7. answers"])
    expect(figure).toContain(title);
}, 60_000);

test("a file of questions is asked as it is written; what is wrong is said at once, and nothing written", async () => {
  const file = join(folder, "questions.json");
  const out = join(folder, "none.json");
  const question = { question: "Which?", options: { E: "Paris", B: "Rome" }, answer: "B" };
  await writeFile(file, JSON.stringify({ questions: [question, question] }));
  const run = (...argv: readonly string[]) =>
    crosspatch("mcq", "pocket", "--questions", file, "--json", out, "--quiet", ...argv);
  const long = await run();
  expect(long.status).toBe(2);
  expect(long.stderr).toBe(
    `${file}, questions[0], options: found labels "E" as an answer [" " "E"], and so in 1 more question; wanted labels that are one token as an answer.\n`,
  );
  const options = await run("--heads", "7", "--keep", "1", "--metric", "prob");
  expect(options.status).toBe(2);
  expect(options.stderr).toBe(
    [
      '--metric: found "prob"; wanted one of logit_diff, loss.',
      '--keep: found "1"; wanted a number of at least 0 and below 1.',
      '--heads: found "7"; wanted heads such as 9.6,9.9, each once.\n',
    ].join("\n"),
  );
  expect((await run("--n", "3")).stderr).toContain(
    `--n: found 3; wanted at most 2, the questions of ${file}.`,
  );
  await expect(readFile(out)).rejects.toThrow(/ENOENT/);
});
