/** @file Backup heads in a terminal: which were found and in which round, by what criterion, and what the maps show. */
import { at, type Cell, labelsOf } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { metricWord, unitOf } from "../result/words.ts";
import { wrap } from "./labels.ts";
import { type Column, table } from "./table.ts";

/** Rows of the table; with many rounds it would be every head of a model. */
const MAX_ROWS = 40;

/** A head of the set that was ablated. */
interface FoundHead {
  readonly name: string;
  /** 0: ablated from the beginning. */
  readonly round: number;
  readonly role: string;
  /** Its effect before any other is ablated, and with all heads of earlier rounds ablated; none of those of round 0. */
  readonly alone: Cell;
  readonly onTop: Cell | undefined;
}

/** The lines that stand before the maps of a result about backup heads; undefined for any other. */
export function backupLines(dataset: Dataset, columns: number): string[] | undefined {
  if (dataset.attrs.method !== "hydra" || dataset.dataVars.found_role === undefined) return undefined;
  const found = foundHeads(dataset);
  const shown = found.slice(0, MAX_ROWS);
  const titles: Column[] = [
    { title: "head", label: "name" },
    { title: "round", align: "right" },
    { title: "found as" },
    { title: "alone", align: "right" },
    { title: "95 % interval", align: "right" },
    { title: "on top", align: "right" },
    { title: "95 % interval", align: "right" },
  ];
  const rows = shown.map(({ name, round, role, alone, onTop }) => [
    name,
    String(round),
    role,
    ...cellTexts(alone),
    ...cellTexts(onTop),
  ]);
  const paragraphs = (texts: readonly string[]): string[] => texts.flatMap((text) => wrap(text, columns));
  return [
    ...paragraphs([verdict(dataset, found)]),
    "",
    "heads ablated, as they were found",
    ...table(titles, rows, columns),
    ...(found.length > shown.length ? [`… and ${found.length - shown.length} found later`] : []),
    "",
    ...paragraphs([tableNote(dataset), ...totals(dataset, found)]),
    "",
    ...paragraphs([mapNote(dataset)]),
  ];
}

function foundHeads(dataset: Dataset): FoundHead[] {
  const names = labelsOf(dataset, "found").map(String);
  return names.map((name, index): FoundHead => {
    const [layer = 0, head = 0] = name.split(".").map(Number);
    const round = Number(dataset.dataVars.found_round?.data[index] ?? 0);
    return {
      name,
      round,
      role: String(dataset.dataVars.found_role?.data[index] ?? ""),
      alone: at(dataset, "single", { layer, head }),
      onTop: round === 0 ? undefined : at(dataset, "conditional", { round: round - 1, layer, head }),
    };
  });
}

/** Which heads are backups, or that none is, and what makes a head one. */
function verdict(dataset: Dataset, found: readonly FoundHead[]): string {
  const backups = found.filter(({ role }) => role === "backup");
  const later = found.filter(({ round }) => round > 0);
  const asked = (dataset.dims.round ?? 1) - 1;
  if (backups.length > 0) {
    const names = backups.map(({ name, round }) => `${name} (round ${round})`).join(", ");
    const [count, each] =
      backups.length === 1 ? ["1 backup head", "it"] : [`${backups.length} backup heads`, "each"];
    return `${count}: ${names}. Ablated alone, ${each} costs less than half of what it costs on top of the heads of earlier rounds.${unsure(backups)}`;
  }
  if (asked === 0) return "No backup head was looked for: that takes a round or more.";
  if (later.length === 0)
    return `No backup head was found: with the heads of round 0 ablated, no other lowers the ${metricWord(dataset)}.`;
  const most =
    later.length === 1
      ? "the one further head that costs most on top of those of earlier rounds costs"
      : `the ${later.length} further heads that cost most on top of those of earlier rounds each cost`;
  return `No backup head was found: ${most} at least half as much alone.`;
}

/** The backups whose cost on top could be none, by its interval. */
function unsure(backups: readonly FoundHead[]): string {
  const names = backups
    .filter(({ onTop }) => onTop?.ciHigh !== undefined && onTop.ciHigh >= 0)
    .map(({ name }) => name);
  return names.length === 0 ? "" : ` What ${names.join(", ")} costs on top has an interval that holds 0.`;
}

function tableNote(dataset: Dataset): string {
  const unit = unitOf(dataset, "single");
  const options = dataset.attrs.options as Readonly<Record<string, unknown>> | undefined;
  const first = Array.isArray(options?.first)
    ? "the heads asked for"
    : "the heads that add most to the answer";
  return `Change of the ${metricWord(dataset)}${unit === "" ? "" : ` (${unit})`}, a cost below 0: alone, and on top of all heads of earlier rounds. Round 0: ${first}; each later one: those that then cost most. independent: alone it costs at least half as much.`;
}

/** What the set costs as a whole beside its heads one by one. */
function totals(dataset: Dataset, found: readonly FoundHead[]): string[] {
  if (found.length < 2) return [];
  const round = (dataset.dims.round ?? 1) - 1;
  const [whole, sum] = ["set_total", "set_sum"].map((name) => cellTexts(at(dataset, name, { round })));
  const words = ([value = "", interval = ""]: readonly string[] = []): string =>
    interval === "" ? value : `${value} (${interval})`;
  return [`All ${found.length} together: ${words(whole)}; one by one they add up to ${words(sum)}.`];
}

function mapNote({ dataVars }: Dataset): string {
  const pairs =
    dataVars.pair_interaction === undefined ? "" : " pair_interaction: the same of two found heads alone.";
  return `Maps. single: every head ablated alone. interaction: what it costs on top of the heads found up to that round, less what it costs alone.${pairs}`;
}

/** The value of a cell and its interval, to two decimals each: prompts vary by more. */
function cellTexts(cell: Cell | undefined): [value: string, interval: string] {
  if (cell === undefined || Number.isNaN(cell.value)) return ["", ""];
  const { value, ciLow, ciHigh } = cell;
  const [text, low, high] = [value, ciLow, ciHigh].map((number = Number.NaN) => {
    const rounded = number.toFixed(2);
    return rounded === "-0.00" ? "0.00" : rounded;
  });
  return [
    `${value >= 0.005 ? "+" : ""}${text}`,
    ciLow === undefined || ciHigh === undefined ? "" : `${low} to ${high}`,
  ];
}
