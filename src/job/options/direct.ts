/** @file The options of `direct`. */
import { type DirectOn, directOn } from "../../method/direct.ts";
import { type LensMetric, lensMetrics, STREAM } from "../../method/lens.ts";
import { choice, flag, indices } from "../fields.ts";
import { site } from "./cells.ts";
import type { CommandOptions } from "./entry.ts";
import {
  cleanOfPair,
  type FactOptions,
  factFaults,
  facts,
  isPaired,
  PAIRED,
  type PairOptions,
  pairFaults,
  pairs,
} from "./prompts.ts";
import { type MachineOptions, machine, needs, type OutputOptions, outputs, showFaults } from "./shared.ts";

export interface DirectOptions
  extends OutputOptions,
    MachineOptions,
    FactOptions,
    Pick<PairOptions, "clean" | "corrupt" | "pairs" | "task" | "n"> {
  readonly on?: DirectOn;
  readonly norm?: "frozen";
  readonly centred?: boolean;
  readonly sources?: boolean;
  /** Layers. */
  readonly neurons?: readonly number[];
  readonly lens?: boolean;
  readonly site?: readonly string[];
  readonly metric?: LensMetric;
}

export const direct: CommandOptions<DirectOptions> = {
  table: {
    ...facts,
    clean: cleanOfPair,
    corrupt: pairs.corrupt,
    pairs: { ...pairs.pairs, help: "JSONL of pairs, as patch takes it" },
    task: pairs.task,
    n: pairs.n,
    on: {
      read: choice(directOn),
      takes: "<which>",
      under: "split",
      help: "of pairs: clean (default), corrupt, or the difference of the two",
    },
    norm: {
      read: choice(["frozen"]),
      takes: "<how>",
      under: "split",
      help: "frozen (default): the final norm's scale is the run's own, so that shares sum to the logit",
    },
    centred: { read: flag, under: "split", help: "logits less their mean over the vocabulary" },
    sources: { read: flag, under: "split", help: "heads' shares by the position they read from too" },
    neurons: {
      read: indices,
      takes: "<layers>",
      under: "split",
      help: "the MLPs of these layers by neuron too, e.g. 3,7-9",
    },
    lens: { read: flag, under: "split", help: "instead: the answer read off every layer and position" },
    site: { ...site(`with --lens (default ${STREAM})`), under: "split" },
    metric: {
      read: choice(lensMetrics),
      takes: "<name>",
      under: "measure",
      help: "with --lens: logit_diff (default with a foil), logprob, prob, loss",
    },
    ...machine,
    ...outputs,
  },
  together(options) {
    const { prompt, facts: file, lens } = options;
    const paired = isPaired(options);
    const faults = paired && prompt === undefined && file === undefined ? pairFaults(options) : [];
    const only = (["on", "norm", "centred", "sources", "neurons"] as const).filter(
      (option) => options[option] !== undefined,
    );
    return [
      ...factFaults(options, paired ? [PAIRED] : []).filter(() => !(paired && faults.length > 0)),
      ...faults,
      ...needs(options, [
        ["site", "lens"],
        ["metric", "lens"],
      ]),
      ...(lens ? only : []).map((option) => ({ option, found: "--lens", wanted: "one of the two" })),
      ...showFaults(options),
    ];
  },
};
