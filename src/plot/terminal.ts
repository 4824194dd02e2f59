/** @file A result for the terminal: heat maps, tables, the strongest cells. Pure: a dataset and a width in, text out. */
import { isByPair, strongest } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import {
  baselinesLine,
  effectOnMetric,
  formatNumber,
  formatSigned,
  noEffectWords,
  question,
  unitOf,
  windowWords,
} from "../result/words.ts";
import { attentionLines } from "./attention-text.ts";
import { attributionLines } from "./attribution-text.ts";
import { barTable, strongestRows, topTokens } from "./cell-table.ts";
import { comparisonLines } from "./corruptions-text.ts";
import { edgeLines } from "./edges-text.ts";
import { backupLines } from "./hydra-text.ts";
import { wrap } from "./labels.ts";
import { mcqLines } from "./mcq-text.ts";
import { type Axis, isTopTokens, layPanels, type Panel, type PanelOptions } from "./panels.ts";
import { table } from "./table.ts";
import { type ColorDepth, shaded } from "./terminal-color.ts";
import {
  type CellStyle,
  cellStyle,
  cellText,
  type HeatMapOptions,
  heatMapLines,
  LITTLE_EFFECT,
  NO_EFFECT,
  narrowed,
} from "./terminal-heatmap.ts";

export interface TerminalOptions extends PanelOptions {
  /** Columns of the terminal. Default 80. */
  readonly columns?: number | undefined;
  /** Default none: plain text. */
  readonly color?: ColorDepth | undefined;
  /** How many of the strongest cells are listed under a heat map. Default 8. */
  readonly strongest?: number | undefined;
}

/** Everything there is to say about a result in a terminal, ending with a line end. */
export function terminal(dataset: Dataset, options: TerminalOptions = {}): string {
  const columns = options.columns ?? 80;
  const color = options.color ?? "none";
  const lines = [
    ...wrap(question(dataset), columns),
    ...wrap(baselinesLine(dataset), columns).filter((line) => line !== ""),
  ];
  if (isTopTokens(dataset) && options.sites === undefined)
    return finish([...lines, "", ...topTokens(dataset, { columns, color })]);

  const own =
    options.sites === undefined
      ? (attributionLines(dataset, columns) ??
        attentionLines(dataset, columns) ??
        edgeLines(dataset, columns) ??
        mcqLines(dataset, columns) ??
        comparisonLines(dataset, columns))
      : undefined;
  if (own !== undefined) return finish([...lines, "", ...own]);

  const intro = options.sites === undefined ? backupLines(dataset, columns) : undefined;
  if (intro !== undefined) lines.push("", ...intro);
  const { panels, limit, notes } = layPanels(dataset, { ...options, maxPanels: options.maxPanels ?? 6 });
  const map: HeatMapOptions = { columns, color, limit, unitFactor: unitFactor(limit) };
  const barLimits = limitsByUnit(dataset, panels);
  const maps: (Panel & { y: Axis })[] = [];
  for (const whole of panels) {
    const { y } = whole;
    if (y === undefined) {
      lines.push("", ...wrap(heading(dataset, whole, map), columns));
      lines.push(...barTable(whole, { columns, color, limit: barLimits.get(unitsOf(dataset, whole)) ?? 0 }));
      continue;
    }
    const { panel, leftOut } = narrowed({ ...whole, y }, map);
    maps.push(panel);
    lines.push("", ...wrap(heading(dataset, panel, map), columns), ...heatMapLines(panel, map));
    if (leftOut.length > 0)
      lines.push(...wrap(`left out, no effect at all: ${panel.x.title} ${rangesOf(leftOut)}`, columns));
  }
  lines.push("");
  if (maps.length > 0) {
    lines.push(...maps.slice(0, 1).flatMap(({ x }) => differing(x, columns)));
    lines.push(
      ...legend(dataset, maps, map).flatMap((line) =>
        line.includes("\u001b") ? [line] : wrap(line, columns),
      ),
    );
  }
  lines.push(...notes.flatMap((note) => wrap(`Shown: ${note}.`, columns)));
  const ranked = rankedSites(dataset, maps, options);
  if (ranked.length > 0) {
    const { titles, rows } = strongestRows(dataset, strongest(dataset, options.strongest ?? 8, ranked));
    lines.push("", "strongest", ...table(titles, rows, columns));
  }
  return finish(lines);
}

