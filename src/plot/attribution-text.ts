/** @file What there is to say in a terminal about how far estimates can be trusted. */
import { cellReader, labelsAt, sites } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { dimWord, formatNumber, formatSigned, unitOf } from "../result/words.ts";
import { visible, wrap } from "./labels.ts";
import { type Column, table } from "./table.ts";

/** Rows of a table of cells; those with a flag come first. */
const MAX_ROWS = 40;
/** Cells that a sentence names. */
const MAX_NAMED = 5;
/** Numbers of top cells whose cost the table of recall shows, beside the largest. */
const SHOWN_TOPS = [1, 5, 10];

const numbers = (dataset: Dataset, name: string): number[] =>
  Array.from(dataset.dataVars[name]?.data ?? [], Number);
const texts = (dataset: Dataset, name: string): string[] =>
  Array.from(dataset.coords[name]?.data ?? [], String).map((text) => visible(text).replaceAll("␣", " "));
const right = (title: string): Column => ({ title, align: "right" });
const shown = (value: number | undefined): string =>
  value === undefined || Number.isNaN(value) ? "" : formatNumber(value);

/** The lines of a result about estimates; undefined for any other. */
export function attributionLines(dataset: Dataset, columns: number): string[] | undefined {
  switch (dataset.attrs.method) {
    case "attribution-recall":
      return recallLines(dataset, columns);
    case "attribution-pathologies":
      return pathologyLines(dataset, columns);
    default:
      return undefined;
  }
}

interface SharesColumns {
  /** Title of the estimators' column. */
  readonly first: string;
  /** No column without it. */
  readonly patches?: (name: string) => number;
}

function recallLines(dataset: Dataset, columns: number): string[] {
  const names = texts(dataset, "estimator");
  const top = dataset.dims.top ?? 0;
  const [cost, over] = [numbers(dataset, "cost"), numbers(dataset, "overhead")];
  const tops = [...new Set([...SHOWN_TOPS.filter((k) => k < top), top])];
  const share = (name: string, i: number): string => {
    const value = numbers(dataset, name)[i] ?? Number.NaN;
    const [low, high] = ["low", "high"].map(
      (side) => numbers(dataset, `${name}_ci_${side}`)[i] ?? Number.NaN,
    );
    const fixed = (number = Number.NaN): string => number.toFixed(2);
    if (Number.isNaN(value)) return "";
    return Number.isNaN(low) ? fixed(value) : `${fixed(value)} (${fixed(low)} to ${fixed(high)})`;
  };
  const costs = names.map((name, i) => [
    name,
    ...tops.map((k) => formatNumber(Number((cost[i * top + k - 1] ?? Number.NaN).toPrecision(3)))),
    (over[i] ?? Number.NaN).toFixed(1),
  ]);
  const shares = (variable: string, { first, patches }: SharesColumns): string[] =>
    table(
      [
        { title: first, label: "name" },
        ...(patches ? [right("patches")] : []),
        { title: "share" },
        { title: "minus AtP's" },
      ],
      names.flatMap((name, i) => {
        const found = share(variable, i);
        if (found === "") return [];
        const spent = patches ? [formatNumber(patches(name))] : [];
        return [[name, ...spent, found, i === 0 ? "" : share(`${variable}_gain`, i)]];
      }),
      columns,
    );
  const budget = Number(dataset.attrs.budget);
  const patches = dataset.attrs.patches as Readonly<Record<string, number>>;
  const inOrder = "in the order of";
  const { sites = [] } = (dataset.attrs.options ?? {}) as { readonly sites?: readonly string[] };
  const { site_tops: siteTops = {}, top_asked: asked = top } = dataset.attrs as {
    readonly site_tops?: Readonly<Record<string, { readonly cells: number; readonly top: number }>>;
    readonly top_asked?: number;
  };
  const alone = (site: string): string => {
    const { [site]: own } = siteTops;
    return own === undefined ? `${site} alone` : `${site} alone, top ${own.top} of ${own.cells}`;
  };
  const isReduced = top < asked || Object.values(siteTops).some((own) => own.top < asked);
  const tables = [
    ...table(
      [{ title: inOrder, label: "name" }, ...tops.map((k) => right(`top ${k}`)), right("× oracle")],
      costs,
      columns,
    ),
    "",
    ...shares("recall", { first: inOrder, patches: () => top }),
    "",
    ...shares("budget_recall", { first: inOrder, patches: (name) => patches[name] ?? Math.floor(budget) }),
    ...sites
      .filter((site) => dataset.dataVars[`${site}_recall`] !== undefined)
      .flatMap((site) => ["", ...shares(`${site}_recall`, { first: alone(site) })]),
  ];
  const notes = [
    "top k: forward passes a pair until the k largest exact effects are verified; a backward pass counts as two.",
    "× oracle: that cost over the least possible, geometric mean with weights 1/k.",
    `share: of the true top ${top} among so many cells, the largest estimates first; in brackets 95 % intervals over pairs. First with as many patches for all, then with as many passes for all: ${formatNumber(budget)} a pair, estimates included.`,
    ...(sites.length > 1
      ? ["alone: the true top k of that site's cells, and as many patches of its cells."]
      : []),
    ...(isReduced
      ? [
          `Of fewer than ${2 * asked} cells a quarter is looked for, not ${asked}: a random order would find over half of those.`,
        ]
      : []),
  ];
  return [...tables, "", ...notes.flatMap((note) => wrap(note, columns))];
}

