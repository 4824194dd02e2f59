/**
 * @file The figures of causal tracing: a panel for each kind of state, tokens down and layers across, and for several
 * facts a line for each part of the prompt, with its interval.
 * Source: Meng et al. 2022, figures 1 to 3.
 */
import { effects, labelsOf, sites } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { metricWord, unitOf, windowWords } from "../result/words.ts";
import { visible } from "./labels.ts";
import { divergingColors } from "./palette.ts";
import type { Spec } from "./views.ts";

/** Colours of the lines, in the order of the roles: Okabe & Ito's, which the colour-blind can tell apart. */
const lineColors = ["#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#999999", "#0072b2"];

const kindWords: Readonly<Record<string, string>> = {
  resid_pre: "state before the layer",
  resid_mid: "state between attention and MLP",
  resid_post: "state after the layer",
  mlp_out: "MLP output",
  attn_out: "attention output",
};

/** Whether a result is drawn here. */
export function isTrace(dataset: Dataset): boolean {
  return dataset.attrs.method === "causal-tracing" && dataset.dims.layer !== undefined;
}

/** One panel of a row. What all panels of a row share stands beside the first. */
interface Panel {
  readonly name: string;
  readonly cells: readonly Cell[];
  readonly isFirst: boolean;
}

interface Cell {
  readonly layer: number;
  readonly place: string;
  readonly effect: number;
  readonly low: number;
  readonly high: number;
}

/** The panels beside each other; below them, where facts are averaged, the lines. */
export function tracingViews(dataset: Dataset, wanted?: readonly string[]): Spec {
  const names = (wanted ?? sites(dataset)).filter((name) => dataset.dataVars[name]?.dims[0] === "layer");
  const all = names.map((name) => cellsOf(dataset, name));
  const limit = Math.max(1e-12, ...all.flat().map(({ effect }) => Math.abs(effect)));
  const maps = names.map((name, at) =>
    heatMap(dataset, { name, cells: all[at] ?? [], limit, isFirst: at === 0 }),
  );
  const lines = names.map((name, at) => lineView(dataset, { name, cells: all[at] ?? [], isFirst: at === 0 }));
  const rows: Spec[] = [{ hconcat: maps, spacing: 16, resolve: { scale: { color: "shared", y: "shared" } } }];
  if (dataset.dims.role !== undefined)
    rows.push({ hconcat: lines, spacing: 16, resolve: { scale: { y: "shared" } } });
  return { vconcat: rows, spacing: 28, resolve: { scale: { color: "independent" } } };
}

function placeDim(dataset: Dataset): "pos" | "role" {
  return dataset.dims.role === undefined ? "pos" : "role";
}

/** Tokens with a star where they are the subject's, numbered so that equal ones stay apart; or roles. */
function places(dataset: Dataset): string[] {
  const dim = placeDim(dataset);
  const labels = labelsOf(dataset, dim);
  if (dim === "role") return labels.map(String);
  const { token, is_subject: subject } = dataset.coords;
  return labels.map((label, at) => {
    const star = Number(subject?.data[at] ?? 0) === 1 ? "*" : "";
    return `${label}: ${visible(String(token?.data[at] ?? ""))}${star}`;
  });
}

function cellsOf(dataset: Dataset, name: string): Cell[] {
  const found = effects(dataset, name);
  const names = places(dataset);
  const bound = (side: "low" | "high", at: number): number =>
    Number(dataset.dataVars[`${name}_effect_ci_${side}`]?.data[at] ?? Number.NaN);
  return Array.from(found, (effect, at) => ({
    layer: Number(labelsOf(dataset, "layer")[Math.floor(at / names.length)]),
    place: names[at % names.length] ?? "",
    effect,
    low: bound("low", at),
    high: bound("high", at),
  })).filter(({ effect }) => !Number.isNaN(effect));
}

function quantity(dataset: Dataset): string {
  const unit = unitOf(dataset);
  return `effect on ${metricWord(dataset)}${unit === "" ? "" : ` (${unit})`}`;
}

/** Where a quantity's words part into lines no longer than a panel is high. */
const BEFORE_OF = / (?=of )/;

