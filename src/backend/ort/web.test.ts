import { expect, test } from "vitest";
import { families, golden, goldenFacts } from "../../../test/goldens/load.ts";
import { loadGolden } from "../../../test/helpers/golden-model.ts";
import { InputError } from "../../core/errors.ts";
import { unembed } from "../../run/ends.ts";
import { forward } from "../../run/forward.ts";
import { nodeBackend } from "./node.node.ts";
import { ortBackend } from "./ort.ts";
import { webBackend } from "./web.ts";

test.each(families().map(({ name }) => name))(
  "%s: the page's engine (WebAssembly) gives PyTorch's logits",
  async (name) => {
    const backend = webBackend();
    const model = await loadGolden(name, backend);
    const { prompts } = goldenFacts(name);
    const { residuals } = await forward(model, prompts);
    for (const [index, residual] of residuals.entries()) {
      const { logits } = await unembed(model, residual, { logits: true });
      const wanted = golden(name).get(`prompt${index}.logits`)?.data ?? new Float32Array(0);
      expect(logits?.length).toBe(wanted.length);
      const worst = wanted.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - (logits?.[i] ?? Number.NaN))),
        0,
      );
      expect(worst).toBeLessThan(5e-5);
    }
    await model.close();
  },
);

test("a device that is not there is refused by name", async () => {
  expect(() => webBackend({ device: "webgpu" })).toThrow(InputError);
  expect(() => nodeBackend({ device: "npu" as never })).toThrow(/--device: found npu; wanted one of cpu/);
});

test("a device whose libraries are missing is refused when the first program is compiled", async () => {
  const broken = {
    Tensor: {} as never,
    InferenceSession: { create: () => Promise.reject(new Error("no driver\nat line 7")) },
  };
  const backend = ortBackend({ runtime: broken, version: "", device: "cuda", writesInto: false });
  const model = await loadGolden("gpt2", backend);
  await expect(forward(model, [[1, 2]])).rejects.toThrow(
    "device: found cuda, which cannot be started here (no driver); wanted a machine with what cuda needs. Install its driver and libraries, or leave the device out to compute on the processor.",
  );
});
