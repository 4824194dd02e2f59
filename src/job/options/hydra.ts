/** @file The options of `hydra`. */

import { DEFAULT_DRAWS } from "../../method/ablated-units.ts";
import type { Ablation } from "../../method/ablation.ts";
import { DEFAULT_PER_ROUND, DEFAULT_ROUNDS, MAX_ROUNDS } from "../../method/backups.ts";
import { DEFAULT_TOP_PERCENT } from "../../method/hydra.ts";
import { between, choice, flag, heads, whole } from "../fields.ts";
import type { CommandOptions, OptionFault } from "./entry.ts";
import { type PromptOptions, promptFaults, promptsWith } from "./prompts.ts";
import {
  draws,
  type MachineOptions,
  machine,
  type OutputOptions,
  outputs,
  perPair,
  reference,
  showFaults,
} from "./shared.ts";

export interface HydraOptions extends OutputOptions, MachineOptions, PromptOptions {
  readonly ablate?: Exclude<Ablation["kind"], "source">;
  readonly draws?: number;
  /** File of reference prompts. */
  readonly reference?: string;
  readonly heads?: boolean;
  readonly clamp?: boolean;
  readonly backups?: boolean;
  /** Heads, such as 9.6. */
  readonly first?: readonly string[];
  readonly rounds?: number;
  readonly "per-round"?: number;
  readonly centred?: boolean;
  readonly "top-percent"?: number;
  readonly "per-pair"?: boolean;
}

export const hydra: CommandOptions<HydraOptions> = {
  table: {
    ...promptsWith("answer", "foil"),
    ablate: {
      read: choice(["zero", "mean", "resample"]),
      takes: "<kind>",
      under: "values",
      help: "resample (default): outputs on other prompts in turn; mean: theirs averaged; zero",
    },
    draws: draws("prompts", DEFAULT_DRAWS),
    reference: reference("those asked about"),
    heads: { read: flag, under: "cells", negation: "only", help: "attention layers and MLPs alone" },
    clamp: {
      read: flag,
      under: "cells",
      help: "again with later attention, and with later MLPs, held: three times the work",
    },
    backups: {
      read: flag,
      under: "cells",
      help: "instead: heads ablated together, and those that step in for them",
    },
    first: {
      read: heads(),
      takes: "<heads>",
      under: "cells",
      help: "with --backups: heads to begin with, e.g. 9.6,9.9 (default: those that add most themselves)",
    },
    rounds: {
      read: whole(0, MAX_ROUNDS),
      takes: "<n>",
      under: "cells",
      help: `with --backups: how often heads are added (default ${DEFAULT_ROUNDS})`,
    },
    "per-round": {
      read: whole(1, MAX_ROUNDS),
      takes: "<n>",
      under: "cells",
      help: `with --backups: heads of a round (default ${DEFAULT_PER_ROUND})`,
    },
    centred: {
      read: flag,
      under: "measure",
      negation: "only",
      help: "logits as they are (default: less their mean over the vocabulary)",
    },
    "top-percent": {
      read: between(0, 100),
      takes: "<p>",
      under: "measure",
      help: `prompts with the largest shares that self-repair is broken down on (default ${DEFAULT_TOP_PERCENT})`,
    },
    "per-pair": perPair("prompt's own values"),
    ...machine,
    ...outputs,
  },
  together(options) {
    const { ablate = "resample", backups } = options;
    const faults: OptionFault[] = [...promptFaults(options), ...showFaults(options)];
    const refuse = (option: keyof HydraOptions & string, found: string, wanted: string): void => {
      if (options[option] !== undefined) faults.push({ option, found, wanted });
    };
    if (ablate !== "resample") refuse("draws", `--ablate ${ablate}`, "--ablate resample with it");
    if (ablate === "zero") refuse("reference", "--ablate zero", "--ablate mean or resample with it");
    for (const option of ["first", "rounds", "per-round"] as const) {
      if (backups !== true) refuse(option, "no --backups", "--backups with it");
    }
    for (const option of ["heads", "clamp", "top-percent", "per-pair"] as const) {
      if (backups === true) refuse(option, "--backups", "one of the two");
    }
    return faults;
  },
};