function titleOf(dataset: Dataset, name: string): Spec {
  const { severed } = dataset.attrs;
  const cut = typeof severed === "string" ? `, ${severed === "mlp" ? "MLPs" : "attention"} severed` : "";
  const text = `${kindWords[name] ?? name}${windowWords(dataset, name)}${cut}`;
  return { text, fontSize: 12, fontWeight: 600, offset: 8 };
}

/** As many layers as can be read under a panel. */
function everyFew(layers: readonly number[]): number[] {
  const step = layers.length > 16 ? 5 : layers.length > 8 ? 2 : 1;
  return layers.filter((_, at) => at % step === 0);
}

function heatMap(
  dataset: Dataset,
  { name, cells, limit, isFirst }: Panel & { readonly limit: number },
): Spec {
  const middle = (divergingColors.length - 1) / 2;
  const layers = labelsOf(dataset, "layer").map(Number);
  const names = places(dataset);
  const height = Math.max(90, 18 * names.length);
  return {
    title: titleOf(dataset, name),
    data: { values: cells.map((cell) => ({ ...cell, low: null, high: null })) },
    width: Math.max(220, Math.min(330, 9 * layers.length)),
    height,
    mark: { type: "rect", aria: false },
    encoding: {
      x: {
        field: "layer",
        type: "ordinal",
        scale: { domain: layers },
        axis: { title: "layer", labelAngle: 0, values: everyFew(layers) },
      },
      y: {
        field: "place",
        type: "ordinal",
        sort: null,
        scale: { domain: names },
        axis: { title: null, labels: isFirst },
      },
      color: {
        field: "effect",
        type: "quantitative",
        scale: {
          domain: divergingColors.map((_, step) => ((step - middle) / middle) * limit),
          range: [...divergingColors],
          interpolate: "rgb",
        },
        legend: {
          title: [
            "effect on",
            ...quantity(dataset).replace("effect on ", "").split(BEFORE_OF),
            "0 = as under noise",
          ],
          values: [-limit, -limit / 2, 0, limit / 2, limit],
          gradientLength: Math.min(150, height - 30), // with its title no taller than the panels
          labelExpr: "datum.value === 0 ? '0' : format(datum.value, '+.3~g')",
        },
      },
      tooltip: [
        { field: "place", type: "nominal", title: placeDim(dataset) === "role" ? "role" : "token" },
        { field: "layer", type: "quantitative" },
        { field: "effect", type: "quantitative", format: ".4~g" },
      ],
    },
  };
}

function lineView(dataset: Dataset, { name, cells, isFirst }: Panel): Spec {
  const names = places(dataset);
  const layers = labelsOf(dataset, "layer").length;
  const color = {
    field: "place",
    type: "nominal",
    sort: names,
    scale: { domain: names, range: lineColors },
    // Of the lines, not of the pale bands.
    legend: { title: null, symbolType: "stroke", symbolOpacity: 1, symbolStrokeWidth: 2.5 },
  };
  const x = {
    field: "layer",
    type: "quantitative",
    scale: { domain: [0, Math.max(1, layers - 1)], nice: false },
    axis: { title: "layer", tickMinStep: 1 },
  };
  const axis = {
    title: isFirst ? quantity(dataset).split(BEFORE_OF) : null,
    grid: true,
    gridColor: "#e5e5e5",
  };
  const banded = cells.filter(({ low, high }) => !Number.isNaN(low) && !Number.isNaN(high));
  return {
    title: titleOf(dataset, name),
    width: Math.max(220, Math.min(330, 9 * layers)),
    height: 190,
    layer: [
      {
        data: { values: banded.map((cell) => ({ ...cell })) },
        mark: { type: "area", opacity: 0.18, aria: false },
        encoding: {
          x,
          y: { field: "low", type: "quantitative", axis },
          y2: { field: "high" },
          color,
        },
      },
      {
        data: { values: cells.map((cell) => ({ ...cell, low: null, high: null })) },
        mark: { type: "line", strokeWidth: 1.8, aria: false },
        encoding: { x, y: { field: "effect", type: "quantitative", axis }, color },
      },
    ],
  };
}
