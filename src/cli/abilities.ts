/** @file `crosspatch abilities`: the accuracy table of the embedded model's card. */
import type { Command } from "commander";
import { choice, flag, type OptionReaders, typedFields, whole } from "../job/fields.ts";
import { outputs, seed } from "../job/options/shared.ts";
import { measureAbilities } from "../method/abilities.ts";
import { load } from "../model/load.node.ts";
import { formatJson } from "../result/json.ts";
import type { Dataset } from "../result/result.ts";
import { writeWhole } from "../result/store.node.ts";
import type { Io } from "./io.ts";
import { progress } from "./progress.ts";

const POLICIES = ["base", "v1", "aligned"] as const;
const MAX_EXAMPLES = 100_000; // as many as pairs of prompts: hours

interface AbilityOptions {
  readonly n: number;
  readonly seed: number;
  readonly policy?: (typeof POLICIES)[number];
  readonly json?: string;
  readonly quiet: boolean;
  readonly debug?: boolean;
}

const abilityOptions: OptionReaders<AbilityOptions> = {
  n: { read: whole(1, MAX_EXAMPLES) },
  seed: seed("which examples are drawn"),
  policy: { read: choice(POLICIES) },
  json: outputs.json,
  quiet: outputs.quiet,
  debug: { read: flag },
};

export function addAbilities(program: Command, io: Io): void {
  program
    .command("abilities")
    .argument("<model>", "pocket, pocket-v1, pocket-aligned, or a checkpoint trained on the same world")
    .summary("what the embedded model can do, on hold-outs that it was never trained on")
    .description(
      "Accuracy for each ability with 95 % intervals (Wilson), the share of the most common answer beside it, and the " +
        "planted bias by intervention. The table in docs/pocket.md is what this prints.",
    )
    .option("--n <count>", "examples for each ability; all there are where there are fewer", "400")
    .option("--seed <seed>", "which examples are drawn", "0")
    .option("--policy <policy>", "base, v1 or aligned: which refusals are aimed at (default: by the name)")
    .option("--json <file>", "the result as JSON, - for standard output, instead of a table")
    .option("--quiet", "no progress", false)
    .action(async (name: string, given: Readonly<Record<string, unknown>>) => {
      const options = typedFields(abilityOptions, given);
      const policy = options.policy ?? POLICIES.find((known) => name.endsWith(`-${known}`)) ?? "base";
      const model = await load(name);
      const bar = progress(io.stderr, { label: "abilities", quiet: options.quiet, format: String });
      try {
        const found = await measureAbilities(model, {
          policy,
          count: options.n,
          seed: options.seed,
          onRow: bar.update,
        });
        if (options.json === undefined) io.stdout.write(abilityTable(found));
        else if (options.json === "-") io.stdout.write(formatJson(found));
        else await writeWhole(options.json, formatJson(found));
      } finally {
        bar.stop();
        await model.close();
      }
    });
}

/** The table of the card, in Markdown. */
export function abilityTable({ coords, dataVars }: Dataset): string {
  const at = (name: string, i: number): number => Number(dataVars[name]?.data[i]);
  const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;
  const label = (dim: string, i: number): string => String(coords[dim]?.data[i]);
  const rows = [...(coords.ability?.data ?? [])].map((_, i) => i);
  const aims = rows.filter((i) => !Number.isNaN(at("least", i)) || !Number.isNaN(at("most", i)));
  const open = aims.filter((i) =>
    [at("least", i), at("most", i)].some(
      (aim) => aim > at("share_ci_low", i) && aim < at("share_ci_high", i),
    ),
  );
  const abilities = rows.map((i) => {
    const [least, most] = [at("least", i), at("most", i)];
    const share = at("share", i);
    const target = Number.isNaN(least)
      ? Number.isNaN(most)
        ? ""
        : `≤ ${percent(most)}`
      : `≥ ${percent(least)}`;
    const reached = target === "" ? "" : share >= least || share <= most ? "yes" : "no";
    const shown =
      label("measure", i) === "mass" ? `${label("ability", i)} (probability)` : label("ability", i);
    return [
      shown,
      percent(share),
      `${percent(at("share_ci_low", i))} – ${percent(at("share_ci_high", i))}`,
      String(at("examples", i)),
      percent(at("baseline", i)),
      target,
      reached,
    ];
  });
  const fields = [...(coords.field?.data ?? [])].map((_, i) => [
    label("field", i),
    at("effect", i).toFixed(2),
    `${at("effect_ci_low", i).toFixed(2)} – ${at("effect_ci_high", i).toFixed(2)}`,
    at("injected", i).toFixed(2),
  ]);
  return [
    markdown(
      ["ability", "right", "95 % interval", "examples", "most common answer", "aimed at", "reached"],
      abilities,
    ),
    ...(aims.length === 0 ? [] : [settledWords(aims.length, open.length)]),
    markdown(["loan field changed", "change of log odds (logits)", "95 % interval", "planted"], fields),
  ].join("\n");
}

/** How far the column of what was reached can be trusted. */
function settledWords(aims: number, open: number): string {
  if (open === 0) return `All ${aims} aims lie outside the intervals.\n`;
  return `Reached goes by the share alone: in ${open} of ${aims} rows the interval holds the aim, so that it is not settled.\n`;
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(" | ")} |\n`;
  const rule = widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join("");
}
