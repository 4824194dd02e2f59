/** @file The multiple-choice procedure step by step: what each needs of those before it, and what it records. */

import type { Model } from "../model/model.ts";
import { mean } from "../numeric/statistics.ts";
import type { Items } from "../task/question-items.ts";
import { prepareAblation } from "./ablated-units.ts";
import type { HeadName } from "./backups.ts";
import { direct } from "./direct.ts";
import { classOf, classThresholds, headShares, lastShares } from "./mcq-classes.ts";
import { type NodeRequest, nodeEffects, nodeName, nodesOf } from "./mcq-effects.ts";
import { mutations } from "./mcq-mutations.ts";
import {
  classVariables,
  effectVariables,
  metricVariables,
  mutationVariables,
  ranksNeeded,
  rankVariables,
  setVariables,
  shareVariables,
} from "./mcq-records.ts";
import { type LetterMetric, type LetterScores, letterUnits } from "./mcq-scores.ts";
import { type KeepCurve, keepCurve } from "./mcq-set.ts";
import type { McqStep, StepRecords } from "./mcq-steps.ts";
import { fitSubspace, type LetterHead, rankCurves } from "./mcq-subspace.ts";

/** What all steps share. */
export interface StepRun {
  readonly model: Model;
  readonly items: Items;
  readonly steps: StepRecords;
  readonly metric: LetterMetric;
  readonly draws: number;
  readonly share: number;
  readonly seed: number;
  readonly rank: number;
  readonly ranks: readonly number[];
  /** Seed, memory, progress and signal of a step. */
  readonly common: (
    step: McqStep,
  ) => Pick<NodeRequest, "stateBytes" | "onProgress" | "signal"> & { readonly seed: number };
}

/** Of the rise of the loss at rank 0: less passes for no loss. */
const LOSSLESS = 0.05;

export const headName = ({ layer, head }: HeadName): string => `${layer}.${head}`;

export interface NodeSteps {
  /** [question] */
  readonly clean: readonly LetterScores[];
  readonly curve: KeepCurve;
  /** All nodes. */
  readonly nodes: number;
  /** Names of the minimal set; none where no share can be told. */
  readonly kept: readonly string[];
  /** [layer, head] whether the head itself argues for the right letter, beyond its interval. */
  readonly writes: readonly boolean[];
}

/** Metric, attribution, effects and set. */
export async function nodeSteps(run: StepRun): Promise<NodeSteps> {
  const { model, steps, metric, draws, share, seed, common } = run;
  const { letters } = run.items.items;
  const unit = letterUnits[metric];
  const { onProgress } = common("attribution");
  const shares = await direct(model, letters, { seed, onProgress });
  steps.add("attribution", shareVariables(shares.dataVars), {
    norm: "frozen",
    total: shares.attrs.total ?? null,
    sum_max_abs_diff: shares.attrs.sum_max_abs_diff ?? null,
  });

  const ablation = { kind: "resample", draws } as const;
  const ablated = await prepareAblation(model, letters, { ablation, centred: false, seed });
  const nodes = nodesOf(model, ablated);
  const asked = { items: letters, nodes, metric };
  const { effects, clean } = await nodeEffects(model, ablated, { ...asked, ...common("effects") });
  steps.add("metric", metricVariables(clean, seed), {
    metric: "logit of the right label less the mean of the others'; loss: cross-entropy over the labels",
    chance: 1 / (letters[0]?.labels.length ?? 1),
  });
  const last = nodes.findLastIndex(({ kind }) => kind === "mlp");
  const off = effects.map(({ total, direct: own }) => Math.abs((total[last] ?? 0) - (own[last] ?? 0)));
  steps.add("effects", effectVariables(effects, { nodes, unit, seed }), {
    metric,
    draws,
    draws_used: mean(ablated.draws),
    // Nothing comes behind the last MLP, so that its effect is direct whichever way it is computed.
    last_mlp_max_abs_diff: last < 0 ? null : Math.max(...off),
  });

  const totals = nodes.map((_, at) => Math.abs(mean(effects.map(({ total }) => total[at] ?? Number.NaN))));
  const ranked = [...nodes.keys()]
    .sort((a, b) => (totals[b] ?? 0) - (totals[a] ?? 0))
    .flatMap((at) => nodes[at] ?? []);
  const curve = await keepCurve(model, ablated, { ...asked, ranked, share, clean, ...common("set") });
  const names = ranked.map(nodeName);
  const kept = names.slice(0, curve.needed ?? 0);
  const { estimate, low, high } = curve.change;
  steps.add("set", setVariables(curve, { names, unit, seed }), {
    share,
    ranked_by: "absolute mean total effect",
    nodes: nodes.length,
    all_resampled: { change: estimate, ci_low: low, ci_high: high },
    needed: curve.needed,
    minimal_set: kept,
  });
  const writes = Array.from(shares.dataVars.head_ci_low?.data ?? [], Number).map((low) => low > 0);
  return { clean, curve, nodes: nodes.length, kept, writes };
}

