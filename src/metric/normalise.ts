/** @file Normalised scores: 0 to 1 between the two baselines, for one pair and for a data set. */
import { type Fault, InputError, refuse } from "../core/errors.ts";
import { groupBy } from "../core/group.ts";
import type { Pair } from "../model/pair.ts";
import { mean } from "../numeric/statistics.ts";
import { metrics } from "./metric.ts";
import type { MetricName } from "./plan.ts";

/** `denoise`: clean values are put into the corrupt run. `noise`: corrupt values are put into the clean run. */
export const directionNames = ["denoise", "noise"] as const;
export type Direction = (typeof directionNames)[number];

/** The metric of the two unedited runs. */
export interface Baselines {
  readonly clean: number;
  readonly corrupt: number;
}

/** The metric of one edited run, or of the same edit on each pair, with the baselines. */
export interface PairScores {
  readonly clean: ArrayLike<number>;
  readonly corrupt: ArrayLike<number>;
  readonly value: ArrayLike<number>;
}

/**
 * `ratio-of-means` divides the mean change by the mean gap. `mean-of-ratios` averages the pairs' own scores; a pair
 * whose gap is near 0 then outweighs all others.
 */
export const averagings = ["ratio-of-means", "mean-of-ratios"] as const;
export type Averaging = (typeof averagings)[number];

export interface NormaliseOptions {
  readonly metric: MetricName;
  readonly direction: Direction;
  /** The pair, for messages. */
  readonly where?: string;
}

/**
 * The map from a metric's value to its score. Denoising: (v − corrupt)/(clean − corrupt), 0 for the corrupt run and 1
 * for the clean one. Noising, damage: (clean − v)/(clean − corrupt), 0 for the clean run and 1 for the corrupt one.
 * The KL metrics need no case of their own: with the clean baseline 0, denoising reads 1 − D/D_corrupt.
 * @throws InputError where the baselines are too close together to divide by their gap.
 */
export function normaliser(
  { clean, corrupt }: Baselines,
  options: NormaliseOptions,
): (value: number) => number {
  refuse(gapFaults({ clean, corrupt }, { ...options, where: options.where ?? "baselines" }));
  const gap = clean - corrupt;
  return options.direction === "denoise"
    ? (value) => (value - corrupt) / gap
    : (value) => (clean - value) / gap;
}

/** The score of one edit over a data set. @throws InputError as {@link normaliser} does, with every such pair. */
export function normaliseMean(
  scores: PairScores,
  options: NormaliseOptions & { readonly averaging: Averaging; readonly pairs?: readonly Pair[] },
): number {
  const { numerators, denominators } = ratioParts(scores, options.direction);
  if (options.averaging === "ratio-of-means") {
    refuse(gapFaults(meanBaselines(scores), { ...options, where: "mean over pairs" }));
    return mean(numerators) / mean(denominators);
  }
  const faults: Fault[] = [];
  for (let i = 0; i < scores.value.length; i++) {
    const where = options.pairs?.[i]?.where ?? `pair ${i + 1}`;
    faults.push(
      ...gapFaults(
        { clean: scores.clean[i] ?? NaN, corrupt: scores.corrupt[i] ?? NaN },
        { ...options, where },
      ),
    );
  }
  if (faults.length > 0) throw new InputError(faults);
  return mean(numerators.map((numerator, i) => numerator / (denominators[i] ?? NaN)));
}

/** [pair] numerators and denominators of the scores, for a bootstrap of their ratio. */
export function ratioParts(
  { clean, corrupt, value }: PairScores,
  direction: Direction,
): { readonly numerators: Float64Array; readonly denominators: Float64Array } {
  if (clean.length !== value.length || corrupt.length !== value.length) {
    throw new RangeError(
      `${value.length} values with ${clean.length} clean and ${corrupt.length} corrupt baselines`,
    );
  }
  const difference = (left: ArrayLike<number>, right: ArrayLike<number>): Float64Array =>
    Float64Array.from(left, (number, i) => number - (right[i] ?? NaN));
  return {
    numerators: direction === "denoise" ? difference(value, corrupt) : difference(clean, value),
    denominators: difference(clean, corrupt),
  };
}

/** Pairs of one kind that have a warning each; of more there is one that counts them. */
const MAX_NAMED = 3;

/**
 * What the unedited runs say about the pairs: a model that does not show the behaviour has nothing to be explained.
 * `baselines` are in the order of the pairs.
 */
export function baselineWarnings(
  pairs: readonly Pair[],
  baselines: readonly Baselines[],
  metric: MetricName,
): readonly string[] {
  const { unit, higherIsClean } = metrics[metric];
  const suffix = unit === "1" ? "" : ` ${unit}`;
  const found = pairs.flatMap(({ where }, index) => {
    const { clean, corrupt } = baselines[index] ?? { clean: NaN, corrupt: NaN };
    const numbers = `${metric} ${clean.toPrecision(4)}${suffix} on clean, ${corrupt.toPrecision(4)}${suffix} on corrupt`;
    if (metric === "logit_diff" && clean <= 0)
      return [{ where, numbers, what: "the model prefers the foil on the clean prompt" }];
    if (higherIsClean ? clean <= corrupt : clean >= corrupt) {
      return [{ where, numbers, what: "the clean prompt does not favour the answer over the corrupt one" }];
    }
    return [];
  });
  return [...groupBy(found, ({ what }) => what)].flatMap(([what, all]) => {
    if (all.length <= MAX_NAMED) return all.map(({ where, numbers }) => `${where}: ${what}: ${numbers}`);
    const named = all.slice(0, MAX_NAMED).map(({ where, numbers }) => `${where}: ${numbers}`);
    return [`${all.length} of ${pairs.length} pairs: ${what} (${named.join("; ")}; …)`];
  });
}

function meanBaselines({ clean, corrupt }: PairScores): Baselines {
  return { clean: mean(clean), corrupt: mean(corrupt) };
}

function gapFaults({ clean, corrupt }: Baselines, at: { metric: MetricName; where: string }): Fault[] {
  const gap = Math.abs(clean - corrupt);
  const smallest = metrics[at.metric].smallestGap(clean, corrupt);
  // Written so that NaN is refused; two probabilities of 0 have the gap 0, as small as their bound.
  if (gap >= smallest && gap > 0) return [];
  return [
    {
      where: at.where,
      found: `${at.metric} ${clean} on clean and ${corrupt} on corrupt, ${gap} apart`,
      wanted: `at least ${smallest} between them: below that, rounding alone moves a normalised score by 5 % and more`,
      fix: "Report the effect without normalising, or choose prompts that the model tells apart.",
    },
  ];
}
