/** @file Figures of attention: a map of heads for every score, and patterns with their tokens. */
import { labelsOf } from "../result/cells.ts";
import type { Dataset, Json } from "../result/result.ts";
import { attentionScores, hasValues, type Score } from "./attention-text.ts";
import type { AttributionViews } from "./attribution.ts";
import { truncate, visible } from "./labels.ts";
import { divergingColors, missingColor } from "./palette.ts";
import type { Spec } from "./views.ts";

/** Cells of all patterns together: a figure of more takes a page long to open. */
const MAX_CELLS = 50_000;
const MAX_PATTERNS = 12;
/** Tokens of the longest prompt whose patterns can be told apart on paper. */
const MAX_TOKENS = 150;
/** Maps beside each other. */
const COLUMNS = 4;
/** Pixels of a map's longer side. */
const MAP = 190;
/** Pixels of a map of all layers. */
const TALL = 260;
/** Pixels across. */
const PAGE = 1000;
/** Below so many pixels a token's label cannot be read. */
const LEAST_LABEL = 8;

const shares = divergingColors.slice((divergingColors.length - 1) / 2);

/** The figure of a result about attention; undefined for any other. */
export function attentionViews(dataset: Dataset): AttributionViews | undefined {
  if (dataset.attrs.method !== "attention") return undefined;
  const scores = attentionScores(dataset);
  const known = scores.filter(hasValues);
  const missing = scores.filter((score) => !hasValues(score)).map(({ title }) => title);
  const { views, note } = patternMaps(dataset);
  const block = (maps: readonly Spec[], columns: number): Spec => ({
    concat: [...maps],
    columns,
    spacing: 22,
    resolve: { scale: { color: "independent" } },
  });
  const { layers, heads } = sizesOf(dataset);
  const size = { wide: cellPixels(MAP, heads), tall: cellPixels(TALL, layers) };
  const across = Math.max(2, Math.floor(PAGE / (size.wide * heads + 70)));
  // One legend for all shares: that of the last map.
  const last = known.findLastIndex(({ signed }) => !signed);
  const maps = known.map((score, index) =>
    scoreMap(dataset, { ...score, ...size, hasLegend: score.signed || index === last }),
  );
  return {
    notes: [
      "Shares of attention, 0 to 1, and copying, -1 to 1: means over prompts.",
      ...(missing.length === 0 ? [] : [`No prompt has what it takes: ${missing.join(", ")}.`]),
      ...(known.some(({ data }) => Array.from(data).some(Number.isNaN))
        ? ["Grey: a head that writes nothing."]
        : []),
      ...note,
    ],
    view: {
      vconcat: [block(maps, across), ...(views.length > 0 ? [block(views, COLUMNS)] : [])],
      spacing: 30,
      resolve: { scale: { color: "independent" } },
    },
  };
}

function sizesOf({ dims }: Dataset): { readonly layers: number; readonly heads: number } {
  return { layers: dims.layer ?? 1, heads: dims.head ?? 1 };
}

function cellPixels(whole: number, count: number): number {
  return Math.max(6, Math.min(18, Math.floor(whole / count)));
}

interface ScoreMap extends Score {
  /** Pixels of a cell. */
  readonly wide: number;
  readonly tall: number;
  readonly hasLegend: boolean;
}

function scoreMap(dataset: Dataset, { title, data, signed, wide, tall, hasLegend }: ScoreMap): Spec {
  const { layers, heads } = sizesOf(dataset);
  const values = Array.from(data).flatMap((value, cell): Json[] =>
    Number.isNaN(value) ? [] : [{ layer: Math.floor(cell / heads), head: cell % heads, value }],
  );
  const numbered = (field: string, count: number): Json => ({
    field,
    type: "ordinal",
    sort: null,
    scale: { domain: [...Array(count).keys()] },
    axis: { title: field, labelOverlap: "greedy", labelAngle: 0 },
  });
  const scale = signed
    ? {
        domain: divergingColors.map((_, step) => (2 * step) / (divergingColors.length - 1) - 1),
        range: [...divergingColors],
      }
    : sharesScale;
  return {
    title: { text: title, fontSize: 12, fontWeight: 600, offset: 8 },
    data: { values },
    width: wide * heads,
    height: tall * layers,
    view: { fill: values.length < data.length ? missingColor : "white", stroke: null },
    mark: { type: "rect", stroke: "white", strokeWidth: 0.5, aria: false },
    encoding: {
      x: numbered("head", heads),
      y: numbered("layer", layers),
      color: {
        field: "value",
        type: "quantitative",
        scale: { ...scale, interpolate: "rgb" },
        legend: hasLegend ? legendOf(signed) : null,
      },
      tooltip: [{ field: "layer" }, { field: "head" }, { field: "value", title, format: ".3f" }],
    },
  };
}

