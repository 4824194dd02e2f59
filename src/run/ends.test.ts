import { describe, expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { bothBackends } from "../../test/helpers/backends.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import type { Tensor } from "../core/tensor.ts";
import { tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { range } from "../numeric/cells.ts";
import { mean } from "../numeric/statistics.ts";
import { embed, unembed } from "./ends.ts";
import { unembeddingInputs } from "./unembedding.ts";

/** One of the ends computed from whole tables, as its program says. */
async function whole(
  model: Model,
  end: "embed" | "unembed",
  { want, inputs }: { readonly want: string; readonly inputs: Readonly<Record<string, Tensor>> },
): Promise<number[]> {
  const given = end === "embed" ? [] : ["resid_post"];
  const executable = await model.compile(model.definition[end], { given, want: [want] });
  const weights = await model.weights.get("ends");
  const all: Record<string, Tensor> = { ...weights, ...inputs };
  const used = executable.program.inputs.map(({ name }) => [name, all[name] as Tensor] as const);
  return [...((await executable.run(Object.fromEntries(used)))[want]?.data ?? [])];
}

describe.each(bothBackends())("on $name", (backend) => {
  test.each(families().map(({ name }) => name))(
    "%s: rows read by themselves give what whole tables give, bit for bit",
    async (name) => {
      const model = await loadGolden(name, backend);
      const ids = Int32Array.from(goldenFacts(name).prompts[0]);
      const positions = range(ids.length);
      const residual = await embed(model, ids, positions); // before the tables are decoded
      const columns = [7, 3, 7];
      const read = await unembed(model, residual, { columns });
      const shape = [ids.length];
      const inputs = { ids: tensor(ids, shape), positions: tensor(positions, shape) };
      expect([...residual]).toEqual(await whole(model, "embed", { want: "resid_pre", inputs }));
      const logits = await whole(model, "unembed", {
        want: "columns",
        inputs: {
          resid_post: tensor(residual, [ids.length, model.architecture.dModel]),
          columns: tensor(Int32Array.from(columns), [columns.length]),
        },
      });
      expect([...(read.columns ?? [])]).toEqual(logits);
    },
  );

  test.each(families().map(({ name }) => name))(
    "%s: the mean logit is the mean of the logits",
    async (name) => {
      const model = await loadGolden(name, backend);
      if (unembeddingInputs(model).capped) return; // then no row stands for the mean
      const [ids] = goldenFacts(name).prompts;
      const residual = await embed(model, Int32Array.from(ids), range(ids.length));
      const columns = [3, 7];
      const read = await unembed(model, residual, { columns, mean: true });
      const { logits = [], columns: alone } = await unembed(model, residual, { columns, logits: true });
      const { vocabulary } = model.architecture;
      const digits = backend.precision === "float32" ? 4 : 10;
      for (const token of ids.keys()) {
        const own = Array.from(logits.slice(token * vocabulary, (token + 1) * vocabulary));
        expect(read.mean?.[token]).toBeCloseTo(mean(own), digits);
      }
      for (const [at, value] of (alone ?? []).entries())
        expect(read.columns?.[at]).toBeCloseTo(value, digits);
    },
  );
});
