/** @file Methods as Node users call them: results that can be looked up and saved. */

import { type Fault, gather, refuse } from "./core/errors.ts";
import {
  flag,
  type OptionChecks,
  oneOf,
  optionFaults,
  required,
  text,
  texts as textsCheck,
  whole,
} from "./core/options.ts";
import type { PatchingOptions } from "./method/activation-patching.ts";
import * as method from "./method/activation-patching.ts";
import * as attended from "./method/attention.ts";
import * as attributed from "./method/attribution.ts";
import * as pathological from "./method/attribution-pathologies.ts";
import * as recalled from "./method/attribution-recall.ts";
import * as stepIn from "./method/backups.ts";
import * as tracing from "./method/causal-tracing.ts";
import * as corruption from "./method/corruptions.ts";
import * as shares from "./method/direct.ts";
import * as edgeWise from "./method/edge-attribution.ts";
import * as patchedEdges from "./method/exact-edges.ts";
import * as repair from "./method/hydra.ts";
import * as redundancy from "./method/layer-redundancy.ts";
import * as logitLens from "./method/lens.ts";
import * as choice from "./method/mcq.ts";
import * as next from "./method/next-token.ts";
import type { FactSpec, Prompted } from "./model/fact.ts";
import { prepareFacts } from "./model/fact.ts";
import type { Model } from "./model/model.ts";
import type { Pair } from "./model/pair.ts";
import { MAX_PAIRS } from "./model/pair-spec.ts";
import { tokensOf } from "./model/pair-tokens.ts";
import { save } from "./plot/save.node.ts";
import type { Cell, Label } from "./result/cells.ts";
import { at } from "./result/cells.ts";
import type { Dataset } from "./result/result.ts";
import * as edits from "./run/edit.ts";
import { type Edit, whereCheck } from "./run/edit.ts";
import { SITE_NAMES, type SiteName } from "./run/site.ts";
import { questionItems } from "./task/question-items.ts";
import { parseQuestions, type QuestionFile, worldQuestions } from "./task/questions.ts";

/** A dataset with what is done to it most often. */
export interface Result extends Dataset {
  /**
   * One cell by its labels, e.g. `at("resid_pre", { layer: 15, pos: 9 })`.
   * @throws InputError for an unknown variable, dim or label.
   */
  at(variable: string, labels: Readonly<Record<string, Label>>): Cell;
  /** Writes the result by the file's ending: .json, .parquet, .html (a report), .svg or .png (figures). */
  save(file: string): Promise<void>;
}

/** Adds look-up and saving to a dataset. */
export function result(dataset: Dataset): Result {
  return {
    ...dataset,
    at: (variable, labels = {}) => at(dataset, variable, labels),
    async save(file) {
      refuse(text(file, "file"));
      await save(dataset, file);
    },
  };
}

/** One or several as a list. Nothing is an empty one, which every method refuses. */
function listed<T>(given: T | readonly T[] | undefined): readonly T[] {
  if (given === undefined) return [];
  return Array.isArray(given) ? given : [given as T];
}

/**
 * Exact activation patching of one pair or many: what a whole forward pass with one edit would give, for every cell.
 * See {@link method.activationPatching} for the variables of the result.
 *
 * @throws InputError for unknown sites or dims, pairs that the metric is not defined on, baselines that do not differ.
 */
export async function activationPatching(
  model: Model,
  pairs: Pair | readonly Pair[],
  options: PatchingOptions,
): Promise<Result> {
  return result(await method.activationPatching(model, listed(pairs), options));
}

/**
 * Exact edge patching of one pair or many: what a run with one edge patched would give, for every edge between nodes.
 * See {@link patchedEdges.exactEdges} for the variables of the result.
 *
 * @throws InputError naming every unknown edge, and pairs that the metric is not defined on.
 */
export async function exactEdges(
  model: Model,
  pairs: Pair | readonly Pair[],
  options: patchedEdges.ExactEdgesOptions = {},
): Promise<Result> {
  return result(await patchedEdges.exactEdges(model, listed(pairs), options));
}

/**
 * Edge attribution: what every edge between two nodes does, estimated from gradients, with the largest computed exactly.
 * See {@link edgeWise.edgeAttribution} for the variables of the result.
 *
 * @throws InputError naming every unknown edge, and pairs that the metric is not defined on.
 */
export async function edgeAttribution(
  model: Model,
  pairs: Pair | readonly Pair[],
  options: edgeWise.EdgeAttributionOptions = {},
): Promise<Result> {
  return result(await edgeWise.edgeAttribution(model, listed(pairs), options));
}

/**
 * Attribution patching: the effect of patching every cell, estimated from gradients, with the largest computed exactly.
 * See {@link attributed.attribution} for the variables of the result.
 *
 * @throws InputError for unknown sites or dims, cells that span layers, pairs that the metric is not defined on.
 */
