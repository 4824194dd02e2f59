/** @file The options of each command on the command line: a table, complete by type, of what data there is for them. */
import { type Command, Option } from "commander";
import type { CommandName, OptionsOf } from "../job/options.ts";
import { taskNames } from "../task/registry.ts";

interface Flag {
  /** What the option takes, e.g. `<text>`; a switch if absent. */
  readonly takes?: string;
  readonly help: string;
  readonly group: string;
  /** May be given more than once. */
  readonly repeatable?: true;
  /** `--no-x` beside `--x`, or alone where switching off is all there is. */
  readonly negation?: "also" | "only";
}

type Flags<T> = { readonly [K in keyof T]-?: Flag };

const PROMPTS = "Prompts (text counts exactly as typed, leading spaces too):";
const CELLS = "What is patched:";
const VALUES = "What is put in:";
const MEASURE = "What is measured:";
const MACHINE = "Machine:";
const OUTPUT = "Output (the terminal, where none of these is given):";

const outputs = {
  json: { takes: "<file>", group: OUTPUT, help: "the result as JSON; - for standard output" },
  parquet: { takes: "<file>", group: OUTPUT, help: "the result as a table" },
  html: { takes: "<file>", group: OUTPUT, help: "a report that opens offline" },
  svg: { takes: "<file>", group: OUTPUT, help: "the figure" },
  png: { takes: "<file>", group: OUTPUT, help: "the figure" },
  out: {
    takes: "<directory>",
    group: OUTPUT,
    help: "result, report, figures and an experiment that replays it",
  },
  show: { group: OUTPUT, help: "the terminal too" },
  quiet: { group: OUTPUT, help: "no plan, no progress" },
} as const;
const machine = {
  device: { takes: "<name>", group: MACHINE, help: "cpu (default), webgpu or cuda" },
  threads: { takes: "<n>", group: MACHINE, help: "threads inside one operation" },
  memory: {
    takes: "<size>",
    group: MACHINE,
    help: "what the program may hold in all, e.g. 4GB; weights beyond it are read again",
  },
} as const;
const bos = {
  group: PROMPTS,
  negation: "also",
  help: "a BOS token in front of every prompt (default: as the tokenizer is set)",
} as const;

const ESTIMATE = "How effects are estimated:";
const CIRCUIT = "Which edges make the circuit:";

/** Of the commands that need pairs. */
const pair = {
  clean: { takes: "<text>", group: PROMPTS, help: "prompt with the behaviour" },
  corrupt: { takes: "<text>", group: PROMPTS, help: "prompt without it, of as many tokens" },
  answer: {
    takes: "<text>",
    group: PROMPTS,
    repeatable: true,
    help: "what should follow the clean prompt; more than once for alternatives",
  },
  foil: {
    takes: "<text>",
    group: PROMPTS,
    repeatable: true,
    help: "what should follow the corrupt prompt",
  },
  pairs: { takes: "<file>", group: PROMPTS, help: "JSONL with those four keys, one pair a line" },
  task: {
    takes: "<name>",
    group: PROMPTS,
    help: `built-in prompts: ${taskNames.join(", ")}`,
  },
  n: { takes: "<n>", group: PROMPTS, help: "pairs of the task (default 10)" },
  seed: {
    takes: "<n>",
    group: PROMPTS,
    help: "of the task, draws, intervals and verification (default 0)",
  },
  bos,
} as const;

/** Which cells of a grid. */
const labels = {
  layer: { takes: "<list>", group: CELLS, help: "only these, e.g. 3,7-9" },
  pos: { takes: "<list>", group: CELLS, help: "only these" },
  head: { takes: "<list>", group: CELLS, help: "only these" },
  "kv-head": { takes: "<list>", group: CELLS, help: "only these" },
  neuron: { takes: "<list>", group: CELLS, help: "only these" },
  dst: { takes: "<list>", group: CELLS, help: "only these query positions" },
  src: { takes: "<list>", group: CELLS, help: "only these key positions" },
  ungroup: { group: CELLS, help: "keys and values of each query head by itself" },
} as const;

