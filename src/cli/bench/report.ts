/** @file The speed table as text: for the terminal, and as Markdown. */
import { formatBytes, formatFlops } from "../../job/cost.ts";
import type { Growth } from "./growth.ts";
import type { Comparison, RowResult } from "./measure.ts";
import { TOLERANCE } from "./measure.ts";
import type { Spread } from "./statistics.ts";

/** Peak memory of a sweep in a process of its own, with and without a budget. */
export interface MemoryResult {
  readonly model: string;
  readonly row: string;
  readonly weightBytes: number;
  readonly peakBytes: number;
  readonly seconds: number;
  readonly budget: {
    readonly bytes: number;
    readonly peakBytes: number;
    readonly seconds: number;
    /** Whether every value is the same bit for bit. */
    readonly identical: boolean;
  };
}

/** Everything that one run of the command found. */
export interface BenchResult {
  readonly format: "crosspatch.bench/1";
  readonly date: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryBytes: number;
    readonly system: string;
    /** Running processes waiting for a core when the command began, by the system's one-minute average. */
    readonly load: number;
  };
  readonly threads: number;
  readonly repeats: number;
  readonly software: Readonly<Record<string, string>>;
  /** FLOP/s of the engine's own matrix product. */
  readonly matmul: number;
  readonly rows: readonly RowResult[];
  readonly memory: readonly MemoryResult[];
  readonly growth?: Growth | undefined;
  /** Peers that could not be run, and why. */
  readonly left_out: Readonly<Record<string, string>>;
}

/** Whether every value of every peer agrees. */
export function agrees({ rows, memory }: Pick<BenchResult, "rows" | "memory">): boolean {
  return (
    rows.every(({ comparisons }) => comparisons.every((found) => "skip" in found || found.agrees)) &&
    memory.every(({ budget }) => budget.identical)
  );
}

const three = (value: number): string => Number(value.toPrecision(3)).toString();
const times = ({ median, min, max }: Spread): string => `${three(median)}× (${three(min)}–${three(max)})`;
const seconds = ({ median }: Spread): string => `${three(median)} s`;

const COLUMNS = ["", "seconds", "ratio, median (min–max)", "cells run", "max difference"];

function comparisonRow(found: Comparison, { cells, pairs }: RowResult): string[] {
  if ("skip" in found) return [found.label, "–", found.skip, "–", "–"];
  const isWhole = found.cells === cells && found.pairs === pairs;
  return [
    found.label,
    isWhole ? seconds(found.seconds) : `~${seconds(found.seconds)}`,
    times(found.ratio),
    isWhole ? "all" : `${found.cells * found.pairs} of ${cells * pairs}`,
    `${found.maxDifference.toExponential(1)}${found.agrees ? "" : " DIFFERS"}`,
  ];
}

function tableOf(
  row: RowResult,
  matmul: number,
): { readonly heading: string; readonly lines: readonly string[][] } {
  const { model, tokens, pairs, cells } = row;
  const share = `${Math.round(100 * row.rate)} % of ${formatFlops(matmul)}/s`;
  const busy = row.cpuSeconds === undefined ? "" : `, ${three(row.cpuSeconds)} CPU s`;
  return {
    heading: `${model} · ${row.row} · ${tokens} tokens, ${pairs} pair${pairs === 1 ? "" : "s"}, ${cells * pairs} cells`,
    lines: [
      ["crosspatch", seconds(row.seconds), `${share} on ${formatFlops(row.flops)}${busy}`, "all", ""],
      ...row.comparisons.map((found) => comparisonRow(found, row)),
    ],
  };
}

function notes(result: BenchResult): string[] {
  const memory = result.memory.map(
    ({ model, row, weightBytes, peakBytes, seconds: free, budget }) =>
      `${model}, ${row}: peak memory ${formatBytes(peakBytes)}, ${three(peakBytes / weightBytes)}× the float32 ` +
      `weights; with --memory ${formatBytes(budget.bytes)} ${formatBytes(budget.peakBytes)}, ` +
      `${three(budget.seconds / free)}× the time, values ${budget.identical ? "bit-identical" : "DIFFERENT"}`,
  );
  const peaks = result.rows.flatMap(({ model, row, peaks: found = [] }) =>
    found.length === 0
      ? []
      : [
          `${model}, ${row}: peak memory once the model is open ${found
            .map(({ label, bytes }) => `${label} ${formatBytes(bytes)}`)
            .join(", ")}`,
        ],
  );
  const growth =
    result.growth === undefined
      ? []
      : [
          `growth of time, as a power of the size: ${Object.entries(result.growth.exponents)
            .map(([axis, power]) => `${axis} ${power.toFixed(2)}`)
            .join(", ")} (1 is linear)`,
        ];
  const out = Object.entries(result.left_out).map(([peer, reason]) => `left out: ${peer}: ${reason}`);
  return [...memory, ...peaks, ...growth, ...out];
}

/** For a terminal. */
export function text(result: BenchResult): string {
  const blocks = result.rows.map((row) => {
    const { heading, lines } = tableOf(row, result.matmul);
    const table = [COLUMNS, ...lines];
    const widths = COLUMNS.map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0)));
    const body = table.map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
    return [heading, ...body].join("\n");
  });
  return `${[...blocks, notes(result).join("\n")].filter((block) => block !== "").join("\n\n")}\n`;
}

/** As Markdown, to be kept. */
export function markdown(result: BenchResult, options: { readonly figure?: string | undefined }): string {
  const { machine, software } = result;
  const head = [
    `# crosspatch bench, ${result.date}`,
    "",
    `${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)}, ${machine.system}; ` +
      `${result.threads} threads, float32; load ${machine.load.toFixed(2)} at the start.`,
    "",
    Object.entries(software)
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
    "",
    `Matrix products of this machine, measured in the same run: ${formatFlops(result.matmul)}/s. Ratios are a peer's ` +
      `time over that of the crosspatch run just before, ${result.repeats} repeats in turn; \`~\` marks times computed ` +
      `from a sample of cells. Values may differ by ${TOLERANCE}.`,
  ];
  const escaped = (cell: string): string => cell.replaceAll("|", "\\|");
  const tables = result.rows.flatMap((row) => {
    const { heading, lines } = tableOf(row, result.matmul);
    return [
      "",
      `## ${heading}`,
      "",
      ...[COLUMNS, COLUMNS.map(() => "---"), ...lines].map((line) => `| ${line.map(escaped).join(" | ")} |`),
    ];
  });
  const figure = options.figure === undefined ? [] : ["", `![growth](${options.figure})`];
  return `${[...head, ...tables, "", ...notes(result).map((line) => `- ${line}`), ...figure].join("\n")}\n`;
}
