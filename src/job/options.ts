/** @file The options of each command, as data: the same names on a command line and in an experiment file. */
import type { Fault } from "../core/errors.ts";
import type { Ablation } from "../method/ablation.ts";
import type { StepRule } from "../method/attribution-gradients.ts";
import type { DirectOn } from "../method/direct.ts";
import type { Distribution } from "../method/noise.ts";
import type { Severed } from "../method/tracing-cells.ts";
import type { Averaging, Direction } from "../metric/normalise.ts";
import { type MetricName, metricNames } from "../metric/plan.ts";
import { MAX_PAIRS } from "../model/pair-spec.ts";
import { type TaskName, taskNames } from "../task/registry.ts";
import {
  atLeast,
  between,
  bytes,
  choice,
  type FieldsOf,
  flag,
  indices,
  names,
  type OptionFault,
  readFields,
  text,
  texts,
  whole,
} from "./fields.ts";

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

/** Layers of a window: more than any model has. */
const MAX_WINDOW = 10_000;

/** Finest way of integrated gradients: their error is far below that of float32 then. */
const MAX_STEPS = 10_000;

/** Where results go; without any of these, the terminal. */
export interface OutputOptions {
  /** `-` is standard output. */
  readonly json?: string;
  readonly parquet?: string;
  readonly html?: string;
  readonly svg?: string;
  readonly png?: string;
  /** A directory for the result, its report, its figures and the experiment. */
  readonly out?: string;
  /** The terminal as well. */
  readonly show?: boolean;
  readonly quiet?: boolean;
}

/** The machine's part. */
export interface MachineOptions {
  readonly device?: string;
  readonly threads?: number;
  /** Bytes for decoded weights and the state of a sweep together. */
  readonly memory?: number;
}

export interface InfoOptions extends Pick<OutputOptions, "json" | "quiet"> {
  /** Length of the prompt that shapes and costs are given for. */
  readonly tokens?: number;
}

export interface RunOptions extends OutputOptions, MachineOptions {
  readonly prompt?: string;
  readonly chat?: boolean;
  readonly bos?: boolean;
  readonly top?: number;
  readonly generate?: number;
  readonly temperature?: number;
  readonly "top-k"?: number;
  readonly seed?: number;
  /** File of edits. */
  readonly edit?: string;
  readonly "edit-on"?: "prefill" | "every-step";
}

export interface PatchOptions extends OutputOptions, MachineOptions {
  readonly clean?: string;
  readonly corrupt?: string;
  readonly answer?: readonly string[];
  readonly foil?: readonly string[];
  /** File of pairs. */
  readonly pairs?: string;
  readonly task?: TaskName;
  readonly n?: number;
  readonly seed?: number;
  readonly bos?: boolean;
  readonly site?: readonly string[];
  readonly by?: readonly string[];
  readonly layer?: readonly number[];
  readonly pos?: readonly number[];
  readonly head?: readonly number[];
  readonly "kv-head"?: readonly number[];
  readonly neuron?: readonly number[];
  readonly dst?: readonly number[];
  readonly src?: readonly number[];
  readonly joint?: boolean;
  readonly ungroup?: boolean;
  readonly direction?: Direction;
  readonly ablate?: Ablation["kind"];
  readonly mean?: "position" | "all";
  readonly draws?: number;
  /** File of reference prompts. */
  readonly reference?: string;
  readonly metric?: MetricName;
  readonly averaging?: Averaging;
  readonly normalize?: boolean;
  readonly "per-pair"?: boolean;
  readonly verify?: number;
}

/** One prompt with what should follow, a file of such, or pairs as {@link PatchOptions} has them. */
export interface FactOptions extends Pick<PatchOptions, "answer" | "foil" | "seed" | "bos" | "per-pair"> {
  readonly prompt?: string;
  /** File of prompts. */
  readonly facts?: string;
}

