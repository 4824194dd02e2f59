import { expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { InputError } from "../core/errors.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Dataset } from "../result/result.ts";
import type { Edit } from "../run/edit.ts";
import { patch } from "../run/edit.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import type { SiteName } from "../run/site.ts";
import type { PatchingOptions } from "./activation-patching.ts";
import { activationPatching } from "./activation-patching.ts";

const NAME = "llama-gqa-tied";
const { patching } = goldenFacts(NAME);
const model = await loadGolden(NAME, referenceBackend());
const LAYERS = model.architecture.layers.length;

const tokens = (ids: readonly number[], text: string): Pair["clean"] => ({
  text,
  ids,
  pieces: ids.map((id) => `<${id}>`),
});

function pairOf(clean: readonly number[], corrupt: readonly number[], id = "0"): Pair {
  return {
    id,
    where: `pair ${id}`,
    clean: tokens(clean, "clean"),
    corrupt: tokens(corrupt, "corrupt"),
    answers: [tokens([patching.answer], "answer")],
    foils: [tokens([patching.foil], "foil")],
    differing: clean.flatMap((token, position) => (token === corrupt[position] ? [] : [position])),
  };
}
const pair = pairOf(patching.clean, patching.corrupt);
const swapped = pairOf(patching.corrupt, patching.clean, "1");

/** The logit difference of one whole pass with edits, on the corrupt prompt unless told otherwise. */
async function whole(
  edits: readonly Edit[],
  base = patching.corrupt,
  source = patching.clean,
): Promise<number> {
  const capture = edits.map(({ site, layer }) => ({ site, layers: [layer] }));
  const { caches } = await forward(model, [source], { capture });
  const { residuals } = await forward(model, [base], { edits: [edits], runs: caches });
  const last = residuals[0]?.slice(-model.architecture.dModel) ?? new Float64Array(0);
  const { columns } = await unembed(model, last, { columns: [patching.answer, patching.foil] });
  return (columns?.[0] ?? Number.NaN) - (columns?.[1] ?? Number.NaN);
}

const run = (options: PatchingOptions, pairs: readonly Pair[] = [pair]): Promise<Dataset> =>
  activationPatching(model, pairs, { verify: 0, ...options });
const values = (result: Dataset, name: string): number[] =>
  [...(result.dataVars[name]?.data ?? [])].map(Number);
const heads = [...Array(model.architecture.heads).keys()];
const everyLayer = [...Array(LAYERS).keys()];
const close = (found: readonly number[], wanted: readonly number[]): void => {
  expect(found.length).toBe(wanted.length);
  found.forEach((value, i) => {
    expect(Math.abs(value - (wanted[i] ?? Number.NaN))).toBeLessThan(1e-9);
  });
};

test("distances from the clean run are from it also where no value of it is put in", async () => {
  const { attrs, dataVars } = await run(
    {
      sites: ["z"],
      by: ["layer", "head"],
      direction: "denoise",
      ablate: { kind: "zero" },
      metric: "kl",
      verify: 12,
    },
    [pair, swapped],
  );
  expect(attrs.verify_max_abs_diff).toBeLessThan(1e-9);
  for (const distance of dataVars.z?.data ?? []) expect(distance).toBeGreaterThan(1e-3);
});

test("--layer without layer in --by patches those layers, and no others", async () => {
  const wanted: number[] = [];
  for (const head of heads) wanted.push(await whole([patch("z", 1, { run: 0, where: { head: [head] } })]));
  close(values(await run({ sites: ["z"], by: ["head"], choose: { layer: [1] } }), "z"), wanted);
});

test("a site that names its layer is patched there alone, also beside others", async () => {
  const single = await run({ sites: ["blocks.1.attn.hook_z"], by: ["head"] });
  close(values(single, "z"), values(await run({ sites: ["z"], by: ["head"], choose: { layer: [1] } }), "z"));
  const joint = await run({
    sites: ["blocks.0.hook_attn_out", "blocks.1.hook_mlp_out"],
    by: ["pos"],
    joint: true,
  });
  const wanted: number[] = [];
  for (const pos of patching.clean.keys()) {
    const at = (site: SiteName, layer: number): Edit => patch(site, layer, { run: 0, where: { pos: [pos] } });
    wanted.push(await whole([at("attn_out", 0), at("mlp_out", 1)]));
  }
  close(values(joint, "attn_out+mlp_out"), wanted);
});

test("without layer in --by and --layer, a cell spans all layers", async () => {
  const wanted = await whole(everyLayer.map((layer) => patch("mlp_out", layer, { run: 0 })));
  close(values(await run({ sites: ["mlp_out"], by: [] }), "mlp_out"), [wanted]);
});

test("zero, mean and resample ablation are what their definitions say", async () => {
  const zero = await run({ sites: ["attn_out"], by: ["layer"], ablate: { kind: "zero" } });
  const byHand: number[] = [];
  for (const layer of everyLayer) {
    byHand.push(
      await whole(
        [{ site: "attn_out", layer, where: {}, action: "replace", value: { kind: "fill", value: 0 } }],
        patching.clean,
      ),
    );
  }
  close(values(zero, "attn_out"), byHand);
  expect(zero.attrs.direction).toBe("noise");

  const others = [patching.corrupt, patching.corrupt.map((id) => (id + 1) % model.architecture.vocabulary)];
  const mean = await run({
    sites: ["attn_out"],
    by: ["layer"],
    ablate: { kind: "mean", over: "position" },
    references: others,
  });
  const captured = (await forward(model, others, { capture: [{ site: "attn_out" }] })).caches;
  const means: number[] = [];
  for (const layer of everyLayer) {
    const [a, b] = captured.map((cache) => cache.get("attn_out", layer));
    const data = [...(a?.data ?? [])].map((value, i) => (value + (b?.data[i] ?? Number.NaN)) / 2);
    means.push(
      await whole(
        [
          {
            site: "attn_out",
            layer,
            where: {},
            action: "replace",
            value: { kind: "given", shape: a?.shape ?? [], data },
          },
        ],
        patching.clean,
      ),
    );
  }
  close(values(mean, "attn_out"), means);

  // One other prompt to draw from: every draw is that prompt, and the average of equal effects is the effect.
  const resample = await run({
    sites: ["attn_out"],
    by: ["layer"],
    ablate: { kind: "resample", draws: 3, seed: 5 },
    references: [patching.corrupt],
  });
  const noise = await run({ sites: ["attn_out"], by: ["layer"], direction: "noise" });
  close(values(resample, "attn_out"), values(noise, "attn_out"));
});

test("several pairs: means, effects and scores of the pairs, which are given one by one", async () => {
  const options: PatchingOptions = {
    sites: ["resid_pre"],
    by: ["layer", "pos"],
    perPair: true,
    normalize: false,
  };
  const both = await run(options, [pair, swapped]);
  const [alone, other] = [await run(options, [pair]), await run(options, [swapped])];
  const [first, second] = [values(alone, "resid_pre"), values(other, "resid_pre")];
  close(values(both, "resid_pre_per_pair"), [...first, ...second]);
  close(
    values(both, "resid_pre"),
    first.map((value, i) => (value + (second[i] ?? 0)) / 2),
  );
  // A quarter of all resamples of two are one of them twice: intervals reach from the lesser to the greater.
  for (const name of ["resid_pre", "resid_pre_effect"]) {
    const [ofFirst, ofSecond] = [values(alone, name), values(other, name)];
    for (const [end, pick] of [["low", Math.min] as const, ["high", Math.max] as const]) {
      close(
        values(both, `${name}_ci_${end}`),
        ofFirst.map((value, i) => pick(value, ofSecond[i] ?? Number.NaN)),
      );
    }
  }
});

test("cells that can only be the other run are said to be", async () => {
  const warned = async (options: Partial<PatchingOptions>, pairs = [pair]): Promise<unknown> =>
    (await run({ sites: ["resid_pre"], by: ["layer"], normalize: false, ...options }, pairs)).attrs.warnings;
  const said = (site: string, which: string): string =>
    `${site} by layer alone replaces the whole stream: every cell is the ${which} run by construction; add pos to --by, or take attn_out, mlp_out or z`;
  const plain = await warned({ sites: ["attn_out"] }); // of the baselines alone
  expect(plain).not.toContainEqual(expect.stringContaining("by construction"));
  const others = plain as string[];
  expect(await warned({})).toEqual([...others, said("resid_pre", "clean")]);
  expect(await warned({ sites: ["z", "resid_post"], direction: "noise", metric: "loss" })).toContainEqual(
    said("resid_post", "corrupt"),
  );
  expect(await warned({ sites: ["attn_out", "resid_mid"], joint: true })).toEqual([
    ...others,
    said("attn_out+resid_mid", "clean"),
  ]);
  const result = await run({ sites: ["attn_out", "resid_mid"], by: ["layer"], joint: true });
  close(
    values(result, "attn_out+resid_mid"),
    everyLayer.map(() => Number(result.attrs.baseline_clean)),
  );
  // Not where positions are told apart or restricted, nor where something else is put in.
  expect(await warned({ by: ["layer", "pos"] })).toEqual(others);
  expect(await warned({ choose: { pos: [1] } })).toEqual(others);
  expect(await warned({ sites: ["attn_out", "mlp_out"], joint: true })).toEqual(others);
  expect(await warned({ ablate: { kind: "zero" }, direction: "denoise" })).toEqual(others);
  const longer = pairOf([...patching.clean, 1], [...patching.corrupt, 1], "2");
  expect(await warned({}, [pair, longer])).toContainEqual(
    "resid_pre by layer alone replaces the whole stream: every cell is the clean run by construction; take attn_out, mlp_out or z",
  );
  await expect(warned({ choose: { pos: [patching.clean.length] } }, [pair, longer])).rejects.toThrow(
    `wanted 0 to ${patching.clean.length - 1}, as the shortest prompt has`,
  );
});

test("scores are 0 at the corrupt run and 1 at the clean run", async () => {
  const result = await run({ sites: ["resid_pre"], by: ["layer"], choose: { layer: [0] } });
  close(values(result, "resid_pre"), [Number(result.attrs.baseline_clean)]);
  close(values(result, "resid_pre_normalized"), [1]);
  const untouched = await run({
    sites: ["resid_pre"],
    by: ["layer", "pos"],
    choose: { layer: [0], pos: [pair.differing[0] === 0 ? 1 : 0] },
  });
  if (pair.differing[0] !== 0) close(values(untouched, "resid_pre_normalized"), [0]);
});

test("what cannot be patched is refused, all faults at once", async () => {
  const refused = await run({ sites: ["zz", "blocks.9.attn.hook_z"], by: ["colour"] }).catch(
    (error: unknown) => error,
  );
  expect(refused).toBeInstanceOf(InputError);
  expect((refused as InputError).faults.map(({ where, found }) => `${where}: ${found}`)).toEqual([
    '--site: "zz"',
    '--by: "colour"',
    "--site: layer 9",
  ]);
  const also = await run({
    sites: ["zz", "z", "yy", "q"],
    by: ["colour", "layer", "neuron"],
    choose: { layer: [7, 9], head: [8] },
  }).catch((error: unknown) => error);
  expect((also as InputError).faults.map(({ where, found }) => `${where}: ${found}`)).toEqual([
    '--site: "zz", "yy"',
    '--by: "colour"',
    "--by: neuron for z, neuron for q",
    "--layer: 7, 9",
    "--head: 8",
  ]);
  await expect(run({ sites: ["zz"], by: ["layer"], choose: { layer: [7] } })).rejects.toThrow(
    /--site: found "zz".*\n--layer: found 7;/,
  );
  await expect(run({ sites: ["blocks.9.attn.hook_z"], by: ["head"] })).rejects.toThrow(
    "--site: found layer 9; wanted 0 to",
  );
  await expect(run({ sites: ["z"], by: ["layer", "neuron"] })).rejects.toThrow("--by: found neuron for z");
  await expect(run({ sites: ["blocks.0.attn.hook_z", "z"], by: ["layer"], joint: true })).rejects.toThrow(
    "layers of their own",
  );
  await expect(run({ sites: ["z"], by: ["head"], choose: { layer: [7] } })).rejects.toThrow(
    "--layer: found 7",
  );
  await expect(run({ sites: ["z", "z"], by: ["head"] })).rejects.toThrow("z more than once");
});

test("choices that a site knows nothing of, and layers that are not the other sites', are refused", async () => {
  await expect(
    run({ sites: ["resid_pre", "mlp_out", "z"], by: ["layer"], choose: { head: [1], neuron: [2] } }),
  ).rejects.toThrow(
    [
      "--head: found resid_pre, which has no head, mlp_out, which has no head; wanted sites that have it. Leave the choice out, or such sites.",
      "--neuron: found resid_pre, which has no neuron, mlp_out, which has no neuron, z, which has no neuron; wanted",
    ].join("\n"),
  );
  await expect(run({ sites: ["blocks.1.attn.hook_z"], by: ["pos"], choose: { layer: [0] } })).rejects.toThrow(
    "--layer: found blocks.1.attn.hook_z, which names its layer; wanted one of the two.",
  );
  const apart = ["blocks.0.hook_attn_out", "blocks.1.hook_mlp_out"];
  await expect(run({ sites: apart, by: ["layer", "pos"] })).rejects.toThrow(
    "--site: found attn_out in layer 0; mlp_out in layer 1; wanted the same layers for all sites. Name layers by --layer instead, or leave layer out of --by.",
  );
  const found = await run({ sites: apart, by: ["pos"] });
  const one = await run({ sites: ["mlp_out"], by: ["layer", "pos"], choose: { layer: [1] } });
  close(values(found, "mlp_out"), values(one, "mlp_out"));
});

test("keys and values that are not told apart by head are those of the heads chosen", async () => {
  const cells = await run({ sites: ["k"], by: ["layer", "head"], direction: "noise" });
  const heads = cells.dims.kv_head ?? 0;
  for (let head = 0; head < heads; head++) {
    for (const choose of [{ head: [head] }, { kv_head: [head] }]) {
      const chosen = await run({ sites: ["k"], by: ["layer"], choose, direction: "noise" });
      close(
        values(chosen, "k"),
        values(cells, "k").filter((_, cell) => cell % heads === head),
      );
    }
  }
  expect(heads).toBeGreaterThan(1);
});

test("a sweep whose sites, dims and direction vary equals whole passes where verified", async () => {
  for (const [sites, by] of [
    [
      ["q", "k"],
      ["layer", "head"],
    ],
    [["pattern"], ["layer", "head", "dst", "src"]],
    [["mlp_post"], ["layer", "neuron"]],
    [
      ["resid_mid", "z"],
      ["layer", "pos"],
    ],
  ] as const) {
    const result = await activationPatching(model as Model, [pair, swapped], {
      sites,
      by,
      verify: 12,
      normalize: false,
    });
    expect(Number(result.attrs.verify_max_abs_diff)).toBeLessThan(1e-9);
  }
});
