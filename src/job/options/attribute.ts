/** @file The options of `attribute`. */
import { MAX_DRAWS } from "../../method/ablation.ts";
import {
  DEFAULT_BY,
  DEFAULT_CONFIDENCE,
  DEFAULT_SAMPLES,
  DEFAULT_SITES,
  DEFAULT_STEPS,
  DEFAULT_VERIFIED_TOP,
} from "../../method/attribution.ts";
import { type IntegratedOver, integratedOver, type StepRule } from "../../method/attribution-gradients.ts";
import type { Direction } from "../../metric/normalise.ts";
import type { MetricName } from "../../metric/plan.ts";
import { between, choice, flag, whole } from "../fields.ts";
import { type CellOptions, cells } from "./cells.ts";
import type { CommandOptions, OptionFault } from "./entry.ts";
import { type PairOptions, pairFaults, pairs } from "./prompts.ts";
import {
  direction,
  type MachineOptions,
  machine,
  metric,
  type OutputOptions,
  outputs,
  perPair,
  rule,
  showFaults,
  steps,
  verifyTop,
} from "./shared.ts";

export interface AttributeOptions extends OutputOptions, MachineOptions, PairOptions, CellOptions {
  readonly direction?: Direction;
  readonly method?: "atp" | "atp-star" | "ig";
  readonly "qk-fix"?: boolean;
  readonly "grad-drop"?: boolean;
  readonly over?: IntegratedOver;
  readonly steps?: number;
  readonly rule?: StepRule;
  readonly metric?: MetricName;
  readonly "verify-top"?: number;
  readonly samples?: number;
  readonly confidence?: number;
  readonly "per-pair"?: boolean;
  readonly pathologies?: boolean;
  readonly recall?: boolean;
}

export const attribute: CommandOptions<AttributeOptions> = {
  table: {
    ...pairs,
    ...cells({
      site: `sites, e.g. ${DEFAULT_SITES} (default) or mlp_post; TransformerLens names too`,
      by: `what tells cells apart: layer and some of pos,head,kv_head,neuron,dst,src (default ${DEFAULT_BY})`,
    }),
    direction: direction(
      "denoise (default): gradients of the corrupt run, effects of clean values; noise: the reverse",
    ),
    method: {
      read: choice(["atp", "atp-star", "ig"]),
      takes: "<name>",
      under: "estimate",
      help: "atp (default), atp-star, or ig: gradients integrated along the way between the two runs",
    },
    "qk-fix": {
      read: flag,
      under: "estimate",
      negation: "only",
      help: "atp-star without queries and keys behind the softmax",
    },
    "grad-drop": {
      read: flag,
      under: "estimate",
      negation: "only",
      help: "atp-star without gradients with a block dropped",
    },
    over: {
      read: choice(integratedOver),
      takes: "<what>",
      under: "estimate",
      help: "ig over inputs (default) or over activations, site by site",
    },
    steps: steps("ig", DEFAULT_STEPS),
    rule: rule(
      "where steps of ig lie: midpoint (default), paper (1/m … 1), code (0 … 1 − 1/m), from corrupt to clean",
    ),
    metric,
    "verify-top": verifyTop("cells", DEFAULT_VERIFIED_TOP),
    samples: {
      read: whole(0, MAX_DRAWS),
      takes: "<n>",
      under: "measure",
      help: `random subsets of the others patched together, to bound what they hide (default ${DEFAULT_SAMPLES}; 0: none)`,
    },
    confidence: {
      read: between(0.5, 1),
      takes: "<p>",
      under: "measure",
      help: `of that bound (default ${DEFAULT_CONFIDENCE})`,
    },
    "per-pair": perPair("pair's own estimates too"),
    pathologies: {
      read: flag,
      under: "measure",
      help: "instead: cells that saturation, flat gradients or cancellation hide, each with its exact effect",
    },
    recall: {
      read: flag,
      under: "measure",
      help: "instead: all cells exactly, and what each method costs to find the largest (--verify-top of them)",
    },
    ...machine,
    ...outputs,
  },
  together(options) {
    const { method = "atp" } = options;
    const faults: OptionFault[] = [...pairFaults(options), ...showFaults(options)];
    const onlyFor = (option: keyof AttributeOptions & string, wanted: string): void => {
      if (options[option] === undefined || wanted === method) return;
      faults.push({ option, found: `--method ${method}`, wanted: `--method ${wanted} with it` });
    };
    for (const option of ["qk-fix", "grad-drop"] as const) onlyFor(option, "atp-star");
    for (const option of ["over", "steps", "rule"] as const) onlyFor(option, "ig");
    if (options.recall && options["verify-top"] === 0)
      faults.push({ option: "verify-top", found: "0 with --recall", wanted: "at least 1 cell to find" });
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
};
