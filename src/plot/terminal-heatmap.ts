/** @file One panel as a heat map of a terminal. */
import { displayWidth, pad, truncate } from "./labels.ts";
import { type Axis, axisText, type Panel, type PanelCell } from "./panels.ts";
import { type ColorDepth, shaded } from "./terminal-color.ts";

const NUMBER_WIDTH = 6; // sign, three digits and the point, a space
const TENTHS_WIDTH = 3; // sign, a digit, a space
const MAX_ROW_LABEL = 18;
const MAX_HEADING_LINES = 12;
/** Blocks of columns over which numbers may go on; a row that is torn into more is no longer read as one. */
const MAX_NUMBER_BLOCKS = 3;

/** An effect of exactly zero: most often both runs hold the same bits there. */
export const NO_EFFECT = "·";
/** An effect too small for the figures of its style. */
export const LITTLE_EFFECT = "0";

export interface HeatMapOptions {
  /** Columns of the terminal. */
  readonly columns: number;
  readonly color: ColorDepth;
  /** The effect at the ends of the colour scale; 0 where there is none. */
  readonly limit: number;
  /** Effects are divided by this where they are written as numbers. */
  readonly unitFactor: number;
}

/** How a panel's cells are written. */
export type CellStyle = "number" | "tenths";

/** The style that fits: numbers where a few blocks of columns hold them, else tenths of the limit. */
export function cellStyle(panel: Panel & { y: Axis }, { columns }: HeatMapOptions): CellStyle {
  const perBlock = Math.floor(roomForCells(panel.y, columns) / NUMBER_WIDTH);
  return perBlock * MAX_NUMBER_BLOCKS >= panel.x.labels.length ? "number" : "tenths";
}

/** A panel as it is drawn, and which of its columns are left out. */
export interface Narrowed {
  readonly panel: Panel & { readonly y: Axis };
  readonly leftOut: readonly (string | number)[];
}

/**
 * A panel without the columns in which every cell has exactly no effect, where it needs fewer blocks of numbers then: they are
 * most of it where prompts differ late. Where no others are left, they stay.
 */
export function narrowed(panel: Panel & { readonly y: Axis }, { columns }: HeatMapOptions): Narrowed {
  const { x, y, cells } = panel;
  const blocks = (count: number): number =>
    Math.ceil(count / Math.max(1, Math.floor(roomForCells(y, columns) / NUMBER_WIDTH)));
  const still = new Uint32Array(x.labels.length);
  for (const cell of cells) if (cell.effect === 0) still[cell.x] = (still[cell.x] ?? 0) + 1;
  const isLeftOut = (column: number): boolean => still[column] === y.labels.length;
  const kept = [...x.labels.keys()].filter((column) => !isLeftOut(column));
  if (kept.length === 0 || blocks(kept.length) === blocks(x.labels.length)) return { panel, leftOut: [] };
  const place = new Map(kept.map((column, index) => [column, index]));
  return {
    panel: {
      ...panel,
      x: { ...x, labels: x.labels.filter((_, column) => place.has(column)) },
      cells: cells.flatMap((cell) => {
        const column = place.get(cell.x);
        return column === undefined ? [] : [{ ...cell, x: column }];
      }),
    },
    leftOut: x.labels.flatMap(({ label }, column) => (place.has(column) ? [] : [label])),
  };
}

