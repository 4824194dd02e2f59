/** @file The options of `edges`. */

import type { StepRule } from "../../method/attribution-gradients.ts";
import { DEFAULT_EDGE_STEPS, DEFAULT_VERIFIED_EDGES } from "../../method/edge-attribution.ts";
import { DEFAULT_CIRCUIT_SIZE } from "../../method/edge-circuit.ts";
import type { Selection } from "../../method/edge-pruning.ts";
import type { EdgeEstimator } from "../../method/edge-scores.ts";
import type { Direction } from "../../metric/normalise.ts";
import type { MetricName } from "../../metric/plan.ts";
import { choice, flag, text, whole } from "../fields.ts";
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
  verify,
  verifyTop,
} from "./shared.ts";

export interface EdgesOptions extends OutputOptions, MachineOptions, PairOptions {
  readonly method?: EdgeEstimator["kind"] | "exact";
  readonly steps?: number;
  readonly rule?: StepRule;
  readonly compatible?: boolean;
  readonly direction?: Direction;
  /** File of edges: names, or a circuit. */
  readonly "edges-file"?: string;
  readonly "group-kv"?: boolean;
  readonly metric?: MetricName;
  readonly "verify-top"?: number;
  readonly verify?: number;
  readonly "per-pair"?: boolean;
  readonly select?: Selection;
  /** Edges of the circuit. */
  readonly size?: number;
  readonly signed?: boolean;
  /** File of the circuit, written. */
  readonly circuit?: string;
}

export const edges: CommandOptions<EdgesOptions> = {
  table: {
    ...pairs,
    method: {
      read: choice(["eap", "eap-ig", "eap-ig-activations", "clean-corrupted", "exact"]),
      takes: "<name>",
      under: "estimate",
      help: "eap (default), eap-ig, eap-ig-activations, clean-corrupted, or exact: every edge patched",
    },
    steps: steps("eap-ig and eap-ig-activations", DEFAULT_EDGE_STEPS),
    rule: rule(
      "where steps lie, from corrupt to clean: paper (default, 1/m … 1), code (0 … 1 − 1/m), midpoint",
    ),
    compatible: {
      read: flag,
      under: "estimate",
      help: "eap-ig-activations as the authors' repository has it: each step counts for all edges",
    },
    direction: direction("noise (default): corrupt values on edges of the clean run; denoise: the reverse"),
    "edges-file": {
      read: text,
      takes: "<file>",
      file: "read",
      under: "cells",
      help: "only these edges: names such as a0.h1->m3, one a line, or a circuit",
    },
    "group-kv": {
      read: flag,
      under: "cells",
      help: "one slot for the keys and values that query heads share",
    },
    metric,
    "verify-top": verifyTop("edges", DEFAULT_VERIFIED_EDGES),
    verify: verify("exact: edges"),
    "per-pair": perPair("pair's own scores too"),
    select: {
      read: choice(["top-n", "greedy"]),
      takes: "<how>",
      under: "circuit",
      help: "greedy (default): from the logits down, each edge with its target in; top-n: the largest anywhere",
    },
    size: {
      read: whole(1),
      takes: "<n>",
      under: "circuit",
      help: `edges, before loose ends are removed (default ${DEFAULT_CIRCUIT_SIZE})`,
    },
    signed: {
      read: flag,
      under: "circuit",
      help: "edges that help first, not the largest of either sign",
    },
    circuit: {
      read: text,
      takes: "<file>",
      file: "written",
      under: "circuit",
      help: "write it as JSON that the EAP-IG and MIB tools read",
    },
    ...machine,
    ...outputs,
  },
  together(options) {
    const { method = "eap" } = options;
    const faults: OptionFault[] = [...pairFaults(options), ...showFaults(options)];
    const onlyFor = (option: keyof EdgesOptions & string, wanted: readonly string[]): void => {
      if (options[option] === undefined || wanted.includes(method)) return;
      const methods = wanted.map((one) => `--method ${one}`).join(" or ");
      faults.push({ option, found: `--method ${method}`, wanted: `${methods} with it` });
    };
    for (const option of ["steps", "rule"] as const) onlyFor(option, ["eap-ig", "eap-ig-activations"]);
    onlyFor("compatible", ["eap-ig-activations"]);
    onlyFor("verify", ["exact"]);
    if (method === "exact" && options["verify-top"] !== undefined)
      faults.push({
        option: "verify-top",
        found: "--method exact",
        wanted: "a method that estimates with it",
      });
    return faults;
  },
};