export async function attribution(
  model: Model,
  pairs: Pair | readonly Pair[],
  options: attributed.AttributionOptions = {},
): Promise<Result> {
  return result(await attributed.attribution(model, listed(pairs), options));
}

/**
 * Cells on which first-order estimates go wrong, by name, each with its exact effect.
 * See {@link pathological.attributionPathologies} for the variables of the result.
 */
export async function attributionPathologies(
  model: Model,
  pairs: Pair | readonly Pair[],
  options: pathological.PathologyOptions = {},
): Promise<Result> {
  return result(await pathological.attributionPathologies(model, listed(pairs), options));
}

/**
 * What finding the largest effects costs by each way of estimating them, against all effects computed exactly.
 * See {@link recalled.attributionRecall} for the variables of the result.
 */
export async function attributionRecall(
  model: Model,
  pairs: Pair | readonly Pair[],
  options: recalled.RecallOptions = {},
): Promise<Result> {
  return result(await recalled.attributionRecall(model, listed(pairs), options));
}

/** Facts as a user gives them, or a list of them. */
type Facts = FactSpec | readonly FactSpec[];

/** A prompt as text, or a pair. */
type Prompts = Facts | Pair | readonly Pair[];

/**
 * Prompts with their tokens.
 * @param faults of the method's options
 * @throws InputError with these, and with what is wrong with the prompts.
 */
function promptsOf({ tokenizer }: Model, prompts: Prompts, faults: Fault[]): readonly Prompted[] {
  const all = listed<FactSpec | Pair>(prompts);
  const isPair = (given: unknown): given is Pair =>
    typeof given === "object" && given !== null && "clean" in given;
  const pairs = all.filter(isPair);
  if (pairs.length > 0 && pairs.length < all.length) {
    const found = `${pairs.length} of them pairs, ${all.length - pairs.length} not`;
    faults.push({ where: "prompts", found, wanted: "pairs alone, or prompts alone" });
  }
  const prepared =
    pairs.length > 0
      ? pairs
      : gather(faults, () => prepareFacts(all as readonly FactSpec[], tokenizer).facts);
  refuse(faults);
  return prepared ?? [];
}

/**
 * Causal tracing of one fact (`{ prompt, subject, answer? }`) or several.
 * See {@link tracing.causalTracing} for the variables of the result.
 *
 * @throws InputError for subjects that their prompts do not hold, unknown sites, facts of which the model knows none.
 */
export async function causalTracing(
  model: Model,
  facts: Facts,
  options: tracing.TracingOptions = {},
): Promise<Result> {
  const faults = optionFaults(options, tracing.tracingChecks);
  const prepared = gather(faults, () => prepareFacts(listed<FactSpec>(facts), model.tokenizer).facts);
  refuse(faults);
  return result(await tracing.causalTracing(model, prepared ?? [], options));
}

/**
 * The same cells restored in runs corrupted by noise, by other tokens, by a mean or by nothing: where they find the same.
 * See {@link corruption.corruptionComparison} for the variables of the result.
 *
 * @throws InputError for unknown sites, pairs that a metric is not defined on, resampling without anything to draw from.
 */
export async function corruptionComparison(
  model: Model,
  pairs: Pair | readonly Pair[],
  options: corruption.ComparisonOptions = {},
): Promise<Result> {
  return result(await corruption.corruptionComparison(model, listed(pairs), options));
}

/**
 * Direct logit attribution of prompts (`{ prompt, answer?, foil? }`) or pairs: shares that sum to the logit.
 * See {@link shares.direct} for the variables of the result.
 *
 * @throws InputError for answers of several tokens.
 */
export async function direct(
  model: Model,
  prompts: Prompts,
  options: shares.DirectOptions = {},
): Promise<Result> {
  const prepared = promptsOf(model, prompts, optionFaults(options, shares.directChecks));
  return result(await shares.direct(model, prepared, options));
}

/**
 * Attention patterns of prompts (`{ prompt, answer?, roles? }`) or pairs, and scores of every head.
 * See {@link attended.attention} for the variables of the result.
 *
 * @throws InputError for prompts of fewer than three tokens, heads that are not there.
 */
export async function attention(
  model: Model,
  prompts: Prompts,
  options: attended.AttentionOptions = {},
): Promise<Result> {
  const prepared = promptsOf(model, prompts, optionFaults(options, attended.attentionChecks));
  return result(await attended.attention(model, prepared, options));
}

/**
 * Self-repair: every attention layer, MLP and head ablated, and what makes up for it.
 * See {@link repair.hydra} for the variables of the result.
 *
 * @throws InputError for answers of several tokens, prompts without another one to draw from.
 */
