/** @file The cells of an experiment: which edits each stands for, and the dims and labels of the result. */

import type { Fault } from "../core/errors.ts";
import { InputError, merged, refuse } from "../core/errors.ts";
import { indices, type OptionChecks } from "../core/options.ts";
import { sizeOf } from "../core/tensor.ts";
import type { MetricPlan } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Where } from "../run/edit.ts";
import type { Axis, SiteName } from "../run/site.ts";
import { parseSite, SITES } from "../run/site.ts";

/** Dims that cells can be told apart by. */
export const GRID_DIMS = ["layer", "pos", "head", "kv_head", "neuron", "dst", "src"] as const;
export type GridDim = (typeof GRID_DIMS)[number];

/** Labels to take along each dim; all of them where none are named. */
export type Chosen = { readonly [D in GridDim]?: readonly number[] | undefined };

export const chosenChecks: OptionChecks<Chosen> = {
  layer: indices,
  pos: indices,
  head: indices,
  kv_head: indices,
  neuron: indices,
  dst: indices,
  src: indices,
};

/** A site to patch, and for the joint patching of several, the others. */
export interface GridSite {
  readonly site: SiteName;
  /** Layers at which the site is patched in every cell that does not name one. */
  readonly layers: readonly number[];
  readonly where: (cell: Readonly<Partial<Record<GridDim, number>>>) => Where;
}

/** All cells of one variable of the result. */
export interface Grid {
  /** Name of the result's variable: the site, or the sites joined by `+`. */
  readonly name: string;
  readonly sites: readonly GridSite[];
  readonly dims: readonly GridDim[];
  /** Labels along each dim. */
  readonly labels: readonly (readonly number[])[];
  readonly size: number;
}

export interface GridOptions {
  /** Sites as users write them. */
  readonly sites: readonly string[];
  readonly by: readonly string[];
  readonly choose?: Chosen | undefined;
  /** All sites in every cell at once, instead of one after the other. */
  readonly joint?: boolean | undefined;
  /** Keys and values of each query head by itself, where several share one. */
  readonly ungroup?: boolean | undefined;
  /** Tokens of the prompts; undefined where they differ, which rules out cells by position. */
  readonly positions: number | undefined;
  /** Tokens of the shortest prompt, where they differ: every prompt has the positions that cells are restricted to. */
  readonly shortest?: number | undefined;
}

/** Tokens of the prompts, with what the metric appends. */
export function lengthsOf(
  pairs: readonly Pair[],
  plans: readonly MetricPlan[],
): Pick<GridOptions, "positions" | "shortest"> {
  const lengths = pairs.map(({ clean }, i) => clean.ids.length + (plans[i]?.appended.length ?? 0));
  const shortest = lengths.length === 0 ? undefined : lengths.reduce((a, b) => Math.min(a, b));
  return { positions: new Set(lengths).size === 1 ? shortest : undefined, shortest };
}

/** Dims of a site's cells. A user's `pos` is the key position for keys and values of each head, `head` the key/value head of `k`. */
function siteDims(site: SiteName): readonly Axis[] {
  return SITES[site].axes;
}

const UNGROUPED: Partial<Record<SiteName, SiteName>> = { k: "k_heads", v: "v_heads" };

/**
 * Lays out the cells.
 * @throws InputError naming every unknown site and dim, dims that a known site does not have, and labels out of range.
 */
export function grids(model: Model, options: GridOptions): Grid[] {
  const block = model.definition.blocks[0];
  if (block === undefined) throw new Error("a model without layers");
  const faults: Fault[] = [];
  const sites: { readonly asked: string; readonly site: SiteName; readonly layer: number | undefined }[] = [];
  for (const asked of options.sites) {
    try {
      const { site, layer } = parseSite(asked, block);
      sites.push({ asked, site, layer });
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      faults.push(...error.faults.map((fault) => ({ ...fault, where: "--site" })));
    }
  }
  if (options.sites.length === 0)
    faults.push({ where: "--site", found: "none", wanted: "at least one site" });
  const by = options.by.filter((dim): dim is GridDim => (GRID_DIMS as readonly string[]).includes(dim));
  for (const dim of options.by) {
    if (!(GRID_DIMS as readonly string[]).includes(dim)) {
      faults.push({ where: "--by", found: JSON.stringify(dim), wanted: `some of ${GRID_DIMS.join(", ")}` });
    }
  }

  // What an unknown site would make of a joint cell is not known; all else is checked as far as it goes.
  const isKnown = sites.length > 0 && sites.length === options.sites.length;
  const joint = isKnown ? [sites] : [];
  const groups = options.joint ? joint : sites.map((site) => [site]);
  if (groups.length === 0) faults.push(...labelFaults(model, { ...options, kv: false }));
  const found = groups.map((group) => gridOf(model, group, { ...options, by, faults }));
  for (const name of new Set(found.map((grid) => grid.name))) {
    if (found.filter((grid) => grid.name === name).length > 1) {
      faults.push({ where: "--site", found: `${name} more than once`, wanted: "each site once" });
    }
  }
  faults.push(...ownLayerFaults(found));
  refuse(merged(faults));
  return found;
}

