import { expect, test } from "vitest";
import { families, golden, goldenFacts } from "../../../test/goldens/load.ts";
import { loadGolden } from "../../../test/helpers/golden-model.ts";
import { InputError } from "../../core/errors.ts";
import { unembed } from "../../run/ends.ts";
import { forward } from "../../run/forward.ts";
import { nodeBackend } from "./node.node.ts";
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

test("a device that is not there is refused by name", () => {
  expect(() => webBackend({ device: "webgpu" })).toThrow(InputError);
  expect(() => nodeBackend({ device: "cuda" as never })).not.toThrow(TypeError);
  expect(() => nodeBackend({ device: "npu" as never })).toThrow(/--device: found npu; wanted one of cpu/);
});
