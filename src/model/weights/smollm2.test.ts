import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { define } from "../families/registry.ts";
import { requireTensors } from "../store.ts";
import { openGgufFile } from "./gguf.node.ts";

interface Golden {
  readonly file: string;
  readonly sha256: string;
  readonly config: Record<string, unknown>;
  readonly tensors: Record<string, { readonly shape: readonly number[]; readonly sha256: string }>;
}
const root = new URL("../../../", import.meta.url);
const golden: Golden = JSON.parse(readFileSync(new URL("test/goldens/gguf/smollm2.json", root), "utf8"));
const models = process.env.CROSSPATCH_MODELS ?? fileURLToPath(new URL("../shared/models", root));
const path = `${models}/${golden.file}`;
const present = existsSync(path);
const reason = present ? "" : ` (not run: ${golden.file} is not in CROSSPATCH_MODELS or ../shared/models)`;

test.runIf(present)(
  `SmolLM2 reads as transformers reads it, permuted projections included${reason}`,
  async () => {
    const file = await openGgufFile(path);
    expect(file.config).toMatchObject(golden.config);
    requireTensors(define(file.config), file);
    const names = Object.keys(golden.tensors);
    const found = await file.read(names);
    const digests = names.map((name) => {
      const { shape, data } = found.get(name) ?? { shape: [], data: new Float32Array(0) };
      return [name, shape, createHash("sha256").update(new Uint8Array(data.buffer)).digest("hex")];
    });
    expect(digests).toEqual(
      names.map((name) => [name, golden.tensors[name].shape, golden.tensors[name].sha256]),
    );
    await file.close();
  },
);

test.runIf(present)(`the digest of the weights is that of the file${reason}`, async () => {
  const file = await openGgufFile(path);
  expect(await file.hash()).toBe(golden.sha256);
  await file.close();
});
