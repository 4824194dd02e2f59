/** @file What a run directory that cannot be gone on with is refused with. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { experimentJson } from "../job/experiment.ts";
import { layerByHead } from "../result/fixtures.ts";
import { formatJson } from "../result/json.ts";
import { writeParquet } from "../result/parquet.node.ts";
import { takeDirectory } from "./run-directory.ts";
import { crosspatch } from "./testing.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
});
afterEach(() => rm(folder, { recursive: true }));

const experiment = { command: "patch", model: "pocket", options: { task: "ioi" } } as const;
const take = () => takeDirectory(folder, { experiment, where: "--out" });
const FIX = "Name another directory, or remove this one.";

/** The message of the refusal, the directory left out. */
async function refusal(run: () => Promise<unknown>): Promise<string> {
  const error = await run().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ name: "InputError" });
  return (error as Error).message.replaceAll(`${folder}/`, "");
}
const kept = () => refusal(async () => (await take()).keep("work"));

test("half a result: the file is named, and left as it is", async () => {
  const out = join(folder, "run");
  const argv = ["patch", "pocket", "--task", "ioi", "--n", "1", "--layer", "1", "--out", out, "--quiet"];
  expect((await crosspatch(...argv)).status).toBe(0);
  const file = join(out, "result.json");
  const half = (await readFile(file, "utf8")).slice(0, 300);
  await writeFile(file, half);
  const { status, stdout, stderr } = await crosspatch(...argv);
  expect([status, stdout]).toEqual([2, ""]);
  expect(stderr.replaceAll(out, "run")).toMatch(
    /^run\/result\.json: found what is not JSON \(.*\); wanted the result of a run\. Name another directory, or remove this one\.\n$/,
  );
  expect(await readFile(file, "utf8")).toBe(half);
});

test("a result of another form: every fault says what to do", async () => {
  await writeFile(join(folder, "result.json"), '{"attrs":{},"coords":{}}');
  expect((await kept()).split("\n")).toEqual([
    expect.stringMatching(/^result\.json\.dims: found nothing; wanted a crosspatch result .*\. Name another/),
    expect.stringMatching(/^result\.json\.data_vars: found nothing; wanted .*, or remove this one\.$/),
  ]);
  await rm(join(folder, "result.json"));
  await mkdir(join(folder, "result.json"));
  expect(await kept()).toBe(`result.json: found no file; wanted the result of a run. ${FIX}`);
});

test("a Parquet result cut off or spoilt anywhere is refused, or read where it was not", async () => {
  const file = join(folder, "result.parquet");
  await writeParquet(layerByHead(), file);
  const whole = await readFile(file);
  await writeFile(file, whole.subarray(0, whole.length / 2));
  expect(await kept()).toMatch(/^result\.parquet: found .*; wanted a Parquet file\. Name another directory/s);
  for (const at of [10, 200, whole.length / 2, whole.length - 400]) {
    const spoilt = Buffer.from(whole).fill(0x5a, at, at + 40);
    await writeFile(file, spoilt);
    expect(await kept()).toMatch(/ Name another directory, or remove this one\.$/);
  }
});

test("an experiment that cannot be read is no other experiment", async () => {
  const file = join(folder, "experiment.json");
  const whole = JSON.stringify(experimentJson(experiment));
  await writeFile(file, whole.slice(0, -2));
  expect(await refusal(take)).toMatch(
    /^experiment\.json: found what is not JSON \(.*\); wanted the experiment of a run directory\. Name another/,
  );
  const deep = "[".repeat(20_000) + "]".repeat(20_000);
  for (const other of [deep, `{"options":${deep}}`, "null", whole.replace("ioi", "facts")]) {
    await writeFile(file, other);
    expect(await refusal(take)).toBe(
      `--out: found ${folder}, a run of another experiment; wanted a new directory, or one of the same experiment. ${FIX}`,
    );
  }
  await writeFile(file, JSON.stringify(JSON.parse(whole), undefined, 4));
  await take();
});

test("a result that is there and whole is taken up by its fingerprint", async () => {
  await writeFile(join(folder, "result.json"), formatJson(layerByHead()));
  expect(await kept()).toMatch(/^--out: found .*, a run of the same options, but of other prompts/);
});
