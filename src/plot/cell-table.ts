/** @file Tables of cells: bars over one dim, the strongest cells, the most probable tokens. */
import type { Cell, StrongCell } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { dimWord, type EffectWord, effectWord, formatNumber, formatSigned } from "../result/words.ts";
import { displayWidth, labelText, namedLabels, pad, visible } from "./labels.ts";
import { axisText, type Panel } from "./panels.ts";
import { type Column, type TableBlock, tableBlocks } from "./table.ts";
import { type ColorDepth, inked } from "./terminal-color.ts";

/** The terminal that is written for. */
export interface Screen {
  readonly columns: number;
  readonly color: ColorDepth;
}

export interface BarOptions extends Screen {
  /** The effect of a bar of full length; 0 where there is none, and so no bars. */
  readonly limit: number;
}

/** Rows of a table over one dim; the strongest are kept. */
const MAX_ROWS = 40;
const BAR_HALF = 10; // columns of a bar on either side of zero

/** One line per label of a single dim: value, effect, interval and a bar. */
export function barTable(panel: Panel, screen: BarOptions): string[] {
  const isList =
    panel.x.labels.some(({ label }) => typeof label === "string") || panel.cells.length > MAX_ROWS;
  const shown = isList
    ? [...panel.cells].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)).slice(0, MAX_ROWS)
    : panel.cells;
  const columns = cellColumns(shown, panel.word);
  const blocks = tableBlocks(
    [
      { title: panel.x.title, label: "text" },
      ...columns.map(({ title }): Column => ({ title, align: "right" })),
    ],
    shown.map((cell) => [axisText(panel.x, cell.x), ...columns.map(({ text }) => text(cell))]),
    screen.columns,
  );
  const drawn = withBars(blocks, screen, (index) => {
    const cell = shown[index];
    return cell === undefined || screen.limit === 0
      ? undefined
      : bar(cell.effect / screen.limit, screen.color);
  });
  return panel.cells.length > shown.length
    ? [...drawn, `… and ${panel.cells.length - shown.length} weaker`]
    : drawn;
}

/** Adds a bar to each row, where all of them fit. */
function withBars(
  blocks: readonly TableBlock[],
  { columns }: Screen,
  draw: (index: number) => string | undefined,
): string[] {
  const lines = blocks.flatMap(({ head, rows }, index) => [
    ...(index === 0 ? [] : [""]),
    ...head,
    ...rows.flat(),
  ]);
  const width = Math.max(...lines.map(displayWidth));
  if (blocks.length > 1 || width + 3 + 2 * BAR_HALF > columns) return lines;
  const titles = blocks[0]?.head.length ?? 0;
  return lines.map((line, index) => {
    const drawn = index < titles ? undefined : draw(index - titles);
    return drawn === undefined ? line : `${pad(line, width)}  ${drawn}`;
  });
}

/** A bar of whole blocks; none where it would be shorter than half of one. */
function bar(share: number, color: ColorDepth): string {
  const length = Math.round(Math.abs(share) * BAR_HALF);
  const block = inked("█".repeat(length), share < 0 ? -0.7 : 0.6, color);
  const space = " ".repeat(BAR_HALF - length);
  return share < 0 ? `${space}${block}│` : `${" ".repeat(BAR_HALF)}│${block}`;
}

type Shown = Cell & { readonly effect: number };

/** The columns for what is known of the cells; those that no cell fills are left out. `word` is what their effects are. */
function cellColumns(
  cells: readonly Shown[],
  word: EffectWord,
): { title: string; text: (cell: Shown) => string }[] {
  const has = (key: keyof Cell) => cells.some((cell) => cell[key] !== undefined);
  const isEffect = areEffects(cells);
  const optional = (key: "normalized" | "exact") => (cell: Shown) => {
    const value = cell[key];
    return value === undefined ? "" : formatNumber(value);
  };
  return [
    ...(isEffect ? [] : [{ title: "value", text: (cell: Shown) => formatNumber(cell.value) }]),
    { title: word, text: (cell: Shown) => formatSigned(cell.effect) },
    ...(has("normalized") ? [{ title: "normalised", text: optional("normalized") }] : []),
    ...(has("ciLow") ? [{ title: intervalTitle(cells, word), text: intervalText }] : []),
    ...(has("exact") ? [{ title: "exact", text: optional("exact") }] : []),
    ...(has("exactCiLow") ? [{ title: "95 % interval of the exact", text: exactIntervalText }] : []),
  ];
}

function areEffects(cells: readonly Shown[]): boolean {
  return cells.every(({ value, effect }) => value === effect);
}

/** What the interval of cells is of: the effect where any has one of that, or where values are effects. */
export function intervalTitle(cells: readonly Shown[], word: EffectWord): string {
  const isOfEffect = cells.some(({ effectCiLow }) => effectCiLow !== undefined) || areEffects(cells);
  return `95 % interval of the ${isOfEffect ? word : "value"}`;
}

/** `-1.81 to -0.77`, or nothing where a cell has no interval. */
export function intervalText({ ciLow, ciHigh, effectCiLow = ciLow, effectCiHigh = ciHigh }: Cell): string {
  return ends(effectCiLow, effectCiHigh);
}

/** The same of the exact effect of an estimated cell. */
export function exactIntervalText({ exactCiLow, exactCiHigh }: Cell): string {
  return ends(exactCiLow, exactCiHigh);
}

function ends(low: number | undefined, high: number | undefined): string {
  return low === undefined || high === undefined ? "" : `${formatNumber(low)} to ${formatNumber(high)}`;
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
  const columns = cellColumns(cells, effectWord(dataset, cells[0]?.site ?? ""));
  return {
    titles: [
      { title: "site", label: "name" },
      ...dims.map((dim): Column => ({ title: dimWord(dim), label: "text" })),
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
export function topTokens(dataset: Dataset, screen: Screen): string[] {
  const { token, token_id: id } = dataset.coords;
  const { logit, logprob, prob } = dataset.dataVars;
  const count = dataset.dims.rank ?? 0;
  const number = (data: ArrayLike<number | string> | undefined, rank: number, digits: number): string =>
    data === undefined ? "" : Number(data[rank]).toFixed(digits);
  const blocks = tableBlocks(
    [
      { title: "rank", align: "right", label: "name" },
      { title: "token", label: "text" },
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
    screen.columns,
  );
  return withBars(blocks, screen, (rank) => {
    const block = "█".repeat(Math.round(Number(prob?.data[rank] ?? 0) * 2 * BAR_HALF));
    return block === "" ? undefined : inked(block, 0.6, screen.color);
  });
}
