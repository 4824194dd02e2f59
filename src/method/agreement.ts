/** @file How estimates agree with exact effects where both are known, and when that is too little to go by. */
import { mean, spearman } from "../numeric/statistics.ts";
import type { Json } from "../result/result.ts";

/** Estimates and exact effects of the same cells, in the metric's unit. */
export interface Compared {
  readonly estimates: readonly number[];
  readonly exact: readonly number[];
}

/** Attributes of a result: rank correlation, errors and signs of its verified cells; none where there are none. */
export function agreement({ estimates, exact }: Compared): Record<string, Json> {
  if (exact.length === 0) return {};
  const { correlation, error, size, signs } = measured({ estimates, exact });
  return {
    verify_rank_correlation: Number.isNaN(correlation) ? null : correlation,
    verify_max_abs_error: error,
    verify_mean_abs_exact: size,
    verify_sign_agreement: signs,
  };
}

/** Fewer cells say nothing about the others. */
const LEAST_CELLS = 5;
/** Below these, estimates do not tell strong cells from weak ones, or helpful from harmful. */
const [LEAST_CORRELATION, LEAST_SIGNS] = [0.5, 0.75];

/**
 * A warning where estimates are badly off among the cells that were verified: ranked otherwise, of the wrong sign, or one of
 * them off by more than half of the largest effect.
 * @param instead what to do, as an imperative
 */
export function agreementWarnings(compared: Compared, instead: string): string[] {
  if (compared.exact.length < LEAST_CELLS) return [];
  const { correlation, error, largest, signs } = measured(compared);
  const off = [
    ...(correlation < LEAST_CORRELATION ? [`rank correlation ${correlation.toFixed(2)}`] : []),
    ...(signs < LEAST_SIGNS ? [`${Math.round(100 * (1 - signs))} % of the wrong sign`] : []),
    ...(error > largest / 2 ? ["one is off by more than half of the largest effect"] : []),
  ];
  if (off.length === 0) return [];
  return [
    `estimates: of the ${compared.exact.length} that were computed exactly, ${off.join("; ")}. Go by the exact effects; ${instead}`,
  ];
}

function measured({ estimates, exact }: Compared) {
  const errors = estimates.map((value, cell) => Math.abs(value - (exact[cell] ?? Number.NaN)));
  return {
    correlation: spearman(estimates, exact),
    error: Math.max(...errors),
    size: mean(exact.map(Math.abs)),
    largest: Math.max(...exact.map(Math.abs)),
    signs: mean(estimates.map((value, cell) => (Math.sign(value) === Math.sign(exact[cell] ?? 0) ? 1 : 0))),
  };
}
