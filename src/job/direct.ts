/** @file The job of the command `direct`: direct logit attribution, or the logit lens. */
import { direct } from "../method/direct.ts";
import { lens } from "../method/lens.ts";
import type { Model } from "../model/model.ts";
import type { Dataset } from "../result/result.ts";
import type { JobContext } from "./input.ts";
import type { DirectOptions } from "./options/direct.ts";
import { promptedOf, promptSource } from "./prompts.ts";
import { withWarnings } from "./warnings.ts";

/** Splits logits, or reads them off every layer. @throws InputError before anything is computed. */
export async function directJob(model: Model, options: DirectOptions, context: JobContext): Promise<Dataset> {
  const { prompts, warnings } = await promptedOf(options, model.tokenizer, context);
  const common = { perPair: options["per-pair"], seed: options.seed, onProgress: context.onProgress };
  const result = options.lens
    ? await lens(model, prompts, { ...common, sites: options.site, metric: options.metric })
    : await direct(model, prompts, {
        ...common,
        on: options.on,
        centred: options.centred,
        sources: options.sources,
        neuronLayers: options.neurons,
      });
  return withWarnings(result, warnings, {
    bos: options.bos ?? model.tokenizer.addsBos,
    ...promptSource(options),
  });
}
