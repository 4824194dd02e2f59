/**
 * @file Where corruptions find the same and where they part, in sentences, each with the numbers that it rests on. All of
 * it follows from what the result holds.
 */

import type { Ranged } from "../numeric/jackknife.ts";
import type { Dataset, Json } from "../result/result.ts";
import { metricWords } from "../result/words.ts";
import { type ComparisonView, shownRoles, viewOf } from "./corruption-view.ts";

/** Corruptions order cells alike from the first on, differently below the second (Spearman's correlation). */
const ALIKE = 0.8;
const UNLIKE = 0.5;
/** Largest effects of one over those of the other, as shares of what each took: beyond this they are of another size. */
const OTHER_SIZE = 1.5;
/** The largest cell of one counts as found by the other if that has at least this share of its own largest there. */
const FOUND = 0.5;
/** A corruption that takes less than this share of what the reference takes has nothing to be restored. */
const WEAK = 0.2;
/** More than this many times what there is will hardly be tried. */
const MOST_TIMES = 10;
/** A cell that stands out in this share of resamples is found; */
const FIRM = 0.8;
/** … and found by one corruption alone, if the other's share there is less than this part of it. */
const ALONE = 0.25;
/**
 * States further from the mean of natural ones than uncorrupted prompts' by this factor are off the data, and so are those
 * nearer by it: natural states lie in a shell around their mean, and nothing natural is at the mean itself. So with norms.
 */
const OFF_DATA = 1.25;

interface Judged {
  readonly grid: string;
  readonly status: "agree" | "part" | "unclear";
  /** Why the two part. */
  readonly reasons: readonly string[];
}

/** Sentences, and what they say of each grid as data. */
export interface Verdict {
  readonly sentences: readonly string[];
  readonly table: readonly Json[];
}

/** Judges every corruption against the reference under the first metric. */
export function verdict(dataset: Dataset): Verdict {
  const view = viewOf(dataset);
  const sentences: string[] = [];
  const table: Json[] = [];
  for (const corruption of view.corruptions) {
    if (corruption === view.reference) continue;
    const strength = strengthOf(dataset, view, corruption);
    if (strength.status !== "enough") {
      sentences.push(strength.sentence);
      table.push(
        ...view.grids.map(({ name }): Json => ({ corruption, grid: name, status: strength.status })),
      );
      continue;
    }
    const judged = view.grids.map(({ name }) => judge(dataset, view, { grid: name, corruption }));
    table.push(...judged.map(({ grid, status }): Json => ({ corruption, grid, status })));
    sentences.push(
      `${capital(corruption)}: ${foundWords(judged, view.reference)} ${dataWords(view, corruption, judged)}`.trim(),
    );
  }
  return { sentences: [...sentences, ...metricWordsOf(view), basis(dataset, view)], table };
}

type Strength =
  | { readonly status: "enough" }
  | { readonly status: "weak" | "untold"; readonly sentence: string };

/** Whether a corruption takes enough for something to be restored; where its interval does not tell, that is said. */
function strengthOf(dataset: Dataset, view: ComparisonView, corruption: string): Strength {
  const [metric = ""] = view.metrics;
  const { reference } = view;
  const taken = rangedOf(view, "taken_share", { metric, corruption });
  const takes = `${capital(corruption)} takes ${percents(taken)} of what ${reference} takes`;
  const [low, high] = [taken.low, taken.high].map((end) => (Number.isNaN(end) ? taken.value : end));
  if (low !== undefined && low >= WEAK) return { status: "enough" };
  // Nothing of nothing is too little as well.
  if (!(high !== undefined && high >= WEAK))
    return { status: "weak", sentence: `${takes}: too little to ask what restores it.` };
  return {
    status: "untold",
    sentence: `${takes}: whether that is less than ${percent(WEAK)}, and too little to restore, cannot be told, and so not what restores it either. ${wouldTell(dataset, taken)}`,
  };
}

/** How many samples or pairs would take the nearer end of an interval to the threshold, if nothing else changed. */
function wouldTell({ attrs }: Dataset, { value, low, high }: Ranged): string {
  const { pairs } = attrs.prompts as { readonly pairs: readonly Json[] };
  const { samples } = attrs.options as { readonly samples: readonly number[] };
  const [now, unit] =
    attrs.intervals_over === "samples"
      ? ([Math.max(...samples), "samples of noise"] as const)
      : ([pairs.length, "pairs"] as const);
  const half = value > WEAK ? value - low : high - value;
  // Ends come nearer with the square root of the number.
  const wanted = now * (half / Math.abs(value - WEAK)) ** 2;
  return wanted > MOST_TIMES * now
    ? `It is too near for more ${unit} to tell.`
    : `About ${Math.ceil(wanted / 10) * 10} ${unit} would tell.`;
}

type CellSuffix = "_effect" | "_normalized" | "_detected_share";

