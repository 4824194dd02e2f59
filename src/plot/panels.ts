/** @file What a figure shows: the cells of a result laid out in panels, for Vega-Lite and for terminals alike. */
import { sizeOf } from "../core/tensor.ts";
import {
  type Cell,
  cellReader,
  drawnVariables,
  effects,
  labelsAt,
  noEffectValue,
  requireVariable,
  shapeOf,
} from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { dimWord, type EffectWord, effectWord } from "../result/words.ts";
import { labelText, type NamedLabel, namedLabels } from "./labels.ts";

/** A dim laid along an axis: all of its labels or the chosen ones, in order. */
export interface Axis {
  readonly dim: string;
  readonly title: string;
  readonly labels: readonly NamedLabel[];
}

export interface PanelCell extends Cell {
  /** Index into the labels of the panel's axes; y is 0 for bars. */
  readonly x: number;
  readonly y: number;
  readonly effect: number;
  /** Interval of the effect: its own, else that of the value, moved. */
  readonly effectLow?: number;
  readonly effectHigh?: number;
}

/** A heat map, or bars where `y` is undefined. Cells that were not computed are left out. */
export interface Panel {
  readonly site: string;
  readonly word: EffectWord;
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis | undefined;
  readonly cells: readonly PanelCell[];
  /** Cells that could have been computed and were not: a token cannot attend to later ones, so those do not count. */
  readonly missing: number;
}

export interface PanelOptions {
  /** Variables to show; all sites, with their values by pair, where not given. */
  readonly sites?: readonly string[] | undefined;
  /** Most panels per site; those with the largest effects are kept. Default 24. */
  readonly maxPanels?: number | undefined;
  /** Most labels along one axis; those with the largest effects are kept. Default 200; 40 of neurons and the like. */
  readonly maxLabels?: number | undefined;
}

export interface Panels {
  readonly panels: readonly Panel[];
  /** Largest absolute effect over all panels; 0 where nothing has one. */
  readonly limit: number;
  /** What was left out, in words. */
  readonly notes: readonly string[];
}

const horizontal = ["src", "pos"]; // read along the text
const vertical = ["dst", "layer"]; // cells of attention are a map of their own; else read down the model

/** More cells than these, in all panels of a site, no page draws in reasonable time: an SVG of them is 10 MB. */
const MAX_FIGURE_CELLS = 50_000;

/** Layers and positions have neighbours, so many are a picture; of neurons or edges only a list can be read. */
function mostLabels(dim: string): number {
  return [...horizontal, ...vertical, "head", "kv_head", "pair"].includes(dim) ? 200 : 40;
}

/** Lays a result out in panels: the text along x, depth along y, one panel per label of any further dims. */
export function layPanels(dataset: Dataset, options: PanelOptions = {}): Panels {
  const names = options.sites ?? (isTopTokens(dataset) ? ["prob"] : drawnVariables(dataset));
  const scalars = names.filter((name) => requireVariable(dataset, name).dims.length === 0);
  const notes = new Set<string>();
  const panels = names
    .filter((name) => !scalars.includes(name))
    .flatMap((name) => sitePanels(dataset, name, { ...options, note: (text) => notes.add(text) }));
  if (scalars.length > 0) panels.push(scalarPanel(dataset, scalars));
  const limit = panels
    .flatMap(({ cells }) => cells)
    .reduce((most, cell) => Math.max(most, Math.abs(cell.effect)), 0);
  return { panels, limit, notes: [...notes] };
}

/** Whether a result lists the most probable next tokens, as `run` writes them. */
export function isTopTokens(dataset: Dataset): boolean {
  return dataset.dataVars.prob?.dims.join() === "rank" && Object.hasOwn(dataset.coords, "token");
}

interface SiteOptions extends PanelOptions {
  note(text: string): void;
}