const VARIANT = "What is noised and restored:";
const SPLIT = "What is split:";
const CORRUPTED = "How the tokens that differ are corrupted:";

/** Of the commands that need one prompt at least. */
const fact = {
  prompt: { takes: "<text>", group: PROMPTS, help: "the prompt" },
  facts: {
    takes: "<file>",
    group: PROMPTS,
    help: 'JSONL of {"prompt", "subject", "answer", "foil"}, one a line; all but the prompt may be left out',
  },
  answer: {
    takes: "<text>",
    group: PROMPTS,
    repeatable: true,
    help: "what should follow (default: what the model says)",
  },
  foil: { takes: "<text>", group: PROMPTS, repeatable: true, help: "what might follow instead" },
  seed: { takes: "<n>", group: PROMPTS, help: "of draws and intervals (default 0)" },
  bos,
  "per-pair": { group: MEASURE, help: "every prompt's own values" },
} as const;

/** Complete by type: an option without a line here does not compile. */
const flags: { readonly [C in CommandName]: Flags<OptionsOf[C]> } = {
  info: {
    tokens: { takes: "<n>", group: MEASURE, help: "length of prompt for shapes and costs (default 14)" },
    json: outputs.json,
    quiet: outputs.quiet,
  },
  run: {
    prompt: { takes: "<text>", group: PROMPTS, help: "the prompt" },
    chat: { group: PROMPTS, help: "the prompt as a user's message in the model's chat template" },
    bos,
    top: { takes: "<n>", group: MEASURE, help: "how many of the most probable tokens (default 10)" },
    generate: { takes: "<n>", group: MEASURE, help: "continue the prompt by at most n tokens" },
    temperature: { takes: "<t>", group: MEASURE, help: "sample; 0 (default) takes the most probable token" },
    "top-k": { takes: "<k>", group: MEASURE, help: "sample among the k most probable tokens" },
    seed: { takes: "<n>", group: MEASURE, help: "of sampling (default 0)" },
    edit: { takes: "<file>", group: VALUES, help: 'interventions: {"edits": […], "runs": ["prompt", …]}' },
    "edit-on": {
      takes: "<when>",
      group: VALUES,
      help: "prefill (default): edit the prompt; every-step: what is generated too",
    },
    ...machine,
    ...outputs,
  },
  attribute: {
    ...pair,
    site: {
      takes: "<names>",
      group: CELLS,
      help: "sites, e.g. q,k,v,z (default) or mlp_post; TransformerLens names too",
    },
    by: {
      takes: "<dims>",
      group: CELLS,
      help: "what tells cells apart: layer and some of pos,head,kv_head,neuron,dst,src (default layer,head)",
    },
    ...labels,
    direction: {
      takes: "<way>",
      group: VALUES,
      help: "denoise (default): gradients of the corrupt run, effects of clean values; noise: the reverse",
    },
    method: {
      takes: "<name>",
      group: ESTIMATE,
      help: "atp (default), atp-star, or ig: gradients integrated along the way between the two runs",
    },
    "qk-fix": {
      group: ESTIMATE,
      negation: "only",
      help: "atp-star without queries and keys behind the softmax",
    },
    "grad-drop": {
      group: ESTIMATE,
      negation: "only",
      help: "atp-star without gradients with a block dropped",
    },
    over: {
      takes: "<what>",
      group: ESTIMATE,
      help: "ig over inputs (default) or over activations, site by site",
    },
    steps: { takes: "<n>", group: ESTIMATE, help: "of ig (default 5)" },
    rule: {
      takes: "<name>",
      group: ESTIMATE,
      help: "where steps of ig lie: midpoint (default), paper (1/m … 1), code (0 … 1 − 1/m), from corrupt to clean",
    },
    metric: {
      takes: "<name>",
      group: MEASURE,
      help: "logit_diff (default with a foil), logprob, prob, kl, kl_reverse, loss",
    },
    "verify-top": {
      takes: "<n>",
      group: MEASURE,
      help: "cells with the largest estimates that are patched exactly (default 20)",
    },
    samples: {
      takes: "<n>",
      group: MEASURE,
      help: "random subsets of the others patched together, to bound what they hide (default 64; 0: none)",
    },
    confidence: { takes: "<p>", group: MEASURE, help: "of that bound (default 0.95)" },
    "per-pair": { group: MEASURE, help: "every pair's own estimates too" },
    pathologies: {
      group: MEASURE,
      help: "instead: cells that saturation, flat gradients or cancellation hide, each with its exact effect",
    },
    recall: {
      group: MEASURE,
      help: "instead: all cells exactly, and what each method costs to find the largest (--verify-top of them)",
    },
    ...machine,
    ...outputs,
  },
  patch: {
    ...pair,
    site: {
      takes: "<names>",
      group: CELLS,
      help: "sites, e.g. resid_pre (default) or z,mlp_out; TransformerLens names too",
    },
    by: {
      takes: "<dims>",
      group: CELLS,
      help: "what tells cells apart, of layer,pos,head,kv_head,neuron,dst,src (default layer,pos)",
    },
    ...labels,
    joint: { group: CELLS, help: "all sites in each cell at once" },
    direction: {
      takes: "<way>",
      group: VALUES,
      help: "denoise (default): clean values into the corrupt run; noise: the reverse",
    },
    ablate: {
      takes: "<kind>",
      group: VALUES,
      help: "source (default): the other run's values; zero, mean, resample",
    },
    mean: {
      takes: "<over>",
      group: VALUES,
      help: "mean over each position by itself (position, default) or over all",
    },
    draws: { takes: "<n>", group: VALUES, help: "prompts drawn by resample (default 10)" },
    reference: {
      takes: "<file>",
      group: VALUES,
      help: "prompts for mean and resample, one JSON string a line (default: the corrupt ones)",
    },
    metric: {
      takes: "<name>",
      group: MEASURE,
      help: "logit_diff (default with a foil), logprob, prob, kl, kl_reverse, loss",
    },
    averaging: {
      takes: "<how>",
      group: MEASURE,
      help: "of scores over pairs: ratio-of-means (default) or mean-of-ratios",
    },
    normalize: { group: MEASURE, negation: "only", help: "no scores between the baselines" },
    "per-pair": { group: MEASURE, help: "every pair's own values" },
    verify: {
      takes: "<n>",
      group: MEASURE,
      help: "cells computed again by whole forward passes (default 4)",
    },
    ...machine,
    ...outputs,
  },
  direct: {
    ...fact,
    clean: { takes: "<text>", group: PROMPTS, help: "prompt with the behaviour, of a pair" },
    corrupt: { takes: "<text>", group: PROMPTS, help: "prompt without it, of as many tokens" },
    pairs: { takes: "<file>", group: PROMPTS, help: "JSONL of pairs, as patch takes it" },
    task: {
      takes: "<name>",
      group: PROMPTS,
      help: `built-in prompts: ${taskNames.join(", ")}`,
    },
    n: { takes: "<n>", group: PROMPTS, help: "pairs of the task (default 10)" },
    on: {
      takes: "<which>",
      group: SPLIT,
      help: "of pairs: clean (default), corrupt, or the difference of the two",
    },
    norm: {
      takes: "<how>",
      group: SPLIT,
      help: "frozen (default): the final norm's scale is the run's own, so that shares sum to the logit",
    },
    centred: { group: SPLIT, help: "logits less their mean over the vocabulary" },
    sources: { group: SPLIT, help: "heads' shares by the position they read from too" },
    neurons: { takes: "<layers>", group: SPLIT, help: "the MLPs of these layers by neuron too, e.g. 3,7-9" },
    lens: { group: SPLIT, help: "instead: the answer read off every layer and position" },
    site: { takes: "<names>", group: SPLIT, help: "with --lens (default resid_pre,resid_mid,resid_post)" },
    metric: {
      takes: "<name>",
      group: MEASURE,
      help: "with --lens: logit_diff (default with a foil), logprob, prob, loss",
    },
    ...machine,
    ...outputs,
  },
  hydra: {
    ...pair,
    clean: { takes: "<text>", group: PROMPTS, help: "prompt with the behaviour, of a pair" },
    corrupt: { takes: "<text>", group: PROMPTS, help: "prompt without it, of as many tokens" },
    answer: fact.answer,
    foil: fact.foil,
    prompt: fact.prompt,
    prompts: {
      takes: "<file>",
      group: PROMPTS,
      help: 'JSONL of prompts, one a line: a string, or {"prompt", "answer", "foil"}',
    },
    ablate: {
      takes: "<kind>",
      group: VALUES,
      help: "resample (default): outputs on other prompts in turn; mean: theirs averaged; zero",
    },
    draws: { takes: "<n>", group: VALUES, help: "prompts drawn by resample (default 10)" },
    reference: {
      takes: "<file>",
      group: VALUES,
      help: "prompts for mean and resample, one JSON string a line (default: those asked about)",
    },
    heads: { group: CELLS, negation: "only", help: "attention layers and MLPs alone" },
    clamp: {
      group: CELLS,
      help: "again with later attention, and with later MLPs, held: three times the work",
    },
    backups: { group: CELLS, help: "instead: heads ablated together, and those that step in for them" },
    first: {
      takes: "<heads>",
      group: CELLS,
      help: "with --backups: heads to begin with, e.g. 9.6,9.9 (default: those that add most themselves)",
    },
    rounds: { takes: "<n>", group: CELLS, help: "with --backups: how often heads are added (default 2)" },
    "per-round": { takes: "<n>", group: CELLS, help: "with --backups: heads of a round (default 3)" },
    centred: {
      group: MEASURE,
      negation: "only",
      help: "logits as they are (default: less their mean over the vocabulary)",
    },
    "top-percent": {
      takes: "<p>",
      group: MEASURE,
      help: "prompts with the largest shares that self-repair is broken down on (default 10)",
    },
    "per-pair": { group: MEASURE, help: "every prompt's own values" },
    ...machine,
    ...outputs,
  },
  attention: {
    ...pair,
    clean: { takes: "<text>", group: PROMPTS, help: "prompt with the behaviour, of a pair" },
    corrupt: { takes: "<text>", group: PROMPTS, help: "prompt without it, of as many tokens" },
    answer: { ...fact.answer, help: "what should follow: its token in the prompt is a role" },
    foil: { ...fact.foil, help: "what might follow instead: likewise" },
    n: { takes: "<n>", group: PROMPTS, help: "pairs of the task (default 10), sequences of --repeat (8)" },
    prompt: fact.prompt,
    prompts: {
      takes: "<file>",
      group: PROMPTS,
      help: 'JSONL of prompts, one a line: a string, or {"prompt", "answer", "foil", "subject", "roles"}',
    },
    repeat: {
      takes: "<tokens>",
      group: PROMPTS,
      help: "instead: so many random tokens, said twice: what tells induction heads apart",
    },
    from: {
      takes: "<rows>",
      group: MEASURE,
      help: "attention to roles: from the last position (last, default), or all",
    },
    patterns: {
      takes: "<heads>",
      group: MEASURE,
      help: "heads whose patterns are shown, e.g. 9.6,9.9, or all (default: the two strongest of each score)",
    },
    example: { takes: "<n>", group: MEASURE, help: "the prompt that they are of, from 0 (default 0)" },
    "per-pair": { group: MEASURE, help: "every prompt's own scores too" },
    ...machine,
    ...outputs,
  },
  redundancy: {
    text: { takes: "<file>", group: PROMPTS, help: "running text" },
    tokens: { takes: "<n>", group: PROMPTS, help: "tokens of a stretch of it (default 32)" },
    n: { takes: "<n>", group: PROMPTS, help: "stretches, from the beginning on (default 8)" },
    bos,
    blocks: { takes: "<lengths>", group: CELLS, help: "delete so many layers together too (default 2,4)" },
    middle: {
      takes: "<layers>",
      group: CELLS,
      help: "run these backwards, e.g. 8-21 (default: the middle half)",
    },
    seed: { takes: "<n>", group: MEASURE, help: "of intervals (default 0)" },
    ...machine,
    ...outputs,
  },
  corruptions: {
    ...pair,
    corruption: {
      takes: "<kinds>",
      group: CORRUPTED,
      help: "some of noise,replacement,resample,mean,zero (default: all)",
    },
    sigma: {
      takes: "<factors>",
      group: CORRUPTED,
      help: "deviations of the noise over that of the embeddings (default 1,3)",
    },
    samples: { takes: "<n>", group: CORRUPTED, help: "noised runs of each pair and deviation (default 2)" },
    draws: { takes: "<n>", group: CORRUPTED, help: "other pairs drawn by resample (default 1)" },
    symmetric: { group: CORRUPTED, help: "every pair in its reverse too: the foil as answer" },
    site: {
      takes: "<names>",
      group: CELLS,
      help: "what is restored (default resid_pre,mlp_out,attn_out); z head by head",
    },
    window: { takes: "<sizes>", group: CELLS, help: "layers of outputs restored together (default 1,5)" },
    metric: {
      takes: "<names>",
      group: MEASURE,
      help: "some of logit_diff,prob,kl,logprob (default the first three); the verdict is under the first",
    },
    reference: {
      takes: "<file>",
      group: MEASURE,
      help: "natural prompts that distances are from, one JSON string a line (default: the other pairs')",
    },
    verify: {
      takes: "<n>",
      group: MEASURE,
      help: "cells computed again by whole forward passes (default 4)",
    },
    ...machine,
    ...outputs,
  },
  edges: {
    ...pair,
    method: {
      takes: "<name>",
      group: ESTIMATE,
      help: "eap (default), eap-ig, eap-ig-activations, clean-corrupted, or exact: every edge patched",
    },
    steps: { takes: "<n>", group: ESTIMATE, help: "of eap-ig and eap-ig-activations (default 5)" },
    rule: {
      takes: "<name>",
      group: ESTIMATE,
      help: "where steps lie, from corrupt to clean: paper (default, 1/m … 1), code (0 … 1 − 1/m), midpoint",
    },
    compatible: {
      group: ESTIMATE,
      help: "eap-ig-activations as the authors' repository has it: each step counts for all edges",
    },
    direction: {
      takes: "<way>",
      group: VALUES,
      help: "noise (default): corrupt values on edges of the clean run; denoise: the reverse",
    },
    "edges-file": {
      takes: "<file>",
      group: CELLS,
      help: "only these edges: names such as a0.h1->m3, one a line, or a circuit",
    },
    "group-kv": { group: CELLS, help: "one slot for the keys and values that query heads share" },
    metric: {
      takes: "<name>",
      group: MEASURE,
      help: "logit_diff (default with a foil), logprob, prob, kl, kl_reverse, loss",
    },
    "verify-top": {
      takes: "<n>",
      group: MEASURE,
      help: "edges with the largest estimates that are patched exactly (default 20)",
    },
    verify: {
      takes: "<n>",
      group: MEASURE,
      help: "exact: edges computed again by whole forward passes (default 4)",
    },
    "per-pair": { group: MEASURE, help: "every pair's own scores too" },
    select: {
      takes: "<how>",
      group: CIRCUIT,
      help: "greedy (default): from the logits down, each edge with its target in; top-n: the largest anywhere",
    },
    size: { takes: "<n>", group: CIRCUIT, help: "edges, before loose ends are removed (default 200)" },
    signed: { group: CIRCUIT, help: "edges that help first, not the largest of either sign" },
    circuit: { takes: "<file>", group: CIRCUIT, help: "write it as JSON that the EAP-IG and MIB tools read" },
    ...machine,
    ...outputs,
  },
  trace: {
    ...fact,
    subject: { takes: "<text>", group: PROMPTS, help: "the part of the prompt whose tokens are noised" },
    site: {
      takes: "<names>",
      group: VARIANT,
      help: "what is restored (default resid_post,mlp_out,attn_out); all but states in windows",
    },
    window: { takes: "<n>", group: VARIANT, help: "layers restored together (default 10)" },
    "window-before": {
      takes: "<n>",
      group: VARIANT,
      help: "how many of them lie before the layer (default: half, rounded down)",
    },
    sever: {
      takes: "<module>",
      group: VARIANT,
      help: "mlp or attn: its outputs at the restored position stay noised",
    },
    sigma: {
      takes: "<factor>",
      group: VARIANT,
      help: "deviation of the noise over that of the embeddings (default 3)",
    },
    spread: {
      takes: "<of>",
      group: VARIANT,
      help: "embeddings that set the scale: the whole table (default) or those of the subjects",
    },
    distribution: {
      takes: "<kind>",
      group: VARIANT,
      help: "gaussian (default), uniform, or covariance: that of the embeddings",
    },
    samples: { takes: "<n>", group: VARIANT, help: "noised runs of each fact (default 10)" },
    antithetic: { group: VARIANT, help: "samples in pairs of opposite sign" },
    noise: {
      takes: "<file>",
      group: VARIANT,
      help: "safetensors with a tensor noise [samples, subject tokens, d_model], added as it is",
    },
    "write-noise": { takes: "<file>", group: VARIANT, help: "write the noise that was drawn in that form" },
    metric: {
      takes: "<name>",
      group: MEASURE,
      help: "logit_diff (default with a foil), logprob, prob, kl, kl_reverse, loss",
    },
    verify: {
      takes: "<n>",
      group: MEASURE,
      help: "cells computed again by whole forward passes (default 4)",
    },
    ...machine,
    ...outputs,
  },
};