export interface ClassStep {
  /**
   * Heads whose code is looked for: of the class "correct letter" in the minimal set; else of that class; else those of the
   * set that look at options, whatever at which.
   */
  readonly chosen: readonly LetterHead[];
  /** Which of the three they are. */
  readonly as: string;
  /** A head by its place in [layer, head]. */
  readonly at: (cell: number) => LetterHead;
}

/** What heads look at. */
export async function classStep(
  { model, items, steps, seed, common }: StepRun,
  { kept, writes }: Pick<NodeSteps, "kept" | "writes">,
): Promise<ClassStep> {
  const { letters } = items.items;
  const { heads } = model.architecture;
  const found = await lastShares(model, { items: letters, ...common("classes") });
  const cells = Array.from(
    { length: model.definition.blocks.length * heads },
    (_, cell): HeadName => ({
      layer: Math.floor(cell / heads),
      head: cell % heads,
    }),
  );
  const looks = cells.map((cell) => headShares(found, letters, { ...cell, heads }));
  const classes = looks.map((look, cell) => classOf(look, { writes: writes[cell] ?? false }));
  const inSet = cells.map((cell) => kept.includes(headName(cell)));
  const all = [...cells.keys()].filter((cell) => classes[cell] === "correct letter");
  const at = (cell: number): LetterHead => ({
    ...(cells[cell] as HeadName),
    readsLabels: looks[cell]?.readsLabels ?? true,
  });
  steps.add("classes", classVariables(found, { items: letters, heads, classes, kept: inSet, seed }), {
    thresholds: { ...classThresholds },
    correct_letter: all.map((cell) => headName(at(cell))),
  });
  const looking = [...cells.keys()].filter(
    (cell) => inSet[cell] && (looks[cell]?.options ?? 0) >= classThresholds.least,
  );
  const candidates: readonly (readonly [as: string, found: readonly number[]])[] = [
    ["correct-letter heads of the minimal set", all.filter((cell) => inSet[cell])],
    ["correct-letter heads", all],
    ["heads of the minimal set that look at options: none is a correct-letter head", looking],
  ];
  const [as, first] = candidates.find(([, list]) => list.length > 0) ?? ["none", []];
  return { chosen: first.map(at), as, at };
}

/** Ranks and mutations, of heads that find the letter. */
export async function codeSteps(
  run: StepRun,
  { chosen, as }: Pick<ClassStep, "chosen" | "as">,
): Promise<void> {
  const { model, items, steps, seed, rank, ranks, common } = run;
  const { letters } = items.items;
  const { heads, kvHeads } = model.architecture;
  const subspace = await fitSubspace(model, chosen, letters);
  const curves = await rankCurves(model, subspace, { items: letters, ranks, ...common("ranks") });
  steps.add("ranks", rankVariables(curves, seed), {
    heads: chosen.map(headName),
    heads_are: as,
    keys_at: chosen.map(({ readsLabels }) => (readsLabels ? "label" : "text")),
    rotary: "before",
    query_heads_per_key: heads / kvHeads,
    directions: "of the other half of the questions",
    lossless: LOSSLESS,
    needed: ranksNeeded(curves, { ranks, tolerance: LOSSLESS, seed }),
  });
  const changed = await mutations(model, subspace, { items, rank, ...common("mutations") });
  steps.add("mutations", mutationVariables(changed, items, seed), {
    rank,
    heads: chosen.map(headName),
    without: [...items.without],
  });
}