/** Sites along layers that are not the others': a result has one list of labels for each dim. */
function ownLayerFaults(found: readonly Grid[]): Fault[] {
  const layersOf = ({ dims, labels }: Grid): string => labels[dims.indexOf("layer")]?.join(", ") ?? "";
  const along = found.filter(({ dims }) => dims.includes("layer"));
  if (new Set(along.map(layersOf)).size < 2) return [];
  return [
    {
      where: "--site",
      found: along.map((grid) => `${grid.name} in layer ${layersOf(grid)}`).join("; "),
      wanted: "the same layers for all sites",
      fix: "Name layers by --layer instead, or leave layer out of --by.",
    },
  ];
}

function sizesOf(
  { architecture }: Model,
  positions: number | undefined,
): Readonly<Record<GridDim, number | undefined>> {
  return {
    layer: architecture.layers.length,
    pos: positions,
    dst: positions,
    src: positions,
    head: architecture.heads,
    kv_head: architecture.kvHeads,
    neuron: architecture.dMlp,
  };
}

/**
 * Chosen labels that there are not, along any dim: what is not told apart can still be restricted. With `kv`, heads are
 * those of keys and values.
 */
function labelFaults(
  model: Model,
  options: Pick<GridOptions, "choose" | "positions" | "shortest"> & { readonly kv: boolean },
): Fault[] {
  const { choose = {}, kv, positions, shortest } = options;
  const sizes = sizesOf(model, positions ?? shortest);
  return GRID_DIMS.flatMap((dim) => {
    const size = dim === "head" && kv ? sizes.kv_head : sizes[dim];
    const outside = choose[dim]?.filter((label) => size !== undefined && !(label >= 0 && label < size)) ?? [];
    if (outside.length === 0) return [];
    const isShortest = positions === undefined && (dim === "pos" || dim === "dst" || dim === "src");
    const wanted = `0 to ${(size ?? 1) - 1}${isShortest ? ", as the shortest prompt has" : ""}`;
    return [{ where: `--${dim.replace("_", "-")}`, found: outside.join(", "), wanted }];
  });
}

