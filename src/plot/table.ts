/**
 * @file Plain aligned tables for terminals. A number is never cut: where a table is too wide, titles are wrapped, then
 * labels shortened, and columns that still have no room go beneath.
 */
import { displayWidth, pad, truncate, wrap } from "./labels.ts";

export interface Column {
  readonly title: string;
  /** Numbers are right-aligned. Default left. */
  readonly align?: "left" | "right" | undefined;
  /**
   * What names a row, in every block: a `name` is cut only where nothing else helps, `text` such as a token sooner.
   * Columns of labels come first.
   */
  readonly label?: "name" | "text" | undefined;
  /** A list in words, which may go on in lines of its own. */
  readonly wraps?: true | undefined;
}

/** Columns that fit beside each other. */
export interface TableBlock {
  readonly head: readonly string[];
  /** The lines of each row: one, or more where a list goes on. */
  readonly rows: readonly (readonly string[])[];
}

const MAX_LABEL_COLUMNS = 40; // a token of a hundred spaces exists; the row should still be one line
const SHORT_LABEL_COLUMNS = 12; // a position and most of a word
const LEAST_LABEL_COLUMNS = 4; // three characters and the sign that there were more
const LIST_COLUMNS = 24; // some four names of heads
const GAP = "  ";

/** A table as lines of aligned text of at most `width` columns, where its numbers allow: titles, then the rows. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number = Number.POSITIVE_INFINITY,
): string[] {
  return tableBlocks(columns, rows, width).flatMap(({ head, rows: lines }, index) => [
    ...(index === 0 ? [] : [""]),
    ...head,
    ...lines.flat(),
  ]);
}

/** The same in parts that stand beneath each other, each with its titles and a line or more for every row. */
export function tableBlocks(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): TableBlock[] {
  const sized = columns.map((column, index) =>
    sizedColumn(
      column,
      rows.map((row) => row[index] ?? ""),
    ),
  );
  const labels = sized.filter(({ label }) => label !== undefined);
  const others = sized.filter(({ label }) => label === undefined);
  const groups: Sized[][] = [[]];
  for (const column of others) {
    const group = groups.at(-1) ?? [];
    if (group.length === 0 || fits([...labels, ...group, column], width)) group.push(column);
    else groups.push([column]);
  }
  return groups.map((group) => drawn([...labels, ...group], width));
}

interface Sized extends Column {
  readonly cells: readonly string[];
  /** Columns that it takes where there is room, and after each measure in turn. */
  readonly widths: readonly [whole: number, wrapped: number, short: number, least: number];
}

function sizedColumn(column: Column, cells: readonly string[]): Sized {
  const { title, label, wraps } = column;
  const widest = (texts: readonly string[]): number => Math.max(0, ...texts.map(displayWidth));
  const most = label === undefined ? Number.POSITIVE_INFINITY : MAX_LABEL_COLUMNS;
  const content = Math.min(widest(cells), most);
  const whole = Math.max(content, Math.min(displayWidth(title), most));
  const wrapped = Math.max(content, Math.min(widest(title.split(" ")), most));
  const list = Math.max(Math.min(content, LIST_COLUMNS), widest(cells.flatMap((cell) => cell.split(" "))));
  const short =
    label === "text" ? Math.min(wrapped, SHORT_LABEL_COLUMNS) : wraps ? Math.min(wrapped, list) : wrapped;
  const least = label === undefined ? short : Math.min(short, LEAST_LABEL_COLUMNS);
  return { ...column, cells, widths: [whole, wrapped, short, least] };
}

const total = (widths: readonly number[]): number =>
  widths.reduce((sum, width) => sum + width, GAP.length * Math.max(0, widths.length - 1));

/** Whether columns have room beside each other without a name being cut. */
function fits(columns: readonly Sized[], width: number): boolean {
  return total(columns.map(({ widths: [, , short] }) => short)) <= width;
}

/** Takes from the columns that have most to spare until all fit, no more of one measure than is needed. */
function chosenWidths(columns: readonly Sized[], width: number): number[] {
  const chosen = columns.map(({ widths: [whole] }) => whole);
  for (const measure of [1, 2, 3] as const) {
    const spare = (index: number): number => (chosen[index] ?? 0) - (columns[index]?.widths[measure] ?? 0);
    while (total(chosen) > width) {
      const widest = [...chosen.keys()].reduce(
        (best, index) => (spare(index) > spare(best) ? index : best),
        0,
      );
      if (columns.length === 0 || spare(widest) <= 0) break;
      chosen[widest] = (chosen[widest] ?? 0) - 1;
    }
  }
  return chosen;
}

/** A title in the fewest lines, no wider than they must be: `95 % interval` over `of the value`. */
function balanced(title: string, most: number): string[] {
  let lines = wrap(title, most);
  for (let width = most - 1; width > 0; width--) {
    const narrower = wrap(title, width);
    if (narrower.length > lines.length || narrower.some((line) => displayWidth(line) > width)) break;
    lines = narrower;
  }
  return lines;
}

function drawn(columns: readonly Sized[], width: number): TableBlock {
  const room = chosenWidths(columns, width);
  const fitted = columns.map(({ title, label, wraps, cells }, index) => {
    const most = room[index] ?? 0;
    const cut = (text: string): string => (label === undefined ? text : truncate(text, most));
    return {
      title: balanced(title, most).map(cut),
      cells: cells.map((cell) => (wraps ? wrap(cell, most) : [cut(cell)])),
    };
  });
  const widths = fitted.map(({ title, cells }) => Math.max(...[...title, ...cells.flat()].map(displayWidth)));
  const lineOf = (texts: readonly (string | undefined)[]): string =>
    texts
      .map((text = "", index) =>
        pad(text, widths[index] ?? 0, columns[index]?.align === "right" ? "left" : "right"),
      )
      .join(GAP)
      .trimEnd();
  const height = Math.max(0, ...fitted.map(({ title }) => title.length));
  return {
    // Titles stand on the rows, so that what is short is beside its numbers.
    head: Array.from({ length: height }, (_, line) =>
      lineOf(fitted.map(({ title }) => title[line - height + title.length])),
    ),
    rows: Array.from({ length: columns[0]?.cells.length ?? 0 }, (_, row) => {
      const lines = Math.max(...fitted.map(({ cells }) => cells[row]?.length ?? 0));
      return Array.from({ length: lines }, (_line, line) =>
        lineOf(fitted.map(({ cells }) => cells[row]?.[line])),
      );
    }),
  };
}
