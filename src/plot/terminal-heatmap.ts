/** @file One panel as a heat map of a terminal. */
import { displayWidth, pad, truncate } from "./labels.ts";
import { type Axis, axisText, type Panel, type PanelCell } from "./panels.ts";
import { type ColorDepth, shaded } from "./terminal-color.ts";

const NUMBER_WIDTH = 6; // sign, three digits and the point, a space
const MAX_ROW_LABEL = 18;
const MAX_HEADING_LINES = 12;

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
export type CellStyle = "number" | "tenths" | "blank";

/** The style that fits: numbers where there is room, else tenths of the limit, or colour alone. */
export function cellStyle(panel: Panel & { y: Axis }, { columns, color }: HeatMapOptions): CellStyle {
  if (panel.x.labels.length * NUMBER_WIDTH <= columns - rowLabelWidth(panel.y) - 1) return "number";
  return color === "none" ? "tenths" : "blank";
}

/** The lines of a heat map; as many blocks beneath each other as the width asks for. */
export function heatMapLines(panel: Panel & { y: Axis }, options: HeatMapOptions): string[] {
  const labelWidth = rowLabelWidth(panel.y);
  const room = Math.max(3, options.columns - labelWidth - 1);
  const style = cellStyle(panel, options);
  const count = panel.x.labels.length;
  const narrowest = style === "tenths" ? 3 : 2;
  const cellWidth =
    style === "number" ? NUMBER_WIDTH : Math.max(narrowest, Math.min(4, Math.floor(room / count)));
  const perBlock = Math.max(1, Math.floor(room / cellWidth));
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

function drawCell(
  cell: PanelCell | undefined,
  options: HeatMapOptions & { readonly style: CellStyle; readonly cellWidth: number },
): string {
  const { style, cellWidth, limit, color } = options;
  if (cell === undefined) return " ".repeat(cellWidth);
  const share = limit === 0 ? 0 : cell.effect / limit;
  const text =
    style === "number"
      ? compactNumber(cell.effect / options.unitFactor)
      : style === "tenths"
        ? tenths(share)
        : "";
  return shaded(`${pad(text, cellWidth - 1, "left")} `, share, color);
}

/** A number in at most five characters: `+11.6`, `-0.03`, `0` where it rounds to that, `·` for an exact zero. */
export function compactNumber(value: number): string {
  if (value === 0) return "·";
  const sign = value < 0 ? "-" : "+";
  const size = Math.abs(value);
  if (size < 0.005) return "0";
  return sign + size.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
}

/** Tenths of the largest effect with a sign: `+9` for nine tenths and more, `·` for less than one. */
export function tenths(share: number): string {
  const count = Math.min(9, Math.floor(Math.abs(share) * 10 + 1e-9));
  return count === 0 ? "·" : `${share < 0 ? "-" : "+"}${count}`;
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
