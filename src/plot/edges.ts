/** @file The figure of a result about edges: the largest as bars, and the circuit as a graph, the input at its foot. */
import type { Dataset, Json } from "../result/result.ts";
import { metricWord, unitOf } from "../result/words.ts";
import type { AttributionViews } from "./attribution.ts";
import { circuitWords, edgeWords, isAboutEdges, largestEdges, type ScoredEdge } from "./edges-text.ts";
import { signColors } from "./palette.ts";
import type { Spec } from "./views.ts";

/** Bars that can be read beside the graph. */
const BARS = 30;
/** Lines that can be told apart. */
const LINES = 200;
/** Pixels of the names beside the bars, about. */
const LABELS = 140;
const BAR_WIDTH = 300;
const GAP = 36;
/** Pixels of the graph: a place for each node of its widest row, between these. */
const PLACE = 90;
const GRAPH_WIDTHS = { least: 240, most: 560 } as const;
/** Sideways shifts of a row with one node, in places of the graph's width. */
const SHIFTS = [0, 0.06, -0.06, 0.12, -0.12, 0.18, -0.18] as const;
/** A line nearer to a node that it passes seems to end there. */
const CLEAR = 0.06;

/** The figure of a result about edges; undefined for any other. */
export function edgeViews(dataset: Dataset): AttributionViews | undefined {
  if (!isAboutEdges(dataset)) return undefined;
  const edges = largestEdges(dataset);
  const circuit = edges.filter(({ isIn }) => isIn);
  const lines = circuit.slice(0, LINES);
  const unit = unitOf(dataset);
  const title = `score (${dataset.attrs.direction === "denoise" ? "rise" : "drop"} of the ${metricWord(dataset)}${unit === "" ? "" : `, ${unit}`})`;
  const hasExact = edges.some(({ exact }) => !Number.isNaN(exact));
  const drawn = lines.length === 0 ? undefined : graph(lines);
  return {
    width: LABELS + BAR_WIDTH + (drawn === undefined ? 0 : GAP + drawn.width),
    notes: [
      edgeWords(dataset),
      ...(lines.length === 0
        ? []
        : ["Lines: edges of the circuit, wider for larger scores; blue helps, red hurts."]),
      ...(circuit.length === 0 ? [] : [circuitWords(dataset)]),
      ...(circuit.length > lines.length ? [`Drawn: the ${lines.length} largest of its edges.`] : []),
      ...(hasExact ? ["Diamonds: exact scores."] : []),
    ],
    view: {
      hconcat: [bars(edges.slice(0, BARS), title), ...(drawn === undefined ? [] : [drawn])],
      spacing: GAP,
    },
  };
}

const colour: Json = {
  condition: { test: "datum.score < 0", value: signColors.loss },
  value: signColors.gain,
};

function bars(edges: readonly ScoredEdge[], title: string): Spec {
  const rows = edges.map(
    ({ name, score, low, high, exact }): Json => ({
      edge: name,
      score,
      ...(Number.isNaN(low) ? {} : { low, high }),
      ...(Number.isNaN(exact) ? {} : { exact }),
    }),
  );
  const y = { field: "edge", type: "nominal", sort: null, axis: { title: null, labelLimit: 200 } };
  const x = (field: string): Json => ({
    field,
    type: "quantitative",
    axis: { title, grid: true, gridColor: "#e5e5e5", tickCount: 6 },
  });
  const tooltip = ["edge", "score", "low", "high", "exact"].map((field) => ({ field }));
  return {
    data: { values: rows },
    width: BAR_WIDTH,
    height: { step: 17 },
    layer: [
      { mark: { type: "bar", aria: false }, encoding: { y, x: x("score"), color: colour, tooltip } },
      { mark: { type: "rule", color: "#333", aria: false }, encoding: { x: { datum: 0 } } },
      {
        transform: [{ filter: "isValid(datum.low)" }],
        mark: { type: "rule", color: "#1a1a1a", strokeWidth: 1.2, aria: false },
        encoding: { y, x: x("low"), x2: { field: "high" } },
      },
      {
        transform: [{ filter: "isValid(datum.exact)" }],
        mark: {
          type: "point",
          shape: "diamond",
          size: 45,
          filled: true,
          color: "#1a1a1a",
          stroke: "white",
          strokeWidth: 1,
          opacity: 1,
          aria: false,
        },
        encoding: { y, x: x("exact"), tooltip },
      },
    ],
  };
}

/** A node as it is drawn: a row for every kind and layer, from the input up. */
interface Node {
  readonly name: string;
  readonly row: number;
  /** Place in its row, 0 to 1. */
  readonly place: number;
}

