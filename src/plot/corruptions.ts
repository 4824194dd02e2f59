/**
 * @file The figure of a corruption comparison: what each part brings back by layer under every corruption, noise against
 * replacement cell by cell, and how far off the data each is.
 */

import {
  type ComparisonView,
  gridWords,
  isComparison,
  shownRoles,
  viewOf,
} from "../method/corruption-view.ts";
import { labelsOf } from "../result/cells.ts";
import type { Dataset, Json } from "../result/result.ts";
import { metricWord } from "../result/words.ts";
import type { AttributionViews } from "./attribution.ts";
import type { Spec } from "./views.ts";

const PANEL = 170; // pixels: five beside each other are a page
const WIDE_PANEL = 240; // where no more than three are
const WIDTH = 900; // of four panels
const LOW_PANEL = 130;
const GREY = "#777777";

// Okabe & Ito's colours, which the colour-blind can tell apart; deviations of the noise from light to dark.
const NOISE = ["#e69f00", "#d55e00", "#8c3b00", "#4d2000"];
const COLOURS: Readonly<Record<string, string>> = {
  replacement: "#0072b2",
  resample: "#56b4e9",
  mean: "#009e73",
  zero: "#cc79a7",
};

/** The figure's views and what is written above them; undefined for any other result. */
export function comparisonViews(
  dataset: Dataset,
  sites: readonly string[] | undefined,
): AttributionViews | undefined {
  if (!isComparison(dataset)) return undefined;
  const view = viewOf(dataset);
  const [metric = ""] = view.metrics;
  const grids = view.grids.filter(({ name }) => sites === undefined || sites.includes(`${name}_${metric}`));
  const names = grids.map(({ name }) => name);
  const byRole = grids.filter(({ over }) => over === "role").map(({ name }) => name);
  const noises = view.corruptions.filter((name) => name.startsWith("noise"));
  const color = {
    field: "corruption",
    type: "nominal",
    sort: null,
    scale: {
      domain: [...view.corruptions],
      range: view.corruptions.map((name) => COLOURS[name] ?? NOISE[noises.indexOf(name)] ?? GREY),
    },
    legend: {
      title: null,
      orient: "top",
      symbolType: "stroke",
      symbolStrokeWidth: 3,
      symbolOpacity: 1,
      symbolSize: 250,
    },
  };
  const draw: Drawing = { dataset, view, metric, color, panel: grids.length > 3 ? PANEL : WIDE_PANEL };
  const rows: Spec[] = [];
  for (const role of byRole.length === 0 ? [] : shownRoles(view)) {
    const first = rows.length === 0;
    rows.push(row(byRole.map((grid, at) => lines(draw, { grid, role, isFirst: at === 0, title: first }))));
  }
  const shown = noises.filter((name) => !view.weak.has(name));
  if (shown.length > 0 && !noises.includes(view.reference)) {
    rows.push(row(names.map((grid, at) => scatter(draw, { grid, noises: shown, isFirst: at === 0 }))));
  }
  rows.push(offRow(draw));
  const [weak, untold] = [[...view.weak], [...view.untold]];
  return {
    width: WIDTH,
    view: { vconcat: rows, spacing: 26, resolve: { scale: { color: "shared" } } },
    notes: [
      `Shares of what the corruption took of the ${metricWord(dataset)}: 0 corrupted run, 1 uncorrupted. Bands: 95 % intervals of ${view.reference} and the strongest noise.`,
      "Bottom: the corrupted runs before anything is restored; dashed: uncorrupted prompts; entropy in nat.",
      ...(weak.length > 0 ? [`Without shares, as too little is taken: ${weak.join(", ")}.`] : []),
      ...(untold.length > 0
        ? [
            `Not judged, as the interval does not tell whether enough is taken for shares to mean anything: ${untold.join(", ")}.`,
          ]
        : []),
    ],
  };
}

interface Drawing {
  readonly dataset: Dataset;
  readonly view: ComparisonView;
  readonly metric: string;
  readonly color: Json;
  /** Pixels across a panel of the upper rows. */
  readonly panel: number;
}

