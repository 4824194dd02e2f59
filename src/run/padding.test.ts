import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bothBackends } from "../../test/helpers/backends.ts";
import { useGolden } from "../../test/helpers/golden-model.ts";
import { forward } from "./forward.ts";
import { unpad } from "./padding.ts";
import type { SiteName } from "./site.ts";
import { SITES } from "./site.ts";

const PAD = 0;

interface Row {
  readonly tokens: readonly number[];
  /** Of the spare places, how many are in front. */
  readonly front: number;
}

function padded(rows: readonly Row[], spare: number): { ids: number[][]; mask: number[][] } {
  const width = Math.max(...rows.map(({ tokens }) => tokens.length)) + spare;
  const fill = (count: number, value: number): number[] => new Array<number>(count).fill(value);
  const around = ({ tokens, front }: Row, inside: readonly number[], pad: number): number[] => {
    const before = Math.min(front, width - tokens.length);
    return [...fill(before, pad), ...inside, ...fill(width - tokens.length - before, pad)];
  };
  return {
    ids: rows.map((row) => around(row, row.tokens, PAD)),
    mask: rows.map((row) => around(row, fill(row.tokens.length, 1), 0)),
  };
}

const batches = fc.record({
  rows: fc.array(
    fc.record({
      tokens: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 9 }),
      front: fc.constantFrom(0, 1, 3, 99),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  spare: fc.nat({ max: 3 }),
});

describe.each(["gpt2", "llama", "gemma3-bidirectional"])("%s", (name) => {
  const open = useGolden(name, bothBackends()[0]);

  test("pads in front and behind change no value, and captured ones return to their places", async () => {
    const model = await open();
    const sites: SiteName[] = ["resid_post", "z", "pattern"];
    const property = fc.asyncProperty(batches, async ({ rows, spare }) => {
      const { ids, mask } = padded(rows, spare);
      const { sequences, restore } = unpad(ids, mask);
      expect(sequences).toEqual(rows.map(({ tokens }) => tokens));
      const { caches } = await forward(model, sequences, { capture: sites.map((site) => ({ site })) });
      for (const site of sites) {
        const { axes } = SITES[site];
        const whole = restore(
          caches.map((cache) => cache.get(site, 1)),
          axes,
        );
        for (const [row, { tokens }] of rows.entries()) {
          const alone = (await forward(model, [tokens], { capture: [{ site }] })).caches[0].get(site, 1);
          expect(realCells(whole, { row, axes, real: mask[row] })).toEqual(Array.from(alone.data));
        }
        const total = (data: ArrayLike<number>): number =>
          Array.from(data).reduce((sum, value) => sum + Math.abs(value), 0);
        const all = caches.reduce((sum, cache) => sum + total(cache.get(site, 1).data), 0);
        expect(total(whole.data)).toBeCloseTo(all, 9);
      }
    });
    await fc.assert(property, { numRuns: 6, seed: 3, endOnFailure: true });
  });
});

/** Cells of one row whose positions are all real, in order. */
function realCells(
  { data, shape }: { readonly data: ArrayLike<number>; readonly shape: readonly number[] },
  {
    row,
    axes,
    real,
  }: { readonly row: number; readonly axes: readonly string[]; readonly real: readonly number[] },
): number[] {
  const sizes = shape.slice(1);
  const total = sizes.reduce((product, size) => product * size, 1);
  const cells: number[] = [];
  for (let index = 0; index < total; index++) {
    let rest = index;
    const at = sizes.map(() => 0);
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      at[axis] = rest % sizes[axis];
      rest = Math.floor(rest / sizes[axis]);
    }
    const kept = at.every(
      (position, axis) => !["pos", "dst", "src"].includes(axes[axis]) || real[position] === 1,
    );
    if (kept) cells.push(data[row * total + index]);
  }
  return cells;
}

test("every fault of a mask is told at once", () => {
  const ids = [
    [1, 2, 3, 4],
    [1, 2, 3],
    [1, 2, 3, 4],
    [1, 2, 3, 4],
    [1, 2, 3, 4],
  ];
  const mask = [
    [1, 0, 1, 1],
    [1, 1, 1],
    [0, 0, 0, 0],
    [0, 2, 1, 1],
    [1, 1, 1],
  ];
  expect(() => unpad(ids, mask)).toThrow(
    [
      "attention_mask, row 0: found a pad at 1 between tokens; wanted pads before or after all tokens. Remove the pad from the row: its place cannot be told from a position.",
      "ids, row 1: found 3 ids; wanted 4, as in row 0.",
      "attention_mask, row 2: found pads only; wanted at least one token. Leave the row out.",
      "attention_mask, row 3: found 2; wanted 0 for a pad, 1 for a token.",
      "attention_mask, row 4: found 3 values; wanted 4, one for each id.",
    ].join("\n"),
  );
  expect(() => unpad([[1], [2]], [[1]])).toThrow("attention_mask: found 1 rows; wanted 2, as in ids.");
});
