/** @file The options of each command on the command line, from the table that experiment files are read by. */
import { type Command, Option } from "commander";
import { headings, type OptionEntry } from "../job/options/entry.ts";
import { outputs } from "../job/options/shared.ts";
import { type CommandName, commandOptions } from "../job/options.ts";

/** Options that the command `experiment` takes over those of its file. */
export const outputNames: readonly string[] = Object.keys(outputs);

/** Gives a command its options, or some of them. */
export function addOptions(target: Command, name: CommandName, only?: readonly string[]): Command {
  const table: Readonly<Record<string, OptionEntry<unknown>>> = commandOptions[name].table;
  for (const [key, entry] of Object.entries(table)) {
    if (only !== undefined && !only.includes(key)) continue;
    for (const option of optionsOf(key, entry)) target.addOption(option.helpGroup(headings[entry.under]));
  }
  return target;
}

function optionsOf(key: string, { takes, help, repeatable, negation }: OptionEntry<unknown>): Option[] {
  const option = new Option(takes === undefined ? `--${key}` : `--${key} ${takes}`, help);
  const negated = new Option(`--no-${key}`, help);
  // Commander gives a negated option the default true; undefined says that nothing was asked.
  negated.default(undefined);
  if (negation === "only") return [negated];
  if (negation === "also") return [option, new Option(`--no-${key}`, "none, whatever the setting")];
  if (repeatable === true) {
    option.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value]);
  }
  return [option];
}

/** What was typed, by the options' own names. */
export function typedOptions(command: Command): Record<string, unknown> {
  const values: Readonly<Record<string, unknown>> = command.opts();
  return Object.fromEntries(
    command.options
      .filter((option) => command.getOptionValueSource(option.attributeName()) === "cli")
      .map((option) => [option.name().replace(/^no-/, ""), values[option.attributeName()]]),
  );
}
