/** @file The options of `trace`. */
import { MAX_DRAWS } from "../../method/ablation.ts";
import { DEFAULT_FACTOR, DEFAULT_SAMPLES, type Distribution, distributions } from "../../method/noise.ts";
import {
  DEFAULT_SITES,
  DEFAULT_WINDOW,
  MAX_WINDOW,
  type Severed,
  severable,
} from "../../method/tracing-cells.ts";
import { type Spread, spreads } from "../../method/tracing-setup.ts";
import type { MetricName } from "../../metric/plan.ts";
import { atLeast, choice, flag, text, whole } from "../fields.ts";
import { site } from "./cells.ts";
import type { CommandOptions } from "./entry.ts";
import { type FactOptions, factFaults, facts } from "./prompts.ts";
import {
  type MachineOptions,
  machine,
  metric,
  type OutputOptions,
  outputs,
  showFaults,
  verify,
} from "./shared.ts";

export interface TraceOptions extends OutputOptions, MachineOptions, FactOptions {
  readonly subject?: string;
  readonly site?: readonly string[];
  readonly window?: number;
  readonly "window-before"?: number;
  readonly sever?: Severed;
  /** Of the noise, over that of the embeddings. */
  readonly sigma?: number;
  readonly spread?: Spread;
  readonly distribution?: Distribution;
  readonly samples?: number;
  readonly antithetic?: boolean;
  /** File of noise, read and written. */
  readonly noise?: string;
  readonly "write-noise"?: string;
  readonly metric?: MetricName;
  readonly verify?: number;
}

export const trace: CommandOptions<TraceOptions> = {
  table: {
    ...facts,
    subject: {
      read: text,
      takes: "<text>",
      under: "prompts",
      help: "the part of the prompt whose tokens are noised",
    },
    site: {
      ...site(`what is restored (default ${DEFAULT_SITES}); all but states in windows`),
      under: "variant",
    },
    window: {
      read: whole(1, MAX_WINDOW),
      takes: "<n>",
      under: "variant",
      help: `layers restored together (default ${DEFAULT_WINDOW})`,
    },
    "window-before": {
      read: whole(0, MAX_WINDOW),
      takes: "<n>",
      under: "variant",
      help: "how many of them lie before the layer (default: half, rounded down)",
    },
    sever: {
      read: choice(severable),
      takes: "<module>",
      under: "variant",
      help: "mlp or attn: its outputs at the restored position stay noised",
    },
    sigma: {
      read: atLeast(0),
      takes: "<factor>",
      under: "variant",
      help: `deviation of the noise over that of the embeddings (default ${DEFAULT_FACTOR})`,
    },
    spread: {
      read: choice(spreads),
      takes: "<of>",
      under: "variant",
      help: "embeddings that set the scale: the whole table (default) or those of the subjects",
    },
    distribution: {
      read: choice(distributions),
      takes: "<kind>",
      under: "variant",
      help: "gaussian (default), uniform, or covariance: that of the embeddings",
    },
    samples: {
      read: whole(1, MAX_DRAWS),
      takes: "<n>",
      under: "variant",
      help: `noised runs of each fact (default ${DEFAULT_SAMPLES})`,
    },
    antithetic: { read: flag, under: "variant", help: "samples in pairs of opposite sign" },
    noise: {
      read: text,
      takes: "<file>",
      file: "read",
      under: "variant",
      help: "safetensors with a tensor noise [samples, subject tokens, d_model], added as it is",
    },
    "write-noise": {
      read: text,
      takes: "<file>",
      file: "written",
      under: "variant",
      help: "write the noise that was drawn in that form",
    },
    metric,
    verify: verify(),
    ...machine,
    ...outputs,
  },
  together(options) {
    const faults = [...factFaults(options), ...showFaults(options)];
    if (options.prompt !== undefined && options.subject === undefined) {
      faults.push({ option: "subject", found: "none", wanted: "the part of the prompt that is noised" });
    }
    if (options.facts !== undefined && options.subject !== undefined) {
      faults.push({ option: "subject", found: "--facts beside it", wanted: "subjects in the file" });
    }
    if (options.noise !== undefined) {
      for (const option of DRAWN) {
        if (options[option] === undefined) continue;
        faults.push({ option, found: "--noise beside it", wanted: "one of the two" });
      }
    }
    return faults;
  },
};

/** What noise from a file leaves no room for. */
const DRAWN = ["sigma", "spread", "distribution", "samples", "antithetic", "write-noise"] as const;