/** Sites of the maps: one pair's cells are not ranked with means, only where they are all that was asked for. */
function rankedSites(
  dataset: Dataset,
  maps: readonly { readonly site: string }[],
  { sites }: TerminalOptions,
): string[] {
  const drawn = [...new Set(maps.map(({ site }) => site))];
  return sites?.every((name) => isByPair(dataset, name))
    ? drawn
    : drawn.filter((name) => !isByPair(dataset, name));
}

/** `0 to 9, 11`, neighbouring whole numbers together. */
function rangesOf(labels: readonly (string | number)[]): string {
  const runs: (string | number)[][] = [];
  for (const label of labels) {
    const run = runs.at(-1);
    if (run !== undefined && typeof label === "number" && label === Number(run.at(-1)) + 1) run.push(label);
    else runs.push([label]);
  }
  return runs.map((run) => (run.length > 2 ? `${run[0]} to ${run.at(-1)}` : run.join(", "))).join(", ");
}

function finish(lines: readonly string[]): string {
  return `${lines.join("\n").replace(/\n+$/, "")}\n`;
}

function heading(dataset: Dataset, panel: Panel, map: HeatMapOptions): string {
  const { site, title, x, y, cells } = panel;
  const name = `${title}${windowWords(dataset, site)}`;
  if (y === undefined) return name;
  const axes = `${name}: ${y.title} (down) × ${x.title} (across)`;
  if (cellStyle({ ...panel, y }, map) === "number") return axes;
  const largest = cells.reduce((a, { effect }) => (Math.abs(effect) > Math.abs(a) ? effect : a), 0);
  return `${axes}, in tenths of ${formatNumber(map.limit)}; largest ${panel.word} here ${formatSigned(largest)}`;
}

/** The largest absolute effect of the panels of each unit: bars of one unit can be compared across panels. */
function limitsByUnit(dataset: Dataset, panels: readonly Panel[]): Map<string, number> {
  const limits = new Map<string, number>();
  for (const panel of panels) {
    const unit = unitsOf(dataset, panel);
    const most = panel.cells.reduce((limit, { effect }) => Math.max(limit, Math.abs(effect)), 0);
    limits.set(unit, Math.max(limits.get(unit) ?? 0, most));
  }
  return limits;
}

/** The unit of a panel's effects; single terms have one each, which may be the same. */
function unitsOf(dataset: Dataset, { site, x }: Panel): string {
  const names = Object.hasOwn(dataset.dataVars, site) ? [site] : x.labels.map(({ label }) => String(label));
  return [...new Set(names.map((name) => unitOf(dataset, name)))].join();
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
  const what = `${effectOnMetric(dataset, panels[0]?.site ?? "")}, ${noEffectWords(dataset)}`;
  const end = formatNumber(map.limit);
  const styles = new Set(panels.map((panel) => cellStyle(panel, map)));
  const written = new Set(
    panels.flatMap((panel) => {
      const style = cellStyle(panel, map);
      return panel.cells.map(({ effect }) => `${style} ${cellText(effect, style, map)}`);
    }),
  );
  const holds = (style: CellStyle, symbol: string): boolean => written.has(`${style} ${symbol}`);
  const lines: string[] = [];
  if (map.color === "none") lines.push(what);
  else {
    const steps = Array.from({ length: 21 }, (_, step) => shaded(" ", (step - 10) / 10, map.color));
    lines.push(`-${end} ${steps.join("")} +${end}`, what);
  }
  if (styles.has("tenths")) {
    const little = holds("tenths", LITTLE_EFFECT) ? `; ${LITTLE_EFFECT}: less than a tenth` : "";
    lines.push(`+9 … -9: tenths of the largest effect, ${end}${little}`);
  }
  if (styles.has("number") && map.unitFactor !== 1)
    lines.push(`numbers in units of ${formatNumber(map.unitFactor)}`);
  const symbols = [
    ...([...styles].some((style) => holds(style, NO_EFFECT)) ? [`${NO_EFFECT}: no effect at all`] : []),
    ...(holds("number", LITTLE_EFFECT)
      ? [`${LITTLE_EFFECT}${styles.size > 1 ? " among numbers" : ""}: an effect that rounds to 0`]
      : []),
  ];
  if (symbols.length > 0) lines.push(symbols.join("; "));
  if (panels.some(({ missing }) => missing > 0)) lines.push("blank: not computed");
  return lines;
}
