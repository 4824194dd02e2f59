/** @file What the steps of the multiple-choice procedure found, as variables with intervals. */

import { bootstrapMean, drawResamples } from "../numeric/statistics.ts";
import type { Json, Variable } from "../result/result.ts";
import type { Item, Items, LabelKind } from "../task/question-items.ts";
import type { HeadClass, LastShares } from "./mcq-classes.ts";
import type { Node, NodeEffects } from "./mcq-effects.ts";
import { type Mutated, swaps } from "./mcq-mutations.ts";
import type { LetterScores } from "./mcq-scores.ts";
import type { KeepCurve } from "./mcq-set.ts";
import { cuts, type RankCurves } from "./mcq-subspace.ts";
import { meanOver, type Sample } from "./mean-over.ts";

/** Variables of one step. */
export type Variables = Readonly<Record<string, Variable>>;

const scoreNames = ["logit_diff", "loss", "accuracy"] as const;
const units: Readonly<Record<(typeof scoreNames)[number], string>> = {
  logit_diff: "logit",
  loss: "nat",
  accuracy: "1",
};

/** Means over questions of a sample each, with 95 % intervals; not one of them a panel of its own. */
function means(samples: readonly Sample[], unit: string, seed: number): Variables {
  const { dataVars } = meanOver(samples, { unit, perSample: false, seed, over: "questions" });
  return mapped(dataVars, () => ({}));
}

function mapped(variables: Variables, more: (name: string) => Readonly<Record<string, Json>>): Variables {
  return Object.fromEntries(
    Object.entries(variables).map(([name, { dims, data, attrs }]) => [
      name,
      { dims, data, attrs: { ...attrs, detail: true, ...more(name) } },
    ]),
  );
}

const scalar = (value: number): Sample[string] => ({ dims: [], data: Float64Array.of(value) });

/** The metric: each question's scores and their means. */
export function metricVariables(clean: readonly LetterScores[], seed: number): Variables {
  const all = scoreNames.map((name): Variables => {
    const of = clean.map((scores) => ({ [name]: scalar(scores[name]) }));
    const each: Variable = {
      dims: ["question"],
      data: clean.map((scores) => scores[name]),
      attrs: { unit: units[name], detail: true },
    };
    return { ...means(of, units[name], seed), [`question_${name}`]: each };
  });
  return Object.assign({}, ...all) as Variables;
}

/** Shares of the metric, as direct attribution has them, under names of their own. */
export function shareVariables(shares: Variables): Variables {
  return mapped(
    Object.fromEntries(Object.entries(shares).map(([name, variable]) => [`share_${name}`, variable])),
    () => ({ long_name: "what it adds to the metric itself, the final norm's scale frozen" }),
  );
}

/** Effects of nodes: total, direct, and what lies between. */
export function effectVariables(
  effects: readonly NodeEffects[],
  { nodes, unit, seed }: { readonly nodes: readonly Node[]; readonly unit: string; readonly seed: number },
): Variables {
  const samples = effects.map(({ total, direct }): Sample => {
    const columns = { total, direct, indirect: total.map((value, i) => value - (direct[i] ?? 0)) };
    return Object.fromEntries(
      (["head", "mlp"] as const).flatMap((kind) => {
        const rows = nodes.flatMap((node, at) => (node.kind === kind ? [at] : []));
        if (rows.length === 0) return [];
        const dims = kind === "head" ? ["layer", "head"] : ["layer"];
        return Object.entries(columns).map(([name, data]) => [
          `${name}_${kind}`,
          { dims, data: Float64Array.from(rows, (row) => data[row] ?? Number.NaN) },
        ]);
      }),
    );
  });
  return means(samples, unit, seed);
}

/** The curve of faithfulness, and the nodes in the order in which they are kept. */
export function setVariables(
  curve: KeepCurve,
  { names, unit, seed }: { readonly names: readonly string[]; readonly unit: string; readonly seed: number },
): Variables {
  const samples = (curve.values[0] ?? []).map(
    (_, question): Sample => ({
      set_metric: {
        dims: ["size"],
        data: Float64Array.from(curve.values, (of) => of[question] ?? Number.NaN),
      },
    }),
  );
  const right = (curve.accuracies[0] ?? []).map(
    (_, question): Sample => ({
      set_accuracy: {
        dims: ["size"],
        data: Float64Array.from(curve.accuracies, (of) => of[question] ?? Number.NaN),
      },
    }),
  );
  const side = (name: "estimate" | "low" | "high"): Variable => ({
    dims: ["size"],
    data: curve.faithfulness.map((interval) => interval[name]),
    attrs: {
      unit: "1",
      detail: true,
      long_name: `share of the metric kept, between all resampled and none${name === "estimate" ? "" : `: 95 % interval, ${name}`}`,
    },
  });
  return {
    ...means(samples, unit, seed),
    ...means(right, "1", seed),
    set_faithfulness: side("estimate"),
    set_faithfulness_ci_low: side("low"),
    set_faithfulness_ci_high: side("high"),
    ranked_node: { dims: ["node"], data: [...names], attrs: { detail: true } },
  };
}