function pathologyLines(dataset: Dataset, columns: number): string[] {
  const [cells, flags] = [texts(dataset, "node"), texts(dataset, "pathology")];
  const values = ["estimate", "estimate_exact", "qk_fixed", "grad_drop"].map((name) =>
    numbers(dataset, name),
  );
  const rows = cells
    .slice(0, MAX_ROWS)
    .map((cell, i) => [
      cell,
      flags[i] === "none" ? "" : (flags[i] ?? ""),
      ...values.map((of) => shown(of[i])),
    ]);
  const titles: Column[] = [
    { title: "cell", label: "name" },
    { title: "flag", label: "name" },
    ...["AtP", "exact", "QK fix", "GradDrop"].map(right),
  ];
  const unit = unitOf(dataset);
  const notes = [
    flagWords(dataset),
    ...unexplainedWords(dataset),
    `Effects${unit === "" ? "" : ` in ${unit}`}: AtP the plain estimate; QK fix behind the softmax; GradDrop the mean size over dropped blocks.`,
  ];
  return [
    ...table(titles, rows, columns),
    ...(cells.length > rows.length ? [`… and ${cells.length - rows.length} more`] : []),
    "",
    ...notes.flatMap((note) => wrap(note, columns)),
  ];
}

/** How many cells carry each flag, in a sentence. */
export function flagWords({ attrs }: Dataset): string {
  const { flagged } = attrs as { readonly flagged?: Readonly<Record<string, number>> };
  const found = Object.entries(flagged ?? {}).filter(([, count]) => count > 0);
  if (found.length === 0) return "No cell is flagged: those shown have the largest estimates.";
  const counts = found.map(([name, count]) => `${count} × ${name}`).join(", ");
  return `Flagged, their estimates hide an effect: ${counts}. The others have the largest estimates.`;
}

/** Cells whose estimate is badly off though none of the tests says why, by name. */
function unexplainedWords({ attrs }: Dataset): string[] {
  const { unexplained_curvature: found } = attrs as {
    readonly unexplained_curvature?: { readonly cells: readonly string[] };
  };
  const { cells = [] } = found ?? {};
  if (cells.length === 0) return [];
  const named = cells.slice(0, MAX_NAMED).map((cell) => visible(cell).replaceAll("␣", " "));
  const more = cells.length > named.length ? `, and ${cells.length - named.length} more` : "";
  return [
    `Unexplained curvature, not flagged yet off by more than half the exact effect: ${named.join(", ")}${more}. The model bends there in a way that none of the three tests looks for; only the exact effect counts.`,
  ];
}

