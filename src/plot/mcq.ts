/** @file Figures of the multiple-choice procedure: a panel for each step. */

import { headClasses } from "../method/mcq-classes.ts";
import { stepOf } from "../method/mcq-steps.ts";
import { at, type Cell, labelsOf } from "../result/cells.ts";
import type { Dataset, Json } from "../result/result.ts";
import { metricWord, unitOf } from "../result/words.ts";
import type { AttributionViews } from "./attribution.ts";
import { rankedNodes } from "./mcq-text.ts";
import type { Spec } from "./views.ts";

// Okabe & Ito's colours, told apart also by the colour-blind.
const [BLACK, BLUE, ORANGE, GREEN, RED, PINK, GREY] = [
  "#000000",
  "#0072b2",
  "#e69f00",
  "#009e73",
  "#d55e00",
  "#cc79a7",
  "#bbbbbb",
];
/** Pixels of a panel. */
const [WIDTH, HEIGHT] = [290, 230];
/** Bars of shares, and names of points. */
const [BARS, NAMED] = [14, 8];

/** The figure of a result; undefined for any other. */
export function mcqViews(dataset: Dataset): AttributionViews | undefined {
  if (dataset.attrs.method !== "mcq") return undefined;
  const hasCode = stepOf(dataset, "ranks") !== undefined;
  return {
    width: 1080,
    notes: ["Means over questions; bars and bands: 95 % interval.", ...codeNote(dataset)],
    view: {
      concat: [
        shares(dataset),
        effects(dataset),
        curve(dataset),
        classes(dataset),
        ...(hasCode ? [ranks(dataset), labels(dataset)] : []),
      ],
      columns: 3,
      spacing: 36,
      resolve: { scale: { color: "independent", shape: "independent", strokeDash: "independent" } },
    },
  };
}

function codeNote(dataset: Dataset): string[] {
  const heads = stepOf(dataset, "ranks")?.heads as readonly string[] | undefined;
  if (heads === undefined) return [];
  const rank = stepOf(dataset, "mutations")?.rank;
  return [`5, 6: heads ${heads.join(", ")}; in 6 queries and keys are cut to rank ${rank}.`];
}

const titled = (text: string): Json => ({ text, fontSize: 12, fontWeight: 600, offset: 8 });
const interval = ({ value, ciLow, ciHigh }: Cell): Readonly<Record<string, Json>> => ({
  value,
  ...(ciLow === undefined || ciHigh === undefined ? {} : { low: ciLow, high: ciHigh }),
});
const numbered = (field: string, title: string, more: Spec = {}): Spec => ({
  field,
  type: "quantitative",
  axis: { title, grid: true, gridColor: "#eee", tickCount: 6 },
  ...more,
});
const zero = (channel: "x" | "y", datum = 0): Spec => ({
  mark: { type: "rule", color: "#999", strokeDash: datum === 0 ? [] : [4, 3], aria: false },
  encoding: { [channel]: { datum, type: "quantitative" } },
});
const panel = (title: string, more: Spec): Spec => ({
  title: titled(title),
  width: WIDTH,
  height: HEIGHT,
  ...more,
});

function shares(dataset: Dataset): Spec {
  const rows = [
    ...rankedNodes(dataset).map(({ name, kind, labels: own }) => ({
      name,
      ...interval(at(dataset, `share_${kind}`, own)),
    })),
    { name: "embed", ...interval(at(dataset, "share_embed", {})) },
    { name: "bias", ...interval(at(dataset, "share_bias", {})) },
  ] as readonly ({ readonly name: string } & Readonly<Record<string, Json>>)[];
  const values = [...rows]
    .sort((a, b) => Math.abs(Number(b.value)) - Math.abs(Number(a.value)))
    .slice(0, BARS);
  const y = { field: "name", type: "nominal", sort: null, axis: { title: null } };
  return panel("1. share of the metric (logit)", {
    data: { values },
    layer: [
      {
        mark: { type: "bar", color: BLUE, aria: false },
        encoding: {
          x: numbered("value", "logit"),
          y,
          tooltip: [{ field: "name" }, { field: "value", format: "+.3f" }],
        },
      },
      {
        transform: [{ filter: "isValid(datum.low)" }],
        mark: { type: "rule", color: BLACK, aria: false },
        encoding: { x: { field: "low", type: "quantitative" }, x2: { field: "high" }, y },
      },
      zero("x"),
    ],
  });
}

