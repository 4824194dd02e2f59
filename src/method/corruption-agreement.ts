/**
 * @file How far two corruptions find the same: largest effect, cells that stand out, order of all cells; each with an
 * interval. Means and shares of cells are resampled; ranks and largest values, which resamples would bias, are jackknifed.
 */

import { jackknife, leftOut, type Ranged } from "../numeric/jackknife.ts";
import { largestAt, meanOfRows, middle, outlying } from "../numeric/resampled.ts";
import { drawResamples, mean, pearson, ranks } from "../numeric/statistics.ts";

/** Standard deviations from the mean beyond which a cell counts as detected (Zhang & Nanda 2024, section 3). */
const DETECTION_DEVIATIONS = 2;
/** Resamples: the interval's ends then rest on a dozen draws each. */
const RESAMPLES = 500;
/** A gap of the other sign in more resamples than this has an interval that holds 0. */
const TAIL = 0.025;

/** Effects of one grid in one corruption under one metric, positive towards the clean run. */
export interface Effects {
  /** [unit, cell]: pairs, or the samples of a single pair. */
  readonly data: Float64Array;
  /** [unit]: clean less corrupted, positive where the corruption takes the behaviour away. */
  readonly gaps: Float64Array;
}

/** Both ends of every cell's interval; NaN where there is none. */
interface Ends {
  readonly low: Float64Array;
  readonly high: Float64Array;
}

/** What one corruption finds. */
export interface Finding {
  /** [cell] mean over units. */
  readonly effect: Float64Array;
  readonly effectEnds: Ends;
  /** [cell]: mean effect over the mean gap of the units that have the cell. */
  readonly share: Float64Array;
  /** Effect and gap resampled together; none where the gap's interval holds 0. */
  readonly shareEnds: Ends;
  /** [cell]: 1 or −1 where the cell stands out, else 0; and in what share of resamples it does. */
  readonly detected: Int8Array;
  readonly detectedShare: Float64Array;
  /** Mean gap over the reference's. */
  readonly taken: Ranged;
  /** Largest effect: its cell, and its share of the gap. */
  readonly peakCell: number;
  readonly peakShare: Ranged;
  /** Largest effect over the reference's, as it is and as shares of the gaps. */
  readonly peakRatio: Ranged;
  readonly peakShareRatio: Ranged;
  /** Detected with the same sign here and in the reference. */
  readonly sharedDetections: number;
}

/** [corruption][corruption] or [metric][metric]: Spearman's correlation of all cells' effects. */
export type Agreement = readonly (readonly Ranged[])[];

export interface Comparison {
  /** [corruption] */
  readonly findings: readonly Finding[];
  readonly agreement: Agreement;
}

/** What some of the units say. */
interface Said {
  /** [corruption][cell] */
  readonly effects: readonly Float64Array[];
  readonly shares: readonly Float64Array[];
  /** [corruption] */
  readonly gaps: readonly number[];
  /** [corruption]: cell of the largest effect. */
  readonly peaks: readonly number[];
  /** [corruption][corruption] */
  readonly agreement: readonly (readonly number[])[];
}

/**
 * Compares corruptions on one grid under one metric. Corruptions with as many units share their resamples, and leave the
 * same ones out; one of a single unit varies in none.
 *
 * @param reference index of the corruption that gaps, peaks and detections are held against.
 */
export function compare(
  all: readonly Effects[],
  { cells, reference, seed }: { readonly cells: number; readonly reference: number; readonly seed: number },
): Comparison {
  const { whole, ranged, agreement } = said(all, cells);
  const detected = whole.effects.map((effects) => outlying(effects, DETECTION_DEVIATIONS));
  const peak = ({ effects, peaks }: Said, of: number): number => effects[of]?.[peaks[of] ?? -1] ?? Number.NaN;
  const share = ({ shares, peaks }: Said, of: number): number => shares[of]?.[peaks[of] ?? -1] ?? Number.NaN;
  const findings = all.map((one, i): Finding => {
    const own = detected[i] ?? new Int8Array(cells);
    const found = {
      effect: whole.effects[i] ?? new Float64Array(cells),
      share: whole.shares[i] ?? new Float64Array(cells),
      detected: own,
    };
    return {
      ...found,
      ...resampled(one, { cells, seed, found }),
      taken: ranged([i, reference], ({ gaps }) => (gaps[i] ?? NaN) / (gaps[reference] ?? NaN)),
      peakCell: whole.peaks[i] ?? -1,
      peakShare: ranged([i], (from) => share(from, i)),
      peakRatio: ranged([i, reference], (from) => peak(from, i) / peak(from, reference)),
      peakShareRatio: ranged([i, reference], (from) => share(from, i) / share(from, reference)),
      sharedDetections: own.reduce(
        (sum, sign, cell) => sum + (sign !== 0 && sign === detected[reference]?.[cell] ? 1 : 0),
        0,
      ),
    };
  });
  return { findings, agreement };
}

/** Rank correlations of every one with every other alone. */
export function agreementOf(all: readonly Effects[], cells: number): Agreement {
  return said(all, cells).agreement;
}