function gridOf(
  model: Model,
  group: readonly { readonly asked: string; readonly site: SiteName; readonly layer: number | undefined }[],
  options: Omit<GridOptions, "by"> & { readonly by: readonly GridDim[]; readonly faults: Fault[] },
): Grid {
  const { by, choose = {}, ungroup = false, positions, faults } = options;
  const name = group.map(({ site }) => site).join("+");
  const members = group.map(({ site, layer }) => ({ site: (ungroup && UNGROUPED[site]) || site, layer }));
  const kv = members.every(({ site }) => hasKvHeads(site));
  const dims = by.map((dim) => (dim === "head" && kv ? "kv_head" : dim));

  // A site that names its layer (`blocks.3.attn.hook_z`) is patched there and nowhere else.
  const named = [...new Set(group.flatMap(({ layer }) => layer ?? []))];
  const everyLayer = [...model.architecture.layers.keys()];
  for (const layer of named.filter((index) => !(index in everyLayer))) {
    faults.push({ where: "--site", found: `layer ${layer}`, wanted: `0 to ${everyLayer.length - 1}` });
  }
  if (
    dims.includes("layer") &&
    named.length > 0 &&
    (named.length > 1 || group.some(({ layer }) => layer === undefined))
  ) {
    faults.push({
      where: "--by",
      found: `layer for ${group.map(({ asked }) => asked).join(", ")}, which are patched at layers of their own`,
      wanted: "sites without a layer",
      fix: "Leave layer out of --by, or the layers out of --site.",
    });
  }
  const sizes = sizesOf(model, positions);
  for (const dim of dims) {
    const lacking = members.filter(({ site }) => dim !== "layer" && axisFor(site, dim) === undefined);
    if (lacking.length > 0) {
      faults.push({
        where: "--by",
        found: `${dim} for ${lacking.map(({ site }) => site).join(", ")}`,
        wanted: `dims of the site: layer, ${[...new Set(lacking.flatMap(({ site }) => dimsOf(site)))].join(", ")}`,
      });
    }
    if (sizes[dim] === undefined) {
      faults.push({
        where: "--by",
        found: `${dim} over prompts of different lengths`,
        wanted: "prompts with the same number of tokens",
        fix: "Leave the position out of --by, or use prompts of one length.",
      });
    }
  }
  const chosenOf = (dim: GridDim): readonly number[] | undefined =>
    dim === "kv_head" ? (choose.kv_head ?? choose.head) : choose[dim];
  faults.push(...labelFaults(model, { ...options, kv }), ...strayFaults(group, { members, choose, kv }));
  const labels = dims.map((dim) => {
    if (dim === "layer" && named.length > 0) return named;
    return chosenOf(dim) ?? Array.from({ length: sizes[dim] ?? 0 }, (_, index) => index);
  });

  return {
    name,
    dims,
    labels,
    size: sizeOf(labels.map((list) => list.length)),
    sites: members.map(({ site, layer }) => ({
      site,
      layers: layer === undefined ? (choose.layer ?? everyLayer) : [layer],
      where(cell) {
        const where: { [A in Axis]?: readonly number[] } = {};
        // What is not told apart by a dim can still be restricted to the chosen labels.
        for (const dim of GRID_DIMS) {
          const axis = dim === "layer" ? undefined : chosenAxis(site, dim, kv);
          if (axis === undefined) continue;
          const label = cell[dim];
          const along = chosenOf(axis === "kv_head" ? axis : dim);
          if (label !== undefined) where[axis] = [label];
          else if (along !== undefined) where[axis] ??= along;
        }
        return where;
      },
    })),
  };
}

/** Choices that a site knows nothing of: left out, they would seem to be made. */
function strayFaults(
  group: readonly { readonly asked: string; readonly layer: number | undefined }[],
  {
    members,
    choose,
    kv,
  }: {
    readonly members: readonly { readonly site: SiteName }[];
    readonly choose: Chosen;
    readonly kv: boolean;
  },
): Fault[] {
  const stray = GRID_DIMS.flatMap((dim): Fault[] => {
    if (dim === "layer" || choose[dim] === undefined) return [];
    const lacking = members.filter(({ site }) => chosenAxis(site, dim, kv) === undefined);
    return lacking.map(({ site }) => ({
      where: `--${dim.replace("_", "-")}`,
      found: `${site}, which has no ${dim}`,
      wanted: "sites that have it",
      fix: "Leave the choice out, or such sites.",
    }));
  });
  if (choose.layer === undefined) return stray;
  const named = group.filter(({ layer }) => layer !== undefined);
  return [
    ...stray,
    ...named.map(({ asked }) => ({
      where: "--layer",
      found: `${asked}, which names its layer`,
      wanted: "one of the two",
    })),
  ];
}

const hasKvHeads = (site: SiteName): boolean => siteDims(site).includes("kv_head");

/** The site's axis that labels are chosen along. With `kv`, all sites of a cell being such, heads are those of keys and values. */
function chosenAxis(site: SiteName, dim: Exclude<GridDim, "layer">, kv: boolean): Axis | undefined {
  return axisFor(site, dim) ?? (dim === "head" && kv ? "kv_head" : undefined);
}

/** The site's axis that a dim of the grid runs along. */
export function axisFor(site: SiteName, dim: Exclude<GridDim, "layer">): Axis | undefined {
  const axes = siteDims(site);
  if (dim === "pos") return (["pos", "dst", "src"] as const).find((axis) => axes.includes(axis));
  return axes.includes(dim) ? dim : undefined;
}

function dimsOf(site: SiteName): GridDim[] {
  return (["pos", "head", "kv_head", "neuron", "dst", "src"] as const).filter(
    (dim) => axisFor(site, dim) !== undefined,
  );
}

/** The labels of a cell, from its index in row-major order. */
export function cellAt({ dims, labels }: Grid, index: number): Partial<Record<GridDim, number>> {
  const cell: Partial<Record<GridDim, number>> = {};
  let rest = index;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    const along = labels[axis] ?? [];
    const dim = dims[axis];
    if (dim !== undefined) cell[dim] = along[rest % along.length] ?? 0;
    rest = Math.floor(rest / along.length);
  }
  return cell;
}
