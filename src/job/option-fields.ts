/** @file How each option is read: what it may be, and its bounds. */
import { corruptionKinds } from "../method/corruption-kinds.ts";
import { comparedMetrics } from "../method/corruption-sweep.ts";
import { metricNames } from "../metric/plan.ts";
import { MAX_PAIRS } from "../model/pair-spec.ts";
import { taskNames } from "../task/registry.ts";
import {
  atLeast,
  between,
  bytes,
  choice,
  choices,
  type FieldsOf,
  flag,
  indices,
  names,
  numbers,
  text,
  texts,
  whole,
} from "./fields.ts";
import type {
  AttentionOptions,
  AttributeOptions,
  CommandName,
  CorruptionsOptions,
  DirectOptions,
  EdgesOptions,
  FactOptions,
  HydraOptions,
  InfoOptions,
  MachineOptions,
  OptionsOf,
  OutputOptions,
  PairOptions,
  PatchOptions,
  RedundancyOptions,
  RunOptions,
  TraceOptions,
} from "./options.ts";

/** Seeds are 32-bit. */
const MAX_SEED = 2 ** 32 - 1;
/** More threads than any machine has cores today. */
const MAX_THREADS = 1024;
/** Longest continuation: the longest context in common use. */
const MAX_GENERATED = 131_072;
/** Most draws of a resample ablation: their mean moves by less than 1 % of the draws' spread. */
const MAX_DRAWS = 10_000;

/** Rounds, and heads of a round: by then every head of a large model is ablated. */
const MAX_ROUNDS = 1000;

/** Random tokens of half a sequence: patterns of the whole fit in memory. */
const MAX_REPEATED = 4096;

/** Layers of a window: more than any model has. */
const MAX_WINDOW = 10_000;

/** Finest way of integrated gradients: their error is far below that of float32 then. */
const MAX_STEPS = 10_000;

const outputs: FieldsOf<OutputOptions> = {
  json: text,
  parquet: text,
  html: text,
  svg: text,
  png: text,
  out: text,
  show: flag,
  quiet: flag,
};
const machine: FieldsOf<MachineOptions> = { device: text, threads: whole(1, MAX_THREADS), memory: bytes };

const info: FieldsOf<InfoOptions> = { json: text, quiet: flag, tokens: whole(1) };

const run: FieldsOf<RunOptions> = {
  prompt: text,
  chat: flag,
  bos: flag,
  top: whole(1),
  generate: whole(1, MAX_GENERATED),
  temperature: atLeast(0),
  "top-k": whole(1),
  seed: whole(0, MAX_SEED),
  edit: text,
  "edit-on": choice(["prefill", "every-step"]),
  ...machine,
  ...outputs,
};

const pairs: FieldsOf<PairOptions> = {
  clean: text,
  corrupt: text,
  answer: texts,
  foil: texts,
  pairs: text,
  task: choice(taskNames),
  n: whole(1, MAX_PAIRS),
  seed: whole(0, MAX_SEED),
  bos: flag,
};

/** Prompts, and which cells: the same for every command that patches pairs. */
const grid = {
  ...pairs,
  site: names,
  by: names,
  layer: indices,
  pos: indices,
  head: indices,
  "kv-head": indices,
  neuron: indices,
  dst: indices,
  src: indices,
  ungroup: flag,
  direction: choice(["denoise", "noise"]),
  metric: choice(metricNames),
  "per-pair": flag,
  ...machine,
  ...outputs,
} as const;

const patch: FieldsOf<PatchOptions> = {
  ...grid,
  joint: flag,
  ablate: choice(["source", "zero", "mean", "resample"]),
  mean: choice(["position", "all"]),
  draws: whole(1, MAX_DRAWS),
  reference: text,
  averaging: choice(["ratio-of-means", "mean-of-ratios"]),
  normalize: flag,
  verify: whole(0),
};

const attribute: FieldsOf<AttributeOptions> = {
  ...grid,
  method: choice(["atp", "atp-star", "ig"]),
  "qk-fix": flag,
  "grad-drop": flag,
  over: choice(["inputs", "activations"]),
  steps: whole(1, MAX_STEPS),
  rule: choice(["midpoint", "paper", "code"]),
  "verify-top": whole(0),
  samples: whole(0, MAX_DRAWS),
  confidence: between(0.5, 1),
  pathologies: flag,
  recall: flag,
};

