/**
 * @file Whether single ablations hide what a component gives: its direct effect on the logit difference beside the total.
 * Where most of the direct effect does not arrive, something makes up for it, and a small total says little.
 * Source: McGrath et al. 2023, "The Hydra Effect"; Rushing & Nanda 2024, "Explorations of Self-Repair in Language Models".
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { dot } from "../numeric/projection.ts";
import { mean } from "../numeric/statistics.ts";
import type { Json } from "../result/result.ts";
import { type Direction, directions } from "../run/direction.ts";
import { type Cache, forward } from "../run/forward.ts";
import { type SiteName, siteShape } from "../run/site.ts";
import type { Means } from "./ablation.ts";
import { termsOf } from "./direct.ts";
import { layerShares, type Shares, shareCaptures } from "./direct-shares.ts";
import { cellAt, type Grid } from "./grid.ts";

/**
 * Repair is large where less than half of the direct effect arrives. The final norm's scale alone makes up for about 30 %
 * (Rushing & Nanda 2024, section 4), later layers of middle ones for about 70 % (McGrath et al. 2023, section 3).
 */
const REPAIRED_SHARE = 0.5;
/** Direct effects below this many logits, or this share of the clean metric, are no matter. */
const LEAST_LOGITS = 0.1;
const LEAST_SHARE = 0.05;
/** Cells that the attributes list. */
const LISTED = 20;
/** Cells that the warning names. */
const NAMED = 3;
/** Pairs captured at once. */
const BATCH = 8;

export interface NecessityRuns {
  /** Of the metric logit_diff. */
  readonly pairs: readonly Prompted[];
  readonly grids: readonly Grid[];
  /** What is put in at the last position, by pair: values of other sequences, averaged; `means`; or zeros. */
  readonly replacement:
    | { readonly kind: "runs"; readonly of: readonly (readonly (readonly number[])[])[] }
    | { readonly kind: "means"; readonly means: Means }
    | { readonly kind: "zero" };
  /** Metric of the clean runs, by pair. */
  readonly clean: Float64Array;
  /** [pair, cell] metric of the edited runs, one array a grid. */
  readonly values: readonly Float64Array[];
}

/** Sites whose output adds straight to the stream. */
const checked: readonly SiteName[] = ["z", "attn_out", "mlp_out"];

/** Whether any cell of the grids is of one component: only such ones can be checked. */
export function hasSingleComponents(grids: readonly Grid[]): boolean {
  return grids.some((grid) => componentsOf(grid).length > 0);
}

/** Cells of a grid that ablate one component at its output. */
function componentsOf(grid: Grid): { readonly cell: number; readonly layer: number }[] {
  const [only, ...others] = grid.sites;
  if (only === undefined || others.length > 0 || !checked.includes(only.site)) return [];
  return Array.from({ length: grid.size }, (_, cell) => {
    const { layer } = cellAt(grid, cell);
    return { cell, layer: layer ?? (only.layers.length === 1 ? only.layers[0] : undefined) };
  }).flatMap(({ cell, layer }) => (layer === undefined ? [] : [{ cell, layer }]));
}

/**
 * Change of what components of the clean run add straight to the logit difference with their output at the last position
 * replaced, the final norm's scale as it was: mean over pairs.
 *
 * @returns [cell] of each grid; NaN for cells that ablate no single component, or not at the last position of every pair:
 * others have no direct effect.
 */
export async function directEffects(
  model: Model,
  runs: Pick<NecessityRuns, "pairs" | "grids" | "replacement">,
): Promise<readonly Float64Array[]> {
  const { pairs, grids } = runs;
  const changes: Change[] = [];
  for (let start = 0; start < pairs.length; start += BATCH) {
    changes.push(...(await batchChanges(model, runs, { start, end: start + BATCH })));
  }
  return grids.map((grid) => {
    const effects = new Float64Array(grid.size).fill(Number.NaN);
    for (const { cell, layer } of componentsOf(grid)) {
      const [{ site, where }] = grid.sites as readonly [Grid["sites"][number]];
      const { pos, head } = where(cellAt(grid, cell));
      const own = changes.map(({ last, of }) =>
        pos === undefined || pos.includes(last) ? of(site, { layer, heads: head }) : Number.NaN,
      );
      effects[cell] = mean(own);
    }
    return effects;
  });
}