/** What a variable of the grid under the first metric says of all its cells. */
function cellsOf(
  dataset: Dataset,
  view: ComparisonView,
  { grid, corruption }: Place,
  suffix: CellSuffix,
): number[] {
  const data = dataset.dataVars[`${grid}_${view.metrics[0]}${suffix}`]?.data ?? [];
  const size = data.length / view.corruptions.length;
  const at = view.corruptions.indexOf(corruption);
  return Array.from(data.slice(at * size, (at + 1) * size), Number);
}

interface Place {
  readonly grid: string;
  readonly corruption: string;
}

function judge(dataset: Dataset, view: ComparisonView, { grid, corruption }: Place): Judged {
  const { reference } = view;
  const labels = { grid, metric: view.metrics[0] ?? "", corruption };
  const [own, other] = [corruption, reference].map((of) =>
    cellsOf(dataset, view, { grid, corruption: of }, "_effect"),
  );
  if (own === undefined || other === undefined) return { grid, status: "unclear", reasons: [] };
  const order = rangedOf(view, "rank_agreement", { ...labels, other_corruption: reference });
  const size = rangedOf(view, "peak_share_ratio", labels);
  const reasons: string[] = [];
  const of = (corrupted: string, suffix: CellSuffix): number[] =>
    cellsOf(dataset, view, { grid, corruption: corrupted }, suffix);
  for (const [one, against] of [
    [corruption, reference],
    [reference, corruption],
  ] as const) {
    const [share, elsewhere] = [of(one, "_normalized"), of(against, "_normalized")];
    const alone = foundAlone(of(one, "_detected_share"), share, elsewhere);
    const [most] = alone;
    if (most === undefined) continue;
    const what = `${alone.length === 1 ? "" : `${alone.length} cells, most of all `}${cellName(dataset, view, { grid, cell: most })}`;
    const numbers = `${(share[most] ?? 0).toFixed(2)} of what it took, against ${(elsewhere[most] ?? 0).toFixed(2)}`;
    reasons.push(`${one === corruption ? "it" : one} alone finds ${what}: ${numbers}`);
  }
  const [there, back] = [shareAt(other, largest(own)), shareAt(own, largest(other))];
  // Where something is found alone, that says it already.
  if (reasons.length === 0 && (there < FOUND || back < FOUND)) {
    const [mine, theirs] = [corruption, reference].map((of) => placeOf(view, { ...labels, corruption: of }));
    reasons.push(
      `largest at ${mine} against ${theirs}; the other's largest has ${percent(back)} of its own, its own ${percent(there)} of the other's`,
    );
  }
  if (order.high < UNLIKE) reasons.push(`order of cells ${inWords(order)}`);
  if (size.low > OTHER_SIZE || size.high < 1 / OTHER_SIZE)
    reasons.push(`largest share ${inWords(size)} times as large`);
  if (reasons.length > 0) return { grid, status: "part", reasons };
  const similar = size.value < OTHER_SIZE && size.value > 1 / OTHER_SIZE;
  const alike = order.value >= ALIKE && !(order.low < UNLIKE) && similar;
  return { grid, status: alike ? "agree" : "unclear", reasons };
}

const largest = (effects: readonly number[]): number =>
  effects.reduce((best, value, at) => (value > (effects[best] ?? Number.NEGATIVE_INFINITY) ? at : best), -1);

/** The effect at a cell over the largest. */
function shareAt(effects: readonly number[], cell: number): number {
  return (effects[cell] ?? Number.NaN) / (effects[largest(effects)] ?? Number.NaN);
}

/** Cells that stand out firmly here and have next to nothing there, the largest share first. */
function foundAlone(
  firm: readonly number[],
  share: readonly number[],
  elsewhere: readonly number[],
): number[] {
  const size = (list: readonly number[], cell: number): number => Math.abs(list[cell] ?? Number.NaN);
  return [...firm.keys()]
    .filter((cell) => (firm[cell] ?? 0) >= FIRM && size(elsewhere, cell) < ALONE * size(share, cell))
    .sort((a, b) => size(share, b) - size(share, a));
}

function cellName(
  dataset: Dataset,
  view: ComparisonView,
  { grid, cell }: { readonly grid: string; readonly cell: number },
): string {
  const isHead = view.grids.find(({ name }) => name === grid)?.over === "head";
  const places = isHead ? (dataset.dims.head ?? 1) : view.roles.length;
  const [layer, place] = [Math.floor(cell / places), cell % places];
  return isHead ? `head ${layer}.${place}` : `layer ${layer}, ${view.roles[place]}`;
}

function placeOf(view: ComparisonView, labels: Readonly<Record<string, string>>): string {
  const layer = view.number("peak_layer", labels);
  const place = view.text("peak_place", labels);
  return place.startsWith("head ") ? `head ${layer}.${place.slice(5)}` : `layer ${layer}, ${place}`;
}

function foundWords(judged: readonly Judged[], reference: string): string {
  const names = (status: Judged["status"]): string[] =>
    judged
      .filter((one) => one.status === status)
      .map(({ grid, reasons }) => (reasons.length === 0 ? grid : `${grid} (${reasons.join("; ")})`));
  const clauses = [
    ...said(`as ${reference} in`, names("agree")),
    ...said(`parts from ${reference} in`, names("part")),
    ...said("not settled in", names("unclear")),
  ];
  return `${clauses.join("; ")}.`;
}

