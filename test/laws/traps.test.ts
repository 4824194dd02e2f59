/** @file Places where a patching engine goes wrong without a sign: one test for each way that was seen or feared. */

import { describe, expect, test } from "vitest";
import { random } from "../../src/core/random.ts";
import { sizeOf } from "../../src/core/tensor.ts";
import type { Model } from "../../src/model/model.ts";
import type { Edit, EditValue, Where } from "../../src/run/edit.ts";
import { patch } from "../../src/run/edit.ts";
import { forward } from "../../src/run/forward.ts";
import type { SiteName } from "../../src/run/site.ts";
import { siteShape } from "../../src/run/site.ts";
import type { Variant } from "../../src/run/variant.ts";
import { goldenFacts } from "../goldens/load.ts";
import { bothBackends, rounding } from "../helpers/backends.ts";
import { useGolden } from "../helpers/golden-model.ts";
import type { RunSpec } from "../helpers/readings.ts";
import { distance, plain, swept } from "../helpers/readings.ts";

/** Learned positions; rotary with grouped keys; attention and MLP side by side; both directions and windows. */
const NAMES = ["gpt2", "llama-gqa-tied", "gptj", "gemma3-bidirectional"];
const backends = bothBackends();

const edit = (site: SiteName, layer: number, rest: Partial<Edit> = {}): Edit => ({
  site,
  layer,
  where: {},
  action: "replace",
  value: { kind: "run", run: 0 },
  ...rest,
});
const fill = (value: number): EditValue => ({ kind: "fill", value });