export async function hydra(
  model: Model,
  prompts: Prompts,
  options: repair.HydraOptions = {},
): Promise<Result> {
  const prepared = promptsOf(model, prompts, optionFaults(options, repair.hydraChecks));
  return result(await repair.hydra(model, prepared, options));
}

/**
 * Heads that step in for those that carry the answer, found by ablating these together.
 * See {@link stepIn.backups} for the variables of the result.
 */
export async function backups(
  model: Model,
  prompts: Prompts,
  options: stepIn.BackupOptions = {},
): Promise<Result> {
  const prepared = promptsOf(model, prompts, optionFaults(options, stepIn.backupChecks));
  return result(await stepIn.backups(model, prepared, options));
}

/** Of texts: whether BOS goes in front, where the tokenizer's own setting is not meant. */
interface Bos {
  readonly bos?: boolean | undefined;
}
const bosCheck: OptionChecks<Bos> = { bos: flag };

/**
 * Layers deleted, exchanged, repeated and reversed, on texts as typed.
 * See {@link redundancy.layerRedundancy} for the variables of the result.
 *
 * @throws InputError for texts of fewer than two tokens.
 */
export async function layerRedundancy(
  model: Model,
  texts: readonly string[],
  options: redundancy.RedundancyOptions & Bos = {},
): Promise<Result> {
  refuse([
    ...optionFaults(options, { ...redundancy.redundancyChecks, ...bosCheck }),
    ...textsCheck(texts, "texts"),
  ]);
  const { bos = model.tokenizer.addsBos, ...asked } = options;
  const tokens = texts.map((text) => tokensOf(text, model.tokenizer, { bos }));
  return result(await redundancy.layerRedundancy(model, tokens, asked));
}

/** So many of the questions that pocket was taught. */
interface WorldQuestions {
  readonly n: number;
}
const worldChecks: OptionChecks<WorldQuestions> = { n: required(whole(1, MAX_PAIRS)) };

/**
 * How a model finds the letter of the right answer to multiple-choice questions, in seven steps.
 * See {@link choice.mcq} for the variables of the result.
 *
 * @param questions as the file of `crosspatch mcq --questions` has them, or so many of those that pocket was taught
 * @throws InputError naming all that is wrong with the questions; for labels that are not one token.
 */
export async function mcq(
  model: Model,
  questions: QuestionFile | WorldQuestions,
  options: choice.McqOptions & Bos = {},
): Promise<Result> {
  const faults = optionFaults(options, { ...choice.mcqChecks, ...bosCheck });
  const isDrawn = typeof questions === "object" && questions !== null && "n" in questions;
  if (isDrawn) faults.push(...optionFaults(questions, worldChecks, "questions"));
  const given = isDrawn ? undefined : gather(faults, () => parseQuestions(questions));
  refuse(faults);
  const { bos, ...asked } = options;
  const { seed = 0 } = options;
  const set =
    isDrawn || given === undefined ? worldQuestions({ ...(questions as WorldQuestions), seed }) : given;
  return result(await choice.mcq(model, questionItems(set, model.tokenizer, { bos, seed }), asked));
}

/** The logit lens at every layer and position. See {@link logitLens.lens} for the variables of the result. */
export async function lens(
  model: Model,
  prompts: Prompts,
  options: logitLens.LensOptions = {},
): Promise<Result> {
  const prepared = promptsOf(model, prompts, optionFaults(options, logitLens.lensChecks));
  return result(await logitLens.lens(model, prepared, options));
}

/**
 * The most probable next tokens of a prompt, as typed, with `logit`, `logprob` and `prob` over dim `rank`.
 * BOS is put in front where the tokenizer's own setting says so, unless told otherwise.
 */
export async function nextTokens(
  model: Model,
  prompt: string,
  options: next.NextTokenOptions & Bos = {},
): Promise<Result> {
  refuse([...text(prompt, "prompt"), ...optionFaults(options, { ...next.nextTokenChecks, ...bosCheck })]);
  const { bos = model.tokenizer.addsBos, ...asked } = options;
  return result(await next.nextTokens(model, tokensOf(prompt, model.tokenizer, { bos }), asked));
}

/**
 * The edit that takes a site's value from another run, cell for cell.
 * @throws InputError for sites that there are not, and options that are none.
 */
export function patch(site: SiteName, layer: number, options: Parameters<typeof edits.patch>[2]): Edit {
  refuse([
    ...oneOf(SITE_NAMES)(site, "site"),
    ...whole(0)(layer, "layer"),
    ...optionFaults(options, patchChecks),
  ]);
  return edits.patch(site, layer, options);
}
const patchChecks: OptionChecks<Parameters<typeof edits.patch>[2]> = {
  run: required(whole(0)),
  where: whereCheck,
};
