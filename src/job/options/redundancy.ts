/** @file The options of `redundancy`. */
import { DEFAULT_BLOCKS } from "../../method/layer-redundancy.ts";
import { indices, text, whole } from "../fields.ts";
import type { CommandOptions } from "./entry.ts";
import { bos, count } from "./prompts.ts";
import { type MachineOptions, machine, type OutputOptions, outputs, seed, showFaults } from "./shared.ts";

/** Tokens of a stretch and stretches where none are asked for: about a minute on two cores for a model of 135 M. */
export const DEFAULT_STRETCH_TOKENS = 32;
export const DEFAULT_STRETCHES = 8;

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

const RANGE = "one range of layers, such as 8-21";
/** Layers next to each other, ascending. */
const layerRange = indices.refine(
  (layers) => layers.every((layer, place) => place === 0 || layer === (layers[place - 1] ?? 0) + 1),
  { error: RANGE },
);

export const redundancy: CommandOptions<RedundancyOptions> = {
  table: {
    text: { read: text, takes: "<file>", file: "read", under: "prompts", help: "running text" },
    tokens: {
      read: whole(2),
      takes: "<n>",
      under: "prompts",
      help: `tokens of a stretch of it (default ${DEFAULT_STRETCH_TOKENS})`,
    },
    n: count(`stretches, from the beginning on (default ${DEFAULT_STRETCHES})`),
    bos,
    blocks: {
      read: indices,
      takes: "<lengths>",
      under: "cells",
      help: `delete so many layers together too (default ${DEFAULT_BLOCKS})`,
    },
    middle: {
      read: layerRange,
      takes: "<layers>",
      under: "cells",
      help: "run these backwards, e.g. 8-21 (default: the middle half)",
    },
    seed: seed("intervals"),
    ...machine,
    ...outputs,
  },
  together(options) {
    if (options.text !== undefined) return showFaults(options);
    return [
      { option: "text", found: "none", wanted: "a file of running text", fix: "Give --text FILE." },
      ...showFaults(options),
    ];
  },
};
