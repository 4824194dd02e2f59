/**
 * @file The procedure by which multiple-choice answers were taken apart in a 70-billion-parameter model, as one experiment
 * for any model: letter metric, direct attribution, total against direct effects, minimal node set, classes of heads, the
 * low-rank code by which they find the letter, and what that code stands for.
 * Source: Lieberum et al. 2023, "Does Circuit Analysis Interpretability Scale? Evidence from Multiple Choice Capabilities
 * in Chinchilla", arXiv:2307.09458.
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, refuse } from "../core/errors.ts";
import {
  between,
  bytes,
  callback,
  type OptionChecks,
  oneOf,
  optionFaults,
  seed,
  signal,
  whole,
} from "../core/options.ts";
import type { Model } from "../model/model.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { Item, Items } from "../task/question-items.ts";
import { MAX_DRAWS } from "./ablation.ts";
import { type HeadName, headFaults, headsCheck } from "./backups.ts";
import { swaps } from "./mcq-mutations.ts";
import { classStep, codeSteps, headName, nodeSteps, type StepRun } from "./mcq-procedure.ts";
import { type LetterMetric, letterMetrics, letterUnits } from "./mcq-scores.ts";
import { mcqSteps, stepRecords } from "./mcq-steps.ts";
import { cuts } from "./mcq-subspace.ts";
import { mcqVerdict } from "./mcq-verdict.ts";
import { provenance } from "./provenance.ts";

export interface McqOptions {
  /** What effects are on: right letter less the mean of the others (default), or cross-entropy over the letters. */
  readonly metric?: LetterMetric | undefined;
  /** Other questions that each node's values are drawn from. Default 2. */
  readonly draws?: number | undefined;
  /** Of the metric, that the minimal set keeps. Default 0.9. */
  readonly share?: number | undefined;
  /** Largest rank below the whole. Default 8. */
  readonly maxRank?: number | undefined;
  /** At which labels are told apart. Default one less than there are options. */
  readonly rank?: number | undefined;
  /** Heads that are cut to low rank; if absent those of the class "correct letter", or, where there are none, those of the minimal set that look at options. */
  readonly heads?: readonly HeadName[] | undefined;
  /** Of draws and intervals. Default 0. */
  readonly seed?: number | undefined;
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

/** Wider heads than any model has. */
export const MAX_RANK = 4096;

export const mcqChecks: OptionChecks<McqOptions> = {
  metric: oneOf(letterMetrics),
  draws: whole(1, MAX_DRAWS),
  share: between(0, 1),
  maxRank: whole(0, MAX_RANK),
  rank: whole(0, MAX_RANK),
  heads: headsCheck,
  seed,
  stateBytes: bytes,
  onProgress: callback,
  signal,
};

/** What is done where nothing is asked for. */
export const MCQ_DEFAULTS = { draws: 2, share: 0.9, maxRank: 8 } as const;
/** Two halves of two: with fewer, a half has no spread. */
const MIN_QUESTIONS = 4;
/** Parts of a step's progress. */
const PARTS = 100;

/**
 * Runs all seven steps.
 *
 * @returns one dataset with the variables of each step; `attrs.steps` says which are whose, and `mcqStep` takes one out.
 * Means are over questions, with 95 % bootstrap intervals; effects are (resampled − as it is).
 * @throws InputError for too few questions, questions that are all the same, heads or ranks that are not there, heads named twice.
 */
