import { expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Edit, Where } from "./edit.ts";
import { forward } from "./forward.ts";

test("an index that is listed twice is edited once", async () => {
  const model = await loadGolden("llama-gqa-tied", referenceBackend());
  const [prompt] = goldenFacts("llama-gqa-tied").prompts;
  const after = async (where: Where): Promise<readonly number[]> => {
    const edit: Edit = { site: "z", layer: 0, where, action: "scale", value: { kind: "fill", value: 3 } };
    const { residuals } = await forward(model, [prompt], { edits: [[edit]] });
    return [...(residuals[0] ?? [])];
  };
  const once = await after({ pos: [2, 4], head: [1] });
  expect(await after({ pos: [2, 4, 2], head: [1, 1] })).toEqual(once);
  expect(await after({ pos: [2], head: [1] })).not.toEqual(once);
});
