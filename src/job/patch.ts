/** @file The job of the command `patch`: from options to exact activation patching. */
import type { Ablation } from "../method/ablation.ts";
import { activationPatching, type PatchingOptions } from "../method/activation-patching.ts";
import type { Grid, GridOptions } from "../method/grid.ts";
import { grids, lengthsOf } from "../method/grid.ts";
import type { Kept } from "../method/measure.ts";
import { defaultMetric, metricPlans } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import { promptTokens } from "../model/pair-tokens.ts";
import type { Dataset } from "../result/result.ts";
import { isState } from "../run/site.ts";
import { tasks } from "../task/registry.ts";
import { chosen, withoutPositions } from "./chosen.ts";
import { announce, planWords } from "./cost.ts";
import { allOf, type JobContext } from "./input.ts";
import { DEFAULT_DRAWS, DEFAULT_PATCH_BY, DEFAULT_PATCH_SITES, type PatchOptions } from "./options/patch.ts";
import { patchCells } from "./patch-cells.ts";
import { pairsOf, promptSource, readPrompts } from "./prompts.ts";
import { withWarnings } from "./warnings.ts";

/**
 * Patches as the options say.
 * @throws InputError with the faults of prompts, sites and dims together, before anything is computed.
 */
export async function patchJob(model: Model, options: PatchOptions, context: JobContext): Promise<Dataset> {
  const { bos, seed = 0 } = options;
  const asked: PatchingOptions = {
    sites: options.site ?? DEFAULT_PATCH_SITES,
    by: options.by ?? DEFAULT_PATCH_BY,
    choose: chosen(options),
    direction: options.direction,
    ablate: ablationOf(options, seed),
    joint: options.joint,
    ungroup: options.ungroup,
    metric: options.metric ?? (options.task && tasks[options.task].defaultMetric),
    averaging: options.averaging,
    normalize: options.normalize,
    perPair: options["per-pair"],
    verify: options.verify,
    seed,
    onProgress: context.onProgress,
    onResume: context.onResume,
    signal: context.signal,
  };
  const [{ pairs, warnings }, references, unplaced] = await allOf<
    [Awaited<ReturnType<typeof pairsOf>>, string[] | undefined, Grid[]]
  >([
    () => pairsOf(options, model.tokenizer, context),
    async () =>
      options.reference === undefined
        ? undefined
        : readPrompts(await context.readText(options.reference), options.reference),
    // Positions are not known yet: labels along them are held against the prompts further on.
    () => layout(model, { ...asked, choose: withoutPositions(asked.choose) }, { positions: 1 }),
  ]);
  const lengths = lengthsOf(pairs, metricPlans(pairs, asked.metric ?? defaultMetric(pairs)));
  const hasStates = unplaced.some((grid) => grid.sites.some(({ site }) => isState(site)));
  const { sites, by, note } = patchCells(options, { ...lengths, hasStates });
  const method = { ...asked, sites, by };
  const laid = layout(model, method, lengths);
  const draws = method.ablate?.kind === "resample" ? method.ablate.draws : 1;
  let kept: Kept | undefined;
  const result = await activationPatching(model, pairs, {
    ...method,
    onPlan: (plan) =>
      announce(model, plan, {
        onPlan: context.onPlan,
        words: (expected) => planWords(plan, { grids: laid, pairs: pairs.length, draws, ...expected }),
      }),
    keep:
      context.keep &&
      (async (work) => {
        kept = (await context.keep?.(work)) as Kept;
        return kept;
      }),
    references: references?.map((text) => promptTokens(text, model.tokenizer, options).tokens.ids),
  });
  if (kept?.kind === "finished") return result;
  return withWarnings(result, [...warnings, ...(note === undefined ? [] : [note])], {
    bos: bos ?? model.tokenizer.addsBos,
    ...promptSource(options),
  });
}

function ablationOf(options: PatchOptions, seed: number): Ablation {
  switch (options.ablate) {
    case "mean":
      return { kind: "mean", over: options.mean ?? "position" };
    case "resample":
      return { kind: "resample", draws: options.draws ?? DEFAULT_DRAWS, seed };
    case "zero":
      return { kind: "zero" };
    default:
      return { kind: "source" };
  }
}

function layout(
  model: Model,
  method: PatchingOptions,
  lengths: Pick<GridOptions, "positions" | "shortest">,
): Grid[] {
  return grids(model, { ...method, ...lengths });
}
