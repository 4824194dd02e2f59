/** @file What there is to say in a terminal about scores of edges and the circuit that they make. */
import { labelsOf } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { formatNumber, formatSigned, metricWord, unitOf } from "../result/words.ts";
import { verifiedLines } from "./attribution-text.ts";
import { wrap } from "./labels.ts";
import { type Column, table } from "./table.ts";

/** Edges of a table. */
const SHOWN = 20;

/** An edge with what is known of it. */
export interface ScoredEdge {
  readonly name: string;
  readonly score: number;
  /** NaN where there is none. */
  readonly low: number;
  readonly high: number;
  readonly exact: number;
  readonly isIn: boolean;
}

/** Whether a result is about edges. */
export function isAboutEdges({ attrs }: Dataset): boolean {
  return attrs.method === "edge-attribution" || attrs.method === "exact-edges";
}

/** All edges of a result that have a score, the largest first. */
export function largestEdges(dataset: Dataset): ScoredEdge[] {
  const values = (name: string): ArrayLike<unknown> => dataset.dataVars[name]?.data ?? [];
  const [score, low, high, exact, isIn] = [
    "score",
    "score_ci_low",
    "score_ci_high",
    "score_exact",
    "in_graph",
  ].map(values);
  const number = (of: ArrayLike<unknown> | undefined, index: number): number =>
    Number(of?.[index] ?? Number.NaN);
  return labelsOf(dataset, "edge")
    .map((name, index) => ({
      name: String(name),
      score: number(score, index),
      low: number(low, index),
      high: number(high, index),
      exact: number(exact, index),
      isIn: number(isIn, index) === 1,
    }))
    .filter((edge) => !Number.isNaN(edge.score))
    .sort((a, b) => Math.abs(b.score) - Math.abs(a.score));
}

/** The lines of a result about edges; undefined for any other. */
export function edgeLines(dataset: Dataset, columns: number): string[] | undefined {
  if (!isAboutEdges(dataset)) return undefined;
  const edges = largestEdges(dataset);
  const shown = edges.slice(0, SHOWN);
  const isEstimate = dataset.attrs.method === "edge-attribution";
  const has = (test: (edge: ScoredEdge) => boolean): boolean => shown.some(test);
  const withInterval = has(({ low }) => !Number.isNaN(low));
  const withExact = has(({ exact }) => !Number.isNaN(exact));
  const titles: Column[] = [
    { title: "edge", label: "name" },
    { title: isEstimate ? "estimate" : "exact", align: "right" },
    ...(withInterval ? [{ title: "95 % interval" }] : []),
    ...(withExact ? [{ title: "exact", align: "right" as const }] : []),
    { title: "circuit" },
  ];
  const rows = shown.map(({ name, score, low, high, exact, isIn }) => [
    name,
    formatSigned(score),
    ...(withInterval ? [Number.isNaN(low) ? "" : `${formatSigned(low)} to ${formatSigned(high)}`] : []),
    ...(withExact ? [Number.isNaN(exact) ? "" : formatSigned(exact)] : []),
    isIn ? "in" : "",
  ]);
  return [
    ...table(titles, rows, columns),
    ...(edges.length > shown.length ? [`… and ${edges.length - shown.length} more edges`] : []),
    "",
    ...[edgeWords(dataset), circuitWords(dataset)]
      .filter((text) => text !== "")
      .flatMap((text) => wrap(text, columns)),
  ];
}

/** What a score is. */
export function edgeWords(dataset: Dataset): string {
  const unit = unitOf(dataset);
  const what = dataset.attrs.direction === "denoise" ? "rise" : "drop";
  const how =
    dataset.attrs.direction === "denoise"
      ? "the edge alone carries the clean value in the corrupt run"
      : "the edge alone carries the corrupt value in the clean run";
  return `Scores: ${what} of the ${metricWord(dataset)}${unit === "" ? "" : ` (${unit})`} when ${how}; + means that the edge helps.`;
}

/** How the circuit was chosen and what is left of it. */
export function circuitWords({ attrs }: Dataset): string {
  const { circuit } = attrs as { readonly circuit?: Readonly<Record<string, unknown>> };
  if (circuit === undefined) return "";
  const { select, signed, size, edges, nodes, nodes_in_all: all } = circuit;
  const how = select === "greedy" ? "from the logits down" : "the largest anywhere";
  return `Circuit: ${edges} edges between ${nodes} of ${all} nodes, of ${size} chosen ${how}${signed === true ? ", by sign" : ""}, once loose ends are gone.`;
}

/** How estimates of edges agree with what was patched exactly, and what they cost. */
export function edgeAgreementLines(dataset: Dataset): string[] {
  const { attrs } = dataset;
  if (attrs.method !== "edge-attribution") return [];
  const of = (name: string): number => Number(attrs[name] ?? Number.NaN);
  const lines = verifiedLines(dataset, "exact scores");
  const passes = (count: number, kind: string): string =>
    `${formatNumber(count)} ${kind} pass${count === 1 ? "" : "es"}`;
  const seconds = (value: number): string => `${formatNumber(Number(value.toPrecision(2)))} s`;
  const checked = of("verified") > 0 ? `, with the exact ones in ${seconds(of("seconds"))}` : "";
  lines.push(
    `${of("edges").toLocaleString("en-US")} edges estimated in ${passes(of("forwards"), "forward")} and ` +
      `${passes(of("backwards"), "backward")}: ${seconds(of("seconds_estimate"))}${checked}`,
  );
  return lines;
}
