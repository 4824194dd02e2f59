/**
 * @file What must hold of activation patching in every architecture: equivalences between sites, readings that a
 * patch must restore whole, and effects that must be nothing.
 */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Model } from "../../src/model/model.ts";
import type { Edit, Where } from "../../src/run/edit.ts";
import { patch } from "../../src/run/edit.ts";
import { forward } from "../../src/run/forward.ts";
import type { SiteName } from "../../src/run/site.ts";
import { SITES } from "../../src/run/site.ts";
import { families, goldenFacts } from "../goldens/load.ts";
import { bothBackends, rounding } from "../helpers/backends.ts";
import { useGolden } from "../helpers/golden-model.ts";
import { distance, plain, swept } from "../helpers/readings.ts";
import { namesOf } from "../helpers/variants.ts";

const CLEAN = 0;
const CORRUPT = 1;
const backends = bothBackends();

const layersOf = ({ definition }: Model): number[] => [...definition.blocks.keys()];
const allSites = (model: Model): { site: SiteName; layer: number }[] =>
  layersOf(model).flatMap((layer) => namesOf(model, layer).map((site) => ({ site, layer })));

/** Every site at one layer, the layers taken in turn: for what is dear. */
const sitesInTurn = (model: Model): { site: SiteName; layer: number }[] =>
  namesOf(model).map((site, index) => ({ site, layer: index % model.definition.blocks.length }));

/** Same layer, positions, heads for both sides of an equivalence. */
interface Choice {
  readonly layer: number;
  readonly positions: readonly number[];
  readonly heads: readonly number[];
  readonly group: number;
}

function choices({ architecture }: Model, length: number): fc.Arbitrary<Choice> {
  const some = (size: number): fc.Arbitrary<number[]> =>
    fc.shuffledSubarray(
      Array.from({ length: size }, (_, index) => index),
      { minLength: 1 },
    );
  return fc.record({
    layer: fc.nat({ max: architecture.layers.length - 1 }),
    positions: some(length),
    heads: some(architecture.heads),
    group: fc.nat({ max: architecture.kvHeads - 1 }),
  });
}

/** Pairs of interventions that are one and the same; each list of edits takes the clean run's values. */
function equivalences(model: Model, choice: Choice): [string, readonly Edit[], readonly Edit[]][] {
  const { layer, positions, heads, group } = choice;
  const { architecture, definition } = model;
  const perGroup = architecture.heads / architecture.kvHeads;
  const members = Array.from({ length: perGroup }, (_, index) => group * perGroup + index);
  const at = (site: SiteName, where: Where = {}): Edit => patch(site, layer, { run: CLEAN, where });
  const pos = positions;
  const attention: SiteName = definition.blocks[layer].sites.has("attn_raw") ? "attn_raw" : "attn_out";
  const list: [string, readonly Edit[], readonly Edit[]][] = [
    ["z of all heads is attn_out", [at("z", { pos })], [at("attn_out", { pos })]],
    ["result of all heads is attn_out", [at("result", { pos })], [at("attn_out", { pos })]],
    ["attention before any norm is attn_out", [at(attention, { pos })], [at("attn_out", { pos })]],
    ["z of a head is its result", [at("z", { pos, head: heads })], [at("result", { pos, head: heads })]],
    ["pattern and values are z", [at("pattern"), at("values")], [at("z")]],
    ["pattern and v are z", [at("pattern"), at("v")], [at("z")]],
    [
      "pattern and values of some heads are their z",
      [at("pattern", { head: heads }), at("v_heads", { head: heads })],
      [at("z", { head: heads })],
    ],
    ["q and k are the pattern", [at("q"), at("k")], [at("pattern")]],
    ["rotated q and k are the pattern", [at("rot_q"), at("rot_k")], [at("pattern")]],
    ["queries and keys are the pattern", [at("queries"), at("keys")], [at("pattern")]],
    [
      "queries and keys of some heads are their pattern",
      [at("q", { head: heads }), at("k_heads", { head: heads })],
      [at("pattern", { head: heads })],
    ],
    [
      "rows of scores are rows of the pattern",
      [at("scores", { head: heads, dst: pos })],
      [at("pattern", { head: heads, dst: pos })],
    ],
    [
      "k of a group is the key of each of its heads",
      [at("k", { pos, kv_head: [group] })],
      [at("k_heads", { src: pos, head: members })],
    ],
    [
      "v of a group is the value of each of its heads",
      [at("v", { pos, kv_head: [group] })],
      [at("v_heads", { src: pos, head: members })],
    ],
    ["q before and after rotation, same positions", [at("q", { pos })], [at("rot_q", { pos })]],
    ["k before and after rotation, same positions", [at("k", { pos })], [at("rot_k", { pos })]],
    [
      "inputs of q, k and v are q, k and v",
      [at("q_in"), at("k_in"), at("v_in")],
      [at("q"), at("k"), at("v")],
    ],
    ["what the down projection reads is mlp_out", [at("mlp_post", { pos })], [at("mlp_out", { pos })]],
    ["the MLP's input is mlp_out", [at("mlp_in", { pos })], [at("mlp_out", { pos })]],
    [
      "attention and MLP on the clean stream are resid_post",
      [at("resid_pre"), at("attn_out"), at("mlp_out")],
      [at("resid_post")],
    ],
  ];
  if (layer + 1 < definition.blocks.length) {
    const next = patch("resid_pre", layer + 1, { run: CLEAN, where: { pos } });
    list.push(["resid_post is the next resid_pre", [at("resid_post", { pos })], [next]]);
  }
  if (definition.blocks[layer].sites.has("resid_mid")) {
    list.push(["resid_mid feeds MLP and stream", [at("resid_mid", { pos })], [at("resid_post", { pos })]]);
  }
  return list;
}