export interface DirectOptions
  extends OutputOptions,
    MachineOptions,
    FactOptions,
    Pick<PatchOptions, "clean" | "corrupt" | "pairs" | "task" | "n"> {
  readonly on?: DirectOn;
  readonly norm?: "frozen";
  readonly centred?: boolean;
  readonly sources?: boolean;
  /** Layers. */
  readonly neurons?: readonly number[];
  readonly lens?: boolean;
  readonly site?: readonly string[];
  readonly metric?: Exclude<MetricName, "kl" | "kl_reverse">;
}

export interface TraceOptions extends OutputOptions, MachineOptions, FactOptions {
  readonly subject?: string;
  readonly site?: readonly string[];
  /** Of the noise, over that of the embeddings. */
  readonly sigma?: number;
  readonly spread?: "table" | "subjects";
  readonly distribution?: Distribution;
  readonly samples?: number;
  readonly antithetic?: boolean;
  /** File of noise, read and written. */
  readonly noise?: string;
  readonly "write-noise"?: string;
  readonly window?: number;
  readonly "window-before"?: number;
  readonly sever?: Severed;
  readonly metric?: MetricName;
  readonly verify?: number;
}

/** Prompts come from where those of `patch` do. */
type PairOptions = Pick<
  PatchOptions,
  "clean" | "corrupt" | "answer" | "foil" | "pairs" | "task" | "n" | "seed" | "bos"
>;

export interface AttributeOptions
  extends OutputOptions,
    MachineOptions,
    PairOptions,
    Pick<PatchOptions, "layer" | "pos" | "head" | "kv-head" | "neuron" | "dst" | "src"> {
  readonly site?: readonly string[];
  readonly by?: readonly string[];
  readonly ungroup?: boolean;
  readonly direction?: Direction;
  readonly metric?: MetricName;
  readonly method?: "atp" | "atp-star" | "ig";
  readonly "qk-fix"?: boolean;
  readonly "grad-drop"?: boolean;
  readonly over?: "inputs" | "activations";
  readonly steps?: number;
  readonly rule?: StepRule;
  readonly "verify-top"?: number;
  readonly samples?: number;
  readonly confidence?: number;
  readonly pathologies?: boolean;
  readonly recall?: boolean;
  readonly "per-pair"?: boolean;
}

export interface RedundancyOptions extends OutputOptions, MachineOptions {
  /** File of running text. */
  readonly text?: string;
  /** Tokens of one stretch of it. */
  readonly tokens?: number;
  /** Stretches. */
  readonly n?: number;
  readonly bos?: boolean;
  readonly blocks?: readonly number[];
  readonly middle?: readonly number[];
  readonly seed?: number;
}

export interface HydraOptions
  extends OutputOptions,
    MachineOptions,
    PairOptions,
    Pick<PatchOptions, "draws" | "reference" | "per-pair"> {
  readonly prompt?: string;
  /** File of prompts. */
  readonly prompts?: string;
  readonly ablate?: Exclude<Ablation["kind"], "source">;
  readonly centred?: boolean;
  readonly heads?: boolean;
  readonly clamp?: boolean;
  readonly "top-percent"?: number;
  readonly backups?: boolean;
  /** Heads, such as 9.6. */
  readonly first?: readonly string[];
  readonly rounds?: number;
  readonly "per-round"?: number;
}

/** The options of every command. */
export interface OptionsOf {
  readonly hydra: HydraOptions;
  readonly attribute: AttributeOptions;
  readonly redundancy: RedundancyOptions;
  readonly direct: DirectOptions;
  readonly trace: TraceOptions;
  readonly info: InfoOptions;
  readonly run: RunOptions;
  readonly patch: PatchOptions;
}
export type CommandName = keyof OptionsOf;

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

