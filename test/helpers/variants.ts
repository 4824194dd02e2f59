/** @file Random interventions for property tests: every site, axis, action and kind of value. */

import fc from "fast-check";
import { random } from "../../src/core/random.ts";
import { sizeOf } from "../../src/core/tensor.ts";
import type { Model } from "../../src/model/model.ts";
import type { Edit, EditValue, Where } from "../../src/run/edit.ts";
import type { Axis, SiteName } from "../../src/run/site.ts";
import { axisSize, SITE_NAMES, SITES } from "../../src/run/site.ts";
import type { Variant } from "../../src/run/variant.ts";
import type { RunSpec } from "./readings.ts";

/** Every name of a site that the layer has, second names of one value included. */
export function namesOf(model: Model, layer = 0): SiteName[] {
  return SITE_NAMES.filter((name) => model.definition.blocks[layer].sites.has(name));
}

const isPosition = (axis: Axis): boolean => axis === "pos" || axis === "dst" || axis === "src";

/** Between one and all of 0 … size − 1, in any order: most often one, a few, or (undefined) all. */
function indices(size: number, whole: boolean): fc.Arbitrary<number[] | undefined> {
  const all = Array.from({ length: size }, (_, index) => index);
  const some = fc.shuffledSubarray(all, { minLength: 1 });
  const one = fc.constantFrom(...all).map((index) => [index]);
  return whole ? fc.oneof(fc.constant(undefined), one, some) : fc.oneof(one, some);
}

interface Place {
  readonly site: SiteName;
  readonly layer: number;
  readonly run: number;
}

/** Cells of a site; positions stay below `positions` where that is less than the run's length. */
function cells(
  model: Model,
  site: SiteName,
  { length, positions }: { readonly length: number; readonly positions: number },
): fc.Arbitrary<Where> {
  const axes: readonly Axis[] = SITES[site].axes;
  const of = axes.map((axis) =>
    isPosition(axis)
      ? indices(positions, positions === length)
      : indices(axisSize(axis, model.architecture, length), true),
  );
  return fc
    .tuple(...of)
    .map((chosen) =>
      Object.fromEntries(axes.map((axis, i) => [axis, chosen[i]]).filter(([, list]) => list !== undefined)),
    );
}

/** A whole value of the site, drawn from the standard normal, perhaps the same for all positions. */
function given(model: Model, site: SiteName, length: number): fc.Arbitrary<EditValue> {
  const axes: readonly Axis[] = SITES[site].axes;
  return fc
    .record({ seed: fc.nat(), same: fc.tuple(...axes.map(() => fc.boolean())) })
    .map(({ seed, same }) => {
      const shape = axes.map((axis, i) =>
        isPosition(axis) && same[i] ? 1 : axisSize(axis, model.architecture, length),
      );
      const { normal } = random(seed);
      return { kind: "given", shape, data: Float64Array.from({ length: sizeOf(shape) }, () => normal()) };
    });
}

function edit(model: Model, runs: readonly RunSpec[], { site, layer, run }: Place): fc.Arbitrary<Edit> {
  const { length } = runs[run].ids;
  const action = fc.constantFrom("replace" as const, "replace" as const, "add" as const, "scale" as const);
  const withValue = (value: fc.Arbitrary<EditValue>, positions: number): fc.Arbitrary<Edit> =>
    fc
      .record({ where: cells(model, site, { length, positions }), action, value })
      .map((rest) => ({ site, layer, ...rest }));
  return fc.oneof(
    {
      weight: 3,
      arbitrary: fc.nat({ max: runs.length - 1 }).chain((source) => {
        const value: EditValue = { kind: "run", run: source };
        return withValue(fc.constant(value), Math.min(length, runs[source].ids.length));
      }),
    },
    {
      weight: 1,
      arbitrary: withValue(
        fc.constantFrom(0, 1, -0.5, 2).map((value): EditValue => ({ kind: "fill", value })),
        length,
      ),
    },
    { weight: 1, arbitrary: withValue(given(model, site, length), length) },
  );
}

/** A run with one to `most` joint edits at any sites and layers. */
export function anyVariant(
  model: Model,
  runs: readonly RunSpec[],
  { most = 4 }: { readonly most?: number } = {},
): fc.Arbitrary<Variant> {
  const sites = namesOf(model);
  return fc
    .record({ run: fc.nat({ max: runs.length - 1 }), count: fc.integer({ min: 1, max: most }) })
    .chain(({ run, count }) =>
      fc
        .array(
          fc
            .record({
              site: fc.constantFrom(...sites),
              layer: fc.nat({ max: model.definition.blocks.length - 1 }),
            })
            .chain((place) => edit(model, runs, { ...place, run })),
          { minLength: count, maxLength: count },
        )
        .map((edits): Variant => ({ run, edits })),
    );
}
