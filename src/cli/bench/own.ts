/** @file crosspatch's own two ways: the sweep, and whole forward passes one by one. */
import { activationPatching } from "../../method/activation-patching.ts";
import { plainReading } from "../../method/verify.ts";
import type { Model } from "../../model/model.ts";
import type { Pair } from "../../model/pair.ts";
import { parseSite } from "../../run/site.ts";
import type { CellLabels, RowKind } from "./rows.ts";
import { KINDS } from "./rows.ts";

/** One measurement. */
export interface Timed {
  readonly seconds: number;
  /** [pair][cell] logit(answer) − logit(foil) of the edited run. */
  readonly values: readonly (readonly number[])[];
}

/** What is measured: the cells are the product of `axes`, row-major. */
export interface OwnRow {
  readonly kind: RowKind;
  readonly axes: readonly (readonly number[])[];
  readonly pairs: readonly Pair[];
}

/**
 * All cells by the public method, both unedited runs and (with several pairs) the intervals included. The check by
 * whole passes is left out, as the table compares every value with the peers'.
 */
export async function sweepRow(model: Model, { kind, axes, pairs }: OwnRow): Promise<Timed> {
  const { by, site } = KINDS[kind];
  const begun = performance.now();
  const dataset = await activationPatching(model, pairs, {
    sites: [site],
    by,
    choose: Object.fromEntries(by.map((dim, axis) => [dim, axes[axis]])),
    metric: "logit_diff",
    normalize: false,
    perPair: true,
    verify: 0,
  });
  const seconds = (performance.now() - begun) / 1000;
  const data = dataset.dataVars[`${site}_per_pair`]?.data ?? [];
  const cells = data.length / pairs.length;
  return {
    seconds,
    values: pairs.map((_, pair) =>
      Array.from({ length: cells }, (_, cell) => Number(data[pair * cells + cell])),
    ),
  };
}

/** Some cells, each by one whole forward pass with one edit: what the sweep has to agree with. */
export async function plainRow(
  model: Model,
  row: { readonly kind: RowKind; readonly cells: readonly CellLabels[]; readonly pairs: readonly Pair[] },
): Promise<Timed> {
  const { by, site: asked } = KINDS[row.kind];
  const [block] = model.definition.blocks;
  if (block === undefined) throw new Error("a model without layers");
  const { site } = parseSite(asked, block);
  const begun = performance.now();
  const values: number[][] = [];
  for (const { clean, corrupt, answers, foils } of row.pairs) {
    const columns = [answers[0]?.ids[0] ?? 0, foils[0]?.ids[0] ?? 0];
    const read = [{ position: clean.ids.length - 1, readout: { columns } }];
    const runs = [clean, corrupt].map(({ ids }) => ({ ids, read }));
    const found: number[] = [];
    for (const cell of row.cells) {
      const where = Object.fromEntries(
        by.flatMap((dim, axis) => (dim === "layer" ? [] : [[dim, [cell[axis] ?? 0]]])),
      );
      const layer = cell[by.indexOf("layer")] ?? 0;
      const edit = { site, layer, where, action: "replace", value: { kind: "run", run: 0 } } as const;
      const value = await plainReading(
        model,
        { runs },
        {
          variant: { run: 1, edits: [edit] },
          use: ([position]) => (position?.columns[0] ?? Number.NaN) - (position?.columns[1] ?? Number.NaN),
        },
      );
      found.push(value);
    }
    values.push(found);
  }
  return { seconds: (performance.now() - begun) / 1000, values };
}