/** The cell whose estimate is the furthest off: ` (z, layer 20, head 0: +0.89, exact +4.02)`. */
function worstWords(dataset: Dataset): string {
  let worst = { error: -1, words: "" };
  for (const site of sites(dataset)) {
    const read = cellReader(dataset, site);
    const count = dataset.dataVars[site]?.data.length ?? 0;
    for (let index = 0; index < count; index++) {
      const { value, exact } = read(index);
      if (exact === undefined || Math.abs(value - exact) <= worst.error) continue;
      const labels = Object.entries(labelsAt(dataset, site, index));
      const place = [site, ...labels.map(([dim, label]) => `${dimWord(dim)} ${label}`)].join(", ");
      const words = ` (${place}: ${formatSigned(value)}, exact ${formatSigned(exact)})`;
      worst = { error: Math.abs(value - exact), words };
    }
  }
  return worst.words;
}

/** How the largest estimates agree with what was computed exactly of them; nothing where that is none. */
export function verifiedLines(dataset: Dataset, against: string): string[] {
  const of = (name: string): number => Number(dataset.attrs[name] ?? Number.NaN);
  const verified = of("verified");
  if (!(verified > 0)) return [];
  const unit = unitOf(dataset);
  const measure = (value: number): string => `${formatNumber(value)}${unit === "" ? "" : ` ${unit}`}`;
  const correlation = of("verify_rank_correlation");
  return [
    [
      `${verified} largest estimates against ${against}:`,
      ...(Number.isNaN(correlation) ? [] : [`rank correlation ${correlation.toFixed(2)},`]),
      `largest error ${measure(of("verify_max_abs_error"))}${worstWords(dataset)}, mean size ${measure(of("verify_mean_abs_exact"))},`,
      `${Math.round(100 * of("verify_sign_agreement"))} % with the right sign`,
    ].join(" "),
  ];
}

/** How estimates agree with what was computed exactly, what the others can hide, and what that cost. */
export function agreementLines(dataset: Dataset): string[] {
  const { attrs } = dataset;
  if (attrs.method !== "attribution-patching") return [];
  const unit = unitOf(dataset);
  const measure = (value: number): string => `${formatNumber(value)}${unit === "" ? "" : ` ${unit}`}`;
  const of = (name: string): number => Number(attrs[name] ?? Number.NaN);
  const lines = verifiedLines(dataset, "exact effects");
  const verified = of("verified");
  const { hidden } = attrs as { readonly hidden?: Readonly<Record<string, number | null>> };
  if (hidden !== undefined) {
    const { bound, cells, samples, confidence } = hidden;
    lines.push(
      typeof bound === "number"
        ? `${cells} others, from ${samples} random subsets: none has an effect above ${measure(bound)} (${100 * Number(confidence)} % confidence, if cells do not interact)${verified > 0 && bound > of("verify_mean_abs_exact") ? ", more than those above have on average: too wide to rule out much; give more --samples" : ""}`
        : `${cells} others: ${samples} random subsets are too few for a bound; give more --samples`,
    );
  }
  const passes = (count: number, kind: string): string =>
    `${formatNumber(count)} ${kind} pass${count === 1 ? "" : "es"}`;
  const subsets = Number(hidden?.samples ?? 0);
  const checking = [
    ...(verified > 0 ? [`${verified} exact patches a pair`] : []),
    ...(subsets > 0 ? [`${subsets} subsets`] : []),
  ];
  lines.push(
    `estimated in ${passes(of("forwards"), "forward")} and ${passes(of("backwards"), "backward")}${checking.length > 0 ? `; checked with ${checking.join(" and ")}` : ""}`,
  );
  return lines;
}