/** All units together, and intervals of whatever they say. */
function said(
  all: readonly Effects[],
  cells: number,
): {
  readonly whole: Said;
  /** An interval by leaving units out; none where none of the corruptions named has several. */
  readonly ranged: (
    of: readonly number[],
    statistic: (from: Said) => number,
    range?: readonly [number, number],
  ) => Ranged;
  readonly agreement: Agreement;
} {
  const gaps = all.map((one) => gapsByCell(one, cells));
  const units = all.map((one) => one.gaps.length);
  const of = (picks: readonly Int32Array[]): Said => sayings(all, { cells, gaps, picks });
  const everyone = units.map((count) => Int32Array.from({ length: count }, (_, unit) => unit));
  const whole = of(everyone);
  const counts = [...new Set(units)].filter((count) => count > 1);
  const without = counts.map((count) =>
    leftOut(count).map((rest) => of(everyone.map((own, i) => (units[i] === count ? rest : own)))),
  );
  const ranged = (
    which: readonly number[],
    statistic: (from: Said) => number,
    range?: readonly [number, number],
  ): Ranged => {
    const varying = counts.map((count) => which.some((i) => units[i] === count));
    const sets = without.filter((_, at) => varying[at]).map((list) => list.map(statistic));
    return jackknife(statistic(whole), sets, range);
  };
  const agreement = all.map((_, i) =>
    all.map((__, j) => ranged(i === j ? [] : [i, j], (from) => from.agreement[i]?.[j] ?? NaN, [-1, 1])),
  );
  return { whole, ranged, agreement };
}

/** [unit, cell]: the unit's gap where it has the cell. */
function gapsByCell({ data, gaps }: Effects, cells: number): Float64Array {
  return data.map((value, at) => (Number.isNaN(value) ? value : (gaps[Math.floor(at / cells)] ?? NaN)));
}

function sayings(
  all: readonly Effects[],
  {
    cells,
    gaps,
    picks,
  }: {
    readonly cells: number;
    /** [corruption]: gaps by cell. */
    readonly gaps: readonly Float64Array[];
    readonly picks: readonly Int32Array[];
  },
): Said {
  const effects = all.map(({ data }, i) => meanOfRows(data, cells, picks[i] ?? []));
  const present = Array.from({ length: cells }, (_, cell) => cell).filter((cell) =>
    effects.every((list) => !Number.isNaN(list[cell] ?? Number.NaN)),
  );
  return {
    effects,
    shares: effects.map((list, i) => {
      const below = meanOfRows(gaps[i] ?? new Float64Array(0), cells, picks[i] ?? []);
      return list.map((effect, cell) => effect / (below[cell] ?? Number.NaN));
    }),
    gaps: all.map((one, i) => mean(Array.from(picks[i] ?? [], (unit) => one.gaps[unit] ?? Number.NaN))),
    peaks: effects.map((list) => largestAt(list)),
    agreement: symmetric(effects.map((list) => ranks(present.map((cell) => list[cell] ?? 0)))),
  };
}

/** Intervals of one corruption's cells by resampling units. */
function resampled(
  { data, gaps }: Effects,
  {
    cells,
    seed,
    found: { effect, share, detected },
  }: {
    readonly cells: number;
    readonly seed: number;
    readonly found: Pick<Finding, "effect" | "share" | "detected">;
  },
): Pick<Finding, "effectEnds" | "shareEnds" | "detectedShare"> {
  const count = gaps.length;
  const ends = (): Ends => ({
    low: new Float64Array(cells).fill(Number.NaN),
    high: new Float64Array(cells).fill(Number.NaN),
  });
  const [effectEnds, shareEnds] = [ends(), ends()];
  if (count < 2) return { effectEnds, shareEnds, detectedShare: Float64Array.from(detected, Math.abs) };
  const { indices } = drawResamples(count, { seed, resamples: RESAMPLES });
  const byCell = gapsByCell({ data, gaps }, cells);
  const drawn = Array.from({ length: RESAMPLES }, (_, resample) => {
    const picks = indices.subarray(resample * count, (resample + 1) * count);
    const effects = meanOfRows(data, cells, picks);
    return {
      effects,
      gaps: meanOfRows(byCell, cells, picks),
      detected: outlying(effects, DETECTION_DEVIATIONS),
    };
  });
  for (let cell = 0; cell < cells; cell++) {
    // What a single unit has comes out the same in every resample that has it.
    if (unitsWith(data, cell, cells) < 2) continue;
    const effects = drawn.map((from) => from.effects[cell] ?? Number.NaN);
    const below = drawn.map((from) => from.gaps[cell] ?? Number.NaN);
    set(effectEnds, cell, { value: effect[cell] ?? Number.NaN, ...middle(effects) });
    const [fall, rise] = [(gap: number) => gap <= 0, (gap: number) => gap >= 0].map(
      (is) => below.filter(is).length / RESAMPLES,
    );
    // A share of what may be nothing may be anything.
    if (Math.min(fall ?? 1, rise ?? 1) > TAIL) continue;
    const shares = effects.map((one, at) => one / (below[at] ?? Number.NaN));
    set(shareEnds, cell, { value: share[cell] ?? Number.NaN, ...middle(shares) });
  }
  return {
    effectEnds,
    shareEnds,
    detectedShare: Float64Array.from(detected, (_, cell) =>
      mean(drawn.map((from) => (from.detected[cell] === 0 ? 0 : 1))),
    ),
  };
}

function unitsWith(data: Float64Array, cell: number, cells: number): number {
  let found = 0;
  for (let at = cell; at < data.length; at += cells) if (!Number.isNaN(data[at] ?? Number.NaN)) found++;
  return found;
}

/** The ends of one cell, which hold its value whatever rounding does. */
function set(ends: Ends, cell: number, { value, low, high }: Ranged): void {
  ends.low[cell] = Math.min(value, low);
  ends.high[cell] = Math.max(value, high);
}

/** Correlations of all with all; each pair is computed once. */
function symmetric(ranked: readonly Float64Array[]): number[][] {
  const table = ranked.map((_, i) => ranked.map((__, j) => (i === j ? 1 : Number.NaN)));
  for (const [i, a] of ranked.entries()) {
    for (const [j, b] of ranked.entries()) {
      if (j <= i) continue;
      const value = pearson(a, b);
      table[i]?.splice(j, 1, value);
      table[j]?.splice(i, 1, value);
    }
  }
  return table;
}
