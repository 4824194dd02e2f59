/** @file The job of the command `patch`: from options to exact activation patching. */
import type { Ablation } from "../method/ablation.ts";
import { activationPatching, type PatchingOptions } from "../method/activation-patching.ts";
import type { Chosen, Grid, GridOptions } from "../method/grid.ts";
import { grids, lengthsOf } from "../method/grid.ts";
import type { Kept } from "../method/measure.ts";
import { defaultMetric, metricPlans } from "../metric/plan.ts";
import type { Model } from "../model/model.ts";
import type { Dataset, Json } from "../result/result.ts";
import { expectedSeconds, matmulRate } from "../run/calibrate.ts";
import type { SweepPlan } from "../run/plan.ts";
import { isState } from "../run/site.ts";
import { tasks } from "../task/registry.ts";
import { planWords } from "./cost.ts";
import { allOf, type JobContext } from "./input.ts";
import { DEFAULT_DRAWS, DEFAULT_PATCH_BY, DEFAULT_PATCH_SITES, type PatchOptions } from "./options/patch.ts";
import { patchCells } from "./patch-cells.ts";
import { pairsOf, readPrompts } from "./prompts.ts";

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
    () =>
      layout(
        model,
        { ...asked, choose: { ...asked.choose, pos: undefined, dst: undefined, src: undefined } },
        { positions: 1 },
      ),
  ]);
  const lengths = lengthsOf(pairs, metricPlans(pairs, asked.metric ?? defaultMetric(pairs)));
  const hasStates = unplaced.some((grid) => grid.sites.some(({ site }) => isState(site)));
  const { sites, by, note } = patchCells(options, { ...lengths, hasStates });
  const method = { ...asked, sites, by };
  const laid = layout(model, method, lengths);
  let kept: Kept | undefined;
  const result = await activationPatching(model, pairs, {
    ...method,
    onPlan: (plan) => announce(model, plan, { pairs: pairs.length, laid, ablate: method.ablate, context }),
    keep:
      context.keep &&
      (async (work) => {
        kept = (await context.keep?.(work)) as Kept;
        return kept;
      }),
    references: references?.map((text) => model.tokenizer.encode(text, bos === undefined ? {} : { bos })),
  });
  if (kept?.kind === "finished") return result;
  const found: readonly Json[] = Array.isArray(result.attrs.warnings) ? result.attrs.warnings : [];
  return {
    ...result,
    attrs: {
      ...result.attrs,
      warnings: [...warnings, ...(note === undefined ? [] : [note]), ...found],
      options: { ...(result.attrs.options as Record<string, Json>), bos: bos ?? model.tokenizer.addsBos },
    },
  };
}

/** Labels to take along the dims that the options restrict. */
function chosen({ layer, pos, head, "kv-head": kvHead, neuron, dst, src }: PatchOptions): Chosen {
  const given = Object.entries({ layer, pos, head, kv_head: kvHead, neuron, dst, src });
  return Object.fromEntries(given.filter(([, labels]) => labels !== undefined));
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

/** Work of fewer FLOPs and fewer rows is done before a measurement of this machine could say how long it takes. */
const SHORT_FLOPS = 20e9;
const SHORT_ROWS = 50_000;
/** Work that is done sooner needs no announcement. */
const LONG_SECONDS = 3;

/** Says what is about to be done, where it takes long. */
async function announce(
  model: Model,
  plan: SweepPlan,
  how: {
    readonly pairs: number;
    readonly laid: readonly Grid[];
    readonly ablate: Ablation | undefined;
    readonly context: JobContext;
  },
): Promise<void> {
  const { pairs, laid, ablate, context } = how;
  if (context.onPlan === undefined || (plan.flops < SHORT_FLOPS && plan.rows < SHORT_ROWS)) return;
  const rate = await matmulRate(model);
  const seconds = expectedSeconds(plan, rate);
  if (seconds < LONG_SECONDS) return;
  const draws = ablate?.kind === "resample" ? ablate.draws : 1;
  const weightBytes = model.weights.totalBytes;
  context.onPlan(planWords(plan, { grids: laid, pairs, draws, weightBytes, seconds, rate }));
}