/** Options that the command `experiment` takes over those of its file. */
export const outputNames: readonly string[] = Object.keys(outputs);

/** Gives a command its options, or some of them. */
export function addOptions(target: Command, name: CommandName, only?: readonly string[]): Command {
  const table: Readonly<Record<string, Flag>> = flags[name];
  for (const [key, flag] of Object.entries(table)) {
    if (only !== undefined && !only.includes(key)) continue;
    for (const option of optionsOf(key, flag)) target.addOption(option.helpGroup(flag.group));
  }
  return target;
}

function optionsOf(key: string, { takes, help, repeatable, negation }: Flag): Option[] {
  const option = new Option(takes === undefined ? `--${key}` : `--${key} ${takes}`, help);
  const negated = new Option(`--no-${key}`, help);
  // Commander gives a negated option the default true; undefined says that nothing was asked.
  negated.default(undefined);
  if (negation === "only") return [negated];
  if (negation === "also") return [option, new Option(`--no-${key}`, "none, whatever the setting")];
  if (repeatable === true) {
    option.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value]);
  }
  return [option];
}

/** What was typed, by the options' own names. */
export function typedOptions(command: Command): Record<string, unknown> {
  const values: Readonly<Record<string, unknown>> = command.opts();
  return Object.fromEntries(
    command.options
      .filter((option) => command.getOptionValueSource(option.attributeName()) === "cli")
      .map((option) => [option.name().replace(/^no-/, ""), values[option.attributeName()]]),
  );
}
