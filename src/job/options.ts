/** @file The options of every command, as data: the same names on a command line and in an experiment file. */
import { type AttentionOptions, attention } from "./options/attention.ts";
import { type AttributeOptions, attribute } from "./options/attribute.ts";
import { type CorruptionsOptions, corruptions } from "./options/corruptions.ts";
import { type DirectOptions, direct } from "./options/direct.ts";
import { type EdgesOptions, edges } from "./options/edges.ts";
import type { CommandOptions, OptionEntry } from "./options/entry.ts";
import { type HydraOptions, hydra } from "./options/hydra.ts";
import { type McqOptions, mcq } from "./options/mcq.ts";
import { type PatchOptions, patch } from "./options/patch.ts";
import { type RedundancyOptions, redundancy } from "./options/redundancy.ts";
import { type InfoOptions, info, type RunOptions, run } from "./options/run.ts";
import { type TraceOptions, trace } from "./options/trace.ts";

/** What each command is given. */
export interface OptionsOf {
  readonly info: InfoOptions;
  readonly run: RunOptions;
  readonly patch: PatchOptions;
  readonly attribute: AttributeOptions;
  readonly edges: EdgesOptions;
  readonly trace: TraceOptions;
  readonly corruptions: CorruptionsOptions;
  readonly direct: DirectOptions;
  readonly attention: AttentionOptions;
  readonly redundancy: RedundancyOptions;
  readonly hydra: HydraOptions;
  readonly mcq: McqOptions;
}
export type CommandName = keyof OptionsOf;

/** Complete by type: a command without options, or an option without an entry, does not compile. */
export const commandOptions: { readonly [C in CommandName]: CommandOptions<OptionsOf[C]> } = {
  info,
  run,
  patch,
  attribute,
  edges,
  trace,
  corruptions,
  direct,
  attention,
  redundancy,
  hydra,
  mcq,
};

/** The options of a command with entries of some kind. */
export function optionsWhere(
  command: CommandName,
  isWanted: (entry: OptionEntry<unknown>) => boolean,
): readonly string[] {
  const table: Readonly<Record<string, OptionEntry<unknown>>> = commandOptions[command].table;
  return Object.entries(table).flatMap(([option, entry]) => (isWanted(entry) ? [option] : []));
}
