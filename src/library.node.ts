/** @file Methods as Node users call them: results that can be looked up and saved. */

import type { PatchingOptions } from "./method/activation-patching.ts";
import * as method from "./method/activation-patching.ts";
import * as next from "./method/next-token.ts";
import type { Model } from "./model/model.ts";
import type { Pair } from "./model/pair.ts";
import { tokensOf } from "./model/pair-tokens.ts";
import { save } from "./plot/save.node.ts";
import type { Cell, Label } from "./result/cells.ts";
import { at } from "./result/cells.ts";
import type { Dataset } from "./result/result.ts";

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
    at: (variable, labels) => at(dataset, variable, labels),
    save: (file) => save(dataset, file),
  };
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
  return result(await method.activationPatching(model, "clean" in pairs ? [pairs] : pairs, options));
}

/**
 * The most probable next tokens of a prompt, as typed, with `logit`, `logprob` and `prob` over dim `rank`.
 * BOS is put in front where the tokenizer's own setting says so, unless told otherwise.
 */
export async function nextTokens(
  model: Model,
  prompt: string,
  options: next.NextTokenOptions & { readonly bos?: boolean | undefined } = {},
): Promise<Result> {
  const { bos = model.tokenizer.addsBos } = options;
  return result(await next.nextTokens(model, tokensOf(prompt, model.tokenizer, { bos }), options));
}
