/** @file A result as a Vega-Lite specification: its panels, heading and notes. */
import type { Dataset } from "../result/result.ts";
import { baselinesLine, question } from "../result/words.ts";
import { wrap } from "./labels.ts";
import { axisText, layPanels, type Panel, type PanelOptions, type Panels } from "./panels.ts";
import { bars, excludesZero, hasInterval, heatMap, isBarList, type Spec } from "./views.ts";

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
  const laid = layPanels(dataset, options);
  const { panels, limit } = laid;
  const layout = arrange(panels);
  const widest = Math.max(0, ...panels.map((panel) => panelWidth(panel, layout)));
  const characters = Math.min(PAGE_WIDTH, 170 + layout.columns * widest) / CHARACTER_WIDTH;
  const lines = (text: string) => wrap(text, Math.max(40, Math.floor(characters)));
  const heading = options.title ?? question(dataset);
  const subtitle = [baselinesLine(dataset), ...notesOn(laid)].filter((line) => line !== "");
  const isSingle = panels.length === 1;
  const isShared = options.scale !== "own";
  const views = panels.map((panel) =>
    panelView(dataset, panel, { ...layout, limit: isShared ? limit : largest(panel), title: !isSingle }),
  );
  const body: Spec = {
    concat: views,
    columns: layout.columns,
    align: "each",
    spacing: 24,
    resolve: { scale: { color: isShared ? "shared" : "independent" } },
  };
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: question(dataset),
    background: "white",
    padding: 12,
    ...(heading === "" ? {} : { title: { text: lines(heading), subtitle: subtitle.flatMap(lines) } }),
    ...(isSingle ? views[0] : body),
    config,
  };
}

/** What a reader of the figure must know: what is left out, what the dots, lines and grey cells mean. */
export function figureNotes(dataset: Dataset, options: PlotOptions = {}): string[] {
  return notesOn(layPanels(dataset, options));
}

function notesOn({ panels, notes }: Panels): string[] {
  const maps = panels.filter(({ y }) => y !== undefined);
  const marks = [
    maps.some(({ missing }) => missing > 0) ? "Grey: not computed." : "",
    maps.some(({ cells }) => cells.some(excludesZero)) ? "Dot: the 95 % interval excludes no effect." : "",
    panels.some(({ y, cells }) => y === undefined && cells.some(hasInterval)) ? "Lines: 95 % interval." : "",
  ];
  const line = marks.filter((mark) => mark !== "").join(" ");
  return [...notes.map((note) => `Shown: ${note}.`), ...(line === "" ? [] : [line])];
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
  options: Layout & { limit: number; title: boolean },
): Spec {
  const view =
    panel.y === undefined ? bars(dataset, panel) : heatMap(dataset, { ...panel, y: panel.y }, options);
  return options.title
    ? { title: { text: panel.title, fontSize: 12, fontWeight: 600, offset: 8 }, ...view }
    : view;
}

function largest(panel: Panel): number {
  return panel.cells.reduce((most, cell) => Math.max(most, Math.abs(cell.effect)), 0);
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}
