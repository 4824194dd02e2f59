/** @file The options of each command, as data: the same names on a command line and in an experiment file. */
import type { Ablation } from "../method/ablation.ts";
import type { AttendedFrom } from "../method/attention-targets.ts";
import type { StepRule } from "../method/attribution-gradients.ts";
import type { CorruptionKind } from "../method/corruption-kinds.ts";
import type { ComparedMetric } from "../method/corruption-sweep.ts";
import type { DirectOn } from "../method/direct.ts";
import type { Selection } from "../method/edge-pruning.ts";
import type { EdgeEstimator } from "../method/edge-scores.ts";
import type { Distribution } from "../method/noise.ts";
import type { Severed } from "../method/tracing-cells.ts";
import type { Averaging, Direction } from "../metric/normalise.ts";
import type { MetricName } from "../metric/plan.ts";
import type { TaskName } from "../task/registry.ts";

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
export type PairOptions = Pick<
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

export interface AttentionOptions extends OutputOptions, MachineOptions, PairOptions {
  readonly prompt?: string;
  /** File of prompts. */
  readonly prompts?: string;
  /** Random tokens of a sequence, said twice. */
  readonly repeat?: number;
  readonly from?: AttendedFrom;
  /** Heads, such as 9.6, or all. */
  readonly patterns?: readonly string[];
  readonly example?: number;
  readonly "per-pair"?: boolean;
}

export interface CorruptionsOptions
  extends OutputOptions,
    MachineOptions,
    PairOptions,
    Pick<PatchOptions, "draws" | "reference" | "site" | "verify"> {
  readonly corruption?: readonly CorruptionKind[];
  /** Of the noise, over that of the embeddings, one after the other. */
  readonly sigma?: readonly number[];
  readonly samples?: number;
  readonly window?: readonly number[];
  readonly metric?: readonly ComparedMetric[];
  readonly symmetric?: boolean;
}

export interface EdgesOptions
  extends OutputOptions,
    MachineOptions,
    PairOptions,
    Pick<PatchOptions, "direction" | "metric" | "per-pair" | "verify"> {
  readonly method?: EdgeEstimator["kind"] | "exact";
  readonly steps?: number;
  readonly rule?: StepRule;
  readonly compatible?: boolean;
  /** File of edges: names, or a circuit. */
  readonly "edges-file"?: string;
  readonly "group-kv"?: boolean;
  readonly "verify-top"?: number;
  readonly select?: Selection;
  /** Edges of the circuit. */
  readonly size?: number;
  readonly signed?: boolean;
  /** File of the circuit, written. */
  readonly circuit?: string;
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
  readonly corruptions: CorruptionsOptions;
  readonly edges: EdgesOptions;
  readonly attention: AttentionOptions;
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
