/**
 * @file Where first-order estimates go wrong, by name: softmax saturation, gradients that vanish on one run only,
 * effects that cancel. Every cell that is flagged gets its exact effect.
 */

import { milliseconds } from "../core/clock.ts";
import { refuse } from "../core/errors.ts";
import { type OptionChecks, optionFaults, whole } from "../core/options.ts";
import { metrics } from "../metric/metric.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { addFirstOrder } from "../numeric/attribution.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { forward } from "../run/forward.ts";
import { gradients } from "../run/gradients.ts";
import type { SiteName } from "../run/site.ts";
import { SITES } from "../run/site.ts";
import type { AttributionSetup, EstimateOptions, RankedCell } from "./attribution.ts";
import { estimate, estimateChecks, prepareAttribution, ranked } from "./attribution.ts";
import type { CellPlace } from "./attribution-exact.ts";
import { exactEffects } from "./attribution-exact.ts";
import { cellAt } from "./grid.ts";
import { pairFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";

export interface PathologyOptions extends EstimateOptions {
  /** Largest cells that are shown beside the flagged ones. Default 20. */
  readonly verifyTop?: number | undefined;
}

const pathologyChecks: OptionChecks<PathologyOptions> = { ...estimateChecks, verifyTop: whole(0) };

/** `none`: a cell shown beside the flagged ones, being among the largest. */
export type Pathology = "saturation" | "zero gradient" | "cancellation" | "none";

/** A pattern this sharp has a gradient of at most 5 % of its weight's change (p(1 − p)). */
const SATURATED = 0.95;
/** "Far below": a tenth of the corrected estimate. */
const FAR_BELOW = 0.1;
/** A gradient norm below this share of the other run's is a flat region. */
const FLAT = 0.05;
/** Cells whose corrected estimate is below this share of the gap between the runs are left alone. */
const FLOOR = 0.01;
/** Cells computed exactly: more than a figure can tell apart. */
const MAX_FLAGGED = 200;

/** An estimate that misses by more than this share of the exact effect is far off. */
const OFF_BY = 0.5;
/** Exact effects below this share of the largest are left out of account: any error of theirs is small. */
const NEGLIGIBLE = 0.05;

const ATTENTION: readonly SiteName[] = ["q", "rot_q", "queries", "k", "rot_k", "keys", "k_heads"];

/** What is known of one cell, means over pairs. */
interface Node extends CellPlace {
  readonly plain: number;
  readonly fixed: number;
  /** Mean size over dropped blocks. */
  readonly dropped: number;
  readonly size: number;
  readonly probability: number;
  /** Gradient norm of the base run over that of the source run. */
  readonly flatness: number;
}

/**
 * Flags cells of one pair or several.
 *
 * @returns a dataset over dim `node` with `estimate` (AtP), `exact`, `qk_fixed`, `grad_drop`, `probability` (largest
 * attention probability of the cell's heads, queries with one visible key left out), `gradient_ratio` (norm on the base
 * run over that on the source run), and the coordinate `pathology`. The attribute `flagged` counts the flags;
 * `unexplained_curvature` names the cells that carry none though their estimate is far off.
 */
export async function attributionPathologies(
  model: Model,
  pairs: readonly Pair[],
  options: PathologyOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, pathologyChecks), ...pairFaults(pairs)]);
  const setup = await prepareAttribution(model, pairs, options);
  const how = { keepBytes: options.keepBytes };
  const plain = await estimate(model, setup, how);
  const fixed = await estimate(model, setup, { ...how, estimator: { kind: "atp-star", gradDrop: false } });
  const dropped = await estimate(model, setup, { ...how, estimator: { kind: "atp-star", qkFix: false } });
  const norms = await gradientNorms(model, setup, "base");
  const others = await gradientNorms(model, setup, "source");
  const probabilities = await sharpest(model, setup);
  const gap = Math.abs(mean(plain.source) - mean(plain.base));

  const keyOf = ({ grid, cell }: CellPlace): string => `${grid} ${cell}`;
  const byPlace = (cells: readonly RankedCell[]): ReadonlyMap<string, RankedCell> =>
    new Map(cells.map((cell) => [keyOf(cell), cell]));
  const fixedAt = byPlace(ranked(setup, fixed));
  const droppedAt = byPlace(ranked(setup, dropped));
  const nodes = ranked(setup, plain).map((cell): Node => {
    const key = keyOf(cell);
    const of = (values: readonly Float64Array[]): number => values[cell.grid]?.[cell.cell] ?? 0;
    return {
      grid: cell.grid,
      cell: cell.cell,
      plain: cell.signed,
      size: cell.score,
      fixed: fixedAt.get(key)?.signed ?? 0,
      dropped: droppedAt.get(key)?.score ?? 0,
      probability: of(probabilities),
      flatness: of(norms) / of(others),
    };
  });
  const flagged = nodes.map((node) => ({ ...node, pathology: pathologyOf(setup, node, FLOOR * gap) }));
  const top = options.verifyTop ?? 20;
  const shown = [
    ...flagged.filter(({ pathology }) => pathology !== "none").slice(0, MAX_FLAGGED),
    ...flagged.filter(({ pathology }) => pathology === "none").slice(0, top),
  ];
  const values = await exactEffects(model, setup.exact, {
    stateBytes: options.stateBytes,
    onProgress: options.onProgress,
    signal: options.signal,
    cells: setup.cells,
    places: shown,
  });
  const exact = shown.map((_, i) =>
    mean(pairs.map((_, pair) => values[pair * shown.length + i] ?? Number.NaN)),
  );
  const { unit } = metrics[setup.metric];
  const [clean, corrupt] =
    setup.direction === "denoise" ? [plain.source, plain.base] : [plain.base, plain.source];
  const over = (data: readonly number[], longName: string, detail = true): Variable => ({
    dims: ["node"],
    data: Float64Array.from(data),
    attrs: { unit, long_name: longName, quantity: "effect", ...(detail ? { detail } : {}) },
  });
  const counts = Object.fromEntries(
    (["saturation", "zero gradient", "cancellation"] as const).map((name) => [
      name,
      flagged.filter(({ pathology }) => pathology === name).length,
    ]),
  );
  return dataset({
    attrs: {
      method: "attribution-pathologies",
      question: "Where do first-order estimates go wrong?",
      metric: setup.metric,
      unit,
      direction: setup.direction,
      baseline_clean: mean(clean),
      baseline_corrupt: mean(corrupt),
      cells: nodes.length * pairs.length,
      flagged: counts,
      unexplained_curvature: {
        cells: unexplained(shown, exact).map((node) => nameOf(setup, node)),
        off_by: OFF_BY,
        negligible: NEGLIGIBLE,
      },
      thresholds: { probability: SATURATED, far_below: FAR_BELOW, flat: FLAT, floor: FLOOR * gap },
      ...(await provenance(model, pairs)),
      seconds: (milliseconds() - started) / 1000,
    },
    dims: { node: shown.length },
    coords: {
      node: { dims: ["node"], data: shown.map((node) => nameOf(setup, node)), attrs: {} },
      pathology: { dims: ["node"], data: shown.map(({ pathology }) => pathology), attrs: {} },
    },
    dataVars: {
      estimate: over(
        shown.map((node) => node.plain),
        "estimated effect (AtP)",
        false,
      ),
      estimate_exact: over(exact, "exact effect"),
      qk_fixed: over(
        shown.map((node) => node.fixed),
        "estimate behind the softmax",
      ),
      grad_drop: over(
        shown.map((node) => node.dropped),
        "mean size of the estimate over dropped blocks",
      ),
      probability: {
        ...over(
          shown.map((node) => node.probability),
          "largest attention probability",
        ),
        attrs: { unit: "1", detail: true },
      },
      gradient_ratio: {
        ...over(
          shown.map((node) => node.flatness),
          "gradient norm, base run over source run",
        ),
        attrs: { unit: "1", detail: true },
      },
    },
  });
}