const edges: FieldsOf<EdgesOptions> = {
  ...pairs,
  method: choice(["eap", "eap-ig", "eap-ig-activations", "clean-corrupted", "exact"]),
  steps: whole(1, MAX_STEPS),
  rule: choice(["midpoint", "paper", "code"]),
  compatible: flag,
  direction: choice(["denoise", "noise"]),
  metric: choice(metricNames),
  "per-pair": flag,
  "edges-file": text,
  "group-kv": flag,
  "verify-top": whole(0),
  verify: whole(0),
  select: choice(["top-n", "greedy"]),
  size: whole(1),
  signed: flag,
  circuit: text,
  ...machine,
  ...outputs,
};

const fact: FieldsOf<FactOptions> = {
  prompt: text,
  facts: text,
  answer: texts,
  foil: texts,
  seed: whole(0, MAX_SEED),
  bos: flag,
  "per-pair": flag,
};

const direct: FieldsOf<DirectOptions> = {
  ...fact,
  clean: text,
  corrupt: text,
  pairs: text,
  task: choice(taskNames),
  n: whole(1, MAX_PAIRS),
  on: choice(["clean", "corrupt", "difference"]),
  norm: choice(["frozen"]),
  centred: flag,
  sources: flag,
  neurons: indices,
  lens: flag,
  site: names,
  metric: choice(["logit_diff", "logprob", "prob", "loss"]),
  ...machine,
  ...outputs,
};

const trace: FieldsOf<TraceOptions> = {
  ...fact,
  subject: text,
  site: names,
  sigma: atLeast(0),
  spread: choice(["table", "subjects"]),
  distribution: choice(["gaussian", "uniform", "covariance"]),
  samples: whole(1, MAX_DRAWS),
  antithetic: flag,
  noise: text,
  "write-noise": text,
  window: whole(1, MAX_WINDOW),
  "window-before": whole(0, MAX_WINDOW),
  sever: choice(["mlp", "attn"]),
  metric: choice(metricNames),
  verify: whole(0),
  ...machine,
  ...outputs,
};

const corruptions: FieldsOf<CorruptionsOptions> = {
  ...pairs,
  corruption: choices(corruptionKinds),
  sigma: numbers(0),
  samples: whole(1, MAX_DRAWS),
  draws: whole(1, MAX_DRAWS),
  symmetric: flag,
  site: names,
  window: indices,
  metric: choices(comparedMetrics),
  reference: text,
  verify: whole(0),
  ...machine,
  ...outputs,
};

const redundancy: FieldsOf<RedundancyOptions> = {
  text,
  tokens: whole(2),
  n: whole(1, MAX_PAIRS),
  bos: flag,
  blocks: indices,
  middle: indices,
  seed: whole(0, MAX_SEED),
  ...machine,
  ...outputs,
};

const hydra: FieldsOf<HydraOptions> = {
  ...pairs,
  prompt: text,
  prompts: text,
  ablate: choice(["zero", "mean", "resample"]),
  draws: whole(1, MAX_DRAWS),
  reference: text,
  centred: flag,
  heads: flag,
  clamp: flag,
  "top-percent": between(0, 100),
  backups: flag,
  first: names,
  rounds: whole(0, MAX_ROUNDS),
  "per-round": whole(1, MAX_ROUNDS),
  "per-pair": flag,
  ...machine,
  ...outputs,
};

const attention: FieldsOf<AttentionOptions> = {
  ...pairs,
  prompt: text,
  prompts: text,
  repeat: whole(2, MAX_REPEATED),
  from: choice(["last", "all"]),
  patterns: names,
  example: whole(0, MAX_PAIRS),
  "per-pair": flag,
  ...machine,
  ...outputs,
};

/** Complete by type. */
export const fields: { readonly [C in CommandName]: FieldsOf<OptionsOf[C]> } = {
  info,
  run,
  patch,
  attribute,
  direct,
  trace,
  corruptions,
  edges,
  redundancy,
  hydra,
  attention,
};