function sitePanels(dataset: Dataset, site: string, options: SiteOptions): Panel[] {
  const { dims } = requireVariable(dataset, site);
  const shape = shapeOf(dataset, site);
  const effect = effects(dataset, site);
  const xDim = dims.find((dim) => horizontal.includes(dim)) ?? widest(dims, shape);
  const rest = dims.filter((dim) => dim !== xDim);
  const yDim = vertical.find((dim) => rest.includes(dim)) ?? rest[0];
  const facets = rest.filter((dim) => dim !== yDim);

  const strideOf = (dim: string): number => sizeOf(shape.slice(dims.indexOf(dim) + 1));
  const positionOf = (dim: string, index: number): number =>
    Math.floor(index / strideOf(dim)) % (dataset.dims[dim] ?? 1);
  const groupOf = (index: number): number =>
    facets.reduce((group, dim) => group * (dataset.dims[dim] ?? 1) + positionOf(dim, index), 0);
  /** The strongest labels of a dim, or of the groups of facets, in order; and how many there were. */
  const choose = (place: (index: number) => number, count: number, most: number): number[] => {
    const peak = new Float64Array(count);
    for (const [index, value] of effect.entries()) {
      const at = place(index);
      if (Math.abs(value) > (peak[at] ?? 0)) peak[at] = Math.abs(value);
    }
    const ranked = Array.from(peak, (value, at) => ({ value, at })).sort((a, b) => b.value - a.value);
    return ranked
      .slice(0, most)
      .map(({ at }) => at)
      .sort((a, b) => a - b);
  };
  const groups = facets.reduce((count, dim) => count * (dataset.dims[dim] ?? 1), 1);
  const panels = Math.min(groups, options.maxPanels ?? 24);
  const usual = (dim: string): number =>
    Math.min(dataset.dims[dim] ?? 1, options.maxLabels ?? mostLabels(dim));
  const isCrowded = panels * usual(xDim) * (yDim === undefined ? 1 : usual(yDim)) > MAX_FIGURE_CELLS;
  const most = (dim: string): number =>
    isCrowded && yDim !== undefined
      ? Math.min(usual(dim), Math.floor(Math.sqrt(MAX_FIGURE_CELLS / panels)))
      : usual(dim);
  const axis = (dim: string): { axis: Axis; index: Map<number, number> } => {
    const named = namedLabels(dataset, dim);
    const kept = choose((index) => positionOf(dim, index), named.length, most(dim));
    if (kept.length < named.length) {
      options.note(
        `${site}: the ${kept.length} of ${named.length} ${dimWord(dim)}s with the largest effects`,
      );
    }
    const labels = kept.flatMap((position) => named[position] ?? []);
    return {
      axis: { dim, title: dimWord(dim), labels },
      index: new Map(kept.map((position, at) => [position, at])),
    };
  };
  const x = axis(xDim);
  const y = yDim === undefined ? undefined : axis(yDim);
  const shown = choose(groupOf, groups, panels);
  if (shown.length < groups)
    options.note(`${site}: the ${shown.length} of ${groups} panels with the largest effects`);

  const byGroup = new Map(shown.map((group) => [group, { cells: [] as PanelCell[], missing: 0, first: -1 }]));
  const read = cellReader(dataset, site);
  const none = noEffectValue(dataset, site);
  const word = effectWord(dataset, site);
  for (const [index, value] of effect.entries()) {
    const group = byGroup.get(groupOf(index));
    const atX = x.index.get(positionOf(xDim, index));
    const atY = y === undefined || yDim === undefined ? 0 : y.index.get(positionOf(yDim, index));
    if (group === undefined || atX === undefined || atY === undefined) continue;
    if (group.first < 0) group.first = index;
    if (Number.isNaN(value)) group.missing += yDim === "dst" && atX > atY ? 0 : 1;
    else group.cells.push(panelCell(read(index), { x: atX, y: atY, effect: value, none }));
  }
  return [...byGroup.values()].map(({ cells, missing, first }) => {
    const labels = labelsAt(dataset, site, Math.max(0, first));
    const place = facets.map((dim) => `${dimWord(dim)} ${labels[dim]}`).join(", ");
    return {
      site,
      word,
      title: place === "" ? site : `${site}, ${place}`,
      x: x.axis,
      y: y?.axis,
      cells,
      missing,
    };
  });
}

function panelCell(cell: Cell, at: { x: number; y: number; effect: number; none: number }): PanelCell {
  const { none, ...place } = at;
  if (cell.effectCiLow !== undefined && cell.effectCiHigh !== undefined)
    return { ...cell, ...place, effectLow: cell.effectCiLow, effectHigh: cell.effectCiHigh };
  // The effect is the value moved by what counts as none.
  const moved = cell.effect === undefined ? none : cell.value - cell.effect;
  if (cell.ciLow === undefined || cell.ciHigh === undefined) return { ...cell, ...place };
  return { ...cell, ...place, effectLow: cell.ciLow - moved, effectHigh: cell.ciHigh - moved };
}

/** Variables without dims, as bars of one panel. */
function scalarPanel(dataset: Dataset, names: readonly string[]): Panel {
  const all = names.map((name, x) => {
    const effect = effects(dataset, name)[0] ?? Number.NaN;
    return panelCell(cellReader(dataset, name)(0), { x, y: 0, effect, none: noEffectValue(dataset, name) });
  });
  const cells = all.filter(({ effect }) => !Number.isNaN(effect));
  const labels = names.map((label) => ({ label, tokens: [] }));
  return {
    site: names.join(", "),
    word: "effect",
    title: "single terms",
    x: { dim: "term", title: "term", labels },
    y: undefined,
    cells,
    missing: all.length - cells.length,
  };
}

/** The longest dim that is not depth: heads, neurons, latents. */
function widest(dims: readonly string[], shape: readonly number[]): string {
  const candidates = dims.map((dim, axis) => ({ dim, size: shape[axis] ?? 0 }));
  const across = candidates.filter(({ dim }) => !vertical.includes(dim));
  const best = (across.length > 0 ? across : candidates).reduce((a, b) => (b.size > a.size ? b : a));
  return best.dim;
}

/** The text of a label on an axis. */
export function axisText(axis: Axis, index: number): string {
  const label = axis.labels[index];
  return label === undefined ? "" : labelText(label);
}
