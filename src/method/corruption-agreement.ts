/**
 * @file How far two corruptions find the same: largest effect, cells that stand out, order of all cells; each with an
 * interval by resampling.
 */

import { largestAt, meanOfRows, middle, outlying } from "../numeric/resampled.ts";
import { drawResamples, mean, pearson, ranks } from "../numeric/statistics.ts";

/** Standard deviations from the mean beyond which a cell counts as detected (Zhang & Nanda 2024, section 3). */
const DETECTION_DEVIATIONS = 2;
/** Resamples: the interval's ends then rest on a dozen draws each. */
const RESAMPLES = 500;

/** Effects of one grid in one corruption under one metric, positive towards the clean run. */
export interface Effects {
  /** [unit, cell]: pairs, or the samples of a single pair. */
  readonly data: Float64Array;
  /** [unit]: clean less corrupted, positive where the corruption takes the behaviour away. */
  readonly gaps: Float64Array;
}

/** A number with the middle 95 % of its resampled values. */
export interface Ranged {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** What one corruption finds. */
export interface Finding {
  /** [cell] mean over units. */
  readonly effect: Float64Array;
  readonly effectLow: Float64Array;
  readonly effectHigh: Float64Array;
  /** [cell]: 1 or −1 where the cell stands out, else 0; and in what share of resamples it does. */
  readonly detected: Int8Array;
  readonly detectedShare: Float64Array;
  /** Largest effect: its cell, and its share of the gap. */
  readonly peakCell: number;
  readonly peakShare: Ranged;
  /** Largest effect over the reference's, as it is and as shares of the gaps. */
  readonly peakRatio: Ranged;
  readonly peakShareRatio: Ranged;
  /** Detected with the same sign here and in the reference. */
  readonly sharedDetections: number;
}

export interface Comparison {
  /** [corruption] */
  readonly findings: readonly Finding[];
  /** [corruption][corruption]: Spearman's correlation of all cells' effects. */
  readonly agreement: readonly (readonly Ranged[])[];
}

/** Everything of one resample. */
interface Drawn {
  readonly effects: readonly Float64Array[];
  readonly gaps: readonly number[];
  readonly detected: readonly Int8Array[];
  readonly peaks: readonly number[];
  /** [corruption][corruption] */
  readonly agreement: readonly (readonly number[])[];
}

/**
 * Compares corruptions on one grid under one metric. Corruptions with as many units share their resamples; one of a
 * single unit varies in none.
 *
 * @param reference index of the corruption that peaks and detections are held against.
 */
export function compare(
  all: readonly Effects[],
  { cells, reference, seed }: { readonly cells: number; readonly reference: number; readonly seed: number },
): Comparison {
  const units = all.map(({ gaps }) => gaps.length);
  const picks = units.map((count) =>
    count < 2 ? undefined : drawResamples(count, { seed, resamples: RESAMPLES }).indices,
  );
  const whole = draw(all, {
    cells,
    picks: units.map((count) => Int32Array.from({ length: count }, (_, unit) => unit)),
  });
  const drawn: Drawn[] = [];
  if (picks.some((list) => list !== undefined)) {
    for (let resample = 0; resample < RESAMPLES; resample++) {
      const of = picks.map(
        (list, i) =>
          list?.subarray(resample * (units[i] ?? 0), (resample + 1) * (units[i] ?? 0)) ?? Int32Array.of(0),
      );
      drawn.push(draw(all, { cells, picks: of }));
    }
  }
  const ranged = (varies: boolean, of: (drawn: Drawn) => number): Ranged => {
    const { low, high } = varies ? middle(drawn.map(of)) : { low: Number.NaN, high: Number.NaN };
    return { value: of(whole), low, high };
  };
  const varies = units.map((count) => count > 1);
  const findings = all.map((_, i): Finding => {
    const own = varies[i] ?? false;
    const either = own || (varies[reference] ?? false);
    const peak = (from: Drawn, of: number): number => from.peaks[of] ?? Number.NaN;
    const share = (from: Drawn, of: number): number => peak(from, of) / (from.gaps[of] ?? Number.NaN);
    const effect = whole.effects[i] ?? new Float64Array(cells);
    const spread = Array.from(effect, (__, cell) =>
      own ? middle(drawn.map(({ effects }) => effects[i]?.[cell] ?? Number.NaN)) : middle([]),
    );
    const detected = whole.detected[i] ?? new Int8Array(cells);
    return {
      effect,
      effectLow: Float64Array.from(spread, ({ low }) => low),
      effectHigh: Float64Array.from(spread, ({ high }) => high),
      detected,
      detectedShare: Float64Array.from(detected, (sign, cell) =>
        own ? mean(drawn.map((from) => (from.detected[i]?.[cell] === 0 ? 0 : 1))) : Math.abs(sign),
      ),
      peakCell: largestAt(effect),
      peakShare: ranged(own, (from) => share(from, i)),
      peakRatio: ranged(either, (from) => peak(from, i) / peak(from, reference)),
      peakShareRatio: ranged(either, (from) => share(from, i) / share(from, reference)),
      sharedDetections: detected.reduce(
        (sum, sign, cell) => sum + (sign !== 0 && sign === whole.detected[reference]?.[cell] ? 1 : 0),
        0,
      ),
    };
  });
  return {
    findings,
    agreement: all.map((_, i) =>
      all.map((__, j) =>
        ranged(
          i !== j && ((varies[i] ?? false) || (varies[j] ?? false)),
          (from) => from.agreement[i]?.[j] ?? NaN,
        ),
      ),
    ),
  };
}

function draw(
  all: readonly Effects[],
  { cells, picks }: { readonly cells: number; readonly picks: readonly Int32Array[] },
): Drawn {
  const effects = all.map(({ data }, i) => meanOfRows(data, cells, picks[i] ?? []));
  const present = Array.from({ length: cells }, (_, cell) => cell).filter((cell) =>
    effects.every((list) => !Number.isNaN(list[cell] ?? Number.NaN)),
  );
  const ranked = effects.map((list) => ranks(present.map((cell) => list[cell] ?? 0)));
  return {
    effects,
    gaps: all.map(({ gaps }, i) => mean(Array.from(picks[i] ?? [], (unit) => gaps[unit] ?? Number.NaN))),
    detected: effects.map((list) => outlying(list, DETECTION_DEVIATIONS)),
    peaks: effects.map((list) => list[largestAt(list)] ?? Number.NaN),
    agreement: symmetric(ranked),
  };
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
