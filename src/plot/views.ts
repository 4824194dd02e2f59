/** @file Panels as Vega-Lite views: heat maps coloured by effect with zero neutral, and bars. */
import type { Dataset, Json } from "../result/result.ts";
import { dimWord, effectOnMetric, metricWord, noEffectWords, unitOf } from "../result/words.ts";
import { exactIntervalText, intervalText, intervalTitle } from "./cell-table.ts";
import { divergingColors, missingColor, signColors } from "./palette.ts";
import { type Axis, axisText, isTopTokens, type Panel, type PanelCell } from "./panels.ts";

/** A Vega-Lite specification: plain JSON, data included. */
export type Spec = { readonly [key: string]: Json };

/** What a dot on a heat map says, and what it does not. */
export const DOT_NOTE =
  "Dot: the 95 % interval excludes no effect (cell by cell: 1 in 20 does by chance); none under 1 % of the scale.";
/** Smaller shares of the scale are drawn in no colour; a dot would make much of nothing. */
const LEAST_DOTTED = 0.01;

/** Beyond this many labels along x, some may be left out. */
export const MAX_NAMED = 100;

export interface HeatMapOptions {
  /** Pixels of a cell. */
  readonly cellWidth: number;
  readonly cellHeight: number;
  /** The effect at the ends of the colour scale; 0 where there is none. */
  readonly limit: number;
}

/** Cells as rectangles, y downwards; dots as {@link DOT_NOTE} says. */
export function heatMap(dataset: Dataset, panel: Panel & { y: Axis }, options: HeatMapOptions): Spec {
  // A scale over nothing but zeros would have no extent; then every cell is neutral whatever the ends are.
  const limit = options.limit === 0 ? 1 : options.limit;
  const middle = (divergingColors.length - 1) / 2;
  const x = { field: "x", type: "ordinal", sort: null, scale: { domain: texts(panel.x) } };
  const y = { field: "y", type: "ordinal", sort: null, scale: { domain: texts(panel.y) } };
  const rows = panel.cells.map((cell) => ({
    ...row(panel, cell),
    dotted: excludesZero(cell) && Math.abs(cell.effect) >= LEAST_DOTTED * limit,
  }));
  const hover = tooltip(dataset, panel);
  const rect = {
    mark: { type: "rect", stroke: "white", strokeWidth: 0.5, aria: false },
    encoding: {
      x: {
        ...x,
        axis: { title: panel.x.title, ...labelStyle(panel.x, options.cellWidth) },
      },
      y: { ...y, axis: { title: panel.y.title, labelOverlap: "greedy" } },
      color: {
        field: "effect",
        type: "quantitative",
        scale: {
          domain: divergingColors.map((_, step) => ((step - middle) / middle) * limit),
          range: [...divergingColors],
          interpolate: "rgb",
        },
        legend: {
          title: [
            panel.word === "estimate" ? "estimated effect on" : "effect on",
            metricWord(dataset) + inUnit(dataset, panel.site),
            noEffectWords(dataset),
          ],
          values: [-limit, -limit / 2, 0, limit / 2, limit],
          labelExpr: "datum.value === 0 ? '0' : format(datum.value, '+.3~g')",
          orient: "right",
        },
      },
      tooltip: hover,
    },
  };
  const dots = {
    transform: [{ filter: "datum.dotted" }],
    mark: {
      type: "circle",
      size: 10,
      color: "#1a1a1a",
      stroke: "white",
      strokeWidth: 0.7,
      opacity: 1,
      aria: false,
    },
    encoding: { x, y, tooltip: hover }, // a dot lies over its cell, where the pointer goes
  };
  return {
    data: { values: rows },
    width: panel.x.labels.length * options.cellWidth,
    height: panel.y.labels.length * options.cellHeight,
    view: { fill: panel.missing > 0 ? missingColor : "white", stroke: null },
    layer: rows.some(({ dotted }) => dotted) ? [rect, dots] : [rect],
  };
}

/** How the labels under an axis are set: slanted where they are long, upright where slanted ones would touch. */
function labelStyle(axis: Axis, step: number): Spec {
  const width = Math.max(0, ...texts(axis).map((text) => text.length)) * 6.5;
  const overlap = { labelOverlap: axis.labels.length > MAX_NAMED ? "greedy" : false };
  if (width + 4 < step) return { labelAngle: 0, ...overlap };
  const isCounted = axis.labels.every(({ label, tokens }, index) => {
    const before = axis.labels[index - 1]?.label;
    return tokens.length === 0 && (before === undefined || label === Number(before) + 1);
  });
  // Consecutive numbers may be left out: their neighbours say what they are.
  if (isCounted) return { labelAngle: 0, labelOverlap: "greedy" };
  const fontSize = Math.max(7, Math.min(11, step - 2));
  return { labelAngle: step < 16 ? -90 : -50, labelFontSize: fontSize, labelLimit: 120, ...overlap };
}

