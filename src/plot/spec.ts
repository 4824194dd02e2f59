/** @file A result as a Vega-Lite specification: heat maps and bars, coloured by effect, zero neutral. */
import type { Dataset, Json } from "../result/result.ts";
import {
  baselinesLine,
  dimWord,
  formatNumber,
  metricWord,
  noEffectWords,
  question,
  unitOf,
} from "../result/words.ts";
import { wrap } from "./labels.ts";
import { divergingColors, missingColor, signColors } from "./palette.ts";
import {
  type Axis,
  axisText,
  isTopTokens,
  layPanels,
  type Panel,
  type PanelCell,
  type PanelOptions,
} from "./panels.ts";

/** A Vega-Lite specification: plain JSON, data included. */
export type Spec = { readonly [key: string]: Json };

export interface PlotOptions extends PanelOptions {
  /** One colour scale for all panels (comparable), or one per panel (details of weak sites). Default shared. */
  readonly scale?: "shared" | "own" | undefined;
  /** Heading; the result's question where not given, none where empty. */
  readonly title?: string | undefined;
}

const FONT = "'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif";
const PAGE_WIDTH = 1000; // panels beside each other as far as this many pixels go
const CHARACTER_WIDTH = 7; // pixels of a title's average character

interface Layout {
  readonly cellWidth: number;
  readonly cellHeight: number;
  readonly columns: number;
}

/** The figure of a result. */
export function plot(dataset: Dataset, options: PlotOptions = {}): Spec {
  const { panels, limit, notes } = layPanels(dataset, options);
  const layout = arrange(panels);
  const width = Math.min(
    PAGE_WIDTH,
    170 + layout.columns * Math.max(0, ...panels.map((p) => panelWidth(p, layout))),
  );
  const heading = options.title ?? question(dataset);
  const missing = panels.some((panel) => panel.missing > 0) && panels.some((panel) => panel.y !== undefined);
  const certain = panels.some(({ cells }) => cells.some(excludesZero));
  const subtitle = [
    baselinesLine(dataset),
    ...notes.map((note) => `Shown: ${note}.`),
    [
      missing ? "Grey: not computed." : "",
      certain && panels.some(({ y }) => y !== undefined) ? "Dot: the 95 % interval excludes no effect." : "",
      panels.some(({ y, cells }) => y === undefined && cells.some(hasInterval))
        ? "Lines: 95 % interval."
        : "",
    ]
      .join(" ")
      .trim(),
  ].filter((line) => line !== "");
  const lines = (text: string) => wrap(text, Math.max(40, Math.floor(width / CHARACTER_WIDTH)));
  const single = panels.length === 1;
  const views = panels.map((panel) =>
    panelView(dataset, panel, {
      layout,
      limit: options.scale === "own" ? largest(panel) : limit,
      title: !single,
    }),
  );
  const shared = options.scale !== "own";
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: question(dataset),
    background: "white",
    padding: 12,
    ...(heading === "" ? {} : { title: { text: lines(heading), subtitle: subtitle.flatMap(lines) } }),
    ...(single
      ? (views[0] ?? {})
      : {
          concat: views,
          columns: layout.columns,
          align: "each",
          spacing: 24,
          resolve: { scale: { color: shared ? "shared" : "independent" } },
        }),
    config: config,
  };
}

const config: Spec = {
  font: FONT,
  view: { stroke: null },
  title: {
    anchor: "start",
    fontSize: 15,
    fontWeight: 600,
    color: "#1a1a1a",
    lineHeight: 20,
    offset: 14,
    subtitleFontSize: 12,
    subtitleColor: "#555",
    subtitleLineHeight: 17,
    subtitlePadding: 6,
  },
  axis: {
    labelFontSize: 11,
    labelColor: "#333",
    titleFontSize: 12,
    titleFontWeight: 400,
    titleColor: "#555",
    grid: false,
    domain: false,
    tickSize: 3,
    tickColor: "#999",
    labelLimit: 150,
  },
  legend: {
    labelFontSize: 11,
    titleFontSize: 12,
    titleFontWeight: 400,
    titleColor: "#333",
    titleLimit: 220,
    gradientLength: 140,
    gradientThickness: 12,
  },
};

function arrange(panels: readonly Panel[]): Layout {
  const many = panels.length > 3;
  const longest = Math.max(0, ...panels.map(({ y }) => y?.labels.length ?? 0));
  const widest = Math.max(0, ...panels.map(({ x }) => x.labels.length));
  const cellWidth = clamp(Math.floor((many ? 300 : 560) / Math.max(1, widest)), 6, 24);
  const cellHeight = clamp(Math.floor((many ? 180 : 460) / Math.max(1, longest)), 5, 18);
  const each = Math.max(
    1,
    ...panels.map((panel) => panelWidth(panel, { cellWidth, cellHeight, columns: 1 })),
  );
  return {
    cellWidth,
    cellHeight,
    columns: clamp(Math.floor(PAGE_WIDTH / each), 1, Math.max(1, panels.length)),
  };
}

/** Pixels, labels of the y axis included. */
function panelWidth({ x, y }: Panel, { cellWidth }: Layout): number {
  const labels = Math.max(
    0,
    ...(y?.labels ?? []).map((_, index) => (y === undefined ? 0 : axisText(y, index).length)),
  );
  return isBarList({ x, y }) ? 480 : x.labels.length * cellWidth + 60 + Math.min(150, labels * 6);
}

