/** @file The public library, for Node. */

export type { Backend } from "./backend/backend.ts";
export { referenceBackend } from "./backend/reference/reference.ts";
export type { Fault } from "./core/errors.ts";
export { InputError } from "./core/errors.ts";
export type { Tensor } from "./core/tensor.ts";
export type { Result } from "./library.node.ts";
export {
  activationPatching,
  attention,
  attribution,
  attributionPathologies,
  attributionRecall,
  backups,
  causalTracing,
  corruptionComparison,
  direct,
  edgeAttribution,
  exactEdges,
  hydra,
  layerRedundancy,
  lens,
  mcq,
  nextTokens,
  patch,
} from "./library.node.ts";
export type { UnitAblation } from "./method/ablated-units.ts";
export type { Ablation } from "./method/ablation.ts";
export type { PatchingOptions } from "./method/activation-patching.ts";
export type { AttentionOptions } from "./method/attention.ts";
export type { AttributionOptions, Estimator } from "./method/attribution.ts";
export type { PathologyOptions } from "./method/attribution-pathologies.ts";
export type { RecallOptions } from "./method/attribution-recall.ts";
export type { BackupOptions, HeadName } from "./method/backups.ts";
export type { TracingOptions } from "./method/causal-tracing.ts";
export type { ComparisonOptions } from "./method/corruptions.ts";
export type { DirectOptions } from "./method/direct.ts";
export type { EdgeAttributionOptions } from "./method/edge-attribution.ts";
export type { EdgeEstimator } from "./method/edge-scores.ts";
export type { ExactEdgesOptions } from "./method/exact-edges.ts";
export type { HydraOptions } from "./method/hydra.ts";
export type { RedundancyOptions } from "./method/layer-redundancy.ts";
export type { LensOptions } from "./method/lens.ts";
export type { McqOptions } from "./method/mcq.ts";
export { mcqStep } from "./method/mcq-steps.ts";
export type { NextTokenOptions } from "./method/next-token.ts";
export type { Method } from "./method/registry.ts";
export { methods } from "./method/registry.ts";
export { metricRun } from "./metric/objective.ts";
export type { MetricName, MetricPlan } from "./metric/plan.ts";
export { metricPlan } from "./metric/plan.ts";
export type { Architecture } from "./model/architecture.ts";
export type { FactSpec } from "./model/fact.ts";
export type { LoadedModel, LoadOptions } from "./model/load.node.ts";
export { load } from "./model/load.node.ts";
export type { Model } from "./model/model.ts";
export type { Pair } from "./model/pair.ts";
export type { PairSpec } from "./model/pair-spec.ts";
export type { ChatMessage, Tokenizer } from "./model/tokenizer/tokenizer.ts";
export type { Dataset, Json, Variable } from "./result/result.ts";
export type { Edit, EditValue, Where } from "./run/edit.ts";
export type { GradientRun, Objective } from "./run/end-gradients.ts";
export type { Cache, Capture, Forward, ForwardOptions } from "./run/forward.ts";
export { forward } from "./run/forward.ts";
export type { Generated, GenerateOptions } from "./run/generate.ts";
export { generate } from "./run/generate.ts";
export type { GradientOptions, Gradients } from "./run/gradients.ts";
export { gradients } from "./run/gradients.ts";
export { unpad } from "./run/padding.ts";
export type { SiteName } from "./run/site.ts";
export { parseSite, SITES, siteShape, sitesOf } from "./run/site.ts";
export type { QuestionFile } from "./task/questions.ts";
export type { TaskName } from "./task/registry.ts";
export { generatePairs, tasks } from "./task/registry.ts";