function row(views: readonly Spec[]): Spec {
  return { hconcat: [...views], spacing: 14, resolve: { scale: { y: "shared", color: "shared" } } };
}

const heading = (text: string | readonly string[]): Json => ({
  text: typeof text === "string" ? text : [...text],
  fontSize: 12,
  fontWeight: 600,
  frame: "group",
  offset: 6,
  lineHeight: 15,
});

const layersOf = (dataset: Dataset): number[] => labelsOf(dataset, "layer").map(Number);

/** Corruptions whose intervals are drawn: all of them would cover each other. */
function banded({ corruptions, reference, weak }: ComparisonView): string[] {
  const noise = corruptions.findLast((name) => name.startsWith("noise") && !weak.has(name));
  return [reference, ...(noise === undefined || noise === reference ? [] : [noise])];
}

function lines(
  { dataset, view, metric, color, panel }: Drawing,
  {
    grid,
    role,
    isFirst,
    title,
  }: { readonly grid: string; readonly role: string; readonly isFirst: boolean; readonly title: boolean },
): Spec {
  const rows = view.corruptions
    .filter((corruption) => !view.weak.has(corruption))
    .flatMap((corruption) =>
      layersOf(dataset).map((layer) => {
        const labels = { corruption, layer, role };
        const share = view.number(`${grid}_${metric}_normalized`, labels);
        const end = (side: string): number => view.number(`${grid}_${metric}_normalized_ci_${side}`, labels);
        return { corruption, layer, share, low: end("low"), high: end("high") };
      }),
    )
    .filter(({ share }) => !Number.isNaN(share));
  const bands = rows.filter(
    ({ corruption, low, high }) =>
      banded(view).includes(corruption) && !Number.isNaN(low) && !Number.isNaN(high),
  );
  const x = layerAxis();
  const axis = {
    title: isFirst ? ["share restored at", ...lineBroken(`the ${role}`)] : null,
    grid: true,
    gridColor: "#e8e8e8",
    tickCount: 5,
  };
  return {
    ...(title ? { title: heading(gridWords(grid)) } : {}),
    width: panel,
    height: LOW_PANEL,
    layer: [
      // A layer without rows has no extent, which is warned of.
      ...(bands.length === 0
        ? []
        : [
            {
              data: { values: bands },
              mark: { type: "area", opacity: 0.15, aria: false },
              encoding: { x, y: { field: "low", type: "quantitative", axis }, y2: { field: "high" }, color },
            },
          ]),
      {
        data: { values: rows.map(({ corruption, layer, share }) => ({ corruption, layer, share })) },
        mark: { type: "line", strokeWidth: 1.7, aria: false },
        encoding: { x, y: { field: "share", type: "quantitative", axis }, color },
      },
    ],
  };
}

/** Words that are longer than a panel is high, on two lines. */
function lineBroken(text: string): string[] {
  return text.length > 18 ? text.split(/ (?=\S+$)/) : [text];
}

function layerAxis(): Json {
  return { field: "layer", type: "quantitative", axis: { title: "layer", tickMinStep: 1, tickCount: 6 } };
}