/**
 * Compares direct and total effects of cells that ablate one attention layer, MLP or head of the clean run.
 *
 * @returns a warning where some are repaired, and what was found for the result's attributes.
 */
export async function selfRepair(
  model: Model,
  runs: NecessityRuns,
): Promise<{ readonly warnings: readonly string[]; readonly found: Json }> {
  const { pairs, grids, clean, values } = runs;
  const effects = await directEffects(model, runs);
  const least = Math.max(LEAST_LOGITS, LEAST_SHARE * Math.abs(mean(clean)));
  let count = 0;
  const repaired: Repaired[] = [];
  for (const [index, grid] of grids.entries()) {
    for (const { cell, layer } of componentsOf(grid)) {
      const direct = effects[index]?.[cell] ?? Number.NaN;
      if (Number.isNaN(direct)) continue;
      count++;
      const total = mean(
        pairs.map((_, pair) => (values[index]?.[pair * grid.size + cell] ?? Number.NaN) - (clean[pair] ?? 0)),
      );
      if (Math.abs(direct) < least || total / direct >= REPAIRED_SHARE) continue;
      const { head } = cellAt(grid, cell);
      repaired.push({ site: grid.name, layer, ...(head === undefined ? {} : { head }), direct, total });
    }
  }
  const missing = ({ direct, total }: Repaired): number => Math.abs(direct - total);
  repaired.sort((one, other) => missing(other) - missing(one));
  return {
    warnings: repaired.length === 0 ? [] : [warningOf(repaired, count)],
    found: {
      checked: count,
      repaired: repaired.length,
      arriving_share: REPAIRED_SHARE,
      least_direct: least,
      cells: repaired.slice(0, LISTED).map((one) => ({ ...one })),
    },
  };
}

interface Repaired {
  readonly site: string;
  readonly layer: number;
  readonly head?: number;
  readonly direct: number;
  readonly total: number;
}

function warningOf(repaired: readonly Repaired[], count: number): string {
  const named = repaired.slice(0, NAMED).map(({ site, layer, head, direct, total }) => {
    const place = head === undefined ? `${site} of layer ${layer}` : `${site} of head ${layer}.${head}`;
    return `${place} ${signed(total)} of ${signed(direct)}`;
  });
  const more = repaired.length > NAMED ? ", …" : "";
  return (
    `self-repair: of ${count} components ablated one at a time, ${repaired.length} ${repaired.length === 1 ? "costs" : "cost"} less than half of what they ` +
    `themselves add to the logit difference (${named.join("; ")} logits${more}). Others make up for them, so that their single ` +
    "effects say too little: ablate several together, with crosspatch hydra --backups"
  );
}

const signed = (value: number): string => `${value > 0 ? "+" : ""}${value.toFixed(2)}`;

/** What each component of one pair adds more, with its output replaced, the final norm's scale as in the clean run. */
interface Change {
  /** The last position. */
  readonly last: number;
  readonly of: (
    site: SiteName,
    at: { readonly layer: number; readonly heads: readonly number[] | undefined },
  ) => number;
}

