/** @file Runs with moved embeddings, against whole passes with the same addition. */
import { expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { swept } from "../../test/helpers/readings.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { random } from "../core/random.ts";
import { plainReading } from "../method/verify.ts";
import { patch } from "./edit.ts";
import type { Variant } from "./variant.ts";

const NAME = "gpt2";
const { patching } = goldenFacts(NAME);
const model = await loadGolden(NAME, referenceBackend());
const width = model.architecture.dModel;
const { normal } = random(3);
const offset = { positions: [2, 5], values: Float64Array.from({ length: 2 * width }, () => normal()) };
const runs = [
  { ids: patching.clean },
  { ids: patching.clean, offset },
  { ids: patching.clean, offset: { positions: [2, 5], values: new Float64Array(2 * width) } },
];

test("a moved run, edits of it and values taken from it are those of whole passes", async () => {
  const variants: Variant[] = [
    { run: 1, edits: [] },
    { run: 1, edits: [patch("resid_pre", 0, { run: 0, where: { pos: [2] } })] },
    { run: 1, edits: [patch("mlp_out", 0, { run: 0, where: { pos: [5] } })] },
    { run: 0, edits: [patch("resid_post", 0, { run: 1, where: { pos: [5] } })] },
  ];
  const fast = await swept(model, { runs, variants });
  for (const [index, variant] of variants.entries()) {
    const read = [{ position: patching.clean.length - 1, readout: { logits: true } }];
    const slow = await plainReading(
      model,
      { runs: runs.map((run) => ({ ...run, read })) },
      { variant, use: ([position]) => Float64Array.from(position?.logits ?? []) },
    );
    const [found] = fast.logits[index] ?? [];
    expect(Math.max(...slow.map((logit, i) => Math.abs(logit - (found?.[i] ?? Number.NaN))))).toBeLessThan(
      1e-9,
    );
  }
  expect(fast.runs[1]?.[0]).not.toEqual(fast.runs[0]?.[0]);
});

test("an offset of nothing is the run itself, and restoring every moved embedding undoes it", async () => {
  const restored = patch("resid_pre", 0, { run: 0, where: { pos: [2, 5] } });
  const { logits, runs: own } = await swept(model, { runs, variants: [{ run: 1, edits: [restored] }] });
  expect(own[2]).toEqual(own[0]);
  expect(logits[0]).toEqual(own[0]);
});