function scatter(
  { dataset, view, metric, color, panel }: Drawing,
  {
    grid,
    noises,
    isFirst,
  }: { readonly grid: string; readonly noises: readonly string[]; readonly isFirst: boolean },
): Spec {
  const { dims = [] } = dataset.dataVars[`${grid}_${metric}`] ?? {};
  const place = dims.at(-1) ?? "role";
  const share = (corruption: string, layer: number, at: string | number): number =>
    view.number(`${grid}_${metric}_normalized`, { corruption, layer, [place]: at });
  const rows = noises.flatMap((corruption) =>
    layersOf(dataset).flatMap((layer) =>
      labelsOf(dataset, place).map((at) => ({
        corruption,
        cell: place === "head" ? `head ${layer}.${at}` : `layer ${layer}, ${at}`,
        reference: share(view.reference, layer, at),
        share: share(corruption, layer, at),
      })),
    ),
  );
  const kept = rows.filter((cell) => !Number.isNaN(cell.reference) && !Number.isNaN(cell.share));
  const all = kept.flatMap((cell) => [cell.reference, cell.share]);
  const ends = [Math.min(0, ...all), Math.max(0, ...all)].map((at) => ({ at }));
  return {
    title: heading(gridWords(grid)),
    width: panel,
    height: panel,
    layer: [
      {
        data: { values: ends },
        mark: { type: "line", color: GREY, strokeDash: [4, 4], strokeWidth: 1, aria: false },
        encoding: { x: { field: "at", type: "quantitative" }, y: { field: "at", type: "quantitative" } },
      },
      {
        data: { values: kept },
        mark: { type: "point", filled: true, size: 22, opacity: 0.65, aria: false },
        encoding: {
          x: {
            field: "reference",
            type: "quantitative",
            axis: { title: `share under ${view.reference}`, tickCount: 4, grid: true, gridColor: "#eee" },
          },
          y: {
            field: "share",
            type: "quantitative",
            axis: {
              title: isFirst ? ["the same cell", "under noise"] : null,
              tickCount: 5,
              grid: true,
              gridColor: "#eee",
            },
          },
          color,
          tooltip: ["cell", "corruption", "reference", "share"].map((field) => ({ field })),
        },
      },
    ],
  };
}

/** Distance, norm and entropy of the corrupted runs by layer. */
function offRow({ dataset, view, color }: Drawing): Spec {
  const [enters = "", read] = shownRoles(view);
  const roles = read === undefined ? [enters] : [enters, read];
  const panels: { variable: string; role: string; title: string[]; none: number | string }[] = [
    ...roles.map((role) => ({
      variable: "distance",
      role,
      title: ["distance from natural states", `at the ${role}`],
      none: "distance_clean",
    })),
    { variable: "norm_ratio", role: enters, title: ["norm over uncorrupted", `at the ${enters}`], none: 1 },
    ...roles.map((role) => ({
      variable: "entropy_shift",
      role,
      title: ["entropy shift of attention", `at the ${role}`],
      none: 0,
    })),
  ];
  const views = panels.map(({ variable, role, title, none }): Spec => {
    const rows = view.corruptions
      .flatMap((corruption) =>
        layersOf(dataset).map((layer) => ({
          corruption,
          layer,
          value: view.number(variable, { corruption, layer, role }),
        })),
      )
      .filter(({ value }) => !Number.isNaN(value));
    const base = layersOf(dataset)
      .map((layer) => ({
        layer,
        value: typeof none === "number" ? none : view.number(none, { layer, role }),
      }))
      .filter(({ value }) => !Number.isNaN(value));
    const y = {
      field: "value",
      type: "quantitative",
      axis: { title: null, grid: true, gridColor: "#e8e8e8", tickCount: 5 },
      // A labelled tick at the top of every panel, so that headings stand at one height.
      scale: { zero: false, nice: 5 },
    };
    return {
      title: heading(title),
      width: PANEL,
      height: LOW_PANEL,
      layer: [
        {
          data: { values: base },
          mark: { type: "line", color: GREY, strokeDash: [4, 3], strokeWidth: 1.5, aria: false },
          encoding: { x: layerAxis(), y },
        },
        {
          data: { values: rows },
          mark: { type: "line", strokeWidth: 1.7, aria: false },
          encoding: { x: layerAxis(), y, color },
        },
      ],
    };
  });
  const isKnown = (variable: string): boolean =>
    !Number.isNaN(view.number(variable, { corruption: view.corruptions[0] ?? "", layer: 0, role: enters }));
  const kept = views.filter((_, at) => isKnown(panels[at]?.variable ?? ""));
  // By the panels' frames: by all that is drawn, headings would stand where each one's topmost label lets them.
  return { hconcat: kept, bounds: "flush", spacing: 56, resolve: { scale: { color: "shared" } } };
}