/** Value-weighted attention from the last position, and classes. */
export function classVariables(
  found: readonly (readonly LastShares[])[],
  {
    items,
    heads,
    classes,
    kept,
    seed,
  }: {
    readonly items: readonly Item[];
    readonly heads: number;
    readonly classes: readonly HeadClass[];
    /** [layer, head] whether the head is of the minimal set. */
    readonly kept: readonly boolean[];
    readonly seed: number;
  },
): Variables {
  const places = items[0]?.labels.length ?? 0;
  const joined = (layers: readonly LastShares[], of: (shares: LastShares) => Float64Array): Float64Array =>
    Float64Array.from(layers.flatMap((shares) => [...of(shares)]));
  const samples = found.map((layers, question): Sample => {
    const { correct = 0 } = items[question] ?? {};
    const at = (place: number) =>
      joined(layers, ({ option }) => option.subarray(place * heads, (place + 1) * heads));
    const dims = ["layer", "head"];
    return {
      attention_correct: { dims, data: at(correct) },
      attention_label: { dims, data: joined(layers, ({ label }) => label) },
      attention_text: { dims, data: joined(layers, ({ text }) => text) },
      attention_tail: { dims, data: joined(layers, ({ tail }) => tail) },
      attention_place: {
        dims: ["place", ...dims],
        data: Float64Array.from(Array.from({ length: places }, (_, place) => [...at(place)]).flat()),
      },
    };
  });
  return {
    ...means(samples, "1", seed),
    head_class: { dims: ["layer", "head"], data: [...classes], attrs: { detail: true } },
    head_kept: { dims: ["layer", "head"], data: kept.map(Number), attrs: { unit: "1", detail: true } },
  };
}

/** Loss and accuracy at each rank, and how much the loss rises. */
export function rankVariables({ clean, scores }: RankCurves, seed: number): Variables {
  const ranks = scores[0]?.length ?? 0;
  const samples = (name: "loss" | "accuracy", less: boolean): Sample[] =>
    clean.map((own, question) => ({
      [`rank_${name}${less ? "_change" : ""}`]: {
        dims: ["cut", "rank"],
        data: Float64Array.from(
          cuts.flatMap((_, cut) =>
            Array.from({ length: ranks }, (_, rank) => {
              const value = scores[cut]?.[rank]?.[question]?.[name] ?? Number.NaN;
              return less ? value - own[name] : value;
            }),
          ),
        ),
      },
    }));
  return {
    ...means(samples("loss", false), "nat", seed),
    ...means(samples("loss", true), "nat", seed),
    ...means(samples("accuracy", false), "1", seed),
  };
}

/**
 * The smallest rank at which the loss rises by no more than a share of what it rises by at rank 0, for each cut; null
 * where leaving out everything costs nothing beyond the interval.
 */
export function ranksNeeded(
  { clean, scores }: RankCurves,
  {
    ranks,
    tolerance,
    seed,
  }: { readonly ranks: readonly number[]; readonly tolerance: number; readonly seed: number },
): Record<string, number | null> {
  const resamples = drawResamples(clean.length, { seed });
  const rise = (of: readonly LetterScores[] | undefined) =>
    bootstrapMean(
      clean.map(({ loss }, question) => (of?.[question]?.loss ?? Number.NaN) - loss),
      resamples,
    );
  return Object.fromEntries(
    cuts.map((name, cut) => {
      const rises = (scores[cut] ?? []).map(rise);
      const [nothing] = rises;
      if (nothing === undefined || !(nothing.low > 0)) return [name, null];
      const at = rises.findIndex(({ estimate }) => estimate <= tolerance * nothing.estimate);
      return [name, ranks[at] ?? null];
    }),
  );
}

/** Loss, accuracy and answers by label of each kind of labels under each swap. */
export function mutationVariables(
  found: Readonly<Partial<Record<LabelKind, readonly (readonly Mutated[])[]>>>,
  { kinds, items }: Items,
  seed: number,
): Variables {
  const samples = (name: "loss" | "accuracy" | "byLabel" | "asBefore", variable: string): Sample[] =>
    items.letters.map((_, question) => ({
      [variable]: {
        dims: ["labels", "swap"],
        data: Float64Array.from(
          kinds.flatMap((kind) =>
            swaps.map((_, swap) => found[kind]?.[swap]?.[question]?.[name] ?? Number.NaN),
          ),
        ),
      },
    }));
  return {
    ...means(samples("loss", "mutation_loss"), "nat", seed),
    ...means(samples("accuracy", "mutation_accuracy"), "1", seed),
    ...means(samples("byLabel", "mutation_by_label"), "1", seed),
    ...means(samples("asBefore", "mutation_as_before"), "1", seed),
  };
}