export async function mcq(model: Model, items: Items, options: McqOptions = {}): Promise<Dataset> {
  const started = milliseconds();
  refuse(optionFaults(options, mcqChecks));
  const { metric = "logit_diff", draws = MCQ_DEFAULTS.draws, share = MCQ_DEFAULTS.share, seed = 0 } = options;
  const { letters } = items.items;
  const { heads, dHead } = model.architecture;
  const rank = options.rank ?? Math.min(dHead, (letters[0]?.labels.length ?? 1) - 1);
  refuse(faultsOf(model, letters, { ...options, rank }));
  const layers = model.definition.blocks.length;
  const steps = stepRecords();
  const run: StepRun = {
    model,
    items,
    steps,
    metric,
    draws,
    share,
    seed,
    rank,
    ranks: ranksUpTo(dHead, options.maxRank ?? MCQ_DEFAULTS.maxRank),
    common: (step) => ({
      seed,
      stateBytes: options.stateBytes,
      signal: options.signal,
      onProgress(done, total) {
        const at = mcqSteps.indexOf(step) - 1 + (total > 0 ? done / total : 1);
        options.onProgress?.(Math.round(PARTS * at), PARTS * (mcqSteps.length - 1));
      },
    }),
  };
  const found = await nodeSteps(run);
  const { clean, curve } = found;
  const classed = await classStep(run, found);
  const named = options.heads?.map(({ layer, head }) => classed.at(layer * heads + head));
  const coded = named === undefined ? classed : { chosen: named, as: "as named" };
  const { chosen } = coded;
  if (chosen.length > 0) await codeSteps(run, coded);
  const result = dataset({
    attrs: {
      method: "mcq",
      metric,
      unit: letterUnits[metric],
      direction: "noise",
      baseline_clean: mean(clean.map((scores) => scores[metric])),
      question: "How does the model find the letter of the right answer?",
      position: "last",
      steps: steps.records(),
      letter_heads: chosen.map(headName),
      options: {
        metric,
        draws,
        share,
        max_rank: options.maxRank ?? MCQ_DEFAULTS.maxRank,
        rank,
        heads: options.heads?.map(headName) ?? null,
        seed,
      },
      labels: Object.fromEntries(
        items.kinds.map((kind) => [kind, (items.items[kind] ?? []).map((item) => [...item.labels])]),
      ),
      interval: 0.95,
      ...(await provenance(model, letters)),
      seconds: (milliseconds() - started) / 1000,
    },
    dims: {
      layer: layers,
      head: heads,
      question: letters.length,
      node: found.nodes,
      size: curve.sizes.length,
      place: letters[0]?.labels.length ?? 0,
      ...(chosen.length > 0
        ? { cut: cuts.length, rank: run.ranks.length, labels: items.kinds.length, swap: swaps.length }
        : {}),
    },
    coords: {
      question: { dims: ["question"], data: letters.map(({ id }) => id), attrs: {} },
      letter: {
        dims: ["question"],
        data: letters.map(({ labels, correct: at }) => labels[at] ?? ""),
        attrs: {},
      },
      size: { dims: ["size"], data: [...curve.sizes], attrs: {} },
      ...(chosen.length > 0
        ? {
            cut: { dims: ["cut"], data: [...cuts], attrs: {} },
            rank: { dims: ["rank"], data: [...run.ranks], attrs: {} },
            labels: { dims: ["labels"], data: [...items.kinds], attrs: {} },
            swap: { dims: ["swap"], data: [...swaps], attrs: {} },
          }
        : {}),
    },
    dataVars: steps.variables(),
  });
  return { ...result, attrs: { ...result.attrs, verdict: mcqVerdict(result) } };
}

function ranksUpTo(dHead: number, most: number): number[] {
  const ranks = Array.from({ length: Math.min(dHead, most) + 1 }, (_, rank) => rank);
  return most < dHead ? [...ranks, dHead] : ranks;
}

function faultsOf(
  { definition, architecture }: Model,
  items: readonly Item[],
  { heads = [], rank }: McqOptions & { readonly rank: number },
): Fault[] {
  const faults: Fault[] = [];
  const missing = (["q", "k", "v", "z"] as const).filter((site) => !definition.blocks[0]?.sites.has(site));
  if (missing.length > 0)
    faults.push({
      where: "model",
      found: `no ${missing.join(", ")}`,
      wanted: "a model with attention heads",
    });
  if (items.length < MIN_QUESTIONS) {
    faults.push({
      where: "questions",
      found: String(items.length),
      wanted: `at least ${MIN_QUESTIONS}: directions are those of the other half`,
    });
  }
  const [first] = items;
  if (items.length > 1 && items.every(({ clean }) => clean.ids.join() === first?.clean.ids.join())) {
    faults.push({
      where: "questions",
      found: `the same one ${items.length} times`,
      wanted: "at least two: the values of one are put into another",
    });
  }
  faults.push(...headFaults(heads, { where: "--heads", architecture }));
  if (rank > architecture.dHead)
    faults.push({
      where: "--rank",
      found: String(rank),
      wanted: `at most ${architecture.dHead}, the size of a head`,
    });
  return faults;
}
