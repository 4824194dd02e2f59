/** @file Figures of the multiple-choice procedure: a panel for each step. */

import { headClasses } from "../method/mcq-classes.ts";
import { stepOf } from "../method/mcq-steps.ts";
import { untoldShare } from "../method/mcq-verdict.ts";
import { at, labelsOf } from "../result/cells.ts";
import type { Dataset, Json } from "../result/result.ts";
import { metricWord, unitOf } from "../result/words.ts";
import type { AttributionViews } from "./attribution.ts";
import { labelPanel, rankPanel } from "./mcq-code.ts";
import { colours, interval, numbered, PANEL, panel, zero } from "./mcq-panels.ts";
import { rankedNodes } from "./mcq-text.ts";
import type { Spec } from "./views.ts";

/** Bars of shares, and names of points. */
const [BARS, NAMED] = [14, 8];

/** The figure of a result; undefined for any other. */
export function mcqViews(dataset: Dataset): AttributionViews | undefined {
  if (dataset.attrs.method !== "mcq") return undefined;
  const hasCode = stepOf(dataset, "ranks") !== undefined;
  const untold = untoldShare(dataset);
  return {
    width: 1080,
    notes: [
      "Means over questions; bars and bands: 95 % interval.",
      ...(untold === undefined ? [] : [`4: ${untold}`]),
      ...codeNote(dataset),
    ],
    view: {
      concat: [
        shares(dataset),
        effects(dataset),
        untold === undefined ? shareCurve(dataset) : metricCurve(dataset),
        classes(dataset),
        ...(hasCode ? [rankPanel(dataset), labelPanel(dataset)] : []),
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
  return [`6, 7: heads ${heads.join(", ")}; in 7 queries and keys are cut to rank ${rank}.`];
}

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
  return panel("2. share of the metric (logit)", {
    data: { values },
    layer: [
      {
        mark: { type: "bar", color: colours.blue, aria: false },
        encoding: {
          x: numbered("value", "logit"),
          y,
          tooltip: [{ field: "name" }, { field: "value", format: "+.3f" }],
        },
      },
      {
        transform: [{ filter: "isValid(datum.low)" }],
        mark: { type: "rule", color: colours.black, aria: false },
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
    Math.abs(one - other) <= share * (ends[1] - ends[0]);
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
  return panel(`3. direct and total effect on the ${metricWord(dataset)}`, {
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
            scale: { domain: ["minimal set", "others"], range: [colours.red, colours.grey] },
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

/** What is kept, up to some way behind the minimal set. */
function shareCurve(dataset: Dataset): Spec {
  const share = Number(stepOf(dataset, "set")?.share);
  const needed = Number(stepOf(dataset, "set")?.needed);
  return panel(
    `4. ${needed} nodes keep ${Math.round(100 * share)} %`,
    curve(dataset, {
      name: "set_faithfulness",
      title: "share of the metric kept",
      largest: Math.max(4, 3 * needed),
      lines: [
        zero("y", share),
        { ...zero("x", needed), mark: { type: "rule", color: colours.red, strokeDash: [4, 3], aria: false } },
      ],
    }),
  );
}

/** The metric itself, where no share of it can be told. */
function metricCurve(dataset: Dataset): Spec {
  return panel(
    "4. metric by nodes kept: no share can be told",
    curve(dataset, {
      name: "set_metric",
      title: `${metricWord(dataset)} (${unitOf(dataset)})`,
      largest: Number.POSITIVE_INFINITY,
      lines: [],
    }),
  );
}

function curve(
  dataset: Dataset,
  {
    name,
    title,
    largest,
    lines,
  }: {
    readonly name: string;
    readonly title: string;
    /** Size. */
    readonly largest: number;
    readonly lines: readonly Spec[];
  },
): Spec {
  const values = labelsOf(dataset, "size").flatMap((size): Json[] =>
    Number(size) > largest ? [] : [{ size: Number(size), ...interval(at(dataset, name, { size })) }],
  );
  const x = numbered("size", `nodes kept of ${dataset.dims.node}`, {
    axis: { title: `nodes kept of ${dataset.dims.node}`, tickMinStep: 1, grid: false },
  });
  const y = numbered("value", title);
  return {
    data: { values },
    layer: [
      {
        transform: [{ filter: "isValid(datum.low)" }],
        mark: { type: "area", color: colours.blue, opacity: 0.2, aria: false },
        encoding: { x, y: { field: "low", type: "quantitative" }, y2: { field: "high" } },
      },
      {
        mark: { type: "line", color: colours.blue, point: { size: 18, color: colours.blue }, aria: false },
        encoding: { x, y },
      },
      ...lines,
    ],
  };
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
    ...panel("5. what heads look at (dot: minimal set)", {}),
    width: Math.min(PANEL.width, Math.max(140, 22 * heads)),
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
            scale: {
              domain: [...headClasses, "none"],
              range: [colours.red, colours.orange, colours.blue, colours.green, colours.pink, "#eeeeee"],
            },
            legend: { title: null, orient: "right" },
          },
          tooltip: [{ field: "layer" }, { field: "head" }, { field: "class" }],
        },
      },
      { mark: { type: "text", fontSize: 14, aria: false }, encoding: { x, y, text: { field: "kept" } } },
    ],
  };
}
