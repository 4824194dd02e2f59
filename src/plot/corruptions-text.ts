/** @file A corruption comparison in a terminal: what each corruption does, what is found under it, the verdict. */

import {
  type ComparisonView,
  gridWords,
  isComparison,
  shownRoles,
  viewOf,
} from "../method/corruption-view.ts";
import type { Dataset } from "../result/result.ts";
import { formatNumber, metricWords } from "../result/words.ts";
import { wrap } from "./labels.ts";
import { type Column, table, tableBlocks } from "./table.ts";

/** Rows under the name of their grid. */
const INDENT = " ";

const right = (title: string): Column => ({ title, align: "right" });
const short: Readonly<Record<string, string>> = { logit_diff: "logit diff.", kl: "KL", prob: "prob." };

/** The lines of a comparison; undefined for any other result. */
export function comparisonLines(dataset: Dataset, columns: number): string[] | undefined {
  if (!isComparison(dataset)) return undefined;
  const view = viewOf(dataset);
  const [metric = ""] = view.metrics;
  const { verdict = [] } = dataset.attrs;
  const over = dataset.attrs.intervals_over === "samples" ? "samples of noise" : "pairs";
  const notes = [
    `peak: most of what the corruption took (${metricWords[metric] ?? metric}) that one cell brings back, and where; ×: over ${view.reference}'s; >2 SD: cells beyond two standard deviations from the grid's mean, and how many of them are under ${view.reference} too; order: rank correlation of all cells with ${view.reference}'s. In brackets: 95 % intervals over ${over}.`,
  ];
  return [
    ...doesLines(dataset, view, columns),
    "",
    ...foundLines(view, metric, columns),
    "",
    ...notes.flatMap((note) => wrap(note, columns)),
    "",
    "verdict",
    ...(verdict as readonly string[]).flatMap((line) => wrap(`- ${line}`, columns)),
  ];
}

function doesLines(dataset: Dataset, view: ComparisonView, columns: number): string[] {
  const [role = ""] = shownRoles(view);
  const clean = (dataset.attrs.baselines_clean ?? {}) as Readonly<Record<string, number>>;
  const rounded = (value: number, digits = 3): string =>
    Number.isNaN(value) ? "" : formatNumber(Number(value.toPrecision(digits)));
  const [first] = view.metrics;
  // Of the verdict's metric more digits and the interval; two digits of the others leave them room in 80 columns.
  const baseline = (corruption: string, name: string): string => {
    const of = (side: string): number => view.number(`baseline_${name}${side}`, { corruption });
    const [value, low, high] = [of(""), of("_ci_low"), of("_ci_high")];
    if (name !== first) return rounded(value, 2);
    return Number.isNaN(low) ? rounded(value) : `${rounded(value)} (${rounded(low, 2)}, ${rounded(high, 2)})`;
  };
  const titles: Column[] = [
    { title: "corruption", label: "name" },
    ...view.metrics.map((name) => right(short[name] ?? name)),
    right("distance ×"),
    right("norm ×"),
    right("entropy"),
  ];
  const rows = [
    ["none", ...view.metrics.map((name) => rounded(clean[name] ?? Number.NaN)), "1", "1", "0"],
    ...view.corruptions.map((corruption) => {
      const of = (variable: string): number => view.number(variable, { corruption, role });
      return [
        corruption,
        ...view.metrics.map((name) => baseline(corruption, name)),
        rangedText(view, "off_distance", { corruption, role }),
        of("off_norm").toFixed(2),
        `${of("off_entropy") > 0 ? "+" : ""}${of("off_entropy").toFixed(2)}`,
      ];
    }),
  ];
  const hasDistance = !Number.isNaN(
    view.number("off_distance", { corruption: view.corruptions[0] ?? "", role }),
  );
  const kept = titles.map((_, at) => hasDistance || at !== view.metrics.length + 1);
  const only = <T>(row: readonly T[]): T[] => row.filter((_, at) => kept[at]);
  return [
    ...table(only(titles), rows.map(only), columns),
    ...wrap(
      `distance ×, norm ×, entropy (nat): of the stream and of attention at the ${role}, against the uncorrupted run, mean over layers`,
      columns,
    ),
  ];
}

function foundLines(view: ComparisonView, metric: string, columns: number): string[] {
  const titles: Column[] = [
    { title: "corruption", label: "name" },
    right("peak"),
    { title: "at layer" },
    { title: "×" },
    right(">2 SD"),
    { title: "order" },
  ];
  const grids = view.grids.map(({ name }) =>
    view.corruptions.map((corruption) => {
      const labels = { grid: name, metric, corruption };
      const isReference = corruption === view.reference;
      if (view.weak.has(corruption)) return [corruption, "", "too little", "", "", ""];
      const found = view.number("detections", labels);
      return [
        corruption,
        view.number("peak_share", labels).toFixed(2),
        `${view.number("peak_layer", labels)} ${brief(view.text("peak_place", labels))}`,
        isReference ? "" : rangedText(view, "peak_share_ratio", labels),
        isReference ? String(found) : `${found} (${view.number("detections_shared", labels)})`,
        isReference
          ? ""
          : rangedText(view, "rank_agreement", { ...labels, other_corruption: view.reference }),
      ];
    }),
  );
  // One table, so that columns line up, cut into the grids afterwards.
  return tableBlocks(titles, grids.flat(), columns - INDENT.length).flatMap(({ head, rows }, block) => [
    ...(block === 0 ? [] : [""]),
    ...head.map((line) => INDENT + line),
    ...view.grids.flatMap(({ name }, at) => [
      gridWords(name),
      ...rows
        .slice(at * view.corruptions.length, (at + 1) * view.corruptions.length)
        .flat()
        .map((line) => INDENT + line),
    ]),
  ]);
}

/** `last corrupted token` in a few letters. */
function brief(place: string): string {
  return place.replace(/ tokens?$/, "").replace("corrupted", "corr.");
}

function rangedText(
  view: ComparisonView,
  variable: string,
  labels: Readonly<Record<string, string | number>>,
): string {
  const [value, low, high] = ["", "_ci_low", "_ci_high"].map((side) =>
    view.number(`${variable}${side}`, labels),
  );
  const fixed = (number = Number.NaN): string =>
    Math.abs(number) >= 100 ? number.toFixed(0) : number.toFixed(2);
  if (value === undefined || Number.isNaN(value)) return "";
  return low === undefined || Number.isNaN(low)
    ? fixed(value)
    : `${fixed(value)} (${fixed(low)}, ${fixed(high)})`;
}
