/** @file Where corruptions find the same and where they part, in sentences, each with the numbers that it rests on. */

import type { Json } from "../result/result.ts";
import { metricWords } from "../result/words.ts";
import type { Finding, Ranged } from "./corruption-agreement.ts";
import type { Compared, OffSummary } from "./corruption-compared.ts";

/** Corruptions order cells alike from the first on, differently below the second (Spearman's correlation). */
const ALIKE = 0.8;
const UNLIKE = 0.5;
/** Largest effects of one over those of the other, as shares of what each took: beyond this they are of another size. */
const OTHER_SIZE = 1.5;
/** The largest cell of one counts as found by the other if that has at least this share of its own largest there. */
const FOUND = 0.5;
/** A corruption that takes less than this share of what the reference takes has nothing to be restored. */
const WEAK = 0.2;
/** States further from natural ones than held-out prompts' by this factor are called off the data. */
const OFF_DATA = 1.25;

type Status = "agree" | "part" | "unclear";

interface Judged {
  readonly grid: string;
  readonly status: Status;
  readonly reasons: readonly string[];
}

/** Sentences, and what they say of each grid as data. */
export interface Verdict {
  readonly sentences: readonly string[];
  readonly table: readonly Json[];
}

/** Judges every corruption against the reference under the first metric. */
export function verdict(compared: Compared, off: readonly OffSummary[]): Verdict {
  const { corrupted, reference, metrics, layout, byMetric } = compared;
  const { corruptions } = corrupted;
  const names = corruptions.map(({ name }) => name);
  const held = names[reference] ?? "";
  const sentences: string[] = [];
  const table: Json[] = [];
  for (const [index, { name }] of corruptions.entries()) {
    if (index === reference) continue;
    const taken = gapOf(compared, index) / gapOf(compared, reference);
    if (!(taken >= WEAK)) {
      sentences.push(
        `${sentence(name)} takes away ${percent(taken)} of the ${wordOf(metrics[0])} that ${held} takes: too little to ask what restores it.`,
      );
      table.push(
        ...layout.grids.map((grid): Json => ({ corruption: name, grid: grid.name, status: "weak" })),
      );
      continue;
    }
    const judged = layout.grids.map((grid, at): Judged => {
      const comparison = byMetric[at]?.[0];
      const [own, other] = [comparison?.findings[index], comparison?.findings[reference]];
      const agreement = comparison?.agreement[index]?.[reference];
      if (own === undefined || other === undefined || agreement === undefined)
        return { grid: grid.name, status: "unclear", reasons: [] };
      return judge({
        grid: grid.name,
        own,
        other,
        agreement,
        held,
        placeOf: (cell) => placeName(compared, at, cell),
      });
    });
    table.push(...judged.map(({ grid, status }): Json => ({ corruption: name, grid, status })));
    sentences.push(
      ...comparisonSentences(judged, { name, held }),
      ...causeSentences({
        name,
        held,
        judged,
        own: off[index],
        other: off[reference],
        role: mainRole(compared),
      }),
    );
  }
  return { sentences: [...sentences, ...metricSentences(compared), basis(compared)], table };
}

function judge(how: {
  readonly grid: string;
  readonly own: Finding;
  readonly other: Finding;
  readonly agreement: Ranged;
  readonly held: string;
  readonly placeOf: (cell: number) => string;
}): Judged {
  const { grid, own, other, agreement, held, placeOf } = how;
  const reasons: string[] = [];
  const order = `cells are ordered alike by ${ranged(agreement)}`;
  if (agreement.high < UNLIKE) reasons.push(order);
  const there = shareAt(other, own.peakCell);
  const back = shareAt(own, other.peakCell);
  if (there < FOUND || back < FOUND) {
    reasons.push(
      `its largest cell is ${placeOf(own.peakCell)}, ${held}'s ${placeOf(other.peakCell)}; each at the other's: ${percent(back)} and ${percent(there)} of its own largest`,
    );
  }
  const { peakShareRatio: size } = own;
  if (size.low > OTHER_SIZE || size.high < 1 / OTHER_SIZE)
    reasons.push(`its largest restored share is ${ranged(size)} times ${held}'s`);
  if (reasons.length > 0) return { grid, status: "part", reasons };
  const similar = size.value < OTHER_SIZE && size.value > 1 / OTHER_SIZE;
  if (agreement.value >= ALIKE && !(agreement.low < UNLIKE) && similar)
    return { grid, status: "agree", reasons: [order] };
  const sizeWords = similar ? "" : `, largest restored share ${ranged(size)} times ${held}'s`;
  return { grid, status: "unclear", reasons: [`${order}${sizeWords}`] };
}

/** The effect at a cell over the largest. */
function shareAt({ effect, peakCell }: Finding, cell: number): number {
  return (effect[cell] ?? Number.NaN) / (effect[peakCell] ?? Number.NaN);
}

function comparisonSentences(
  judged: readonly Judged[],
  { name, held }: { readonly name: string; readonly held: string },
): string[] {
  const of = (status: Status): readonly Judged[] => judged.filter((one) => one.status === status);
  const list = (some: readonly Judged[]): string =>
    some.map(({ grid, reasons }) => `${grid} (${reasons.join("; ")})`).join(", ");
  const parts = of("part");
  const lines: string[] = [];
  if (of("agree").length > 0)
    lines.push(`${sentence(name)} and ${held} find the same in ${list(of("agree"))}.`);
  if (parts.length > 0) lines.push(`${sentence(name)} and ${held} part in ${list(parts)}.`);
  if (of("unclear").length > 0)
    lines.push(
      `${sentence(name)} and ${held} neither clearly agree nor clearly part in ${list(of("unclear"))}.`,
    );
  return lines;
}

