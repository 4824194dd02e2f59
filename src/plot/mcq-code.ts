/** @file Panels of the code by which heads find the letter: loss at each rank, answers with other labels. */

import { stepOf } from "../method/mcq-steps.ts";
import { at, labelsOf } from "../result/cells.ts";
import type { Dataset, Json } from "../result/result.ts";
import { colours, interval, numbered, PANEL, panel, titled, zero } from "./mcq-panels.ts";
import type { Spec } from "./views.ts";

/** Queries and keys, values, all: with dashes of their own. */
const CUTS = [
  { cut: "q", title: "q", colour: colours.orange, dash: [2, 2] },
  { cut: "k", title: "k", colour: colours.green, dash: [6, 3] },
  { cut: "qk", title: "q and k", colour: colours.blue, dash: [] },
  { cut: "v", title: "v", colour: colours.red, dash: [8, 3, 2, 3] },
  { cut: "qkv", title: "all three", colour: colours.black, dash: [] },
] as const;

/** Rise of the loss at each rank. */
export function rankPanel(dataset: Dataset): Spec {
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
  return panel("6. rise of the loss when cut to a rank", {
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

/** Answers under each kind of labels. */
export function labelPanel(dataset: Dataset): Spec {
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
    scale: { range: [colours.blue, colours.red, colours.grey] },
    legend: { title: null, orient: "bottom" },
  };
  const rows = labelsOf(dataset, "labels").length;
  const scale = { domain: [0, 1] };
  const chance = Number(stepOf(dataset, "metric")?.chance);
  return {
    title: titled("7. answers with other labels, queries and keys taken over"),
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
      width: PANEL.width - 60,
      height: Math.max(50, (PANEL.height - 8 * rows) / rows),
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
