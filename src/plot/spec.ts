/** @file A result as a Vega-Lite specification: its panels, heading and notes. */
import type { Dataset } from "../result/result.ts";
import { baselinesLine, question } from "../result/words.ts";
import { attentionViews } from "./attention.ts";
import { type AttributionViews, attributionViews } from "./attribution.ts";
import { comparisonViews } from "./corruptions.ts";
import { edgeViews } from "./edges.ts";
import { hydraViews } from "./hydra.ts";
import { wrap } from "./labels.ts";
import { mcqViews } from "./mcq.ts";
import { axisText, layPanels, type Panel, type PanelOptions, type Panels } from "./panels.ts";
import { isTrace, tracingViews } from "./tracing.ts";
import {
  bars,
  DOT_NOTE,
  excludesZero,
  hasInterval,
  heatMap,
  isBarList,
  MAX_NAMED,
  type Spec,
} from "./views.ts";

export interface PlotOptions extends PanelOptions {
  /** One colour scale for all panels (comparable), or one per panel (details of weak sites). Default shared. */
  readonly scale?: "shared" | "own" | undefined;
  /** Heading; the result's question where not given, none where empty. */
  readonly title?: string | undefined;
}

const FONT = "'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif";
const PAGE_WIDTH = 1080; // panels beside each other as far as this many pixels go
const CHARACTER_WIDTH = 7; // pixels of a title's average character

interface Layout {
  readonly cellWidth: number;
  readonly cellHeight: number;
  readonly columns: number;
}

/** The figure of a result. */
export function plot(dataset: Dataset, options: PlotOptions = {}): Spec {
  if (isTrace(dataset)) return tracingFigure(dataset, options);
  const own = ownViews(dataset, options.sites);
  if (own !== undefined) return ownFigure(dataset, { ...own, title: options.title });
  const laid = layPanels(dataset, options);
  const { panels, limit } = laid;
  const layout = arrange(panels);
  const widest = Math.max(0, ...panels.map((panel) => panelWidth(panel, layout.cellWidth)));
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

/** The views of a method that has a figure of its own kind. */
function ownViews(dataset: Dataset, sites?: readonly string[]): AttributionViews | undefined {
  return (
    attributionViews(dataset) ??
    attentionViews(dataset) ??
    hydraViews(dataset) ??
    edgeViews(dataset) ??
    mcqViews(dataset) ??
    comparisonViews(dataset, sites)
  );
}

/** Whether colours of the figure stand for effects: red for a loss, blue for a gain. */
export function showsEffects(dataset: Dataset): boolean {
  return ownViews(dataset) === undefined;
}

/** A figure with views of its own under the usual heading. */
function ownFigure(
  dataset: Dataset,
  { view, notes, width = PAGE_WIDTH / 2, title }: AttributionViews & { readonly title: string | undefined },
): Spec {
  const heading = title ?? question(dataset);
  const lines = (text: string) => wrap(text, width / CHARACTER_WIDTH);
  const subtitle = [baselinesLine(dataset), ...notes].filter((line) => line !== "");
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: question(dataset),
    background: "white",
    padding: 12,
    ...(heading === "" ? {} : { title: { text: lines(heading), subtitle: subtitle.flatMap(lines) } }),
    ...view,
    config,
  };
}

function tracingFigure(dataset: Dataset, options: PlotOptions): Spec {
  const heading = options.title ?? question(dataset);
  const lines = (text: string) => wrap(text, PAGE_WIDTH / CHARACTER_WIDTH);
  const { samples, sigma } = dataset.attrs;
  const noise = `Noise of deviation ${Number(sigma).toPrecision(3)} on the subject's embeddings, mean of ${samples} samples.`;
  const bands = dataset.dims.role === undefined ? "*: subject." : "Bands: 95 % interval over facts.";
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: question(dataset),
    background: "white",
    padding: 12,
    ...(heading === ""
      ? {}
      : {
          title: { text: lines(heading), subtitle: [baselinesLine(dataset), ...lines(`${noise} ${bands}`)] },
        }),
    ...tracingViews(dataset, options.sites),
    config,
  };
}

/** What a reader of the figure must know: what is left out, what the dots, lines and grey cells mean. */
export function figureNotes(dataset: Dataset, options: PlotOptions = {}): string[] {
  return [...(ownViews(dataset)?.notes ?? notesOn(layPanels(dataset, options)))];
}

function notesOn({ panels, notes }: Panels): string[] {
  const maps = panels.filter(({ y }) => y !== undefined);
  const marks = [
    maps.some(({ missing }) => missing > 0) ? "Grey: not computed." : "",
    maps.some(({ cells }) => cells.some(excludesZero)) ? DOT_NOTE : "",
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

/** Up to three panels in a row, four in a square, more in threes; cells as large as that leaves room for. */
function arrange(panels: readonly Panel[]): Layout {
  const count = Math.max(1, panels.length);
  const wanted = count === 4 ? 2 : Math.min(3, count);
  const maps = panels.filter(({ y }) => y !== undefined);
  const rows = Math.max(1, ...maps.map(({ y }) => y?.labels.length ?? 1));
  const columns = Math.max(1, ...maps.map(({ x }) => x.labels.length));
  const beside = Math.max(0, ...maps.map((panel) => panelWidth(panel, 0)));
  // Tokens need 11 pixels to be read beside each other; a long text is wide rather than unreadable.
  const hasTokens = maps.some(
    ({ x }) => x.labels.length <= MAX_NAMED && x.labels.some((l) => l.tokens.length > 0),
  );
  const cellWidth = clamp(Math.floor((PAGE_WIDTH / wanted - beside) / columns), hasTokens ? 11 : 6, 24);
  const cellHeight = clamp(Math.floor((count > 3 ? 180 : 460) / rows), 5, 18);
  const widest = Math.max(1, ...panels.map((panel) => panelWidth(panel, cellWidth)));
  return { cellWidth, cellHeight, columns: clamp(Math.floor(PAGE_WIDTH / widest), 1, wanted) };
}

/** Pixels, labels of the y axis included. */
function panelWidth({ x, y }: Panel, cellWidth: number): number {
  if (y === undefined) return isBarList({ x, y }) ? 480 : 60 + Math.max(8 * x.labels.length, 220);
  const label = Math.max(...y.labels.map((_, index) => axisText(y, index).length));
  return x.labels.length * cellWidth + 60 + Math.min(150, label * 6);
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
