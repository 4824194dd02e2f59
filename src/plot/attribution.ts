/** @file Figures of how far estimates can be trusted: estimate against exact effect, cost of verified recall. */
import type { Dataset, Json } from "../result/result.ts";
import { formatNumber, metricWord, unitOf } from "../result/words.ts";
import { flagWords } from "./attribution-text.ts";
import type { Spec } from "./views.ts";

/** Points of a figure with their cell's name. */
const MAX_NAMED = 6;

/** A figure's views, and what is written above them. */
export interface AttributionViews {
  readonly view: Spec;
  readonly notes: readonly string[];
  /** Pixels that the heading may take; half a page if absent. */
  readonly width?: number | undefined;
}

// Okabe & Ito's colours, told apart also by the colour-blind; each with a shape or dash of its own.
const GREY = "#999999";
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/** The figure of a result about estimates; undefined for any other. */
export function attributionViews(dataset: Dataset): AttributionViews | undefined {
  switch (dataset.attrs.method) {
    case "attribution-pathologies":
      return scatter(dataset);
    case "attribution-recall":
      return costs(dataset);
    default:
      return undefined;
  }
}

const numbers = (dataset: Dataset, name: string): number[] =>
  Array.from(dataset.dataVars[name]?.data ?? [], Number);
const texts = (dataset: Dataset, name: string): string[] =>
  Array.from(dataset.coords[name]?.data ?? [], String);

function scatter(dataset: Dataset): AttributionViews {
  const [estimate, exact] = [numbers(dataset, "estimate"), numbers(dataset, "estimate_exact")];
  const [nodes, kinds] = [texts(dataset, "node"), texts(dataset, "pathology")];
  const errors = nodes.map((_, i) => Math.abs((exact[i] ?? 0) - (estimate[i] ?? 0)));
  const isFlagged = (i: number): boolean => kinds[i] !== "none";
  const all = [...estimate, ...exact];
  const [low, high] = [Math.min(0, ...all), Math.max(0, ...all)];
  // Named: what is flagged, then what is furthest from the diagonal, unless a name would cover another.
  const named = new Set<number>();
  const order = [...nodes.keys()].sort(
    (i, j) => Number(isFlagged(j)) - Number(isFlagged(i)) || (errors[j] ?? 0) - (errors[i] ?? 0),
  );
  const near = (values: readonly number[], i: number, j: number): number =>
    Math.abs((values[i] ?? 0) - (values[j] ?? 0)) / (high - low);
  for (const i of order) {
    const covered = [...named].some((j) => near(exact, i, j) < 0.035 && near(estimate, i, j) < 0.3);
    if (!covered && named.size < MAX_NAMED) named.add(i);
  }
  const counted = (kind: string): string =>
    `${kind === "none" ? "no flag" : kind} (${kinds.filter((one) => one === kind).length})`;
  /** Names go away from the diagonal, where there is room for them. */
  const sideOf = (x: number, y: number): "left" | "right" => {
    const share = (x - low) / (high - low);
    if (share < 0.25 || share > 0.75) return share < 0.25 ? "right" : "left";
    return y > x ? "left" : "right";
  };
  const plain = kinds.filter((_, i) => !isFlagged(i)).length;
  const rows = order.toReversed().map(
    (i): Json => ({
      node: nodes[i] ?? "",
      kind: counted(kinds[i] ?? ""),
      estimate: estimate[i] ?? null,
      exact: exact[i] ?? null,
      ...(named.has(i) ? { label: nodes[i] ?? "", side: sideOf(estimate[i] ?? 0, exact[i] ?? 0) } : {}),
    }),
  );
  const kindsShown = ["none", "saturation", "zero gradient", "cancellation"].map(counted);
  const axis = (title: string): Json => ({ title, grid: true, gridColor: "#eee", tickCount: 6 });
  const unit = unitOf(dataset);
  const of = `effect on ${metricWord(dataset)}${unit === "" ? "" : ` (${unit})`}`;
  const scale = { domain: [low, high], nice: true };
  const x = { field: "estimate", type: "quantitative", scale, axis: axis(`estimated ${of}`) };
  const y = { field: "exact", type: "quantitative", scale, axis: axis(`exact ${of}`) };
  const { thresholds } = dataset.attrs as { readonly thresholds?: { readonly floor?: number } };
  return {
    notes: [
      flagWords(dataset),
      `Dashed: estimate = exact effect. Not looked at: effects below ${formatNumber(thresholds?.floor ?? 0)}${unit === "" ? "" : ` ${unit}`}.`,
    ],
    view: {
      width: 420,
      height: 420,
      layer: [
        {
          data: { values: [{ at: low }, { at: high }] },
          mark: { type: "line", color: "#777", strokeDash: [4, 4], aria: false },
          encoding: { x: { field: "at", type: "quantitative" }, y: { field: "at", type: "quantitative" } },
        },
        // Flags are drawn over the rest.
        ...[
          [0, plain],
          [plain, rows.length],
        ].map(
          ([from, to]): Json => ({
            data: { values: rows.slice(from, to) },
            mark: { type: "point", filled: true, size: 55, opacity: 0.85, aria: false },
            encoding: {
              x,
              y,
              color: {
                field: "kind",
                type: "nominal",
                scale: { domain: kindsShown, range: [GREY, ...COLOURS.slice(0, 3)] },
                legend: { title: "pathology", orient: "right" },
              },
              shape: {
                field: "kind",
                type: "nominal",
                scale: { domain: kindsShown, range: ["circle", "triangle-up", "square", "diamond"] },
                legend: { title: "pathology", orient: "right" },
              },
              tooltip: ["node", "kind", "estimate", "exact"].map((field) => ({ field })),
            },
          }),
        ),
        ...(["left", "right"] as const).map(
          (side): Json => ({
            data: { values: rows },
            transform: [{ filter: `datum.side === "${side}"` }],
            mark: {
              type: "text",
              align: side === "left" ? "right" : "left",
              dx: side === "left" ? -7 : 7,
              fontSize: 10,
              color: "#333",
              aria: false,
            },
            encoding: { x, y, text: { field: "label" } },
          }),
        ),
      ],
    },
  };
}