function effects(dataset: Dataset): Spec {
  const kept = (stepOf(dataset, "set")?.minimal_set ?? []) as readonly string[];
  const points = rankedNodes(dataset).map(({ name, kind, labels: own }) => ({
    name,
    total: at(dataset, `total_${kind}`, own).value,
    direct: at(dataset, `direct_${kind}`, own).value,
  }));
  const unit = unitOf(dataset);
  const all = points.flatMap(({ total, direct }) => [total, direct]);
  const ends = [Math.min(0, ...all), Math.max(0, ...all)] as const;
  // A name that would cover another is left to the tables.
  const named: (typeof points)[number][] = [];
  const near = (one: number, other: number, share: number): boolean =>
    Math.abs(one - other) < share * (ends[1] - ends[0]);
  for (const point of points) {
    const covered = named.some(
      ({ total, direct }) => near(total, point.total, 0.06) && near(direct, point.direct, 0.15),
    );
    if (!covered && named.length < NAMED) named.push(point);
  }
  const values = points.map(
    (point): Json => ({
      ...point,
      set: kept.includes(point.name) ? "minimal set" : "others",
      label: named.includes(point) ? point.name : "",
    }),
  );
  const [x, y] = [numbered("direct", `direct effect (${unit})`), numbered("total", `total effect (${unit})`)];
  return panel(`2. direct and total effect on the ${metricWord(dataset)}`, {
    layer: [
      {
        data: { values: ends.map((end) => ({ end })) },
        mark: { type: "line", color: "#ccc", strokeDash: [4, 3], aria: false },
        encoding: { x: { field: "end", type: "quantitative" }, y: { field: "end", type: "quantitative" } },
      },
      {
        data: { values },
        mark: { type: "point", filled: true, size: 45, opacity: 0.9, aria: false },
        encoding: {
          x,
          y,
          color: {
            field: "set",
            type: "nominal",
            sort: null,
            scale: { domain: ["minimal set", "others"], range: [RED, GREY] },
            legend: { title: null, orient: "bottom" },
          },
          tooltip: [
            { field: "name" },
            { field: "total", format: "+.3f" },
            { field: "direct", format: "+.3f" },
          ],
        },
      },
      {
        data: { values },
        mark: { type: "text", align: "left", dx: 6, fontSize: 10, aria: false },
        encoding: { x, y, text: { field: "label" } },
      },
    ],
  });
}

function curve(dataset: Dataset): Spec {
  const share = Number(stepOf(dataset, "set")?.share);
  const needed = Number(stepOf(dataset, "set")?.needed);
  const values = labelsOf(dataset, "size").flatMap((size): Json[] =>
    Number(size) > Math.max(4, 3 * needed)
      ? []
      : [{ size: Number(size), ...interval(at(dataset, "set_faithfulness", { size })) }],
  );
  const x = numbered("size", `nodes kept of ${dataset.dims.node}`, {
    axis: { title: `nodes kept of ${dataset.dims.node}`, tickMinStep: 1, grid: false },
  });
  const y = numbered("value", "share of the metric kept");
  return panel(`3. ${needed} nodes keep ${Math.round(100 * share)} %`, {
    data: { values },
    layer: [
      {
        transform: [{ filter: "isValid(datum.low)" }],
        mark: { type: "area", color: BLUE, opacity: 0.2, aria: false },
        encoding: { x, y: { field: "low", type: "quantitative" }, y2: { field: "high" } },
      },
      {
        mark: { type: "line", color: BLUE, point: { size: 18, color: BLUE }, aria: false },
        encoding: { x, y },
      },
      zero("y", share),
      { ...zero("x", needed), mark: { type: "rule", color: RED, strokeDash: [4, 3], aria: false } },
    ],
  });
}

function classes(dataset: Dataset): Spec {
  const heads = dataset.dims.head ?? 1;
  const layers = dataset.dims.layer ?? 1;
  const kept = Array.from(dataset.dataVars.head_kept?.data ?? [], Number);
  const values = Array.from(dataset.dataVars.head_class?.data ?? [], String).map(
    (name, cell): Json => ({
      layer: Math.floor(cell / heads),
      head: cell % heads,
      class: name === "" ? "none" : name,
      kept: kept[cell] === 1 ? "•" : "",
    }),
  );
  const ordinal = (field: string, count: number): Spec => ({
    field,
    type: "ordinal",
    sort: null,
    scale: { domain: [...Array(count).keys()] },
    axis: { title: field, labelOverlap: "greedy", labelAngle: 0 },
  });
  const [x, y] = [ordinal("head", heads), ordinal("layer", layers)];
  return {
    ...panel("4. what heads look at (dot: minimal set)", {}),
    width: Math.min(WIDTH, Math.max(140, 22 * heads)),
    data: { values },
    layer: [
      {
        mark: { type: "rect", stroke: "white", aria: false },
        encoding: {
          x,
          y,
          color: {
            field: "class",
            type: "nominal",
            scale: { domain: [...headClasses, "none"], range: [RED, ORANGE, BLUE, GREEN, PINK, "#eeeeee"] },
            legend: { title: null, orient: "right" },
          },
          tooltip: [{ field: "layer" }, { field: "head" }, { field: "class" }],
        },
      },
      { mark: { type: "text", fontSize: 14, aria: false }, encoding: { x, y, text: { field: "kept" } } },
    ],
  };
}

