/** @file The job of the command `hydra`: self-repair, or backup heads. */

import type { UnitAblation } from "../method/ablated-units.ts";
import { DEFAULT_DRAWS } from "../method/ablated-units.ts";
import { backups } from "../method/backups.ts";
import { hydra } from "../method/hydra.ts";
import type { Model } from "../model/model.ts";
import { promptTokens } from "../model/pair-tokens.ts";
import type { Dataset } from "../result/result.ts";
import { headNamed } from "./heads.ts";
import type { JobContext } from "./input.ts";
import type { HydraOptions } from "./options/hydra.ts";
import { promptSource, promptsFileOr, readPrompts } from "./prompts.ts";
import { withWarnings } from "./warnings.ts";

/** Ablates and measures. @throws InputError before anything is computed. */
export async function hydraJob(model: Model, options: HydraOptions, context: JobContext): Promise<Dataset> {
  const { bos = model.tokenizer.addsBos, reference } = options;
  const { prompts, warnings } = await promptsFileOr(options, model.tokenizer, context);
  const texts =
    reference === undefined ? undefined : readPrompts(await context.readText(reference), reference);
  const common = {
    ablation: ablationOf(options),
    references: texts?.map((text) => promptTokens(text, model.tokenizer, options).tokens.ids),
    centred: options.centred,
    seed: options.seed,
    onProgress: context.onProgress,
    signal: context.signal,
  };
  const result = options.backups
    ? await backups(model, prompts, {
        ...common,
        rounds: options.rounds,
        perRound: options["per-round"],
        first: options.first?.map(headNamed),
      })
    : await hydra(model, prompts, {
        ...common,
        heads: options.heads,
        clamp: options.clamp,
        topPercent: options["top-percent"],
        perPair: options["per-pair"],
      });
  return withWarnings(result, warnings, { bos, ...promptSource(options) });
}

function ablationOf({ ablate = "resample", draws = DEFAULT_DRAWS }: HydraOptions): UnitAblation {
  return ablate === "resample" ? { kind: "resample", draws } : { kind: ablate };
}
