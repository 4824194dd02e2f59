/** @file A result of the multiple-choice procedure, planted: a gatherer and two letter heads that go by labels. */
import { swaps } from "../../src/method/mcq-mutations.ts";
import { stepRecords } from "../../src/method/mcq-steps.ts";
import { cuts } from "../../src/method/mcq-subspace.ts";
import { mcqVerdict } from "../../src/method/mcq-verdict.ts";
import { range, variable } from "../../src/result/fixtures.ts";
import { type Dataset, dataset, type Variable } from "../../src/result/result.ts";

const [HEADS, LAYERS, SIZES] = [{ layer: 2, head: 3 }, { layer: 2 }, { size: 9 }];
const RANKS = [0, 1, 2, 3, 16];
const KINDS = ["letters", "numbers", "shuffled"];
const CODE = { cut: cuts.length, rank: RANKS.length };
const TABLE = { labels: KINDS.length, swap: swaps.length };
const RANKED = ["0.2", "1.1", "1.0", "mlp 0", "1.2", "0.1", "mlp 1", "0.0"];
const CLASSES = ["uniform", "amplification", "content gatherer", "correct letter", "correct letter", ""];
/** [layer, head] in logits. */
const DIRECT = [0.02, -0.04, 0, -0.8, -1.9, 0.1];
const TOTAL = [-0.01, -0.06, -2.4, -0.7, -2, 0.12];
/** [size] share of the metric kept. */
const KEPT = [0, 0.31, 0.78, 0.93, 0.95, 0.96, 0.99, 1, 1];

const words = (dim: string, data: readonly string[], attrs: Variable["attrs"] = {}): Variable => ({
  dims: [dim],
  data: [...data],
  attrs,
});
const detail = { detail: true } as const;

/** Variables with intervals of so much to either side. */
function ranged(
  dims: Readonly<Record<string, number>>,
  width: number,
  columns: Readonly<Record<string, (...at: number[]) => number>>,
): Record<string, Variable> {
  const sides = Object.entries({ "": 0, _ci_low: -width, _ci_high: width });
  return Object.fromEntries(
    Object.entries(columns).flatMap(([name, value]) =>
      sides.map(([side, by]) => [name + side, variable(dims, (...at) => value(...at) + by, detail)]),
    ),
  );
}

/** `mcq`: three of eight nodes keep nine tenths; queries and keys need two directions, and find the label. */
export function multipleChoice(): Dataset {
  const steps = stepRecords();
  const scores = { logit_diff: () => 4.2, loss: () => 0.31, accuracy: () => 0.9 };
  steps.add("metric", ranged({}, 0.08, scores), { chance: 0.25 });
  const direct = (layer: number, head: number): number => DIRECT[3 * layer + head];
  const total = (layer: number, head: number): number => TOTAL[3 * layer + head];
  const mlp = (size: number) => (layer: number) => (layer === 0 ? size : 0);
  const shares = {
    ...ranged(HEADS, 0.15, { share_head: (layer, head) => -direct(layer, head) }),
    ...ranged(LAYERS, 0.1, { share_mlp: mlp(0.6) }),
    ...ranged({}, 0.03, { share_embed: () => 0.05, share_bias: () => -0.1 }),
  };
  steps.add("attribution", shares, { sum_max_abs_diff: 1.2e-6 });
  const indirect = (layer: number, head: number): number => total(layer, head) - direct(layer, head);
  const effects = {
    ...ranged(HEADS, 0.3, { total_head: total, direct_head: direct, indirect_head: indirect }),
    ...ranged(LAYERS, 0.1, { total_mlp: mlp(-0.5), direct_mlp: mlp(-0.6), indirect_mlp: mlp(0.1) }),
  };
  steps.add("effects", effects, { draws_used: 2 });
  const kept = (size: number): number => KEPT[size];
  const curve = ranged(SIZES, 0.05, {
    set_faithfulness: kept,
    set_accuracy: (size) => 0.25 + 0.65 * kept(size),
  });
  const set = { share: 0.9, nodes: RANKED.length, needed: 3, minimal_set: RANKED.slice(0, 3) };
  steps.add("set", { ...curve, ranked_node: words("node", RANKED, detail) }, set);
  const classes = {
    head_class: { dims: ["layer", "head"], data: CLASSES, attrs: detail },
    head_kept: variable(HEADS, (layer, head) => Number(set.minimal_set.includes(`${layer}.${head}`)), detail),
  };
  steps.add("classes", classes, { thresholds: { least: 0.4, most: 0.5, even: 1.5 } });
  const rise = (cut: number, rank: number): number =>
    cuts[cut] === "k" || rank > 2 ? 0 : (cut + 2) * [0.5, 0.15, 0.005][rank];
  steps.add("ranks", ranged(CODE, 0.06, { rank_loss_change: rise }), {
    heads: ["1.0", "1.1"],
    heads_are: "correct-letter heads of the minimal set",
    lossless: 0.05,
    needed: { q: 2, k: null, qk: 2, v: 2, qkv: 2 },
  });
  /** Other queries or keys alone lead astray, but for one of the same labels: to the line that bears the label now. */
  const isAstray = (kind: number, swap: number): boolean => kind > 0 && ["q", "k"].includes(swaps[swap]);
  const byPlace = (kind: number, swap: number): number => (isAstray(kind, swap) ? 0.14 : 0.9);
  const answers = {
    mutation_accuracy: byPlace,
    mutation_by_label: (kind: number) => (KINDS[kind] === "numbers" ? Number.NaN : 0.9),
    mutation_as_before: (kind: number, swap: number) => (kind === 0 ? 0.9 : 1 - byPlace(kind, swap)),
    mutation_loss: (kind: number, swap: number) => 1.3 - byPlace(kind, swap),
  };
  steps.add("mutations", ranged(TABLE, 0.08, answers), {
    rank: 3,
    without: ["random: 2 labels are single tokens"],
  });

  const result = dataset({
    attrs: {
      method: "mcq",
      metric: "logit_diff",
      unit: "logit",
      direction: "noise",
      baseline_clean: 4.2,
      question: "How does the model find the letter of the right answer?",
      steps: steps.records(),
    },
    dims: { ...HEADS, ...SIZES, ...CODE, ...TABLE, question: 24, node: RANKED.length },
    coords: {
      size: range("size", SIZES.size),
      rank: { dims: ["rank"], data: RANKS, attrs: {} },
      cut: words("cut", cuts),
      labels: words("labels", KINDS),
      swap: words("swap", swaps),
    },
    dataVars: steps.variables(),
  });
  return { ...result, attrs: { ...result.attrs, verdict: mcqVerdict(result) } };
}
