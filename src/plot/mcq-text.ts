/** @file The multiple-choice procedure in a terminal: a short table for each step, and what they say. */

import { type McqStep, mcqSteps, stepOf } from "../method/mcq-steps.ts";
import { untoldShare } from "../method/mcq-verdict.ts";
import { at, type Cell, labelsOf } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { formatNumber, unitOf } from "../result/words.ts";
import { wrap } from "./labels.ts";
import { type Column, table } from "./table.ts";

/** Nodes of the table of effects. */
const NODES = 10;
/** Heads of a class that are named. */
const NAMED = 10;
/** Sizes of the curve that are shown. */
const SIZES = 8;

const right = (title: string): Column => ({ title, align: "right" });
const label = (title: string): Column => ({ title, align: "right", label: "name" });
const rounded = (value: number): string =>
  Number.isNaN(value) ? "" : formatNumber(Math.abs(value) < 0.005 ? 0 : Number(value.toFixed(2)));

/** A share with its interval, in per cent. */
function percent({ value, ciLow, ciHigh }: Cell): string {
  if (Number.isNaN(value)) return "";
  const whole = (share: number): string => String(Math.round(100 * share));
  const range = ciLow === undefined || ciHigh === undefined ? "" : ` [${whole(ciLow)}, ${whole(ciHigh)}]`;
  return whole(value) + range;
}

/** A mean with its interval. */
export function ranged({ value, ciLow, ciHigh }: Cell): string {
  if (Number.isNaN(value)) return "";
  return ciLow === undefined || ciHigh === undefined
    ? rounded(value)
    : `${rounded(value)} [${rounded(ciLow)}, ${rounded(ciHigh)}]`;
}

/** The name of a node and its variables' kind and labels. */
export interface NamedNode {
  readonly name: string;
  readonly kind: "head" | "mlp";
  readonly labels: Readonly<Record<string, number>>;
  /** Place in [layer, head]; -1 for an MLP. */
  readonly cell: number;
}

/** Nodes of a result in the order in which they are kept. */
export function rankedNodes(dataset: Dataset): NamedNode[] {
  return Array.from(dataset.dataVars.ranked_node?.data ?? [], String).map((name): NamedNode => {
    const [layer = 0, head] = name.replace("mlp ", "").split(".").map(Number);
    return head === undefined
      ? { name, kind: "mlp", labels: { layer }, cell: -1 }
      : { name, kind: "head", labels: { layer, head }, cell: layer * (dataset.dims.head ?? 1) + head };
  });
}

/** The lines of a result; undefined for any other. */
export function mcqLines(dataset: Dataset, columns: number): string[] | undefined {
  if (dataset.attrs.method !== "mcq") return undefined;
  const parts: { readonly [S in McqStep]: (dataset: Dataset, columns: number) => Section } = {
    metric: metricLines,
    attribution: shareLines,
    effects: effectLines,
    set: setLines,
    classes: classLines,
    ranks: rankLines,
    mutations: mutationLines,
  };
  const sections = mcqSteps.flatMap((step, index) => {
    const record = stepOf(dataset, step);
    if (record === undefined) return [];
    const { rows, notes } = parts[step](dataset, columns);
    return [
      "",
      ...wrap(`${index + 1}. ${record.question}`, columns),
      ...rows,
      ...notes.flatMap((note) => wrap(note, columns)),
    ];
  });
  const verdict = (dataset.attrs.verdict ?? []) as readonly string[];
  return [
    ...sections.slice(1),
    "",
    "In short",
    ...verdict.flatMap((line) => wrap(`- ${line}`, columns)),
    ...wrap("In brackets: 95 % bootstrap intervals over questions.", columns),
  ];
}

interface Section {
  readonly rows: readonly string[];
  readonly notes: readonly string[];
}