function pathologyOf({ cells }: AttributionSetup, node: Node, floor: number): Pathology {
  const site = cells[node.grid]?.site;
  const attention = site !== undefined && ATTENTION.includes(site);
  if (
    attention &&
    node.probability > SATURATED &&
    Math.abs(node.fixed) > floor &&
    node.size < FAR_BELOW * Math.abs(node.fixed)
  ) {
    return "saturation";
  }
  if (node.flatness < FLAT) return "zero gradient";
  if (node.dropped > floor && Math.abs(node.plain) < FAR_BELOW * node.dropped) return "cancellation";
  return "none";
}

/** Cells whose estimate is far off though none of the tests says why: that none is flagged must not read as all are right. */
function unexplained<N extends Node & { readonly pathology: Pathology }>(
  shown: readonly N[],
  exact: readonly number[],
): N[] {
  const largest = exact.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return shown.filter(({ pathology, plain }, i) => {
    const value = exact[i] ?? Number.NaN;
    return (
      pathology === "none" &&
      Math.abs(value) > NEGLIGIBLE * largest &&
      Math.abs(plain - value) > OFF_BY * Math.abs(value)
    );
  });
}

function nameOf({ cells }: AttributionSetup, { grid, cell }: CellPlace): string {
  const laid = cells[grid]?.grid;
  if (laid === undefined) return "";
  const labels = cellAt(laid, cell);
  return [laid.name, ...laid.dims.map((dim) => `${dim} ${labels[dim] ?? ""}`)].join(" ");
}

