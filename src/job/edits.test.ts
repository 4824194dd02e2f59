import { expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { bothBackends } from "../../test/helpers/backends.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { InputError } from "../core/errors.ts";
import type { Edit, EditValue, Where } from "../run/edit.ts";
import { forward } from "../run/forward.ts";
import { type EditOn, generate } from "../run/generate.ts";
import type { SiteName } from "../run/site.ts";
import { siteShape } from "../run/site.ts";
import { checkEdits, readEdits } from "./edits.ts";

const [reference] = bothBackends();
const model = await loadGolden("gemma2", reference as NonNullable<typeof reference>);
const [, prompt] = goldenFacts("gemma2").prompts;

function refusal(of: () => void): string[] {
  try {
    of();
  } catch (error) {
    if (error instanceof InputError) return error.message.split("\n");
    throw error;
  }
  return [];
}

test("every fault of an edit file is named with its place, what was found and what was wanted", () => {
  const text = (value: unknown): string => JSON.stringify(value);
  const edits = [
    { site: "z", layer: 0, value: { kind: "fill", value: "0" } },
    { site: "zz", layer: -1, where: { head: [0, "1"] }, value: { kind: "mean" } },
    { site: "z", layers: [0], layer: 0, value: { kind: "fill", value: 1, run: 0 } },
  ];
  const message = refusal(() => readEdits(text({ edits, runs: [""], run: 1 }), "e.json"));
  // The names of all sites are in the message of the second.
  expect(message[1]).toMatch(/^e.json, edits 1, site: found "zz"; wanted one of "resid_pre", /);
  expect(message.toSpliced(1, 1)).toEqual([
    'e.json, edits 0, value.value: found "0"; wanted a number.',
    "e.json, edits 1, layer: found -1; wanted at least 0.",
    'e.json, edits 1, where.head.1: found "1"; wanted a number.',
    'e.json, edits 1, value.kind: found "mean"; wanted one of "run", "fill", "given".',
    'e.json, edits 2, value: found the unknown key "run"; wanted only known ones.',
    'e.json, edits 2: found the unknown key "layers"; wanted only known ones.',
    'e.json, runs 0: found ""; wanted at least 1 characters.',
    'e.json: found the unknown key "run"; wanted only known ones.',
  ]);
  const whole = 'wanted an edit file, {"edits": […], "runs": ["…"]}.';
  expect(refusal(() => readEdits("[]", "e.json"))).toEqual([`e.json: found []; ${whole}`]);
  expect(refusal(() => readEdits(text({ edits: [] }), "e.json"))).toEqual([
    "e.json, edits: found []; wanted at least 1 elements.",
  ]);
  const twice = '{"edits":[{"site":"z","layer":0,\n"layer":1,"value":{"kind":"fill","value":0}}]}';
  expect(refusal(() => readEdits(twice, "e.json"))).toEqual([
    'e.json:2: found the key "layer" again in the same object; wanted each key once.',
  ]);
});

const edit = (site: SiteName, where: Where, value: EditValue): Edit => ({
  site,
  layer: 0,
  where,
  action: "replace",
  value,
});

test("edits on every step are refused exactly where a generation would find a value missing", async () => {
  const tokens = 3;
  const { length } = prompt;
  const lengths = [length - 1, length, length + tokens - 2, length + tokens - 1, length + tokens];
  const sites: readonly SiteName[] = ["z", "keys", "queries", "pattern"];
  const sources = lengths.map((size) => [...prompt, ...prompt].slice(0, size));
  const capture = sites.map((site) => ({ site, layers: [0] }));
  const { caches } = await forward(model, sources, { capture });
  for (const site of sites) {
    for (const editOn of ["prefill", "every-step"] satisfies EditOn[]) {
      for (const [run, size] of lengths.entries()) {
        const edits = [edit(site, {}, { kind: "run", run })];
        const refused = refusal(() =>
          checkEdits(edits, model, {
            where: "e.json",
            prompt: length,
            runs: lengths,
            generated: { tokens, editOn },
          }),
        );
        const done: number[] = [];
        const generated = generate(model, prompt, {
          tokens,
          stopIds: [],
          edits,
          editOn,
          runs: caches,
          onToken: (id) => done.push(id),
        });
        const least = editOn === "prefill" ? length : length + tokens - 1;
        if (size < least) {
          await expect(generated).rejects.toThrow(RangeError);
          expect(done).toEqual([]);
        } else await generated;
        // A prompt's own positions are paired with those of a run of the same length alone.
        const fits = editOn === "prefill" ? size === length : size >= least;
        expect(refused.length, `${site} ${editOn} ${size}`).toBe(fits ? 0 : 1);
      }
    }
  }
});

test("on every step a run or given numbers have to be as long as what goes through the model", () => {
  const [long, short] = [prompt.length + 4, prompt.length];
  const given = (size: number): Edit => {
    const shape = siteShape("z", model.architecture, size);
    const data = new Float64Array(shape.reduce((product, axis) => product * axis, 1));
    return edit("z", {}, { kind: "given", shape, data });
  };
  const one = edit("z", { pos: [2] }, { kind: "run", run: 0 });
  const edits = [edit("z", {}, { kind: "run", run: 0 }), one, given(short), given(long)];
  const check = (editOn: EditOn): string[] =>
    refusal(() =>
      checkEdits(edits, model, {
        where: "e.json",
        prompt: short,
        runs: [short],
        generated: { tokens: 5, editOn },
      }),
    );
  const { heads, dHead } = model.architecture;
  const shapeOf = (size: number): string => `[${size}, ${heads}, ${dHead}]`;
  const serves = "or 1 along an axis that one value serves";
  expect(check("every-step")).toEqual([
    `e.json, edits 0, value.run: found a run of ${short} tokens; wanted at least ${long}: every-step takes a ` +
      "value for each position, and 5 tokens are generated. Name positions, or edit the prompt alone.",
    `e.json, edits 2, value.shape: found ${shapeOf(short)}; wanted ${shapeOf(long)}, ${serves}.`,
  ]);
  expect(check("prefill")).toEqual([
    `e.json, edits 3, value.shape: found ${shapeOf(long)}; wanted ${shapeOf(short)}, ${serves}.`,
  ]);
});