/** The lines of a heat map; as many blocks beneath each other as the width asks for, of about the same width. */
export function heatMapLines(panel: Panel & { y: Axis }, options: HeatMapOptions): string[] {
  const labelWidth = rowLabelWidth(panel.y);
  const room = roomForCells(panel.y, options.columns);
  const style = cellStyle(panel, options);
  const count = panel.x.labels.length;
  const cellWidth = style === "number" ? NUMBER_WIDTH : TENTHS_WIDTH;
  const blocks = Math.ceil(count / Math.max(1, Math.floor(room / cellWidth)));
  const perBlock = Math.ceil(count / blocks);
  const cells = new Map(panel.cells.map((cell) => [cell.y * count + cell.x, cell]));
  const lines: string[] = [];
  for (let start = 0; start < count; start += perBlock) {
    const span = Array.from({ length: Math.min(perBlock, count - start) }, (_, index) => start + index);
    if (start > 0) lines.push("");
    lines.push(
      ...headings(panel.x, span, cellWidth).map((line) => `${" ".repeat(labelWidth)} ${line}`.trimEnd()),
    );
    for (let y = 0; y < panel.y.labels.length; y++) {
      const label = pad(truncate(axisText(panel.y, y), labelWidth), labelWidth, "left");
      const drawn = span.map((x) => drawCell(cells.get(y * count + x), { ...options, style, cellWidth }));
      lines.push(`${label} ${drawn.join("")}`.trimEnd());
    }
  }
  return lines;
}

function rowLabelWidth(axis: Axis): number {
  return Math.min(
    MAX_ROW_LABEL,
    Math.max(...axis.labels.map((_, index) => displayWidth(axisText(axis, index)))),
  );
}

/** Columns of the terminal beside the labels of rows. */
function roomForCells(axis: Axis, columns: number): number {
  return Math.max(TENTHS_WIDTH, columns - rowLabelWidth(axis) - 1);
}

function drawCell(
  cell: PanelCell | undefined,
  options: HeatMapOptions & { readonly style: CellStyle; readonly cellWidth: number },
): string {
  const { style, cellWidth, limit, color } = options;
  if (cell === undefined) return " ".repeat(cellWidth);
  const share = limit === 0 ? 0 : cell.effect / limit;
  return shaded(`${pad(cellText(cell.effect, style, options), cellWidth - 1, "left")} `, share, color);
}

/** What a cell says of its effect. */
export function cellText(effect: number, style: CellStyle, { limit, unitFactor }: HeatMapOptions): string {
  return style === "number" ? compactNumber(effect / unitFactor) : tenths(limit === 0 ? 0 : effect / limit);
}

/** A number in at most five characters: `+11.6`, `-0.03`, `0` where it rounds to that, `·` for an exact zero. */
export function compactNumber(value: number): string {
  if (value === 0) return NO_EFFECT;
  const sign = value < 0 ? "-" : "+";
  const size = Math.abs(value);
  if (size < 0.005) return LITTLE_EFFECT;
  return sign + size.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
}

/** Tenths of the largest effect with a sign: `+9` for nine tenths and more, `0` for less than one, `·` for an exact zero. */
export function tenths(share: number): string {
  if (share === 0) return NO_EFFECT;
  const count = Math.min(9, Math.floor(Math.abs(share) * 10 + 1e-9));
  return count === 0 ? LITTLE_EFFECT : `${share < 0 ? "-" : "+"}${count}`;
}

/** Column headings: across where they fit, else tokens written downwards over their positions. */
function headings(axis: Axis, span: readonly number[], cellWidth: number): string[] {
  const names = span.map((index) => String(axis.labels[index]?.label ?? ""));
  const tokens = span.map((index) => axis.labels[index]?.tokens[0] ?? "");
  const hasTokens = tokens.some((token) => token !== "");
  const across = (texts: readonly string[]) =>
    texts.map((text) => `${pad(text, cellWidth - 1, "left")} `).join("");
  if (names.every((name) => displayWidth(name) < cellWidth)) {
    return hasTokens ? [...downwards(tokens, cellWidth), across(names)] : [across(names)];
  }
  return downwards(hasTokens ? span.map((index) => axisText(axis, index)) : names, cellWidth);
}

function downwards(texts: readonly string[], cellWidth: number): string[] {
  const letters = texts.map((text) => [...(text.length > MAX_HEADING_LINES ? cut(text) : text)]);
  const height = Math.max(0, ...letters.map((column) => column.length));
  return Array.from({ length: height }, (_, line) =>
    letters
      .map((column) => `${pad(column[line - height + column.length] ?? "", cellWidth - 1, "left")} `)
      .join(""),
  );
}

function cut(text: string): string {
  return `${[...text].slice(0, MAX_HEADING_LINES - 1).join("")}…`;
}