/** Queries and keys, values, all: with dashes of their own. */
const CUTS = [
  { cut: "q", title: "q", colour: ORANGE, dash: [2, 2] },
  { cut: "k", title: "k", colour: GREEN, dash: [6, 3] },
  { cut: "qk", title: "q and k", colour: BLUE, dash: [] },
  { cut: "v", title: "v", colour: RED, dash: [8, 3, 2, 3] },
  { cut: "qkv", title: "all three", colour: BLACK, dash: [] },
] as const;

function ranks(dataset: Dataset): Spec {
  const list = labelsOf(dataset, "rank").map(Number);
  const values = CUTS.flatMap(({ cut, title }) =>
    list.map(
      (rank): Json => ({
        rank: String(rank),
        cut: title,
        ...interval(at(dataset, "rank_loss_change", { cut, rank })),
      }),
    ),
  );
  const x = { field: "rank", type: "ordinal", sort: null, axis: { title: "directions left", labelAngle: 0 } };
  const colour = {
    field: "cut",
    type: "nominal",
    sort: null,
    scale: { domain: CUTS.map(({ title }) => title), range: CUTS.map((cut) => cut.colour) },
    legend: { title: null, orient: "bottom" },
  };
  return panel("5. rise of the loss when cut to a rank", {
    data: { values },
    layer: [
      zero("y"),
      {
        transform: [{ filter: "isValid(datum.low)" }],
        mark: { type: "rule", opacity: 0.5, aria: false },
        encoding: { x, y: { field: "low", type: "quantitative" }, y2: { field: "high" }, color: colour },
      },
      {
        mark: { type: "line", point: { size: 18 }, strokeWidth: 1.5, aria: false },
        encoding: {
          x,
          y: numbered("value", "rise of the loss (nat)"),
          color: colour,
          strokeDash: {
            field: "cut",
            type: "nominal",
            sort: null,
            scale: { domain: CUTS.map(({ title }) => title), range: CUTS.map(({ dash }) => [...dash]) },
            legend: { title: null, orient: "bottom" },
          },
          tooltip: [{ field: "cut" }, { field: "rank" }, { field: "value", format: "+.3f" }],
        },
      },
    ],
  });
}

const SWAPS: Readonly<Record<string, string>> = {
  none: "as is",
  own: "cut",
  q: "q taken over",
  k: "k taken over",
  qk: "both",
};

function labels(dataset: Dataset): Spec {
  const swap = labelsOf(dataset, "swap").map(String);
  const values = labelsOf(dataset, "labels").flatMap((own) =>
    swap.flatMap((one): Json[] =>
      (
        [
          ["mutation_accuracy", "right, by place"],
          ["mutation_by_label", "by label"],
          ["mutation_as_before", "label it had before"],
        ] as const
      ).map(([name, answer]) => ({
        labels: own,
        swap: SWAPS[one] ?? one,
        answer,
        ...interval(at(dataset, name, { labels: own, swap: one })),
      })),
    ),
  );
  const y = { field: "swap", type: "nominal", sort: null, axis: { title: null } };
  const offset = { field: "answer", type: "nominal", sort: null };
  const colour = {
    field: "answer",
    type: "nominal",
    sort: null,
    scale: { range: [BLUE, RED, GREY] },
    legend: { title: null, orient: "bottom" },
  };
  const rows = labelsOf(dataset, "labels").length;
  const scale = { domain: [0, 1] };
  const chance = Number(stepOf(dataset, "metric")?.chance);
  return {
    title: titled("6. answers with other labels, queries and keys taken over"),
    data: { values },
    facet: {
      row: {
        field: "labels",
        type: "nominal",
        sort: null,
        header: { title: null, labelAngle: 0, labelAlign: "left" },
      },
    },
    spacing: 8,
    spec: {
      width: WIDTH - 60,
      height: Math.max(50, (HEIGHT - 8 * rows) / rows),
      layer: [
        zero("x", chance),
        {
          transform: [{ filter: "isValid(datum.low)" }],
          mark: { type: "rule", aria: false },
          encoding: {
            x: { field: "low", type: "quantitative", scale },
            x2: { field: "high" },
            y,
            yOffset: offset,
            color: colour,
          },
        },
        {
          transform: [{ filter: "isValid(datum.value)" }],
          mark: { type: "point", filled: true, size: 30, aria: false },
          encoding: {
            x: numbered("value", "share of questions", { scale }),
            y,
            yOffset: offset,
            color: colour,
          },
        },
      ],
    },
  };
}
