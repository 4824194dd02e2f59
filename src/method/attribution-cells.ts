/** @file The cells of attribution: which elements of a site's value belong to which cell of a grid, layer by layer. */

import { inputError } from "../core/errors.ts";
import { sizeOf } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { CellPart } from "../numeric/attribution.ts";
import type { Axis, SiteName } from "../run/site.ts";
import { axisSize, SITES } from "../run/site.ts";
import type { Grid, GridDim } from "./grid.ts";
import { axisFor } from "./grid.ts";

/** A grid whose cells each lie in one layer. */
export interface LayerCells {
  readonly grid: Grid;
  readonly site: SiteName;
  /** Cells of one layer. */
  readonly size: number;
  /** Cell of the grid for a cell of one layer; undefined where the layer has none. */
  cellOf(layer: number): ((cell: number) => number) | undefined;
  /** Which cell of a layer each index along the site's axes belongs to, for a prompt of `length` tokens. */
  parts(length: number): Readonly<Partial<Record<Axis, CellPart>>>;
}

/** @throws InputError for grids whose cells span layers: a first-order effect is that of one place of the computation. */
export function layerCells(model: Model, grids: readonly Grid[]): LayerCells[] {
  const spread = grids.filter(
    ({ dims, sites }) => sites.length !== 1 || !(dims.includes("layer") || sites[0]?.layers.length === 1),
  );
  if (spread.length > 0) {
    const names = spread.map(({ name }) => name).join(", ");
    throw inputError("--by", `no layer for ${names}`, "layer among the dims", "Add layer.");
  }
  return grids.map((grid) => cellsOf(model, grid));
}

function cellsOf(model: Model, grid: Grid): LayerCells {
  const [member] = grid.sites;
  if (member === undefined) throw new Error("a grid without a site");
  const { site } = member;
  const lengths = grid.labels.map((labels) => labels.length);
  const along = grid.dims.indexOf("layer");
  const inner = along < 0 ? 1 : sizeOf(lengths.slice(along + 1));
  const layers = along < 0 ? member.layers : (grid.labels[along] ?? []);
  const dims = grid.dims.filter((dim): dim is Exclude<GridDim, "layer"> => dim !== "layer");
  const labels = grid.labels.filter((_, axis) => axis !== along);
  const sizes = labels.map((list) => list.length);
  const known = new Map<number, Partial<Record<Axis, CellPart>>>();

  return {
    grid,
    site,
    size: sizeOf(sizes),
    cellOf(layer) {
      const index = layers.indexOf(layer);
      if (index < 0) return undefined;
      return (cell) => Math.floor(cell / inner) * inner * layers.length + index * inner + (cell % inner);
    },
    parts(length) {
      let found = known.get(length);
      if (found === undefined) {
        const whole = member.where({});
        found = {};
        for (const axis of SITES[site].axes) {
          const size = axisSize(axis, model.architecture, length);
          const dim = dims.findIndex((one) => axisFor(site, one) === axis);
          const part = new Int32Array(size);
          const chosen = dim < 0 ? whole[axis] : labels[dim];
          if (chosen !== undefined) part.fill(-1);
          const stride = dim < 0 ? 0 : sizeOf(sizes.slice(dim + 1));
          for (const [place, label] of (chosen ?? []).entries())
            if (label < size) part[label] = place * stride;
          found[axis] = part;
        }
        known.set(length, found);
      }
      return found;
    },
  };
}
