/** @file The job of the command `attribute`: from options to attribution patching. */
import type { EstimateOptions, Estimator } from "../method/attribution.ts";
import { attribution, attributionCells } from "../method/attribution.ts";
import { attributionPathologies } from "../method/attribution-pathologies.ts";
import { attributionRecall } from "../method/attribution-recall.ts";
import type { Model } from "../model/model.ts";
import type { Dataset } from "../result/result.ts";
import { tasks } from "../task/registry.ts";
import { chosen, withoutPositions } from "./chosen.ts";
import { allOf, type JobContext } from "./input.ts";
import type { AttributeOptions } from "./options/attribute.ts";
import { pairsOf, promptSource } from "./prompts.ts";
import { withWarnings } from "./warnings.ts";

/** Estimates as the options say. @throws InputError with the faults of prompts, sites and dims. */
export async function attributeJob(
  model: Model,
  options: AttributeOptions,
  context: JobContext,
): Promise<Dataset> {
  const { seed, "verify-top": verifyTop } = options;
  const cells: EstimateOptions = {
    sites: options.site,
    by: options.by,
    choose: chosen(options),
    ungroup: options.ungroup,
    direction: options.direction,
    metric: options.metric ?? (options.task && tasks[options.task].defaultMetric),
    onProgress: context.onProgress,
    signal: context.signal,
  };
  const [{ pairs, warnings }] = await allOf<[Awaited<ReturnType<typeof pairsOf>>, unknown]>([
    () => pairsOf(options, model.tokenizer, context),
    // Positions are not known yet: labels along them are held against the prompts further on.
    () => {
      const choose = withoutPositions(cells.choose);
      const { metric = "logit_diff" } = cells;
      return attributionCells(model, { ...cells, choose }, { metric, positions: 1 });
    },
  ]);
  const result = await (options.recall
    ? attributionRecall(model, pairs, { ...cells, seed, top: verifyTop })
    : options.pathologies
      ? attributionPathologies(model, pairs, { ...cells, verifyTop })
      : attribution(model, pairs, {
          ...cells,
          seed,
          verifyTop,
          estimator: estimatorOf(options),
          perPair: options["per-pair"],
          samples: options.samples,
          confidence: options.confidence,
        }));
  return withWarnings(result, warnings, {
    bos: options.bos ?? model.tokenizer.addsBos,
    ...promptSource(options),
  });
}

function estimatorOf(options: AttributeOptions): Estimator {
  switch (options.method) {
    case "atp-star":
      return { kind: "atp-star", qkFix: options["qk-fix"], gradDrop: options["grad-drop"] };
    case "ig":
      return { kind: "ig", over: options.over, steps: options.steps, rule: options.rule };
    default:
      return { kind: "atp" };
  }
}
