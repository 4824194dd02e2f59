/** @file Reading the options of a command: each by itself, then those that need another or exclude it. */
import type { Fault } from "../core/errors.ts";
import { readFields } from "./fields.ts";
import { type CommandName, commandOptions, type OptionsOf } from "./options.ts";

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
  const { table, together } = commandOptions[command];
  const { options, faults } = readFields<OptionsOf[C]>(table, raw);
  // An option that could not be read still counts as given.
  const seen = new Set(faults.map(({ option }) => option));
  const unread = Object.fromEntries(Object.entries(raw).filter(([option]) => seen.has(option)));
  const others = together({ ...unread, ...options }).filter(({ option }) => !seen.has(option));
  return {
    options,
    faults: [...faults, ...others].map(({ option, ...fault }) => ({ where: whereOf(option), ...fault })),
  };
}