const patch: FieldsOf<PatchOptions> = {
  clean: text,
  corrupt: text,
  answer: texts,
  foil: texts,
  pairs: text,
  task: choice(taskNames),
  n: whole(1, MAX_PAIRS),
  seed: whole(0, MAX_SEED),
  bos: flag,
  site: names,
  by: names,
  layer: indices,
  pos: indices,
  head: indices,
  "kv-head": indices,
  neuron: indices,
  dst: indices,
  src: indices,
  joint: flag,
  ungroup: flag,
  direction: choice(["denoise", "noise"]),
  ablate: choice(["source", "zero", "mean", "resample"]),
  mean: choice(["position", "all"]),
  draws: whole(1, MAX_DRAWS),
  reference: text,
  metric: choice(metricNames),
  averaging: choice(["ratio-of-means", "mean-of-ratios"]),
  normalize: flag,
  "per-pair": flag,
  verify: whole(0),
  ...machine,
  ...outputs,
};

const attribute: FieldsOf<AttributeOptions> = {
  clean: text,
  corrupt: text,
  answer: texts,
  foil: texts,
  pairs: text,
  task: choice(taskNames),
  n: whole(1, MAX_PAIRS),
  seed: whole(0, MAX_SEED),
  bos: flag,
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
  "per-pair": flag,
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
  prompt: text,
  prompts: text,
  answer: texts,
  foil: texts,
  clean: text,
  corrupt: text,
  pairs: text,
  task: choice(taskNames),
  n: whole(1, MAX_PAIRS),
  seed: whole(0, MAX_SEED),
  bos: flag,
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

/** Complete by type. */
export const fields: { readonly [C in CommandName]: FieldsOf<OptionsOf[C]> } = {
  info,
  run,
  patch,
  attribute,
  direct,
  trace,
  redundancy,
  hydra,
};

/** What single options cannot tell: those that need another, or exclude it. */
const together: { readonly [C in CommandName]: (options: OptionsOf[C]) => readonly OptionFault[] } = {
  info: () => [],
  run(options) {
    const faults = needs(options, [
      ["temperature", "generate"],
      ["top-k", "generate"],
      ["edit-on", "edit"],
      ["edit-on", "generate"],
    ]);
    if (options.prompt === undefined) {
      faults.push({ option: "prompt", found: "none", wanted: "a text", fix: "Give --prompt TEXT." });
    }
    return [...faults, ...showFaults(options)];
  },
  patch(options) {
    const { ablate = "source" } = options;
    const faults = [...promptFaults(options), ...showFaults(options)];
    const onlyFor = (option: "mean" | "draws" | "reference", kinds: readonly Ablation["kind"][]): void => {
      if (options[option] === undefined || kinds.includes(ablate)) return;
      const wanted = kinds.map((kind) => `--ablate ${kind}`).join(" or ");
      faults.push({ option, found: `--ablate ${ablate}`, wanted: `${wanted} with it` });
    };
    onlyFor("mean", ["mean"]);
    onlyFor("draws", ["resample"]);
    onlyFor("reference", ["mean", "resample"]);
    return faults;
  },
  attribute(options) {
    const { method = "atp" } = options;
    const faults = [...promptFaults(options), ...showFaults(options)];
    const onlyFor = (option: keyof AttributeOptions & string, wanted: string): void => {
      if (options[option] === undefined || wanted === method) return;
      faults.push({ option, found: `--method ${method}`, wanted: `--method ${wanted} with it` });
    };
    for (const option of ["qk-fix", "grad-drop"] as const) onlyFor(option, "atp-star");
    for (const option of ["over", "steps", "rule"] as const) onlyFor(option, "ig");
    for (const option of ["recall", "pathologies"] as const) {
      if (!options[option]) continue;
      const others = (["method", "samples", "confidence", "per-pair"] as const).filter(
        (other) => options[other] !== undefined,
      );
      if (option === "recall" && options.pathologies)
        faults.push({ option, found: "--pathologies", wanted: "one of the two" });
      for (const other of others) {
        faults.push({
          option: other,
          found: `--${option}`,
          wanted: `one of the two: --${option} has every method`,
        });
      }
    }
    return faults;
  },
  direct(options) {
    const { prompt, facts, lens, clean, corrupt, pairs, task } = options;
    const paired = [clean, corrupt, pairs, task].some((value) => value !== undefined);
    const faults = paired && prompt === undefined && facts === undefined ? promptFaults(options) : [];
    const others = paired ? ["--clean and --corrupt, --pairs or --task"] : [];
    const only = (["on", "norm", "centred", "sources", "neurons"] as const).filter(
      (option) => options[option] !== undefined,
    );
    return [
      ...factFaults(options, others).filter(() => !(paired && faults.length > 0)),
      ...faults,
      ...needs(options, [
        ["site", "lens"],
        ["metric", "lens"],
      ]),
      ...(lens ? only : []).map((option) => ({ option, found: "--lens", wanted: "one of the two" })),
      ...showFaults(options),
    ];
  },
  hydra(options) {
    const { ablate = "resample", backups } = options;
    const faults = [...hydraPromptFaults(options), ...showFaults(options)];
    const expect = (option: keyof HydraOptions & string, found: string, wanted: string): void => {
      if (options[option] !== undefined) faults.push({ option, found, wanted });
    };
    if (ablate !== "resample") expect("draws", `--ablate ${ablate}`, "--ablate resample with it");
    if (ablate === "zero") expect("reference", "--ablate zero", "--ablate mean or resample with it");
    for (const option of ["first", "rounds", "per-round"] as const) {
      if (backups !== true) expect(option, "no --backups", "--backups with it");
    }
    for (const option of ["heads", "clamp", "top-percent", "per-pair"] as const) {
      if (backups === true) expect(option, "--backups", "one of the two");
    }
    const strange = options.first?.filter((name) => !/^\d{1,5}\.\d{1,5}$/.test(name)) ?? [];
    if (strange.length > 0)
      faults.push({ option: "first", found: strange.join(", "), wanted: "heads such as 9.6,9.9" });
    return faults;
  },
  redundancy: (options) => [...textFaults(options), ...showFaults(options)],
  trace(options) {
    const faults = [...factFaults(options), ...showFaults(options)];
    if (options.prompt !== undefined && options.subject === undefined) {
      faults.push({ option: "subject", found: "none", wanted: "the part of the prompt that is noised" });
    }
    if (options.facts !== undefined && options.subject !== undefined) {
      faults.push({ option: "subject", found: "--facts beside it", wanted: "subjects in the file" });
    }
    if (options.noise !== undefined) {
      for (const option of [
        "sigma",
        "spread",
        "distribution",
        "samples",
        "antithetic",
        "write-noise",
      ] as const) {
        if (options[option] === undefined) continue;
        faults.push({ option, found: "--noise beside it", wanted: "one of the two" });
      }
    }
    return faults;
  },
};

/** Prompts of `direct` and `trace` come from exactly one place. */
function factFaults(options: FactOptions, others: readonly string[] = []): OptionFault[] {
  const { prompt, facts } = options;
  const given = [
    ...(prompt === undefined ? [] : ["--prompt"]),
    ...(facts === undefined ? [] : ["--facts"]),
    ...others,
  ];
  if (given.length !== 1) {
    return [
      {
        option: facts === undefined ? "prompt" : "facts",
        found: given.length === 0 ? "no prompts" : given.join(", "),
        wanted: "prompts from one place: --prompt, --facts FILE, or what else the command takes",
      },
    ];
  }
  if (facts === undefined || (options.answer === undefined && options.foil === undefined)) return [];
  return [{ option: "facts", found: "--answer or --foil beside it", wanted: "answers in the file" }];
}

/** Prompts of `hydra` come from exactly one place. */
function hydraPromptFaults(options: HydraOptions): OptionFault[] {
  const { prompt, prompts, clean, corrupt, pairs, task, answer, foil, n } = options;
  const paired = [clean, corrupt, pairs, task].some((value) => value !== undefined);
  if (paired && prompt === undefined && prompts === undefined) return promptFaults(options);
  const given = [
    ...(prompt === undefined ? [] : ["--prompt"]),
    ...(prompts === undefined ? [] : ["--prompts"]),
    ...(paired ? ["--clean and --corrupt, --pairs or --task"] : []),
  ];
  const faults: OptionFault[] = [];
  if (given.length !== 1) {
    faults.push({
      option: "prompts",
      found: given.length === 0 ? "no prompts" : given.join(", "),
      wanted:
        "prompts from one place: --prompts FILE, --prompt, --clean and --corrupt, --pairs FILE or --task NAME",
    });
  } else if (prompts !== undefined && (answer !== undefined || foil !== undefined)) {
    faults.push({ option: "prompts", found: "--answer or --foil beside it", wanted: "answers in the file" });
  }
  if (n !== undefined && task === undefined)
    faults.push({ option: "n", found: "no --task", wanted: "--task with it" });
  return faults;
}

/** One file of text. */
function textFaults(options: RedundancyOptions): OptionFault[] {
  if (options.text !== undefined) return [];
  return [{ option: "text", found: "none", wanted: "a file of running text", fix: "Give --text FILE." }];
}

function needs<T extends object>(
  options: T,
  pairs: readonly (readonly [keyof T & string, keyof T & string])[],
) {
  return pairs
    .filter(([option, other]) => options[option] !== undefined && options[other] === undefined)
    .map(
      ([option, other]): OptionFault => ({
        option,
        found: `no --${other}`,
        wanted: `--${other} with it`,
      }),
    );
}

function showFaults({ json, show }: OutputOptions): OptionFault[] {
  if (json !== "-" || show !== true) return [];
  return [{ option: "show", found: "--json -", wanted: "standard output for one of them" }];
}

/** Prompts come from exactly one place. */
function promptFaults(
  options: Pick<PatchOptions, "clean" | "corrupt" | "pairs" | "task" | "answer" | "foil" | "n">,
): OptionFault[] {
  const { clean, corrupt, pairs, task } = options;
  const typed = [clean, corrupt, options.answer, options.foil].some((value) => value !== undefined);
  const given = [
    ...(typed ? ["--clean and --corrupt"] : []),
    ...(pairs === undefined ? [] : ["--pairs"]),
    ...(task === undefined ? [] : ["--task"]),
  ];
  const faults: OptionFault[] = [];
  if (given.length !== 1) {
    faults.push({
      option: pairs === undefined ? (task === undefined ? "clean" : "task") : "pairs",
      found: given.length === 0 ? "no prompts" : given.join(", "),
      wanted: "prompts from one of --clean and --corrupt, --pairs FILE, --task NAME",
    });
  } else if (typed) {
    for (const option of ["clean", "corrupt"] as const) {
      if (options[option] === undefined) faults.push({ option, found: "none", wanted: "a prompt" });
    }
  }
  if (options.n !== undefined && task === undefined) {
    faults.push({ option: "n", found: "no --task", wanted: "--task with it" });
  }
  return faults;
}

/** What could be read of the options of a command, and everything that is wrong with them. */
export interface ReadOptions<C extends CommandName> {
  readonly options: OptionsOf[C];
  readonly faults: readonly Fault[];
}

/**
 * Reads the options of a command.
 * @param whereOf how the user gave an option, e.g. `by` → `--by`
 */
export function readOptions<C extends CommandName>(
  command: C,
  raw: Readonly<Record<string, unknown>>,
  whereOf: (option: string) => string,
): ReadOptions<C> {
  const { options, faults } = readFields<OptionsOf[C]>(fields[command], raw);
  // An option that could not be read still counts as given.
  const seen = new Set(faults.map(({ option }) => option));
  const unread = Object.fromEntries(Object.entries(raw).filter(([option]) => seen.has(option)));
  const others = together[command]({ ...unread, ...options }).filter(({ option }) => !seen.has(option));
  return {
    options,
    faults: [...faults, ...others].map(({ option, ...fault }) => ({ where: whereOf(option), ...fault })),
  };
}
