/** @file A result for the terminal: heat maps, tables, the strongest cells. Pure: a dataset and a width in, text out. */

import { type Cell, type StrongCell, strongest } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import {
  baselinesLine,
  dimWord,
  formatNumber,
  formatSigned,
  metricWord,
  noEffectWords,
  question,
  unitOf,
} from "../result/words.ts";
import { labelText, namedLabels, visible, wrap } from "./labels.ts";
import { diverging } from "./palette.ts";
import { type Axis, axisText, isTopTokens, layPanels, type Panel, type PanelOptions } from "./panels.ts";
import { type Column, table } from "./table.ts";
import { type ColorDepth, inColor, onBackground } from "./terminal-color.ts";
import { cellStyle, type HeatMapOptions, heatMapLines } from "./terminal-heatmap.ts";

export interface TerminalOptions extends PanelOptions {
  /** Columns of the terminal. Default 80. */
  readonly columns?: number | undefined;
  /** Default none: plain text. */
  readonly color?: ColorDepth | undefined;
  /** How many of the strongest cells are listed under a heat map. Default 8. */
  readonly strongest?: number | undefined;
}

const BAR_HALF = 10; // columns of a bar on either side of zero
const MAX_ROWS = 40; // of a table over one dim; the strongest are kept

/** Everything there is to say about a result in a terminal, ending with a line end. */
export function terminal(dataset: Dataset, options: TerminalOptions = {}): string {
  const columns = options.columns ?? 80;
  const color = options.color ?? "none";
  const lines = [
    ...wrap(question(dataset), columns),
    ...wrap(baselinesLine(dataset), columns).filter((line) => line !== ""),
  ];
  if (isTopTokens(dataset) && options.sites === undefined)
    return finish([...lines, "", ...topTokens(dataset, color)]);

  const maxLabels = Math.max(MAX_ROWS, columns);
  const { panels, limit, notes } = layPanels(dataset, { maxPanels: 6, maxLabels, ...options });
  const map: HeatMapOptions = { columns, color, limit, unitFactor: unitFactor(limit) };
  for (const panel of panels) {
    const { y } = panel;
    lines.push("", heading(panel));
    lines.push(...(y === undefined ? bars(panel, map) : heatMapLines({ ...panel, y }, map)));
  }
  const maps = panels.flatMap(({ y, ...panel }) => (y === undefined ? [] : [{ ...panel, y }]));
  lines.push("");
  if (maps.length > 0) {
    lines.push(...maps.slice(0, 1).flatMap(({ x }) => differing(x, columns)));
    lines.push(
      ...legend(dataset, maps, map).flatMap((line) =>
        line.includes("\u001b") ? [line] : wrap(line, columns),
      ),
    );
  }
  lines.push(...notes.map((note) => `Shown: ${note}.`));
  if (maps.length > 0) {
    const sites = [...new Set(maps.map(({ site }) => site))];
    lines.push("", ...strongestTable(dataset, strongest(dataset, options.strongest ?? 8, sites)));
  }
  return finish(lines);
}

function finish(lines: readonly string[]): string {
  return `${lines.join("\n").replace(/\n+$/, "")}\n`;
}

function heading({ title, x, y }: Panel): string {
  return y === undefined ? title : `${title}: ${y.title} (down) × ${x.title} (across)`;
}

/** Effects under 0.1 or over 999 are written in units of a power of ten, so that five characters show them. */
function unitFactor(limit: number): number {
  return limit === 0 || (limit >= 0.1 && limit < 1000) ? 1 : 10 ** Math.floor(Math.log10(limit));
}

/** The positions at which clean and corrupt differ; the headings show the clean token only. */
function differing(axis: Axis, columns: number): string[] {
  const texts = axis.labels.filter(({ tokens }) => tokens.length > 1);
  if (texts.length === 0) return [];
  const shown = texts.slice(0, 6).map(({ label, tokens }) => `${label}: ${tokens.join(" / ")}`);
  return wrap(
    `clean / corrupt at ${axis.title} ${shown.join(", ")}${texts.length > 6 ? ", …" : ""}`,
    columns,
  );
}

function legend(dataset: Dataset, panels: readonly (Panel & { y: Axis })[], map: HeatMapOptions): string[] {
  const unit = unitOf(dataset, panels[0]?.site);
  const what = `effect on ${metricWord(dataset)}${unit === "" ? "" : ` (${unit})`}, ${noEffectWords(dataset)}`;
  const end = formatNumber(map.limit);
  const styles = new Set(panels.map((panel) => cellStyle(panel, map)));
  const lines: string[] = [];
  if (map.color === "none") lines.push(what);
  else {
    const steps = Array.from({ length: 21 }, (_, step) =>
      onBackground(" ", diverging((step - 10) / 10), map.color),
    );
    lines.push(`-${end} ${steps.join("")} +${end}`, what);
  }
  if (styles.has("tenths")) {
    lines.push(`+9 … -9: tenths of the largest effect, ${end}; ·: less than a tenth`);
  }
  if (styles.has("number") && map.unitFactor !== 1)
    lines.push(`numbers in units of ${formatNumber(map.unitFactor)}`);
  if (panels.some(({ missing }) => missing > 0)) lines.push("blank: not computed");
  return lines;
}

