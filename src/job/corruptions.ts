/** @file The job of the command `corruptions`: pairs as `patch` takes them. */
import { corruptionComparison } from "../method/corruptions.ts";
import type { Model } from "../model/model.ts";
import { promptTokens } from "../model/pair-tokens.ts";
import type { Dataset } from "../result/result.ts";
import { allOf, type JobContext } from "./input.ts";
import type { CorruptionsOptions } from "./options/corruptions.ts";
import { pairsOf, promptSource, readPrompts } from "./prompts.ts";
import { withWarnings } from "./warnings.ts";

/** Compares as the options say. @throws InputError before anything is computed. */
export async function corruptionsJob(
  model: Model,
  options: CorruptionsOptions,
  context: JobContext,
): Promise<Dataset> {
  const { bos = model.tokenizer.addsBos, reference } = options;
  const [{ pairs, warnings }, texts] = await allOf<
    [Awaited<ReturnType<typeof pairsOf>>, string[] | undefined]
  >([
    () => pairsOf(options, model.tokenizer, context),
    async () =>
      reference === undefined ? undefined : readPrompts(await context.readText(reference), reference),
  ]);
  const result = await corruptionComparison(model, pairs, {
    kinds: options.corruption,
    factors: options.sigma,
    samples: options.samples,
    draws: options.draws,
    sites: options.site,
    windows: options.window,
    metrics: options.metric,
    symmetric: options.symmetric,
    references: texts?.map((text) => promptTokens(text, model.tokenizer, options).tokens.ids),
    verify: options.verify,
    seed: options.seed,
    onProgress: context.onProgress,
    signal: context.signal,
  });
  return withWarnings(result, warnings, { bos, ...promptSource(options) });
}