describe.each(families())("$name", ({ name }) => {
  const { patching, vocabulary } = goldenFacts(name);
  /** Another token at every position. */
  const other = patching.corrupt.map((id) => (id + 11) % vocabulary);

  describe.each(backends)("$name", (backend) => {
    const bit = backend.precision === "float64";
    const close = rounding(backend);
    const open = useGolden(name, backend);

    test("a run patched with its own values is not run, and reads the same", async () => {
      const model = await open();
      const runs = [{ ids: patching.clean }, { ids: patching.corrupt, read: [1, 8] }];
      const all = allSites(model);
      const whole = all.map(({ site, layer }) => ({ run: 1, edits: [patch(site, layer, { run: 1 })] }));
      // The same prompt as a run of its own: equal values, not the same arrays.
      const twin = all.map(({ site, layer }) => ({ run: 1, edits: [patch(site, layer, { run: 2 })] }));
      const variants = bit ? [...whole, ...twin] : whole;
      const found = await swept(model, { runs: [...runs, runs[1]], variants });
      expect(found.exact).toEqual(variants.map(() => true));
      for (const logits of found.logits) expect(logits).toEqual(found.runs[1]);

      // Stopping at a site changes no bit in float64, save for `result`, where heads are summed in another order.
      const [own] = await plain(model, { runs, variants: [{ run: 1, edits: [] }] });
      const some = sitesInTurn(model).map(({ site, layer }) => ({
        run: 1,
        edits: [patch(site, layer, { run: 1 })],
      }));
      const [apart, together] = [true, false].map((separated) =>
        some.filter(({ edits: [edit] }) => (edit.site === "result") === separated),
      );
      for (const logits of await plain(model, { runs, variants: together })) {
        if (bit) expect(logits).toEqual(own);
        else expect(distance(logits, own)).toBeLessThan(close);
      }
      for (const logits of await plain(model, { runs, variants: apart })) {
        expect(distance(logits, own)).toBeLessThan(close);
      }
    });

    test("patches that carry everything give the source's reading", async () => {
      const model = await open();
      const layers = layersOf(model);
      const runs = [{ ids: patching.clean }, { ids: patching.corrupt }];
      const last = layers.length - 1;
      const modules = layers.flatMap((layer) => [
        patch("attn_out", layer, { run: CLEAN }),
        patch("mlp_out", layer, { run: CLEAN }),
      ]);
      const variants = [
        [patch("resid_pre", 0, { run: CLEAN })],
        [patch("resid_post", last, { run: CLEAN, where: { pos: [patching.clean.length - 1] } })],
        [patch("resid_pre", 0, { run: CLEAN }), ...modules],
        layers.map((layer) => patch("resid_post", layer, { run: CLEAN })),
      ].map((edits) => ({ run: CORRUPT, edits }));
      const found = await swept(model, { runs, variants });
      expect(distance(found.runs[CORRUPT], found.runs[CLEAN])).toBeGreaterThan(0.01);
      const byPlainPath = await plain(model, { runs, variants });
      for (const logits of [...found.logits, ...byPlainPath]) {
        if (bit) expect(logits).toEqual(found.runs[CLEAN]);
        else expect(distance(logits, found.runs[CLEAN])).toBeLessThan(close);
      }
    });

    test("equivalent patches have equal readings", async () => {
      const model = await open();
      const runs = [{ ids: other }, { ids: patching.corrupt, read: [3, 8] }];
      const property = fc.asyncProperty(choices(model, patching.corrupt.length), async (choice) => {
        const laws = equivalences(model, choice);
        const variants = laws.flatMap(([, left, right]) => [
          { run: CORRUPT, edits: left },
          { run: CORRUPT, edits: right },
        ]);
        const { logits } = await swept(model, { runs, variants });
        for (const [index, [law]] of laws.entries()) {
          const off = distance(logits[2 * index], logits[2 * index + 1]);
          if (!(off < close)) throw new Error(`${law}: off by ${off}`);
        }
      });
      await fc.assert(property, { numRuns: bit ? 3 : 1, seed: 11, endOnFailure: true });
    });

    test("heads and bias sum to the attention's output", async () => {
      const model = await open();
      const raw = model.definition.blocks[0].sites.has("attn_raw");
      const site: SiteName = raw ? "attn_raw" : "attn_out";
      const { caches } = await forward(model, [patching.clean], { capture: [{ site: "result" }, { site }] });
      const { heads, dModel } = model.architecture;
      for (const layer of layersOf(model)) {
        const bias = await outputBias(model, layer, site);
        const result = caches[0].get("result", layer).data;
        const wanted = caches[0].get(site, layer).data;
        let worst = 0;
        for (const [index, value] of wanted.entries()) {
          const [position, feature] = [Math.floor(index / dModel), index % dModel];
          let sum = bias?.[feature] ?? 0;
          for (let head = 0; head < heads; head++)
            sum += result[(position * heads + head) * dModel + feature];
          worst = Math.max(worst, Math.abs(sum - value));
        }
        expect(worst).toBeLessThan(bit ? 1e-12 : 1e-5);
      }
    });

    test("what comes after the read position has no effect in causal models", async () => {
      const model = await open();
      const read = 4;
      const later = [5, 6, 7, 8];
      const runs = [{ ids: other }, { ids: patching.corrupt, read: [read] }];
      const variants = sitesInTurn(model).map(({ site, layer }) => {
        const axis =
          SITES[site].axes.find((name) => name === "pos" || name === "dst" || name === "src") ?? "pos";
        return { run: 1, edits: [patch(site, layer, { run: 0, where: { [axis]: later } })] };
      });
      const { logits, exact, runs: own } = await swept(model, { runs, variants });
      const byPlainPath = await plain(model, { runs, variants });
      if (model.architecture.causal) {
        expect(exact).toEqual(variants.map(() => true));
        for (const one of logits) expect(one).toEqual(own[1]);
        for (const one of byPlainPath) expect(distance(one, own[1])).toBeLessThan(bit ? 1e-13 : close);
      } else {
        for (const [index, { edits }] of variants.entries()) {
          const [edit] = edits;
          const lastLayer = edit.layer === model.definition.blocks.length - 1;
          const reaches = !lastLayer || SITES[edit.site].spreads;
          const off = distance(byPlainPath[index], own[1]);
          if (reaches) expect(off).toBeGreaterThan(10 * close);
          else expect(off).toBeLessThan(close);
          expect(distance(logits[index], byPlainPath[index])).toBeLessThan(close);
        }
      }
    });

    test("over a set closed under swapping, denoising and noising are opposite", async () => {
      const model = await open();
      const { answer, foil } = patching;
      const pairs = [
        { clean: patching.clean, corrupt: patching.corrupt, answer, foil },
        { clean: patching.corrupt, corrupt: patching.clean, answer: foil, foil: answer },
      ];
      const cells = layersOf(model).flatMap((layer) => [
        ...[0, 3, 5, 8].map((pos) => ({ site: "resid_pre" as const, layer, where: { pos: [pos] } })),
        ...[0, 1].map((head) => ({ site: "z" as const, layer, where: { head: [head] } })),
      ]);
      const effects = async (direction: "denoise" | "noise"): Promise<number[]> => {
        const [source, base] = direction === "denoise" ? [CLEAN, CORRUPT] : [CORRUPT, CLEAN];
        const sums = cells.map(() => 0);
        for (const pair of pairs) {
          const found = await swept(model, {
            runs: [{ ids: pair.clean }, { ids: pair.corrupt }],
            variants: cells.map(({ site, layer, where }) => ({
              run: base,
              edits: [patch(site, layer, { run: source, where })],
            })),
          });
          const metric = ([row]: readonly Float64Array[]): number => row[pair.answer] - row[pair.foil];
          for (const [index, logits] of found.logits.entries()) {
            sums[index] += metric(logits) - metric(found.runs[base]);
          }
        }
        return sums.map((sum) => sum / pairs.length);
      };
      const [denoise, noise] = [await effects("denoise"), await effects("noise")];
      expect(Math.max(...denoise.map(Math.abs))).toBeGreaterThan(0.01);
      for (const [index, effect] of denoise.entries()) {
        expect(Math.abs(effect + noise[index])).toBeLessThan(bit ? 1e-12 : close);
      }
    });
  });
});

/** The output projection's bias, where the program adds one. */
async function outputBias(
  model: Model,
  layer: number,
  site: SiteName,
): Promise<ArrayLike<number> | undefined> {
  const program = model.definition.blocks[layer];
  const node = program.nodes.find(({ out }) => out === program.sites.get(site));
  if (node?.op !== "add") return undefined;
  const weights = await model.weights.get(layer);
  return weights[node.args[1]].data;
}