function panelView(
  dataset: Dataset,
  panel: Panel,
  options: { layout: Layout; limit: number; title: boolean },
): Spec {
  const view =
    panel.y === undefined ? bars(dataset, panel) : heatMap(dataset, { ...panel, y: panel.y }, options);
  return options.title
    ? { title: { text: panel.title, fontSize: 12, fontWeight: 600, offset: 8 }, ...view }
    : view;
}

function heatMap(
  dataset: Dataset,
  panel: Panel & { y: Axis },
  options: { layout: Layout; limit: number },
): Spec {
  const { layout } = options;
  // A scale over nothing but zeros would have no extent; then every cell is neutral whatever the ends are.
  const limit = options.limit === 0 ? 1 : options.limit;
  const middle = (divergingColors.length - 1) / 2;
  const x = { field: "x", type: "ordinal", sort: null, scale: { domain: texts(panel.x) } };
  const y = { field: "y", type: "ordinal", sort: null, scale: { domain: texts(panel.y) } };
  const rotated = panel.x.labels.some(({ tokens, label }) => tokens.length > 0 || String(label).length > 3);
  const rows = panel.cells.map((cell) => row(panel, cell));
  const rect = {
    mark: { type: "rect", stroke: "white", strokeWidth: 0.5, aria: false },
    encoding: {
      x: {
        ...x,
        axis: {
          title: panel.x.title,
          labelAngle: rotated ? -50 : 0,
          labelOverlap: rotated ? false : "greedy",
        },
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
          title: ["effect on", metricWord(dataset) + inUnit(dataset, panel.site), noEffectWords(dataset)],
          values: [-limit, -limit / 2, 0, limit / 2, limit],
          labelExpr: "datum.value === 0 ? '0' : format(datum.value, '+.3~g')",
          orient: "right",
        },
      },
      tooltip: tooltip(dataset, panel),
    },
  };
  const dots = {
    transform: [{ filter: "datum.certain" }],
    mark: {
      type: "circle",
      size: 10,
      color: "#1a1a1a",
      stroke: "white",
      strokeWidth: 0.7,
      opacity: 1,
      aria: false,
      tooltip: null,
    },
    encoding: { x, y },
  };
  return {
    data: { values: rows },
    width: panel.x.labels.length * layout.cellWidth,
    height: panel.y.labels.length * layout.cellHeight,
    view: { fill: panel.missing > 0 ? missingColor : "white", stroke: null },
    layer: panel.cells.some(excludesZero) ? [rect, dots] : [rect],
  };
}

function bars(dataset: Dataset, panel: Panel): Spec {
  const list = isBarList(panel);
  const order = list && !isTopTokens(dataset) ? strongestFirst(panel) : panel.cells;
  const domain = list ? order.map((cell) => axisText(panel.x, cell.x)) : texts(panel.x);
  const rotated = domain.some((label) => label.length > 3);
  const place = list ? "y" : "x";
  const extent = list ? "x" : "y";
  const quantity = isTopTokens(dataset)
    ? "probability"
    : `effect on ${metricWord(dataset)}${inUnit(dataset, panel.site)}`;
  const axis = list
    ? { title: panel.x.title, labelLimit: 260 }
    : { title: panel.x.title, labelAngle: rotated ? -50 : 0 };
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
    ...(list
      ? { width: 320, height: { step: 18 } }
      : { width: { step: clamp(Math.floor(560 / domain.length), 8, 28) }, height: 220 }),
    layer: layers,
  };
}

/** Names are read, not counted: such labels go down a list. */
function isBarList({ x, y }: Pick<Panel, "x" | "y">): boolean {
  return (
    y === undefined &&
    (x.dim === "rank" || x.labels.some(({ label }) => typeof label === "string") || x.labels.length > 70)
  );
}

function strongestFirst(panel: Panel): PanelCell[] {
  return [...panel.cells].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)).slice(0, 40);
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
    ...(hasInterval(cell)
      ? {
          interval: `${formatNumber(cell.ciLow)} to ${formatNumber(cell.ciHigh)}`,
          certain: excludesZero(cell),
        }
      : {}),
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
    ...(isTopTokens(dataset) ? [] : [number("effect", "effect")]),
    ...(has("normalized") ? [number("normalized", "normalised")] : []),
    ...(has("exact") ? [number("exact", "exact")] : []),
    ...(has("ciLow") ? [{ field: "interval", title: "95 % interval", type: "nominal" }] : []),
  ];
}

function texts(axis: Axis): string[] {
  return axis.labels.map((_, index) => axisText(axis, index));
}

function inUnit(dataset: Dataset, site: string): string {
  const unit = unitOf(dataset, site);
  return unit === "" ? "" : ` (${unit})`;
}

function hasInterval(
  cell: PanelCell,
): cell is PanelCell & { ciLow: number; ciHigh: number; effectLow: number; effectHigh: number } {
  return cell.effectLow !== undefined && cell.effectHigh !== undefined;
}

function excludesZero(cell: PanelCell): boolean {
  return hasInterval(cell) && (cell.effectLow > 0 || cell.effectHigh < 0);
}

function largest(panel: Panel): number {
  return panel.cells.reduce((most, cell) => Math.max(most, Math.abs(cell.effect)), 0);
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}
