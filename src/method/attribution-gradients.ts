/**
 * @file Integrated gradients: the gradient averaged along the straight way between the two runs, of the input
 * embeddings or of each activation by itself.
 *
 * Sundararajan et al. 2017, eq. 3; over inputs as in EAP-IG (Hanna et al. 2024), over activations as in Marks et al. 2024.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { addFirstOrder, type Place } from "../numeric/attribution.ts";
import { placeOf } from "../run/apply.ts";
import type { SiteValue } from "../run/block.ts";
import type { Edit } from "../run/edit.ts";
import { endGradients } from "../run/end-gradients.ts";
import { backward } from "../run/gradients.ts";
import type { SiteName } from "../run/site.ts";
import { SITES, siteShape } from "../run/site.ts";
import type { Trajectory } from "../run/trajectory.ts";
import { trajectory } from "../run/trajectory.ts";
import type { LayerCells } from "./attribution-cells.ts";
import type { AttributionPair, Estimates } from "./attribution-estimate.ts";
import { lowestLayer, passTokens, together } from "./attribution-estimate.ts";

/**
 * Where along the way gradients are taken, α from corrupt (0) to clean (1), m steps: `midpoint` (k − ½)/m, error
 * O(1/m²); `paper` k/m for k = 1 … m (EAP-IG's text); `code` k/m for k = 0 … m − 1 (EAP-IG's repository), both O(1/m).
 */
export const stepRules = ["midpoint", "paper", "code"] as const;
export type StepRule = (typeof stepRules)[number];

/** What integrated gradients move: all embeddings, or one site of one layer at a time. */
export const integratedOver = ["inputs", "activations"] as const;
export type IntegratedOver = (typeof integratedOver)[number];

/** Finest way of integrated gradients: their error is far below that of float32 then. */
export const MAX_STEPS = 10_000;