const sharesScale: { readonly domain: number[]; readonly range: string[] } = {
  domain: shares.map((_, step) => step / (shares.length - 1)),
  range: [...shares],
};

function legendOf(signed: boolean): Json {
  return { title: null, gradientLength: 90, values: signed ? [-1, 0, 1] : [0, 0.5, 1], format: "~g" };
}

/** For each head its pattern and, beside it, each row by what is written from where. */
function patternMaps(dataset: Dataset): { readonly views: Spec[]; readonly note: readonly string[] } {
  const heads = labelsOf(dataset, "pattern_head").map(String);
  const tokens = Array.from(dataset.coords.token?.data ?? [], String).map(visible);
  if (tokens.length > MAX_TOKENS) {
    return {
      views: [],
      note: [`Patterns of ${tokens.length} tokens are in the result, too many for a figure.`],
    };
  }
  const most = Math.max(1, Math.min(MAX_PATTERNS, Math.floor(MAX_CELLS / tokens.length ** 2)));
  const shown = heads.slice(0, most);
  const views = shown.flatMap((head, index) =>
    (["pattern", "value_pattern"] as const).map((name) => patternMap(dataset, { name, index, head, tokens })),
  );
  const prompt = `Below: rows attend to columns, on prompt ${dataset.attrs.pattern_of}; by value: each row's attention weighted by the length of what the head writes from there.`;
  const more = shown.length < heads.length ? ` The first ${shown.length} of ${heads.length} heads.` : "";
  return { views, note: shown.length === 0 ? [] : [prompt + more] };
}

function patternMap(
  { dataVars }: Dataset,
  {
    name,
    index,
    head,
    tokens,
  }: {
    readonly name: "pattern" | "value_pattern";
    readonly index: number;
    readonly head: string;
    readonly tokens: readonly string[];
  },
): Spec {
  const length = tokens.length;
  const all = dataVars[name]?.data ?? [];
  const values: Json[] = [];
  for (let dst = 0; dst < length; dst++) {
    const start = (index * length + dst) * length;
    const row = Array.from({ length: dst + 1 }, (_, src) => Number(all[start + src]));
    const whole = name === "pattern" ? 1 : row.reduce((sum, value) => sum + value, 0);
    if (whole === 0) continue;
    for (const [src, value] of row.entries()) {
      values.push({ dst: placed(tokens, dst), src: placed(tokens, src), share: value / whole });
    }
  }
  const step = Math.min(16, MAP / length);
  const domain = tokens.map((_, position) => placed(tokens, position));
  // The positions keep equal tokens apart; what is written is the token.
  const labels =
    step < LEAST_LABEL
      ? { labels: false, ticks: false }
      : {
          labelExpr: "slice(datum.value, indexof(datum.value, ':') + 1)",
          labelFontSize: Math.min(10, step - 1),
        };
  const axis = (title: string, more: Spec): Json => ({ title, ...labels, labelOverlap: false, ...more });
  const ordinal = { type: "ordinal", sort: null, scale: { domain } };
  return {
    title: {
      text: name === "pattern" ? `head ${head}` : `head ${head}, by value`,
      fontSize: 12,
      fontWeight: 600,
      offset: 8,
    },
    data: { values },
    width: step * length,
    height: step * length,
    mark: { type: "rect", aria: false },
    view: { fill: "white", stroke: "#ddd" },
    encoding: {
      x: { field: "src", ...ordinal, axis: axis("", { labelAngle: -90 }) },
      y: { field: "dst", ...ordinal, axis: axis("", {}) },
      color: {
        field: "share",
        type: "quantitative",
        scale: { ...sharesScale, interpolate: "rgb" },
        legend: null,
      },
      tooltip: [
        { field: "dst", title: "from" },
        { field: "src", title: "to" },
        { field: "share", format: ".3f" },
      ],
    },
  };
}

function placed(tokens: readonly string[], position: number): string {
  return `${position}:${truncate(tokens[position] ?? "", 10)}`;
}