function metricLines(dataset: Dataset, columns: number): Section {
  const names = [
    ["logit_diff", "right letter − mean of others (logit)"],
    ["loss", "cross-entropy over letters (nat)"],
    ["accuracy", "right letter on top (share)"],
  ] as const;
  const chance = Number(stepOf(dataset, "metric")?.chance);
  return {
    rows: table(
      [{ title: `${dataset.dims.question} questions`, label: "name" }, right("mean"), right("by chance")],
      names.map(([name, words]) => [
        words,
        ranged(at(dataset, name, {})),
        { logit_diff: "0", loss: rounded(-Math.log(chance)), accuracy: rounded(chance) }[name],
      ]),
      columns,
    ),
    notes: [],
  };
}

function shareLines(dataset: Dataset, columns: number): Section {
  const shares = [
    ...rankedNodes(dataset).map(({ name, kind, labels }) => ({
      name,
      cell: at(dataset, `share_${kind}`, labels),
    })),
    ...["embed", "pos_embed", "bias"].flatMap((name) =>
      dataset.dataVars[`share_${name}`] === undefined
        ? []
        : [{ name, cell: at(dataset, `share_${name}`, {}) }],
    ),
  ].sort((a, b) => Math.abs(b.cell.value) - Math.abs(a.cell.value));
  const others = shares.slice(NODES).reduce((sum, { cell }) => sum + cell.value, 0);
  const off = Number(stepOf(dataset, "attribution")?.sum_max_abs_diff);
  return {
    rows: table(
      [{ title: "node", label: "name" }, right("share (logit)")],
      [
        ...shares.slice(0, NODES).map(({ name, cell }) => [name, ranged(cell)]),
        [`${Math.max(0, shares.length - NODES)} others`, rounded(others)],
      ],
      columns,
    ),
    notes: [
      `What each adds to the metric straight, the final norm's scale frozen; all together are the metric, within ${formatNumber(off)} logit.`,
    ],
  };
}

function effectLines(dataset: Dataset, columns: number): Section {
  const kept = (stepOf(dataset, "set")?.minimal_set ?? []) as readonly string[];
  const rows = rankedNodes(dataset)
    .slice(0, NODES)
    .map(({ name, kind, labels }) => [
      `${name}${kept.includes(name) ? "*" : ""}`,
      ...["total", "direct", "indirect"].map((column) => ranged(at(dataset, `${column}_${kind}`, labels))),
    ]);
  return {
    rows: table(
      [{ title: "node", label: "name" }, right("total"), right("direct"), right("indirect")],
      rows,
      columns,
    ),
    notes: [
      `Change (${unitOf(dataset)}) with the node's output from ${stepOf(dataset, "effects")?.draws_used} other questions: everything later computed again; put straight into the final stream; the difference.${kept.length > 0 ? " *: of the minimal set." : ""}`,
    ],
  };
}

function setLines(dataset: Dataset, columns: number): Section {
  const sizes = labelsOf(dataset, "size").map(Number);
  const record = stepOf(dataset, "set");
  const untold = untoldShare(dataset);
  const needed = untold === undefined ? Number(record?.needed) : undefined;
  const last = needed === undefined ? sizes.length : sizes.indexOf(needed) + 2;
  const step = Math.max(1, Math.ceil(last / SIZES));
  const end = needed ?? sizes.at(-1);
  const shown = sizes.filter((size, index) => index < last && (index % step === 0 || size === end));
  const kept = (record?.minimal_set ?? []) as readonly string[];
  const [title, name] =
    untold === undefined
      ? ["metric kept", "set_faithfulness"]
      : [`metric (${unitOf(dataset)})`, "set_metric"];
  const order = `Nodes are kept in the order of their total effects; 0 is all of ${dataset.dims.node} resampled, `;
  return {
    rows: table(
      [label("nodes"), right(title), right("accuracy")],
      shown.map((size) => [
        `${size === needed ? "* " : ""}${size}`,
        ...[name, "set_accuracy"].map((column) => ranged(at(dataset, column, { size }))),
      ]),
      columns,
    ),
    notes: [
      untold === undefined
        ? `${order}1 none. *: the fewest that keep ${formatNumber(Number(record?.share))}: ${kept.join(", ")}.`
        : `${order}${dataset.dims.node} none. ${untold}`,
    ],
  };
}