function costs(dataset: Dataset): AttributionViews {
  const names = texts(dataset, "estimator");
  const tops = texts(dataset, "top").map(Number);
  const data = numbers(dataset, "cost");
  const rows = names.flatMap((estimator, i) =>
    tops.map((top, k): Json => ({ estimator, top, cost: data[i * tops.length + k] ?? null })),
  );
  const colours = names.map((_, i) => COLOURS[i] ?? GREY);
  const dashes = names.map(
    (_, i) => [[], [6, 2], [2, 2], [8, 2, 2, 2], [4, 4], [1, 3], [10, 4], [3, 6]][i] ?? [],
  );
  const shares = (variable: string): string => {
    const [values, low, high] = ["", "_ci_low", "_ci_high"].map((side) => numbers(dataset, variable + side));
    return names
      .flatMap((name, i) => {
        const [value = Number.NaN, from = Number.NaN, to = Number.NaN] = [values, low, high].map(
          (of) => of?.[i],
        );
        if (Number.isNaN(value)) return [];
        const spread = Number.isNaN(from) ? "" : ` (${formatNumber(from)} to ${formatNumber(to)})`;
        return [`${name} ${formatNumber(value)}${spread}`];
      })
      .join(", ");
  };
  return {
    notes: [
      `Share of the true top ${tops.length} among as many of the largest estimates, with 95 % intervals over pairs: ${shares("recall")}.`,
      `For ${formatNumber(Number(dataset.attrs.budget))} passes a pair in all, estimates included: ${shares("budget_recall")}.`,
      "A backward pass counts as two forward passes.",
    ],
    view: {
      data: { values: rows },
      width: 480,
      height: 360,
      mark: { type: "line", strokeWidth: 2, aria: false },
      encoding: {
        x: {
          field: "top",
          type: "quantitative",
          axis: { title: "largest effects found (k)", tickMinStep: 1 },
        },
        y: {
          field: "cost",
          type: "quantitative",
          scale: { type: "log" },
          axis: { title: "forward passes a pair until all k are verified", grid: true, gridColor: "#eee" },
        },
        color: {
          field: "estimator",
          type: "nominal",
          sort: null,
          scale: { domain: names, range: colours },
          legend: { title: "in the order of" },
        },
        strokeDash: {
          field: "estimator",
          type: "nominal",
          sort: null,
          scale: { domain: names, range: dashes },
          legend: { title: "in the order of", symbolSize: 300 },
        },
        tooltip: ["estimator", "top", "cost"].map((field) => ({ field })),
      },
    },
  };
}