describe.each(NAMES)("%s", (name) => {
  const { patching, vocabulary } = goldenFacts(name);
  /** Source and base differ everywhere; several positions of the base are read. */
  const runs: readonly RunSpec[] = [
    { ids: patching.corrupt.map((id) => (id + 11) % vocabulary) },
    { ids: patching.corrupt, read: [2, 5, 8] },
  ];

  describe.each(backends)("$name", (backend) => {
    const open = useGolden(name, backend);
    const close = rounding(backend);

    /** Sweep and plain path agree, and every variant has an effect. */
    async function expectSame(
      model: Model,
      edits: readonly (readonly Edit[])[],
      specs = runs,
    ): Promise<void> {
      const variants = edits.map((list): Variant => ({ run: 1, edits: list }));
      const fast = await swept(model, { runs: specs, variants });
      const slow = await plain(model, { runs: specs, variants });
      for (const index of variants.keys()) {
        expect(distance(fast.logits[index], slow[index]), `variant ${index}`).toBeLessThan(close);
        expect(distance(slow[index], fast.runs[1]), `effect of ${index}`).toBeGreaterThan(10 * close);
      }
    }

    test("a later edit at positions before those that an earlier one changed", async () => {
      const model = await open();
      await expectSame(model, [
        [
          patch("resid_pre", 0, { run: 0, where: { pos: [6] } }),
          patch("mlp_out", 1, { run: 0, where: { pos: [2] } }),
        ],
        [patch("z", 0, { run: 0, where: { pos: [7] } }), patch("v", 1, { run: 0, where: { pos: [1] } })],
        [
          patch("mlp_out", 0, { run: 0, where: { pos: [7] } }),
          patch("pattern", 1, { run: 0, where: { dst: [2, 5] } }),
        ],
      ]);
    });

    test("position sets with gaps, of one size but different, in one batch", async () => {
      const model = await open();
      const sets = [
        [1, 5],
        [2, 8],
        [5, 8],
        [5, 2],
        [0, 2, 5],
      ];
      for (const layer of [0, 1]) {
        await expectSame(
          model,
          sets.map((pos) => [patch("z", layer, { run: 0, where: { pos } })]),
        );
        await expectSame(
          model,
          sets.map((dst) => [patch("pattern", layer, { run: 0, where: { dst } })]),
        );
      }
    });

    test("keys and values edited in the last layer, with queries, where several positions are read", async () => {
      const model = await open();
      const last = model.definition.blocks.length - 1;
      const where: Where = { pos: [1] };
      const keySide = (["k_in", "v_in", "k", "v", "rot_k", "resid_pre"] as const).map((site) => [
        patch(site, last, { run: 0, where }),
      ]);
      const mixed = (["keys", "values", "k_heads", "v_heads"] as const).map((site) => [
        patch(site, last, { run: 0, where: { src: [1, 2] } }),
      ]);
      await expectSame(model, [
        ...keySide,
        ...mixed,
        [
          patch("k", last, { run: 0, where: { pos: [1, 4] } }),
          patch("q", last, { run: 0, where: { pos: [2, 5] } }),
        ],
        [patch("v", last, { run: 0, where }), patch("pattern", last, { run: 0, where: { dst: [5] } })],
        [patch("k", last, { run: 0 }), patch("mlp_out", last, { run: 0, where: { pos: [8] } })],
        [
          patch("resid_pre", 0, { run: 0, where: { pos: [3] } }),
          patch("v", last, { run: 0, where: { pos: [0] } }),
        ],
      ]);
    });

    test("positions read out of order and more than once", async () => {
      const model = await open();
      const [source, { ids }] = runs;
      await expectSame(
        model,
        [[patch("resid_pre", 0, { run: 0 })], [patch("z", 1, { run: 0, where: { pos: [2, 8] } })]],
        [source, { ids, read: [8, 2, 8, 5, 2] }],
      );
    });

    test("a second edit of one value is made on top of the first, whatever it is called", async () => {
      const model = await open();
      const twice = ([a, b]: readonly [SiteName, SiteName]): Edit[] => [
        edit(a, 0, { where: { pos: [2, 5] } }),
        edit(b, 0, { action: "add", value: fill(0.5) }),
        edit(b, 0, { action: "scale", value: fill(-1), where: { pos: [5] } }),
      ];
      const pairs = (
        [
          ["q", "q"],
          ["k", "k"],
          ["mlp_post", "mlp_post"],
          ["z", "z"],
        ] as const
      ).map(twice);
      await expectSame(model, pairs);
      // Where there is no rotary embedding, q and rot_q are two names of one value.
      const aliased = model.architecture.layers[0].rotary === undefined;
      if (!aliased) return;
      const found = await plain(model, {
        runs,
        variants: [
          ...pairs.slice(0, 2),
          twice(["q", "rot_q"]),
          twice(["k", "rot_k"]),
          twice(["rot_k", "k"]),
        ].map((edits): Variant => ({ run: 1, edits })),
      });
      expect(found[2]).toEqual(found[0]);
      expect(found[3]).toEqual(found[1]);
    });

    test("freezing to the base's own values counts once something before it has changed", async () => {
      const model = await open();
      const layers = [...model.definition.blocks.keys()];
      const upstream = patch("resid_pre", 0, { run: 0, where: { pos: [1, 2] } });
      const freeze = layers.flatMap((layer) => [
        patch("attn_out", layer, { run: 1 }),
        patch("mlp_out", layer, { run: 1 }),
      ]);
      await expectSame(model, [[upstream], [upstream, ...freeze], [upstream, patch("z", 0, { run: 1 })]]);
      // All modules frozen, nothing moves between positions: the change stays where it was put in.
      const { logits, runs: own } = await swept(model, {
        runs,
        variants: [{ run: 1, edits: [upstream, ...freeze] }],
      });
      expect(distance(logits[0].slice(1), own[1].slice(1))).toBeLessThan(close);
      expect(distance(logits[0].slice(0, 1), own[1].slice(0, 1))).toBeGreaterThan(0.01);
    });

    test("what is before an edit stays, what is after it follows", async () => {
      const model = await open();
      const sites: SiteName[] = [
        "q",
        "v",
        "pattern",
        "z",
        "attn_out",
        "mlp_in",
        "mlp_post",
        "mlp_out",
        "resid_post",
      ];
      const capture = sites.map((site) => ({ site, layers: [0] }));
      const capturing = async (edits: readonly Edit[]): Promise<(site: SiteName) => number[]> => {
        const { caches } = await forward(model, [patching.corrupt], { capture, edits: [edits] });
        return (site) => Array.from(caches[0].get(site, 0).data);
      };
      const base = await capturing([]);
      // A norm takes no notice of a constant or a factor: random numbers are added.
      const disturb = ({ architecture }: Model, site: SiteName): Edit => {
        const shape = siteShape(site, architecture, 1);
        const { normal } = random(6);
        const data = Float64Array.from({ length: sizeOf(shape) }, () => normal());
        return edit(site, 0, { action: "add", value: { kind: "given", shape, data }, where: { pos: [4] } });
      };
      const changed = async (site: SiteName): Promise<SiteName[]> => {
        const found = await capturing([disturb(model, site)]);
        return sites.filter((one) => {
          const [a, b] = [found(one), base(one)];
          return a.some((value, index) => Math.abs(value - b[index]) > close);
        });
      };
      const parallel = !model.definition.blocks[0].sites.has("resid_mid");
      const mlp: SiteName[] = ["mlp_in", "mlp_post", "mlp_out", "resid_post"];
      expect(await changed("q")).toEqual([
        "q",
        "pattern",
        "z",
        "attn_out",
        ...(parallel ? ["resid_post"] : mlp),
      ]);
      expect(await changed("attn_out")).toEqual(["attn_out", ...(parallel ? ["resid_post"] : mlp)]);
      expect(await changed("mlp_in")).toEqual(mlp);
      expect(await changed("mlp_post")).toEqual(["mlp_post", "mlp_out", "resid_post"]);
    });

    test("cells of the pattern that no query may see", async () => {
      const model = await open();
      const above = { dst: [2], src: [5] };
      const variants = [
        [edit("pattern", 0, { where: above })],
        [edit("pattern", 0, { where: above, action: "scale", value: fill(3) })],
        [edit("scores", 0, { where: above, value: fill(3) })],
      ].map((edits): Variant => ({ run: 1, edits }));
      if (model.architecture.causal) {
        const { exact } = await swept(model, { runs, variants });
        expect(exact).toEqual([true, true, true]);
      }
      // A number from outside is put there all the same, and lets the future through.
      await expectSame(model, [[edit("pattern", 0, { where: above, value: fill(1) })]]);
    });

    test("given values with one size along some axes", async () => {
      const model = await open();
      const { heads, dHead } = model.architecture;
      const { normal } = random(4);
      const numbers = (size: number): Float64Array =>
        Float64Array.from({ length: size }, () => Math.abs(normal()));
      const [rows, all] = [numbers(heads * 9), new Float64Array(heads * 9 * 9)];
      for (let head = 0; head < heads; head++)
        for (let dst = 0; dst < 9; dst++)
          all.set(rows.subarray(head * 9, head * 9 + 9), (head * 9 + dst) * 9);
      const z = numbers(heads * dHead);
      const given = (site: SiteName, shape: readonly number[], data: Float64Array): Edit =>
        edit(site, 0, { value: { kind: "given", shape, data } });
      const edits = [
        given("pattern", [heads, 1, 9], rows),
        given("pattern", [heads, 9, 9], all),
        given("z", [1, heads, dHead], z),
        given(
          "z",
          [9, heads, dHead],
          Float64Array.from({ length: 9 * z.length }, (_, i) => z[i % z.length]),
        ),
      ];
      await expectSame(
        model,
        edits.map((one) => [one]),
      );
      const found = await plain(model, {
        runs,
        variants: edits.map((one): Variant => ({ run: 1, edits: [one] })),
      });
      expect(found[0]).toEqual(found[1]);
      expect(found[2]).toEqual(found[3]);
    });

    test("an edit of no cells", async () => {
      const model = await open();
      const variants = [
        [edit("resid_pre", 0, { where: { pos: [] } })],
        [edit("z", 1, { where: { head: [] }, action: "replace", value: fill(0) })],
        [edit("v", 0, { where: { pos: [] }, action: "add", value: fill(1) })],
      ].map((edits): Variant => ({ run: 1, edits }));
      const found = await swept(model, { runs, variants });
      expect(found.exact).toEqual([true, true, true]);
      for (const logits of found.logits) expect(logits).toEqual(found.runs[1]);
    });

    test("cells that edit or source do not have are refused, not taken from their neighbours", async () => {
      const model = await open();
      const { heads } = model.architecture;
      const specs: RunSpec[] = [{ ids: [3] }, runs[1], { ids: patching.clean.slice(0, 4) }];
      const wrong: [Edit, string][] = [
        [edit("z", 0, { where: { head: [heads] }, value: fill(0) }), `z of layer 0: head ${heads}`],
        [edit("mlp_out", 1, { where: { pos: [9] }, value: fill(0) }), "mlp_out of layer 1: pos 9"],
        [edit("mlp_out", 1, { where: { head: [0] }, value: fill(0) }), "mlp_out of layer 1: no axis head"],
        [edit("mlp_out", 99, { value: fill(0) }), "mlp_out of layer 99: the layers are 0 to"],
        [edit("resid_pre", 1, { value: { kind: "run", run: 2 } }), "resid_pre of layer 1: pos 4"],
        [edit("pattern", 0, { where: { dst: [1], src: [4] }, value: { kind: "run", run: 2 } }), "src 4"],
        [edit("resid_pre", 0, { value: { kind: "run", run: 0 } }), "resid_pre of layer 0: pos 1"],
      ];
      for (const [one, message] of wrong) {
        const variants: Variant[] = [{ run: 1, edits: [one] }];
        await expect(swept(model, { runs: specs, variants })).rejects.toThrow(message);
        await expect(plain(model, { runs: specs, variants })).rejects.toThrow(message);
      }
    });

    test("tokens, positions and reads that are not there are refused", async () => {
      const model = await open();
      const { vocabulary, maxPositions } = model.architecture;
      await expect(forward(model, [[1, vocabulary]])).rejects.toThrow(
        `token ids: found ${vocabulary}; wanted 0 to`,
      );
      await expect(forward(model, [[1, -1]])).rejects.toThrow("token ids: found -1; wanted 0 to");
      const long = forward(model, [new Array<number>(maxPositions + 1).fill(1)], { stopAfter: 1 });
      if (name === "gpt2")
        await expect(long).rejects.toThrow(`found ${maxPositions + 1} tokens; wanted at most`);
      else expect((await long).residuals[0].every(Number.isFinite)).toBe(true);
      const beyond = [runs[0], { ids: runs[1].ids, read: [9] }];
      await expect(swept(model, { runs: beyond, variants: [] })).rejects.toThrow(
        "run 1 has 9 positions; position 9 is read",
      );
    });

    test("edits that are no list for each sequence are refused", async () => {
      const model = await open();
      const one = edit("mlp_out", 0, { value: fill(0) });
      const given = (edits: unknown) => forward(model, [[1, 2]], { edits: edits as Edit[][] });
      await expect(given([one])).rejects.toThrow(
        "options.edits[0]: found an object; wanted a list of edits. Put it into a list.",
      );
      await expect(given([[one], [one]])).rejects.toThrow("options.edits: found 2 lists; wanted one list");
      await expect(given([[one]])).resolves.toBeDefined();
    });

    test("captured values stay what they were", async () => {
      const model = await open();
      const sites: SiteName[] = ["resid_pre", "rot_q", "v", "pattern", "z", "resid_post"];
      const capture = sites.map((site) => ({ site }));
      const { caches } = await forward(model, [runs[0].ids, runs[1].ids], { capture });
      const values = (): number[][] =>
        caches.flatMap((cache) =>
          sites.flatMap((site) => [0, 1].map((layer) => Array.from(cache.get(site, layer).data))),
        );
      const before = values();
      const edits = sites.flatMap((site) => [
        edit(site, 0),
        edit(site, 1, { action: "scale", value: fill(2) }),
        edit(site, 1, { action: "add", value: fill(1) }),
      ]);
      await forward(model, [runs[1].ids], { edits: [edits], runs: caches, capture });
      expect(values()).toEqual(before);
    });
  });
});