function classLines(dataset: Dataset, columns: number): Section {
  const heads = dataset.dims.head ?? 1;
  const classes = Array.from(dataset.dataVars.head_class?.data ?? [], String);
  const kept = Array.from(dataset.dataVars.head_kept?.data ?? [], Number);
  const found = new Map<string, string[]>();
  for (const [cell, name] of classes.entries()) {
    const own = found.get(name) ?? [];
    own.push(`${Math.floor(cell / heads)}.${cell % heads}${kept[cell] === 1 ? "*" : ""}`);
    found.set(name, own);
  }
  const rows = [...found]
    .filter(([name]) => name !== "")
    .map(([name, own]) => {
      const ordered = [...own].sort((a, b) => Number(b.endsWith("*")) - Number(a.endsWith("*")));
      return [
        name,
        String(own.length),
        ordered.slice(0, NAMED).join(", ") + (own.length > NAMED ? ", …" : ""),
      ];
    });
  const limits = stepOf(dataset, "classes")?.thresholds as Readonly<Record<string, number>>;
  return {
    rows: table(
      [{ title: "class", label: "name" }, right("heads"), { title: "", wraps: true }],
      rows,
      columns,
    ),
    notes: [
      `Of value-weighted attention from the last position, at least ${limits.least} on options (amplification: behind them) and of that ${limits.most} on the right one, or on the same one always; uniform: none above ${limits.even} even shares. A content gatherer looks at the right option without arguing for its letter.`,
    ],
  };
}

function rankLines(dataset: Dataset, columns: number): Section {
  const record = stepOf(dataset, "ranks");
  const ranks = labelsOf(dataset, "rank").map(Number);
  const shown = ranks.filter((rank, index) => rank <= 4 || index === ranks.length - 1);
  const needed = record?.needed as Readonly<Record<string, number | null>>;
  const cuts = ["qk", "v", "qkv"];
  const rows = [
    ...shown.map((rank) => [
      String(rank),
      ...cuts.map((cut) => ranged(at(dataset, "rank_loss_change", { cut, rank }))),
    ]),
    ["needed", ...cuts.map((cut) => String(needed[cut] ?? "–"))],
  ];
  const heads = record?.heads as readonly string[];
  return {
    rows: table([label("rank"), right("q and k cut"), right("v cut"), right("all three")], rows, columns),
    notes: [
      `Rise of the loss (nat) with queries (q), keys (k) or values (v) of ${heads.join(", ")} cut to so many directions about their mean, which are those of the other half of the questions. needed: the fewest at which it rises by no more than ${record?.lossless} of what rank 0 costs; –: rank 0 costs nothing that shows. (${record?.heads_are})`,
    ],
  };
}

function mutationLines(dataset: Dataset, columns: number): Section {
  const record = stepOf(dataset, "mutations");
  const words: Readonly<Record<string, string>> = { none: "as is", own: "cut", qk: "q and k" };
  const rows = labelsOf(dataset, "labels").flatMap((labels) =>
    labelsOf(dataset, "swap")
      .filter((swap) => labels !== "letters" || swap === "none" || swap === "own")
      .map((swap, index) => [
        index === 0 ? String(labels) : "",
        words[swap] ?? String(swap),
        ranged(at(dataset, "mutation_loss", { labels, swap })),
        ...["mutation_accuracy", "mutation_by_label", "mutation_as_before"].map((name) =>
          percent(at(dataset, name, { labels, swap })),
        ),
      ]),
  );
  const without = (record?.without ?? []) as readonly string[];
  return {
    rows: table(
      [
        { title: "labels", label: "name" },
        { title: "q, k", label: "name" },
        right("loss (nat)"),
        right("right %"),
        right("by label %"),
        right("as before %"),
      ],
      rows,
      columns,
    ),
    notes: [
      `q, k: cut, to rank ${record?.rank}; q, k or both taken from the same question with its own labels. Per cent of questions: right, what a code of places foresees; by label, what a code of labels foresees; as before, the label that the right option had before.`,
      ...without.map((why) => `Left out: ${why}.`),
    ],
  };
}