export interface IntegrateOptions {
  readonly cells: readonly LayerCells[];
  readonly over: IntegratedOver;
  readonly steps: number;
  readonly rule: StepRule;
  /** Which end of the way the base run is. */
  readonly base: "clean" | "corrupt";
  readonly keepBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** The α of each step. */
export function stepsOf(rule: StepRule, steps: number): number[] {
  const first = { midpoint: 0.5, paper: 1, code: 0 }[rule];
  return Array.from({ length: steps }, (_, k) => (k + first) / steps);
}

/** Effects of all cells on all pairs, by integrated gradients. */
export async function integrateEffects(
  model: Model,
  pairs: readonly AttributionPair[],
  options: IntegrateOptions,
): Promise<Estimates> {
  const { cells, over, onProgress } = options;
  const signed = cells.map(({ grid }) => new Float64Array(grid.size * pairs.length));
  const base = new Float64Array(pairs.length);
  const source = new Float64Array(pairs.length);
  let forwards = 2 * pairs.length;
  let backwards = 0;
  let done = 0;
  // Beside the two runs, one of as many tokens as either of them.
  const tokens = passTokens(model, pairs, { streams: 1 });
  for (const some of together(pairs, { tokens })) {
    const chunk = some.map((index) => pairs[index] as AttributionPair);
    const sites = [...new Set(cells.map(({ site }) => site))];
    const path = await trajectory(
      model,
      [...chunk.map((pair) => pair.base.ids), ...chunk.map((pair) => pair.source.ids)],
      { sites, ...(options.keepBytes === undefined ? {} : { keepBytes: options.keepBytes }) },
    );
    const ends = await endGradients(
      model,
      chunk.map((pair) => pair.base),
      path,
      { valuesOnly: true },
    );
    const others = await endGradients(
      model,
      chunk.map((pair) => pair.source),
      path,
      {
        firstRow: chunk.length,
        valuesOnly: true,
      },
    );
    for (const [row, index] of some.entries()) {
      base[index] = ends.values[row] ?? Number.NaN;
      source[index] = others.values[row] ?? Number.NaN;
    }
    const add = (
      grid: number,
      row: number,
      values: { readonly layer: number; readonly sums: Float64Array },
    ): void => {
      const cellOf = cells[grid]?.cellOf(values.layer);
      const target = signed[grid];
      if (cellOf === undefined || target === undefined) return;
      const start = (some[row] ?? 0) * (cells[grid]?.grid.size ?? 0);
      for (const [cell, sum] of values.sums.entries()) {
        const at = start + cellOf(cell);
        target[at] = (target[at] ?? 0) + sum / options.steps;
      }
    };
    const spent = await (over === "inputs" ? alongInputs : alongActivations)(model, chunk, {
      path,
      options,
      add,
    });
    forwards += spent.forwards * chunk.length;
    backwards += spent.backwards * chunk.length;
    done += chunk.length;
    onProgress?.(done, pairs.length);
  }
  const score = signed.map((values) => values.map(Math.abs));
  return { signed, score, base, source, passes: { forwards, backwards } };
}

interface Along {
  readonly path: Trajectory;
  readonly options: IntegrateOptions;
  readonly add: (
    grid: number,
    row: number,
    values: { readonly layer: number; readonly sums: Float64Array },
  ) => void;
}

/** Runs whose embeddings lie between those of the two. */
async function alongInputs(
  model: Model,
  pairs: readonly AttributionPair[],
  { path, options, add }: Along,
): Promise<{ readonly forwards: number; readonly backwards: number }> {
  const { cells } = options;
  const first = await path.values(0);
  let backwards = 0;
  for (const alpha of stepsOf(options.rule, options.steps)) {
    const edits = pairs.map((pair, row) => [
      between(model, pair, {
        site: "resid_pre",
        layer: 0,
        value: first.get("resid_pre"),
        path,
        row,
        pairs,
        alpha,
        options,
      }),
    ]);
    const { step, gradient } = await edited(model, pairs, edits);
    backwards += await backward(model, step, {
      gradient,
      edits,
      sites: [...new Set(cells.map(({ site }) => site))],
      lowest: lowestLayer(model, cells),
      async onLayer({ layer, streams: [stream] }) {
        if (stream === undefined) return;
        const values = await path.values(layer.index);
        for (const [grid, part] of cells.entries()) {
          if (part.cellOf(layer.index) === undefined || !layer.program.sites.has(part.site)) continue;
          for (const row of pairs.keys()) {
            const sums = sumsOf(model, part, {
              value: values.get(part.site),
              path,
              row,
              pairs,
              gradient: stream.place(part.site, row),
            });
            add(grid, row, { layer: layer.index, sums });
          }
        }
      },
    });
  }
  return { forwards: options.steps, backwards };
}

/** The base runs with edits, and the gradients that their backward pass starts from. */
async function edited(
  model: Model,
  pairs: readonly AttributionPair[],
  edits: readonly (readonly Edit[])[],
): Promise<{ readonly step: Trajectory; readonly gradient: FloatArray }> {
  const bases = pairs.map(({ base }) => base);
  const step = await trajectory(
    model,
    bases.map(({ ids }) => ids),
    { edits },
  );
  const { gradient } = await endGradients(model, bases, step);
  return { step, gradient };
}

/** For each site and layer, runs of which that value lies between those of the two. */
async function alongActivations(
  model: Model,
  pairs: readonly AttributionPair[],
  { path, options, add }: Along,
): Promise<{ readonly forwards: number; readonly backwards: number }> {
  const alphas = stepsOf(options.rule, options.steps);
  let forwards = 0;
  let backwards = 0;
  for (const [grid, part] of options.cells.entries()) {
    for (const [index, program] of model.definition.blocks.entries()) {
      if (part.cellOf(index) === undefined || !program.sites.has(part.site)) continue;
      const value = (await path.values(index)).get(part.site);
      for (const alpha of alphas) {
        const edits = pairs.map((pair, row) => [
          between(model, pair, { site: part.site, layer: index, value, path, row, pairs, alpha, options }),
        ]);
        const { step, gradient } = await edited(model, pairs, edits);
        backwards += await backward(model, step, {
          gradient,
          edits,
          sites: [part.site],
          lowest: index,
          onLayer({ layer: reached, streams: [stream] }) {
            if (stream === undefined || reached.index !== index) return;
            for (const row of pairs.keys()) {
              const sums = sumsOf(model, part, {
                value,
                path,
                row,
                pairs,
                gradient: stream.place(part.site, row),
              });
              add(grid, row, { layer: index, sums });
            }
          },
        });
        forwards += 1;
      }
    }
  }
  return { forwards, backwards };
}

interface OfRow {
  readonly value: SiteValue | undefined;
  readonly path: Trajectory;
  readonly row: number;
  readonly pairs: readonly AttributionPair[];
}

function placesOf(
  model: Model,
  site: SiteName,
  { value, path, row, pairs }: OfRow,
): { readonly base: Place; readonly source: Place; readonly size: number } {
  if (value === undefined) throw new Error(`${site} was not kept`);
  const place = (index: number) =>
    placeOf(value, { architecture: model.architecture, batch: path.batch, row: index, site });
  return { base: place(row), source: place(pairs.length + row), size: place(row).size };
}

function sumsOf(model: Model, part: LayerCells, from: OfRow & { readonly gradient: Place }): Float64Array {
  const sums = new Float64Array(part.size);
  const parts = part.parts(from.pairs[from.row]?.base.ids.length ?? 0);
  const { base, source } = placesOf(model, part.site, from);
  addFirstOrder(
    sums,
    { base, source, gradient: from.gradient },
    SITES[part.site].axes.map((axis) => parts[axis] ?? []),
  );
  return sums;
}

/** The edit that sets a site to corrupt + α (clean − corrupt). */
function between(
  model: Model,
  pair: AttributionPair,
  from: OfRow & {
    readonly site: SiteName;
    readonly layer: number;
    readonly alpha: number;
    readonly options: IntegrateOptions;
  },
): Edit {
  const { site, layer, alpha, options } = from;
  const { base, source, size } = placesOf(model, site, from);
  const towards = options.base === "corrupt" ? alpha : 1 - alpha;
  const data: FloatArray = model.backend.allocate(size);
  for (let i = 0; i < size; i++) {
    const one = base.target[base.offset + i] ?? 0;
    data[i] = one + towards * ((source.target[source.offset + i] ?? 0) - one);
  }
  const shape = siteShape(site, model.architecture, pair.base.ids.length);
  return { site, layer, where: {}, action: "replace", value: { kind: "given", shape, data } };
}
