/** @file The package's worker threads: the built ones, as workers cannot run from TypeScript sources. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InputError } from "../../core/errors.ts";
import { random } from "../../core/random.ts";
import { openFile } from "./byte-source.node.ts";
import { openGguf } from "./gguf.ts";
import { openSafetensors } from "./safetensors.ts";
import type { WeightSource } from "./source.ts";
import { buildGguf, buildSafetensors, float32Bytes, tinyLlama } from "./testing.ts";
import type { Threads } from "./threads.ts";

const built = new URL("../../../dist/model/weights/threads.node.js", import.meta.url);

async function threads(): Promise<Threads> {
  if (!existsSync(built)) throw new Error("dist/ is missing: npm run build makes it");
  const { workerThreads } = (await import(built.href)) as typeof import("./threads.node.ts");
  const found = workerThreads(2);
  if (found === undefined) throw new Error("dist/ has no thread");
  return found;
}

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
  const { integer } = random(5);
  const llama = tinyLlama((length) => Uint8Array.from({ length }, () => integer(120)));
  await writeFile(join(folder, "llama.gguf"), buildGguf(llama));
  const values = Float32Array.from({ length: 20_000 }, (_, i) => i % 8191);
  const tensors = ["a", "b"].map((name) => ({
    name,
    shape: [20, 1000],
    type: "F32",
    bytes: float32Bytes(values.map((value) => (name === "a" ? value : -value))),
  }));
  await writeFile(join(folder, "two.safetensors"), buildSafetensors(tensors));
});
afterAll(() => rm(folder, { recursive: true }));

type Open = (file: string, elsewhere?: Threads) => Promise<WeightSource>;
const gguf: Open = async (file, elsewhere) => openGguf(await openFile(join(folder, file), elsewhere));
const safetensors: Open = async (file, elsewhere) =>
  openSafetensors(await openFile(join(folder, file), elsewhere));

describe.each([
  ["llama.gguf", gguf],
  ["two.safetensors", safetensors],
] as const)("%s", (file, open) => {
  test("reads and hashes in threads as it does without, bit for bit", async () => {
    const [here, there] = [await open(file), await open(file, await threads())];
    const names = [...here.tensors.keys()];
    const bits = async (source: WeightSource): Promise<unknown> =>
      [...(await source.read(names))].map(([name, { shape, data }]) => [
        name,
        shape,
        [...new Uint32Array(data.buffer)],
      ]);
    expect(await bits(there)).toEqual(await bits(here));
    expect(await there.hash()).toBe(await here.hash());
    await Promise.all([here.close(), there.close()]);
  });
});

test("memory that is handed over is used again", async () => {
  const source = await safetensors("two.safetensors", await threads());
  const first = (await source.read(["a"])).get("a")?.data ?? new Float32Array(0);
  const copy = first.slice();
  const spare = [first.buffer as ArrayBuffer];
  const second = (await source.read(["b"], spare)).get("b")?.data ?? [];
  expect(first.length).toBe(0); // handed over
  expect([...second]).toEqual([...copy].map((value) => -value));
  await source.close();
});

test("a file that is cut short is the same error in a thread as without", async () => {
  const path = join(folder, "short.safetensors");
  await writeFile(
    path,
    buildSafetensors([{ name: "a", shape: [2000], type: "F32", bytes: new Uint8Array(8000) }]),
  );
  const sources = [
    await safetensors("short.safetensors"),
    await safetensors("short.safetensors", await threads()),
  ];
  await truncate(path, 5000);
  const faults = [];
  for (const source of sources) {
    const error = await source.read(["a"]).catch((reason: unknown) => reason);
    expect((error as Error).name).toBe(new InputError([]).name);
    faults.push((error as InputError).faults);
    await source.close();
  }
  expect(faults[1]).toEqual(faults[0]);
  expect(faults[0]?.[0]).toMatchObject({ where: path, found: "5000 bytes" });
});

test("threads that were sent away for want of work are there when there is some", async () => {
  const source = await safetensors("two.safetensors", await threads());
  const before = await source.hash();
  await sleep(600);
  expect(await source.hash()).toBe(before);
  await source.close();
});

test("what is asked of a closed source is refused", async () => {
  const elsewhere = await threads();
  const source = await safetensors("two.safetensors", elsewhere);
  const running = source.read(["a", "b"]).then(
    () => "read",
    (error: Error) => error.message,
  );
  await source.close();
  expect(["read", "a thread that decodes weights has ended", "the model is closed"]).toContain(await running);
  await expect(source.read(["a"])).rejects.toThrow("the model is closed");
});

test("a process ends by itself, whether it closes the model, keeps it or lets it be collected", async () => {
  const library = new URL("../../../dist/index.js", import.meta.url).href;
  const collect = `model = undefined;
    for (let turn = 0; turn < 20; turn++) { gc(); await new Promise((done) => setTimeout(done, 20)); }`;
  const ask = `await nextTokens(model, "The capital of France is the city of");`;
  for (const rest of [`${ask} await model.close()`, ask, `${ask} ${collect}`, "// asks nothing"]) {
    const script = `import { load, nextTokens } from ${JSON.stringify(library)};
      let model = await load("pocket"${rest.startsWith(ask) ? `, { ahead: "all" }` : ""});
      ${rest}`;
    const child = spawn(process.execPath, ["--expose-gc", "--input-type=module", "-e", script], {
      cwd: fileURLToPath(new URL("../../../", import.meta.url)),
    });
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    const status = await new Promise((done) => child.on("close", done));
    expect([status, stderr]).toEqual([0, ""]);
  }
});
