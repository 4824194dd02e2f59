import { expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Edit } from "./edit.ts";
import { forward } from "./forward.ts";
import type { SiteName } from "./site.ts";
import { sweep } from "./sweep.ts";

const SITES: readonly SiteName[] = ["attn_out", "mlp_out", "resid_post"];

test.each(families())("$name: what a sweep captures is what a whole pass captures", async ({ name }) => {
  const model = await loadGolden(name, referenceBackend());
  const { clean } = goldenFacts(name).patching;
  const last = clean.length - 1;
  const width = model.architecture.dModel;
  const layers = model.architecture.layers.length;
  const edit = (site: SiteName, layer: number, where: Edit["where"]): Edit => ({
    site,
    layer,
    where,
    action: "replace",
    value: { kind: "fill", value: 0.25 },
  });
  const lists: Edit[][] = [
    ...["z", "attn_out", "mlp_out", "resid_pre"].flatMap((site) =>
      [0, layers - 1].map((layer) => [edit(site as SiteName, layer, { pos: [1, last] })]),
    ),
    [edit("z", 0, { pos: [last], head: [0] }), edit("mlp_out", layers - 1, { pos: [last] })],
  ];
  const { caches } = await forward(
    model,
    lists.map(() => clean),
    { capture: SITES.map((site) => ({ site })), edits: lists },
  );
  const base = (await forward(model, [clean], { capture: SITES.map((site) => ({ site })) })).caches[0];
  const seen = new Set<string>();
  await sweep(
    model,
    {
      runs: [{ ids: clean, read: [{ position: last, readout: { columns: [0] } }] }],
      count: lists.length,
      variant: (index) => ({ run: 0, edits: lists[index] ?? [] }),
    },
    {
      onReading: () => {},
      capture: {
        sites: SITES,
        wants: (index) => index !== 1,
        onValues({ layer, rows, values }) {
          for (const [site, data] of values) {
            for (const { index, positions, firstToken } of rows) {
              expect(index).not.toBe(1);
              seen.add(`${index}.${layer}.${site}`);
              const whole = caches[index]?.get(site, layer).data;
              for (const [at, position] of positions.entries()) {
                const own = data.subarray((firstToken + at) * width, (firstToken + at + 1) * width);
                const other = whole?.subarray(position * width, (position + 1) * width) ?? [];
                expect(Math.max(...own.map((value, i) => Math.abs(value - (other[i] ?? 0))))).toBeLessThan(
                  1e-9,
                );
              }
            }
          }
        },
      },
    },
  );
  // Whatever differs at the last position is handed out, whatever is not is as in the run itself.
  for (const index of lists.keys()) {
    if (index === 1) continue;
    for (let layer = 0; layer < layers; layer++) {
      for (const site of SITES) {
        if (seen.has(`${index}.${layer}.${site}`)) continue;
        const [own, other] = [caches[index], base].map((cache) =>
          [...(cache?.get(site, layer).data ?? [])].slice(last * width),
        );
        expect(own).toEqual(other);
      }
    }
  }
});

/** Values at the last position, by variant, layer and site, and the logit read of each variant; and the most rows at once. */
async function sweptLast(
  model: Awaited<ReturnType<typeof loadGolden>>,
  lists: readonly (readonly Edit[])[],
  { ids, wants }: { readonly ids: readonly number[]; readonly wants: (index: number) => boolean },
) {
  const last = ids.length - 1;
  const width = model.architecture.dModel;
  const captured = new Map<string, number[]>();
  const logits: number[] = [];
  let most = 0;
  await sweep(
    model,
    {
      runs: [{ ids, read: [{ position: last, readout: { columns: [0] } }] }],
      count: lists.length,
      variant: (index) => ({ run: 0, edits: lists[index] ?? [] }),
    },
    {
      onReading(index, reading) {
        logits[index] = Number(reading[0]?.columns?.[0]);
      },
      capture: {
        sites: SITES,
        wants,
        onValues({ layer, rows, values }) {
          most = Math.max(most, rows.length);
          for (const { index, positions, firstToken } of rows) {
            const at = firstToken + positions.indexOf(last);
            for (const [site, data] of values)
              captured.set(`${index}.${layer}.${site}`, [...data.subarray(at * width, (at + 1) * width)]);
          }
        },
      },
    },
  );
  return { captured, logits, most };
}

// Grouped queries; attention and MLP side by side.
test.each(["llama-gqa-tied", "gpt-neox"])(
  "%s: variants captured together are each as by itself, and those beside them as without a capture",
  async (name) => {
    const model = await loadGolden(name, referenceBackend());
    const { clean: ids } = goldenFacts(name).patching;
    const layers = model.architecture.layers.length;
    const lists = (["z", "attn_out", "mlp_out"] as const).flatMap((site) =>
      Array.from({ length: 2 * layers }, (_, index): Edit[] => [
        {
          site,
          layer: index % layers,
          where: { pos: [ids.length - 1] },
          action: "replace",
          value: { kind: "fill", value: index < layers ? 0.25 : -0.5 },
        },
      ]),
    );
    const isWatched = (index: number): boolean => index % 3 !== 0;
    const together = await sweptLast(model, lists, { ids, wants: isWatched });
    const alone = await Promise.all(
      lists.map((list, index) => sweptLast(model, [list], { ids, wants: () => isWatched(index) })),
    );
    const free = await sweptLast(model, lists, { ids, wants: () => false });
    expect(together.most).toBeGreaterThan(layers);
    const wanted = alone.flatMap(({ captured }, index) =>
      [...captured].map(([key, values]) => [key.replace(/^0/, String(index)), values] as const),
    );
    expect(new Set(together.captured.keys())).toEqual(new Set(wanted.map(([key]) => key)));
    for (const [key, values] of wanted) expect(together.captured.get(key)).toEqual(values);
    for (const [index, logit] of together.logits.entries()) {
      expect(logit).toBeCloseTo(alone[index]?.logits[0] ?? Number.NaN, 10);
      expect(logit).toBeCloseTo(free.logits[index] ?? Number.NaN, 10);
    }
  },
);
