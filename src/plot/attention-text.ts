/** @file What there is to say in a terminal about attention: the heads with the largest scores, kinds, strongest sources. */
import { labelsOf } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { displayWidth, pad, truncate, visible, wrap } from "./labels.ts";
import { type Column, table } from "./table.ts";

/** A score of every head. */
export interface Score {
  readonly title: string;
  /** [layer, head] */
  readonly data: ArrayLike<number>;
  readonly low: ArrayLike<number>;
  readonly high: ArrayLike<number>;
  /** The same of attention weighted by what is written; empty where there is none. */
  readonly weighted: ArrayLike<number>;
  /** What even attention would score. */
  readonly even: number | undefined;
  /** From -1 to 1, not from 0. */
  readonly signed: boolean;
}

/** Heads of each score. */
const SHOWN = 4;
/** Heads of a kind that are named. */
const NAMED = 8;
/** Sources of a pattern's last row. */
const SOURCES = 3;
/** Columns of a source's token. */
const TOKEN_COLUMNS = 20;

const titles = ["previous_token", "duplicate_token", "induction", "first_token"];

/** The scores of a result about attention: those of tokens, those of roles, copying. */
export function attentionScores(dataset: Dataset): Score[] {
  const size = (dataset.dims.layer ?? 0) * (dataset.dims.head ?? 0);
  const even = dataset.attrs.even as Readonly<Record<string, number | null>>;
  const part = (name: string, at: number): ArrayLike<number> =>
    Array.from(dataset.dataVars[name]?.data.slice(at * size, (at + 1) * size) ?? [], Number);
  const score = (name: string, { title, key, at }: { title: string; key: string; at: number }): Score => ({
    title,
    data: part(name, at),
    low: part(`${name}_ci_low`, at),
    high: part(`${name}_ci_high`, at),
    weighted: part(`${name}_weighted`, at),
    even: even[key] ?? undefined,
    signed: name === "copying",
  });
  const roles = dataset.dims.role === undefined ? [] : labelsOf(dataset, "role").map(String);
  return [
    ...titles.map((name) => score(name, { title: name.replaceAll("_", " "), key: name, at: 0 })),
    ...roles.map((role, at) =>
      score("attention_to", { title: `to ${visible(role).replaceAll("␣", " ")}`, key: `to ${role}`, at }),
    ),
    score("copying", { title: "copying", key: "copying", at: 0 }),
  ];
}

/** Whether any head has the score. */
export function hasValues({ data }: Score): boolean {
  return Array.from(data).some((value) => !Number.isNaN(value));
}

/** The lines of a result about attention; undefined for any other. */
export function attentionLines(dataset: Dataset, columns: number): string[] | undefined {
  if (dataset.attrs.method !== "attention") return undefined;
  const scores = attentionScores(dataset);
  const known = scores.filter(hasValues);
  const heads = dataset.dims.head ?? 1;
  const fixed = (value: number | undefined): string =>
    value === undefined || Number.isNaN(value) ? "" : value.toFixed(2);
  const rows = known.flatMap(({ title, data, low, high, weighted, even }) => {
    const order = [...Array(data.length).keys()].filter((cell) => !Number.isNaN(data[cell]));
    order.sort((a, b) => (data[b] ?? 0) - (data[a] ?? 0));
    return order
      .slice(0, SHOWN)
      .map((cell, place) => [
        place === 0 ? title : "",
        `${Math.floor(cell / heads)}.${cell % heads}`,
        fixed(data[cell]),
        low.length === 0 || Number.isNaN(low[cell]) ? "" : `${fixed(low[cell])} to ${fixed(high[cell])}`,
        fixed(weighted[cell]),
        place === 0 ? fixed(even) : "",
      ]);
  });
  const right = (title: string): Column => ({ title, align: "right" });
  const heading: Column[] = [
    { title: "score", label: "name" },
    { title: "head", label: "name" },
    right("mean"),
    right("95 % interval"),
    right("by value"),
    right("even"),
  ];
  const missing = scores.filter((score) => !hasValues(score)).map(({ title }) => title);
  const notes = [
    "Shares of a head's attention, means over prompts. by value: of attention times the length of what the head writes from there; even: what even attention would score.",
    "copying: where the token read stands among the prompt's tokens by what the head adds to their logits, 1 first, -1 last, 0 by chance.",
    ...(missing.length === 0 ? [] : [`No prompt has what it takes: ${missing.join(", ")}.`]),
  ];
  return [
    ...table(heading, rows, columns),
    "",
    ...notes.flatMap((note) => wrap(note, columns)),
    "",
    ...kindLines(dataset).flatMap((line) => wrap(line, columns)),
    ...sourceLines(dataset, columns),
  ];
}

/** Heads of each kind. */
function kindLines(dataset: Dataset): string[] {
  const heads = dataset.dims.head ?? 1;
  const kinds = new Map<string, string[]>();
  for (const [cell, kind] of Array.from(dataset.dataVars.class?.data ?? [], String).entries()) {
    if (kind === "") continue;
    const name = visible(kind).replaceAll("␣", " ");
    kinds.set(name, [...(kinds.get(name) ?? []), `${Math.floor(cell / heads)}.${cell % heads}`]);
  }
  if (kinds.size === 0) return ["No head has more than half of its attention on one kind."];
  const parts = [...kinds].map(([kind, found]) => {
    const more = found.length > NAMED ? ", …" : "";
    return `${kind} ${found.length} (${found.slice(0, NAMED).join(", ")}${more})`;
  });
  return [`More than half of the attention on one kind: ${parts.join("; ")}.`];
}

/** What the last token of the example attends to most, for each head whose pattern is there. */
function sourceLines(dataset: Dataset, columns: number): string[] {
  const heads = labelsOf(dataset, "pattern_head").map(String);
  const tokens = Array.from(dataset.coords.token?.data ?? [], String).map(visible);
  const length = tokens.length;
  const pattern = dataset.dataVars.pattern?.data ?? [];
  const rows = heads.slice(0, 2 * NAMED).map((head, index) => {
    const last = ((index + 1) * length - 1) * length;
    const row = Array.from(tokens, (_, src) => Number(pattern[last + src]));
    const order = [...row.keys()].sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0));
    const [first = "", ...others] = order
      .slice(0, SOURCES)
      .map((src) => `${src}: ${truncate(tokens[src] ?? "", TOKEN_COLUMNS)} ${(row[src] ?? 0).toFixed(2)}`);
    const fitting = (line: string, next: string): string =>
      displayWidth(line) + 3 + displayWidth(next) <= columns ? `${line}   ${next}` : line;
    return others.reduce(fitting, `${pad(head, 5)}  ${first}`);
  });
  if (rows.length === 0) return [];
  const title = `What ${length - 1}: ${tokens.at(-1)} attends to most (prompt ${dataset.attrs.pattern_of}):`;
  return ["", ...wrap(title, columns), ...rows];
}