/** What the distances say of it: whether one of the two is off the data, and what follows. */
function causeSentences(how: {
  readonly name: string;
  readonly held: string;
  readonly judged: readonly Judged[];
  readonly own: OffSummary | undefined;
  readonly other: OffSummary | undefined;
  readonly role: number;
}): string[] {
  const { name, held, judged, own, other, role } = how;
  const [mine, theirs] = [own?.distance[role], other?.distance[role]];
  if (mine === undefined || theirs === undefined || Number.isNaN(mine.value) || Number.isNaN(theirs.value))
    return [];
  const numbers = `${ranged(mine)} times as far from natural ones as uncorrupted ones are (${held}'s ${ranged(theirs)})`;
  const isOff = (of: Ranged): boolean => (Number.isNaN(of.low) ? of.value : of.low) > OFF_DATA;
  const lines = [`Under ${name} states at the corrupted tokens lie ${numbers}.`];
  if (!judged.some(({ status }) => status === "part")) return lines;
  if (isOff(mine) && !isOff(theirs)) {
    lines.push(
      `So where they part, ${name} restores a run that no text gives rise to; what it finds and ${held} does not may repair that run rather than carry the answer. Go by ${held} there.`,
    );
  } else if (isOff(mine) && isOff(theirs)) {
    lines.push("Both are off the data, so that neither can be taken as the measure of the other.");
  } else if (isOff(theirs)) {
    lines.push(
      `Here ${held} is the one off the data: its prompts are unusual for this reference. Look at them first.`,
    );
  } else {
    lines.push(
      `Both are as near the data as uncorrupted prompts are, so distance does not explain it: ${name} takes away all that the tokens say, ${held} only that in which the two prompts differ.`,
    );
  }
  return lines;
}

function metricSentences({ byCorruption, metrics, layout, reference, corrupted }: Compared): string[] {
  if (metrics.length < 2) return [];
  const held = corrupted.corruptions[reference]?.name ?? "";
  const words = metrics.slice(1).map((metric, at) => {
    const all = layout.grids.map(
      (_, grid) => byCorruption[grid]?.[reference]?.agreement[0]?.[at + 1]?.value ?? NaN,
    );
    const least = all.indexOf(Math.min(...all));
    return `${wordOf(metric)} by ${Math.min(...all).toFixed(2)} at least (${layout.grids[least]?.name ?? ""})`;
  });
  return [
    `The verdict is under ${wordOf(metrics[0])}. Under ${held}, its order of cells agrees with that under ${words.join(", and under ")}.`,
  ];
}

function basis({ units, off, corrupted }: Compared): string {
  const { natural } = off;
  const noise = corrupted.corruptions.findIndex(({ kind }) => kind === "noise");
  const samples = corrupted.runs[0]?.[noise]?.length;
  const drawn = samples === undefined ? "" : ` and ${samples} samples of noise`;
  const over =
    units.over === "pairs"
      ? `It rests on ${units.pairs} pairs${drawn}; in brackets 95 % intervals over pairs.`
      : `It rests on one pair${drawn}; in brackets 95 % intervals over samples, which say nothing about other prompts.`;
  if (natural.from === "none") return over;
  const from =
    natural.from === "other pairs" ? `the other pairs' prompts` : `${natural.prompts} reference prompts`;
  return `${over} Distances are Mahalanobis distances from ${natural.states} states of ${from}, their covariance shrunk by ${natural.shrinkage.toFixed(2)} (mean over layers).`;
}

/** The role at which corruption enters: the last corrupted token, which every pair has. */
function mainRole({ layout }: Compared): number {
  return Math.max(0, layout.roles.indexOf("last corrupted token"));
}

function gapOf({ units, values, metrics }: Compared, corruption: number): number {
  const gaps = units.rows(corruption, 1, (pair, sample) =>
    Float64Array.of(
      (values.clean[0]?.[pair] ?? 0) - (values.corrupted[pair]?.[corruption]?.[sample]?.[0] ?? 0),
    ),
  );
  const sign = metrics[0] === "kl" ? -1 : 1;
  return (sign * gaps.reduce((sum, value) => sum + value, 0)) / gaps.length;
}

function placeName({ layout, model }: Compared, grid: number, cell: number): string {
  const heads = layout.grids[grid]?.over === "head";
  const places = heads ? model.architecture.heads : layout.roles.length;
  const layer = Math.floor(cell / places);
  return heads
    ? `head ${layer}.${cell % places}`
    : `layer ${layer} at the ${layout.roles[cell % places] ?? ""}`;
}

const wordOf = (metric: string | undefined): string => metricWords[metric ?? ""] ?? "metric";
const percent = (share: number): string => (Number.isNaN(share) ? "none" : `${Math.round(100 * share)} %`);
const sentence = (name: string): string => `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;

function ranged({ value, low, high }: Ranged): string {
  return Number.isNaN(low)
    ? value.toFixed(2)
    : `${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}