/** One line per label of a single dim: value, effect, interval and a bar. */
function bars(panel: Panel, map: HeatMapOptions): string[] {
  const isList =
    panel.x.labels.some(({ label }) => typeof label === "string") || panel.cells.length > MAX_ROWS;
  const shown = isList
    ? [...panel.cells].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)).slice(0, MAX_ROWS)
    : panel.cells;
  const columns = cellColumns(shown);
  const lines = table(
    [{ title: panel.x.title }, ...columns.map(({ title }): Column => ({ title, align: "right" }))],
    shown.map((cell) => [axisText(panel.x, cell.x), ...columns.map(({ text }) => text(cell))]),
  );
  const most = shown.reduce((limit, cell) => Math.max(limit, Math.abs(cell.effect)), 0);
  const width = Math.max(...lines.map((line) => line.length));
  const drawn = lines.map((line, index) => {
    const cell = shown[index - 1];
    return cell === undefined || most === 0
      ? line
      : `${line.padEnd(width)}  ${bar(cell.effect / most, map.color)}`;
  });
  return panel.cells.length > shown.length
    ? [...drawn, `… and ${panel.cells.length - shown.length} weaker`]
    : drawn;
}

function bar(share: number, color: ColorDepth): string {
  const length = Math.round(Math.abs(share) * BAR_HALF);
  const block = inColor("█".repeat(length), diverging(share < 0 ? -0.8 : 0.6), color);
  const space = " ".repeat(BAR_HALF - length);
  return share < 0 ? `${space}${block}│` : `${" ".repeat(BAR_HALF)}│${block}`;
}

type Shown = Cell & { readonly effect: number };

/** The columns for what is known of the cells; those that no cell fills are left out. */
function cellColumns(cells: readonly Shown[]): { title: string; text: (cell: Shown) => string }[] {
  const has = (key: keyof Cell) => cells.some((cell) => cell[key] !== undefined);
  const isEffect = cells.every((cell) => cell.value === cell.effect);
  const optional = (key: "normalized" | "exact") => (cell: Shown) => {
    const value = cell[key];
    return value === undefined ? "" : formatNumber(value);
  };
  return [
    ...(isEffect ? [] : [{ title: "value", text: (cell: Shown) => formatNumber(cell.value) }]),
    { title: "effect", text: (cell: Shown) => formatSigned(cell.effect) },
    ...(has("normalized") ? [{ title: "normalised", text: optional("normalized") }] : []),
    ...(has("exact") ? [{ title: "exact", text: optional("exact") }] : []),
    ...(has("ciLow") ? [{ title: "95 % interval of the value", text: intervalText }] : []),
  ];
}

/** `-1.81 to -0.77`, or nothing where a cell has no interval. */
export function intervalText({ ciLow, ciHigh }: Cell): string {
  return ciLow === undefined || ciHigh === undefined
    ? ""
    : `${formatNumber(ciLow)} to ${formatNumber(ciHigh)}`;
}

/** The strongest cells as a table: where, value, effect, normalised score, interval. */
export function strongestTable(dataset: Dataset, cells: readonly StrongCell[]): string[] {
  if (cells.length === 0) return [];
  const { titles, rows } = strongestRows(dataset, cells);
  const lines = table(titles, rows);
  return ["strongest", ...lines];
}

/** Titles and texts of a table of the strongest cells, for terminals and pages. */
export function strongestRows(
  dataset: Dataset,
  cells: readonly StrongCell[],
): { titles: Column[]; rows: string[][] } {
  const dims = [...new Set(cells.flatMap(({ labels }) => Object.keys(labels)))];
  const names = new Map(
    dims.map((dim) => [dim, new Map(namedLabels(dataset, dim).map((named) => [named.label, named]))]),
  );
  const place = (dim: string, cell: StrongCell): string => {
    const label = cell.labels[dim];
    const named = label === undefined ? undefined : names.get(dim)?.get(label);
    return named === undefined ? "" : labelText(named);
  };
  const columns = cellColumns(cells);
  return {
    titles: [
      { title: "site" },
      ...dims.map((dim): Column => ({ title: dimWord(dim) })),
      ...columns.map(({ title }): Column => ({ title, align: "right" })),
    ],
    rows: cells.map((cell) => [
      cell.site,
      ...dims.map((dim) => place(dim, cell)),
      ...columns.map(({ text }) => text(cell)),
    ]),
  };
}

/** The most probable next tokens, as `run` writes them: rank, token, id, logit, log-probability, probability. */
export function topTokens(dataset: Dataset, color: ColorDepth = "none"): string[] {
  const { token, token_id: id } = dataset.coords;
  const { logit, logprob, prob } = dataset.dataVars;
  const count = dataset.dims.rank ?? 0;
  const number = (data: ArrayLike<number | string> | undefined, rank: number, digits: number): string =>
    data === undefined ? "" : Number(data[rank]).toFixed(digits);
  const lines = table(
    [
      { title: "rank", align: "right" },
      { title: "token" },
      { title: "id", align: "right" },
      { title: "logit", align: "right" },
      { title: "logprob", align: "right" },
      { title: "prob", align: "right" },
    ],
    Array.from({ length: count }, (_, rank) => [
      String(dataset.coords.rank?.data[rank] ?? rank),
      visible(String(token?.data[rank] ?? "")),
      id === undefined ? "" : String(id.data[rank]),
      number(logit?.data, rank, 3),
      number(logprob?.data, rank, 3),
      number(prob?.data, rank, 4),
    ]),
  );
  return lines.map((line, index) => {
    const share = index === 0 ? 0 : Number(prob?.data[index - 1] ?? 0);
    const block = "█".repeat(Math.round(share * 2 * BAR_HALF));
    return block === "" ? line : `${line}  ${inColor(block, diverging(0.6), color)}`;
  });
}
