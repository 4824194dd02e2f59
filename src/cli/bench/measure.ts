/** @file Measures rows against peers: each in turn with crosspatch (A B A B …), in the same minutes. */
import { random } from "../../core/random.ts";
import type { Model } from "../../model/model.ts";
import type { Pair } from "../../model/pair.ts";
import { minimalFlops } from "./minimal-flops.ts";
import { plainRow, sweepRow, type Timed } from "./own.ts";
import type { Measured } from "./peer.ts";
import type { CellLabels, RowKind } from "./rows.ts";
import { axesOf, cellsOf, KINDS } from "./rows.ts";
import { maxDifference, type Spread, spread } from "./statistics.ts";

/** Values further apart than this are not the same number in float32: the row is marked and the command fails. */
export const TOLERANCE = 5e-4;

/** A row to measure. */
export interface Row {
  readonly kind: RowKind;
  readonly pairs: readonly Pair[];
  /** Whether peers do every cell; else a sample of them, and the time of the rest is computed from it. */
  readonly whole: boolean;
}

/** What crosspatch is held against. */
export interface Rival {
  readonly name: string;
  readonly label: string;
  readonly versions: Readonly<Record<string, string>>;
  /** Cells of one forward pass. */
  readonly batch: number;
  /** Whole passes that a pair takes before its first cell, counted in cells. */
  readonly ahead: number;
  measure(job: {
    readonly kind: RowKind;
    readonly cells: readonly CellLabels[];
    readonly whole: boolean;
    readonly pairs: readonly Pair[];
  }): Promise<Measured>;
}

export type Comparison =
  | {
      readonly rival: string;
      readonly label: string;
      readonly versions: Readonly<Record<string, string>>;
      /** Cells and pairs that were run; the seconds are those of all. */
      readonly cells: number;
      readonly pairs: number;
      readonly seconds: Spread;
      /** Its time over that of the crosspatch run just before. */
      readonly ratio: Spread;
      readonly maxDifference: number;
      readonly agrees: boolean;
    }
  | { readonly rival: string; readonly label: string; readonly skip: string };

export interface RowResult {
  readonly model: string;
  readonly row: string;
  readonly tokens: number;
  readonly pairs: number;
  readonly cells: number;
  readonly seconds: Spread;
  /** Of all cores together, where it was measured. */
  readonly cpuSeconds?: number;
  /** Least FLOPs that the row needs, and the share of the matmul rate reached on them. */
  readonly flops: number;
  readonly rate: number;
  /** Largest resident sets while it ran, where they were measured. */
  readonly peaks?: readonly { readonly label: string; readonly bytes: number }[];
  readonly comparisons: readonly Comparison[];
}

export interface MeasureOptions {
  readonly repeats: number;
  /** Cells of a sample. */
  readonly sample: number;
  readonly say: (line: string) => void;
}

/** A row and what was found so far. */
export interface Running {
  readonly row: Row;
  readonly axes: readonly (readonly number[])[];
  readonly cells: readonly CellLabels[];
  readonly seconds: number[];
  readonly comparisons: Comparison[];
}

export function start(model: Model, row: Row): Running {
  const axes = axesOf(row.kind, model.architecture, row.pairs[0]?.clean.ids.length ?? 0);
  return { row, axes, cells: cellsOf(axes), seconds: [], comparisons: [] };
}

/** Measures one rival on one row and adds what was found. */
export async function compare(
  model: Model,
  { running, rival }: { readonly running: Running; readonly rival: Rival },
  options: MeasureOptions,
): Promise<void> {
  const { row, axes, cells, seconds, comparisons } = running;
  const { name, label, versions } = rival;
  const chosen = choose(running, { batch: rival.batch, sample: options.sample });
  const job = { kind: row.kind, ...chosen, cells: chosen.indices.map((index) => cells[index] as CellLabels) };
  const own = (): Promise<Timed> => sweepRow(model, { kind: row.kind, axes, pairs: row.pairs });

  const ours = await own(); // warm-up
  const warm = await rival.measure({
    ...job,
    cells: job.cells.slice(0, 2),
    whole: false,
    pairs: job.pairs.slice(0, 1),
  });
  if ("skip" in warm) {
    comparisons.push({ rival: name, label, skip: warm.skip });
    return;
  }
  const scale =
    ((cells.length + rival.ahead) / (job.cells.length + rival.ahead)) *
    (row.pairs.length / Math.max(1, job.pairs.length));
  const times: number[] = [];
  const ratios: number[] = [];
  let difference = 0;
  for (let repeat = 0; repeat < options.repeats; repeat++) {
    const mine = await own();
    const theirs = await rival.measure(job);
    if ("skip" in theirs) throw new Error(`${label}: ${theirs.skip}`);
    seconds.push(mine.seconds);
    times.push(theirs.seconds * scale);
    ratios.push((theirs.seconds * scale) / mine.seconds);
    const same = ours.values
      .slice(0, job.pairs.length)
      .map((values) => chosen.indices.map((index) => values[index] ?? Number.NaN));
    difference = Math.max(difference, maxDifference(same, theirs.values));
  }
  comparisons.push({
    rival: name,
    label,
    versions,
    cells: job.cells.length,
    pairs: job.pairs.length,
    seconds: spread(times),
    ratio: spread(ratios),
    maxDifference: difference,
    agrees: difference <= TOLERANCE,
  });
  options.say(`${KINDS[row.kind].label}: ${label} ${spread(ratios).median.toPrecision(3)}×`);
}

const SAMPLED_PAIRS = 2;

/** The cells that a rival runs: all, or a seeded sample that fills its batches, on the first pairs. */
function choose(
  { row, cells }: Running,
  { batch, sample }: { readonly batch: number; readonly sample: number },
): { readonly indices: readonly number[]; readonly pairs: readonly Pair[]; readonly whole: boolean } {
  const wanted = Math.ceil(sample / batch) * batch;
  const all = [...cells.keys()];
  if (row.whole || wanted >= cells.length) return { indices: all, pairs: row.pairs, whole: true };
  return {
    indices: random(cells.length).shuffle(all).slice(0, wanted),
    pairs: row.pairs.slice(0, SAMPLED_PAIRS),
    whole: false,
  };
}

/** Sums a row up. */
export function finish(
  model: Model,
  { running, name, matmul }: { readonly running: Running; readonly name: string; readonly matmul: number },
): RowResult {
  const { row, cells, seconds, comparisons } = running;
  const flops = minimalFlops(model, row.pairs, { kind: row.kind, cells });
  const found = spread(seconds);
  return {
    model: name,
    row: KINDS[row.kind].label,
    tokens: row.pairs[0]?.clean.ids.length ?? 0,
    pairs: row.pairs.length,
    cells: cells.length,
    seconds: found,
    flops,
    rate: flops / found.median / matmul,
    comparisons,
  };
}

/** crosspatch's own whole forward passes, of the source and of the edited run for each cell, as a rival that needs no Python. */
export function plainRival(model: Model): Rival {
  return {
    name: "plain",
    label: "crosspatch, whole passes",
    versions: {},
    batch: 1,
    ahead: 0,
    measure: (job) => plainRow(model, job),
  };
}