/** Mean over pairs of the gradient's norm over each cell, on one of the runs. */
async function gradientNorms(
  model: Model,
  { cells, runs }: AttributionSetup,
  side: "base" | "source",
): Promise<Float64Array[]> {
  const sites = [...new Set(cells.map(({ site }) => site))];
  const found = await gradients(
    model,
    runs.map((run) => run[side]),
    { sites },
  );
  return cells.map((part) => {
    const norms = new Float64Array(part.grid.size);
    for (const [pair, run] of runs.entries()) {
      const { length } = run[side].ids;
      const parts = part.parts(length);
      for (const [layer, block] of model.definition.blocks.entries()) {
        const cellOf = part.cellOf(layer);
        if (cellOf === undefined || !block.sites.has(part.site)) continue;
        const data = found[pair]?.get(part.site, layer).data ?? new Float64Array(0);
        const place = { target: data, offset: 0 };
        const nothing = { target: new Float64Array(data.length), offset: 0 };
        const squares = new Float64Array(part.size);
        addFirstOrder(
          squares,
          { base: nothing, source: place, gradient: place },
          SITES[part.site].axes.map((axis) => parts[axis] ?? []),
        );
        for (const [cell, square] of squares.entries()) {
          const at = cellOf(cell);
          norms[at] = (norms[at] ?? 0) + Math.sqrt(square) / runs.length;
        }
      }
    }
    return norms;
  });
}

/** Mean over pairs of the largest attention probability of each cell's heads on the base run. */
async function sharpest(model: Model, { cells, runs }: AttributionSetup): Promise<Float64Array[]> {
  const { heads, kvHeads, causal } = model.architecture;
  const sums = cells.map(({ grid }) => new Float64Array(grid.size));
  if (!cells.some(({ site }) => ATTENTION.includes(site))) return sums;
  const { caches } = await forward(
    model,
    runs.map(({ base }) => base.ids),
    { capture: [{ site: "pattern" }] },
  );
  for (const cache of caches) {
    const length = cache.ids.length;
    for (const layer of model.definition.blocks.keys()) {
      const pattern = cache.get("pattern", layer).data;
      const largest = Float64Array.from({ length: heads }, (_, h) => {
        // A query with one visible key is always sure.
        const first = (h * length + (causal ? 1 : 0)) * length;
        let most = 0;
        for (const p of pattern.subarray(first, (h + 1) * length * length)) most = Math.max(most, p);
        return most;
      });
      for (const [grid, part] of cells.entries()) {
        const cellOf = part.cellOf(layer);
        if (cellOf === undefined || !ATTENTION.includes(part.site)) continue;
        const labels = Array.from({ length: part.size }, (_, cell) => cellAt(part.grid, cellOf(cell)));
        for (const [cell, { head, kv_head: kvHead }] of labels.entries()) {
          const own = [...largest.keys()].filter(
            (h) =>
              (head === undefined || h === head) &&
              (kvHead === undefined || Math.floor((h * kvHeads) / heads) === kvHead),
          );
          const at = cellOf(cell);
          const target = sums[grid] as Float64Array;
          target[at] = (target[at] ?? 0) + Math.max(0, ...own.map((h) => largest[h] ?? 0)) / caches.length;
        }
      }
    }
  }
  return sums;
}
