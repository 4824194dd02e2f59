/** @file Plain aligned tables for terminals. */
import { displayWidth, pad, truncate } from "./labels.ts";

export interface Column {
  readonly title: string;
  /** Numbers are right-aligned. Default left. */
  readonly align?: "left" | "right" | undefined;
}

const MAX_CELL_COLUMNS = 40; // a token of a hundred spaces exists; the row should still be one line
const GAP = "  ";

/** A table as lines of aligned text: titles, then one line per row. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const cells = [columns.map(({ title }) => title), ...rows].map((row) =>
    columns.map((_, index) => truncate(row[index] ?? "", MAX_CELL_COLUMNS)),
  );
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => displayWidth(row[index] ?? ""))));
  return cells.map((row) =>
    row
      .map((cell, index) =>
        pad(cell, widths[index] ?? 0, columns[index]?.align === "right" ? "left" : "right"),
      )
      .join(GAP)
      .trimEnd(),
  );
}