async function batchChanges(
  model: Model,
  { pairs, replacement }: Pick<NecessityRuns, "pairs" | "replacement">,
  { start, end }: { readonly start: number; readonly end: number },
): Promise<Change[]> {
  const batch = pairs.slice(start, end);
  const width = model.architecture.dModel;
  const asked = { sources: false, neuronLayers: [] };
  const there = checked.filter((site) => model.definition.blocks[0]?.sites.has(site));
  const sites = [...new Set([...there, ...shareCaptures(model, asked).map(({ site }) => site)])];
  const capture = sites.map((site) => ({ site }));
  const { caches, residuals } = await forward(
    model,
    batch.map(({ clean }) => clean.ids),
    { capture },
  );
  const last = model.backend.allocate(batch.length * width);
  for (const [index, residual] of residuals.entries()) last.set(residual.slice(-width), index * width);
  const sums = batch.map((pair) => ({ terms: termsOf(pair), centred: false }));
  const ways = await directions(model, last, sums);

  const before = caches.map((cache) => lastOf(model, [cache], sites));
  const after: Cache[] = [];
  for (const [index, own] of before.entries()) {
    after.push(await replaced(model, own, { replacement, pair: start + index, sites: there, capture }));
  }
  const runs = (of: readonly Cache[]) =>
    of.map((cache, index) => ({ cache, position: 0, direction: ways[index] as Direction }));
  const [own, other] = [
    await layerShares(model, runs(before), asked),
    await layerShares(model, runs(after), asked),
  ];
  return batch.map(({ clean }, index): Change => {
    const { weights } = ways[index] as Direction;
    const along = (cache: Cache | undefined, layer: number): number =>
      dot(cache?.get("attn_out", layer).data ?? [], weights);
    const difference = (name: "head" | "mlp", at: number): number => {
      const value = (shares: Pick<Shares, "head" | "mlp"> | undefined): number =>
        shares?.[name][at] ?? Number.NaN;
      return value(other[index]) - value(own[index]);
    };
    const { heads: count } = model.architecture;
    return {
      last: clean.ids.length - 1,
      of(site, { layer, heads = [...Array(count).keys()] }) {
        if (site === "mlp_out") return difference("mlp", layer);
        if (site === "attn_out") return along(after[index], layer) - along(before[index], layer);
        return heads.reduce((sum, head) => sum + difference("head", layer * count + head), 0);
      },
    };
  });
}

/** Values at the last position, averaged over runs, as a run of one position. */
function lastOf(model: Model, caches: readonly Cache[], sites: readonly SiteName[]): Cache {
  const rows = new Map<string, FloatArray>();
  for (const layer of model.definition.blocks.keys()) {
    for (const site of sites) {
      const row = rowOf(model, site);
      for (const cache of caches) {
        const { data } = cache.get(site, layer);
        for (let i = 0; i < row.length; i++) {
          row[i] = (row[i] ?? 0) + (data[data.length - row.length + i] ?? 0) / caches.length;
        }
      }
      rows.set(`${layer}.${site}`, row);
    }
  }
  return cacheOf(model, (site, layer) => rows.get(`${layer}.${site}`));
}

function rowOf(model: Model, site: SiteName): FloatArray {
  return model.backend.allocate(
    siteShape(site, model.architecture, 1).reduce((size, axis) => size * axis, 1),
  );
}

function cacheOf(model: Model, read: (site: SiteName, layer: number) => FloatArray | undefined): Cache {
  return {
    ids: [0],
    has: (site, layer) => read(site, layer) !== undefined,
    get(site, layer) {
      const data = read(site, layer);
      if (data === undefined) throw new Error(`${site} of layer ${layer} is not there`);
      return { data, shape: siteShape(site, model.architecture, 1) };
    },
  };
}

/** The clean run with what is put in; norms behind modules keep their clean scale. */
async function replaced(
  model: Model,
  own: Cache,
  {
    replacement,
    pair,
    sites,
    capture,
  }: {
    readonly replacement: NecessityRuns["replacement"];
    readonly pair: number;
    readonly sites: readonly SiteName[];
    readonly capture: readonly { readonly site: SiteName }[];
  },
): Promise<Cache> {
  if (replacement.kind === "runs") {
    const { caches } = await forward(model, replacement.of[pair] ?? [], { capture: [...capture] });
    const other = lastOf(model, caches, sites);
    return cacheOf(model, (site, layer) => (sites.includes(site) ? other : own).get(site, layer).data);
  }
  return cacheOf(model, (site, layer) => {
    if (!sites.includes(site)) return own.get(site, layer).data;
    const row = rowOf(model, site);
    if (replacement.kind === "zero") return row;
    const given = replacement.means.get(`${layer}.${site}`);
    if (given?.kind !== "given") return own.get(site, layer).data; // not ablated
    row.set(Array.from(given.data).slice(-row.length));
    return row;
  });
}