function graph(edges: readonly ScoredEdge[]): Spec & { readonly width: number } {
  const ends = edges.map(({ name, score }) => {
    const [from = "", to = ""] = name.split("->");
    const [, node = to, slot = ""] = /^(.*?)(?:<([qkv])>)?$/.exec(to) ?? [];
    return { name, score, from, to: node, slot };
  });
  const nodes = laidOut(ends);
  const largest = Math.max(...ends.map(({ score }) => Math.abs(score)), Number.MIN_VALUE);
  const rows = Math.max(0, ...[...nodes.values()].map(({ row }) => row));
  // The lightest first, so that heavy lines lie over them.
  const lines = ends.toReversed().map(({ name, score, from, to, slot }): Json => {
    const [a, b] = [nodes.get(from), nodes.get(to)];
    return {
      edge: name,
      score,
      slot,
      share: Math.sqrt(Math.abs(score) / largest),
      x: a?.place ?? 0,
      y: a?.row ?? 0,
      x2: b?.place ?? 0,
      y2: b?.row ?? 0,
    };
  });
  const dots = [...nodes.values()].map(({ name, row, place }): Json => ({ name, x: place, y: row }));
  const widest = Math.max(...rowsOf(nodes).map((row) => row.length));
  const x = { type: "quantitative", scale: { domain: [-0.04, 1.04], nice: false }, axis: null };
  const y = { type: "quantitative", scale: { domain: [-0.5, rows + 0.5], nice: false }, axis: null };
  return {
    width: Math.min(GRAPH_WIDTHS.most, Math.max(GRAPH_WIDTHS.least, PLACE * (widest + 1))),
    height: Math.max(300, Math.min(900, 30 * (rows + 1))),
    layer: [
      {
        data: { values: lines },
        mark: { type: "rule", opacity: 0.6, strokeCap: "round", aria: false },
        encoding: {
          x: { field: "x", ...x },
          y: { field: "y", ...y },
          x2: { field: "x2" },
          y2: { field: "y2" },
          color: colour,
          strokeWidth: {
            field: "share",
            type: "quantitative",
            scale: { domain: [0, 1], range: [0.4, 4.5] },
            legend: null,
          },
          tooltip: [{ field: "edge" }, { field: "score" }],
        },
      },
      {
        data: { values: dots },
        mark: { type: "circle", size: 60, color: "#333", opacity: 1, stroke: "white", aria: false },
        encoding: { x: { field: "x", ...x }, y: { field: "y", ...y }, tooltip: [{ field: "name" }] },
      },
      {
        data: { values: dots },
        mark: {
          type: "text",
          dy: -9,
          fontSize: widest > 12 ? 8 : 10,
          color: "#111",
          stroke: "white",
          strokeWidth: 3,
          strokeOpacity: 0.8,
          aria: false,
        },
        encoding: { x: { field: "x", ...x }, y: { field: "y", ...y }, text: { field: "name" } },
      },
      {
        data: { values: dots },
        mark: { type: "text", dy: -9, fontSize: widest > 12 ? 8 : 10, color: "#111", aria: false },
        encoding: { x: { field: "x", ...x }, y: { field: "y", ...y }, text: { field: "name" } },
      },
    ],
  };
}

interface Ends {
  readonly from: string;
  readonly to: string;
}

/** Where the nodes of the edges stand. */
function laidOut(edges: readonly Ends[]): Map<string, Node> {
  const names = edges.flatMap(({ from, to }) => [from, to]);
  const byDepth = new Map<number, string[]>();
  for (const name of new Set(names))
    byDepth.set(depthOf(name), [...(byDepth.get(depthOf(name)) ?? []), name]);
  const nodes = new Map<string, Node>();
  for (const [row, depth] of [...byDepth.keys()].sort((a, b) => a - b).entries()) {
    const inRow = (byDepth.get(depth) ?? []).sort((a, b) => headOf(a) - headOf(b));
    for (const [index, name] of inRow.entries())
      nodes.set(name, { name, row, place: (index + 1) / (inRow.length + 1) });
  }
  // One after the other, nodes alone in their row step aside until lines run through the fewest nodes.
  for (const row of rowsOf(nodes)) {
    const [node] = row;
    if (node === undefined || row.length > 1) continue;
    const moved = (shift: number): Map<string, Node> =>
      new Map(nodes).set(node.name, { ...node, place: node.place + shift });
    const best = SHIFTS.reduce((least, shift) =>
      crowding(moved(shift), edges) < crowding(moved(least), edges) ? shift : least,
    );
    nodes.set(node.name, { ...node, place: node.place + best });
  }
  return nodes;
}

/** How near lines come to nodes that they pass, summed over both. */
function crowding(nodes: ReadonlyMap<string, Node>, edges: readonly Ends[]): number {
  const rows = rowsOf(nodes);
  let sum = 0;
  for (const edge of edges) {
    const [from, to] = [nodes.get(edge.from), nodes.get(edge.to)];
    if (from === undefined || to === undefined) continue;
    for (let row = from.row + 1; row < to.row; row++) {
      const at = from.place + ((to.place - from.place) * (row - from.row)) / (to.row - from.row);
      for (const { place } of rows[row] ?? []) sum += Math.max(0, CLEAR - Math.abs(place - at));
    }
  }
  return sum;
}

function rowsOf(nodes: ReadonlyMap<string, Node>): Node[][] {
  const rows: Node[][] = [];
  for (const node of nodes.values()) rows[node.row] = [...(rows[node.row] ?? []), node];
  return rows;
}

function depthOf(name: string): number {
  if (name === "input") return -1;
  if (name === "logits") return Number.POSITIVE_INFINITY;
  const [, kind, layer] = /^([am])(\d+)/.exec(name) ?? [];
  return 2 * Number(layer) + (kind === "m" ? 1 : 0);
}

const headOf = (name: string): number => Number(/(?:h|kv)(\d+)$/.exec(name)?.[1] ?? 0);