function said(words: string, names: readonly string[]): string[] {
  return names.length === 0 ? [] : [`${words} ${names.join(", ")}`];
}

/** Whether one of the two is off the data, and what follows. */
function dataWords(view: ComparisonView, corruption: string, judged: readonly Judged[]): string {
  const { reference } = view;
  const [role = ""] = shownRoles(view);
  const measured = [corruption, reference].map((of) => ({
    distance: rangedOf(view, "off_distance", { corruption: of, role }),
    norm: rangedOf(view, "off_norm", { corruption: of, role }),
  }));
  const [mine, theirs] = measured;
  if (mine === undefined || theirs === undefined) return "";
  const of = (kind: "distance" | "norm"): string =>
    `${inWords(mine[kind])}, ${reference}'s ${inWords(theirs[kind])}`;
  const norm = `norm ${of("norm")}`;
  const numbers = `Its states at the ${role} against uncorrupted ones: ${Number.isNaN(mine.distance.value) ? norm : `distance from natural ones ${of("distance")}; ${norm}`}`;
  if (!judged.some(({ status }) => status === "part")) return `${numbers}.`;
  const [own, other] = measured.map(({ distance, norm: size }) => isOff(distance) || isOff(size));
  if (own && other) return `${numbers}. Both are off the data, and neither is the measure of the other.`;
  if (own) {
    return `${numbers}. No text brings such states about, so what it finds alone may be their repair; or it may carry what both prompts share, which ${reference} leaves in place. Another ${reference} that changes that too would tell.`;
  }
  if (other) return `${numbers}. Here ${reference} is off the data: look at its prompts first.`;
  return `${numbers}. Neither is off the data by this: it takes all that the tokens say, ${reference} only that in which the prompts differ.`;
}

/** Beyond the bound with its whole interval, where there is one. */
function isOff({ value, low, high }: Ranged): boolean {
  return (Number.isNaN(low) ? value : low) > OFF_DATA || (Number.isNaN(high) ? value : high) < 1 / OFF_DATA;
}

function metricWordsOf(view: ComparisonView): string[] {
  const [first = "", ...rest] = view.metrics;
  if (rest.length === 0) return [];
  const least = rest.map((metric) => {
    const all = view.grids.map(({ name }) => ({
      name,
      value: view.number("metric_agreement", {
        grid: name,
        corruption: view.reference,
        metric: first,
        other_metric: metric,
      }),
    }));
    const lowest = all.reduce((a, b) => (b.value < a.value ? b : a));
    return `${wordOf(metric)} ${lowest.value.toFixed(2)} (${lowest.name})`;
  });
  return [
    `All this is under ${wordOf(first)}. Under ${view.reference}, rank agreement of other metrics with it is at least: ${least.join(", ")}.`,
  ];
}

function basis({ attrs }: Dataset, view: ComparisonView): string {
  const { pairs } = attrs.prompts as { readonly pairs: readonly Json[] };
  const { samples } = attrs.options as { readonly samples: readonly number[] };
  const natural = attrs.natural_states as {
    readonly from: string;
    readonly prompts: number;
    readonly states: number;
    readonly shrinkage: number | null;
  };
  const noise = samples[view.corruptions.findIndex((name) => name.startsWith("noise"))];
  const drawn = noise === undefined ? "" : `, ${noise} sample${noise === 1 ? "" : "s"} of noise each`;
  const over =
    attrs.intervals_over === "pairs"
      ? `It rests on ${pairs.length} pairs${drawn}; in brackets 95 % intervals over pairs.`
      : `It rests on one pair${drawn}; in brackets 95 % intervals over samples, which say nothing about other prompts.`;
  if (natural.from === "none") return `${over} How far off the data the runs are is not known.`;
  const from =
    natural.from === "other pairs" ? "the other pairs' prompts" : `${natural.prompts} reference prompts`;
  return `${over} Distances: Mahalanobis, mean over layers, from ${natural.states} states of ${from}, covariance shrunk by ${natural.shrinkage?.toFixed(2)}.`;
}

function rangedOf(view: ComparisonView, variable: string, labels: Readonly<Record<string, string>>): Ranged {
  const of = (suffix: string): number => view.number(`${variable}${suffix}`, labels);
  return { value: of(""), low: of("_ci_low"), high: of("_ci_high") };
}

const wordOf = (metric: string): string => metricWords[metric] ?? metric;
const percent = (share: number): string => `${Math.round(100 * share)} %`;
function percents({ value, low, high }: Ranged): string {
  if (Number.isNaN(value)) return "none";
  return Number.isNaN(low)
    ? percent(value)
    : `${percent(value)} (${Math.round(100 * low)} to ${percent(high)})`;
}
const capital = (name: string): string => `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;

function inWords({ value, low, high }: Ranged): string {
  return Number.isNaN(low)
    ? value.toFixed(2)
    : `${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}