/** One bar per label, with its interval as a line. */
export function bars(dataset: Dataset, panel: Panel): Spec {
  const list = isBarList(panel);
  const order = list && !isTopTokens(dataset) ? strongestFirst(panel) : panel.cells;
  const step = Math.max(8, Math.min(28, Math.floor(560 / panel.x.labels.length)));
  const domain = list ? order.map((cell) => axisText(panel.x, cell.x)) : texts(panel.x);
  const place = list ? "y" : "x";
  const extent = list ? "x" : "y";
  const quantity = isTopTokens(dataset) ? "probability" : measuredWords(dataset, panel.site);
  const axis = { title: panel.x.title, ...(list ? { labelLimit: 260 } : labelStyle(panel.x, step)) };
  const label = { field: "x", type: "ordinal", sort: null, scale: { domain, paddingInner: 0.15 }, axis };
  const layers: Spec[] = [
    {
      mark: { type: "bar", aria: false },
      encoding: {
        [place]: label,
        [extent]: {
          field: "effect",
          type: "quantitative",
          axis: { title: quantity, grid: true, gridColor: "#e5e5e5", tickCount: 6 },
        },
        color: { condition: { test: "datum.effect < 0", value: signColors.loss }, value: signColors.gain },
        tooltip: tooltip(dataset, panel),
      },
    },
    {
      mark: { type: "rule", color: "#333", strokeWidth: 1, aria: false },
      encoding: { [extent]: { datum: 0 } },
    },
  ];
  if (panel.cells.some(hasInterval)) {
    layers.push({
      mark: { type: "rule", color: "#1a1a1a", strokeWidth: 1.2, aria: false },
      encoding: {
        [place]: label,
        [extent]: { field: "effectLow", type: "quantitative" },
        [`${extent}2`]: { field: "effectHigh" },
      },
    });
  }
  return {
    data: { values: panel.cells.map((cell) => row(panel, cell)) },
    ...(list ? { width: 320, height: { step: 18 } } : { width: { step }, height: 220 }),
    layer: layers,
  };
}

/** What the bars of a variable measure; one that is no effect on the metric has words of its own. */
function measuredWords(dataset: Dataset, site: string): string {
  const { quantity, long_name: name } = dataset.dataVars[site]?.attrs ?? {};
  const isEffect = quantity === undefined || ["metric", "effect", "estimate"].includes(String(quantity));
  return isEffect || typeof name !== "string"
    ? effectOnMetric(dataset, site)
    : `${name}${inUnit(dataset, site)}`;
}

/** Names are read, not counted: such labels go down a list. */
export function isBarList({ x, y }: Pick<Panel, "x" | "y">): boolean {
  return y === undefined && (x.dim === "rank" || x.labels.some(({ label }) => typeof label === "string"));
}

function strongestFirst(panel: Panel): PanelCell[] {
  return [...panel.cells].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
}

function row(panel: Panel, cell: PanelCell): Spec {
  const numbers = {
    effect: cell.effect,
    value: cell.value,
    normalized: cell.normalized,
    exact: cell.exact,
    effectLow: cell.effectLow,
    effectHigh: cell.effectHigh,
  };
  const given = Object.entries(numbers).flatMap(([key, value]): [string, Json][] =>
    value === undefined ? [] : [[key, value]],
  );
  return {
    x: axisText(panel.x, cell.x),
    ...(panel.y === undefined ? {} : { y: axisText(panel.y, cell.y) }),
    ...Object.fromEntries(given),
    ...(hasInterval(cell) ? { interval: intervalText(cell) } : {}),
    ...(cell.exactCiLow === undefined ? {} : { exactInterval: exactIntervalText(cell) }),
  };
}

function tooltip(dataset: Dataset, panel: Panel): Json {
  const has = (key: keyof PanelCell) => panel.cells.some((cell) => cell[key] !== undefined);
  const number = (field: string, title: string) => ({ field, title, type: "quantitative", format: ".4~g" });
  const unit = inUnit(dataset, panel.site);
  return [
    { field: "x", title: dimWord(panel.x.dim), type: "nominal" },
    ...(panel.y === undefined ? [] : [{ field: "y", title: dimWord(panel.y.dim), type: "nominal" }]),
    number("value", `${panel.y === undefined && isTopTokens(dataset) ? "probability" : panel.site}${unit}`),
    ...(isTopTokens(dataset) ? [] : [number("effect", panel.word)]),
    ...(has("normalized") ? [number("normalized", "normalised")] : []),
    ...(has("ciLow")
      ? [{ field: "interval", title: intervalTitle(panel.cells, panel.word), type: "nominal" }]
      : []),
    ...(has("exact") ? [number("exact", "exact")] : []),
    ...(has("exactCiLow")
      ? [{ field: "exactInterval", title: "95 % interval of the exact", type: "nominal" }]
      : []),
  ];
}

function texts(axis: Axis): string[] {
  return axis.labels.map((_, index) => axisText(axis, index));
}

function inUnit(dataset: Dataset, site: string): string {
  const unit = unitOf(dataset, site);
  return unit === "" ? "" : ` (${unit})`;
}

/** Whether the cell has an interval. */
export function hasInterval(cell: PanelCell): cell is PanelCell & { effectLow: number; effectHigh: number } {
  return cell.effectLow !== undefined && cell.effectHigh !== undefined;
}

/** Whether no effect lies outside the cell's interval. */
export function excludesZero(cell: PanelCell): boolean {
  return hasInterval(cell) && (cell.effectLow > 0 || cell.effectHigh < 0);
}
