/** @file Figures of self-repair: for attention and MLPs every part of the effect by layer, for heads a map of each. */
import type { Dataset, Json } from "../result/result.ts";
import { metricWord, unitOf } from "../result/words.ts";
import type { AttributionViews } from "./attribution.ts";
import { layPanels } from "./panels.ts";
import { DOT_NOTE, heatMap, type Spec } from "./views.ts";

/** Parts of an effect, with Okabe & Ito's colours and dashes, told apart also by the colour-blind. */
const PARTS = [
  { column: "direct", title: "direct", colour: "#000000", dash: [] },
  { column: "by_attn", title: "later attention", colour: "#0072b2", dash: [6, 3] },
  { column: "by_mlp", title: "later MLPs", colour: "#e69f00", dash: [2, 2] },
  { column: "norm", title: "norm", colour: "#009e73", dash: [8, 3, 2, 3] },
  { column: "total", title: "total", colour: "#d55e00", dash: [] },
] as const;
const KINDS = [
  { kind: "attn", title: "attention of a layer ablated" },
  { kind: "mlp", title: "MLP of a layer ablated" },
] as const;
/** Effects below this many logits are drawn to scale, larger ones by their logarithm. */
const LINEAR = 0.5;

/** The figure of a result about self-repair; undefined for any other. */
export function hydraViews(dataset: Dataset): AttributionViews | undefined {
  if (dataset.attrs.method !== "hydra" || dataset.dataVars.attn_direct === undefined) return undefined;
  const charts = KINDS.filter(({ kind }) => dataset.dataVars[`${kind}_direct`] !== undefined).map((kind) =>
    chart(dataset, kind),
  );
  const maps = headMaps(dataset);
  return {
    width: 1000,
    notes: [
      "Ablated less clean, means over prompts; direct + later attention + later MLPs + norm = total. Bars: 95 % interval.",
      `Axes are to scale up to ${LINEAR} logits, logarithmic beyond.`,
      ...(maps.length > 0 ? [DOT_NOTE] : []),
    ],
    view: {
      vconcat: [
        { concat: charts, columns: 2, spacing: 30 },
        ...(maps.length > 0 ? [{ concat: maps, columns: 3, spacing: 30 }] : []),
      ],
      spacing: 30,
      resolve: { scale: { color: "independent", strokeDash: "independent" } },
    },
  };
}

function chart(dataset: Dataset, { kind, title }: (typeof KINDS)[number]): Spec {
  const number = (name: string, layer: number): number =>
    Number(dataset.dataVars[name]?.data[layer] ?? Number.NaN);
  const values = PARTS.flatMap(({ column, title: part }) =>
    Array.from({ length: dataset.dims.layer ?? 0 }, (_, layer): Json => {
      const name = `${kind}_${column}`;
      const [low, high] = [number(`${name}_ci_low`, layer), number(`${name}_ci_high`, layer)];
      const hasInterval = (column === "direct" || column === "total") && !Number.isNaN(low);
      return { layer, part, value: number(name, layer), ...(hasInterval ? { low, high } : {}) };
    }),
  );
  const unit = unitOf(dataset);
  const domain = PARTS.map((part) => part.title);
  const scale = { type: "symlog", constant: LINEAR };
  const x = { field: "layer", type: "quantitative", axis: { title: "layer", tickMinStep: 1 } };
  const colour = {
    field: "part",
    type: "nominal",
    sort: null,
    scale: { domain, range: PARTS.map((part) => part.colour) },
    legend: { title: null, orient: "bottom" },
  };
  const axis = {
    title: `change of ${metricWord(dataset)}${unit === "" ? "" : ` (${unit})`}`,
    grid: true,
    gridColor: "#eee",
    values: [-10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10],
  };
  return {
    title: { text: title, fontSize: 12, fontWeight: 600, offset: 8 },
    data: { values },
    width: 440,
    height: 260,
    layer: [
      {
        mark: { type: "rule", color: "#999", aria: false },
        encoding: { y: { datum: 0, type: "quantitative", scale } },
      },
      {
        transform: [{ filter: "isValid(datum.low)" }],
        mark: { type: "rule", strokeWidth: 1, opacity: 0.7, aria: false },
        encoding: {
          x,
          y: { field: "low", type: "quantitative", scale },
          y2: { field: "high" },
          color: colour,
        },
      },
      {
        mark: { type: "line", strokeWidth: 1.5, point: { size: 14 }, aria: false },
        encoding: {
          x,
          y: { field: "value", type: "quantitative", scale, axis },
          color: colour,
          strokeDash: {
            field: "part",
            type: "nominal",
            sort: null,
            scale: { domain, range: PARTS.map((part) => [...part.dash]) },
            legend: { title: null, orient: "bottom" },
          },
          tooltip: [{ field: "layer" }, { field: "part" }, { field: "value", format: "+.3f" }],
        },
      },
    ],
  };
}

/** One scale for the maps of heads, of their own: layers as a whole do more. */
function headMaps(dataset: Dataset): Spec[] {
  const sites = ["head_direct", "head_compensation", "head_total"].filter(
    (name) => dataset.dataVars[name] !== undefined,
  );
  if (sites.length === 0) return [];
  const { panels, limit } = layPanels(dataset, { sites });
  const titles = ["heads: direct", "heads: compensation by later parts", "heads: total"];
  return panels.flatMap((panel, index) =>
    panel.y === undefined
      ? []
      : [
          {
            title: { text: titles[index] ?? panel.title, fontSize: 12, fontWeight: 600, offset: 8 },
            ...heatMap(dataset, { ...panel, y: panel.y }, { cellWidth: 18, cellHeight: 10, limit }),
          },
        ],
  );
}
