/** @file The built executable as a process: its exit status, an interruption, a reader that leaves. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { EXAMPLE } from "./testing.ts";

const executable = fileURLToPath(new URL("../../dist/cli/bin.js", import.meta.url));

function start(argv: readonly string[]) {
  if (!existsSync(executable)) throw new Error("dist/ is missing: npm run build makes it");
  const child = spawn(process.execPath, [executable, ...argv]);
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { child, ended };
}

test("an interruption ends with status 130 and leaves no file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
  const { child, ended } = start([
    ...["patch", "pocket", "--task", "ioi", "--n", "200", "--site", "mlp_post", "--by", "layer,neuron"],
    ...["--json", join(folder, "result.json")],
  ]);
  // The plan of what takes long on any machine.
  child.stderr.once("data", () => child.kill("SIGINT"));
  expect(await ended).toBe(130);
  expect(await readdir(folder)).toEqual([]);
  await rm(folder, { recursive: true });
});

test("a reader that closes standard output is no error", async () => {
  const { child, ended } = start(["patch", "pocket", ...EXAMPLE, "--quiet"]);
  child.stdout.destroy();
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  expect(await ended).toBe(0);
  expect(stderr).toBe("");
});

test("bad input ends with status 2", async () => {
  expect(await start(["run", "pocket"]).ended).toBe(2);
});

test.each(["nothing there", "an empty folder", "a file that is no model"])(
  "a model that cannot be opened ends with status 2: %s",
  async (what) => {
    const folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
    const path = what === "an empty folder" ? folder : join(folder, "model.gguf");
    if (what === "a file that is no model") await writeFile(path, "no model");
    const { child, ended } = start(["patch", path, ...EXAMPLE]);
    child.stdout.resume();
    child.stderr.resume();
    expect(await ended).toBe(2);
    await rm(folder, { recursive: true });
  },
);

test("a refusal after the model was opened ends the process, from any folder", async () => {
  const child = spawn(process.execPath, [executable, "attribute", "pocket", ...EXAMPLE, "--by", "pos"], {
    cwd: tmpdir(),
  });
  expect(await new Promise((resolve) => child.on("close", resolve))).toBe(2);
});
