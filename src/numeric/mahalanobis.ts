/**
 * @file How far states lie from a cloud of reference states, in its own spread: Mahalanobis distance with a shrunk
 * covariance, for clouds of fewer states than dimensions too.
 */
import type { FloatArray } from "../core/tensor.ts";
import { dot, meanRow, subtractRow } from "./projection.ts";

/** A cloud of states with its shrunk covariance Σ = (1 − a) S + a μ I, where S = XᵀX / n of the centred states X. */
export interface Cloud {
  /** n, and d of each state. */
  readonly count: number;
  readonly width: number;
  /** a, in [0, 1]. */
  readonly shrinkage: number;
  /** μ: mean variance of a dimension. */
  readonly variance: number;
  /** [d] */
  readonly centre: Float64Array;
  /** X [n, d] */
  readonly centred: Float64Array;
  /** Lower Cholesky factor [n, n] of a μ I + (1 − a) G / n, where G = XXᵀ. */
  readonly factor: Float64Array;
}

/** Two opposite states ask for no shrinkage at all; without any, Σ has no inverse where n ≤ d. */
const MIN_SHRINKAGE = 1e-9;

/**
 * Fits a cloud to states [n, d]. How far to shrink is Ledoit and Wolf's estimate of what errs least (2004, "A
 * well-conditioned estimator for large-dimensional covariance matrices", lemma 3.2 and section 3.2):
 * a = min(β², δ²) / δ² with δ² = ‖S − μI‖² and β² = Σₖ ‖xₖxₖᵀ − S‖² / n². All of it follows from G alone.
 *
 * @throws RangeError for fewer than two states, or states that are all the same.
 */
export function fitCloud(states: FloatArray, width: number): Cloud {
  const count = states.length / width;
  const centre = meanRow(states, width);
  const centred = subtractRow(states, centre);
  const gram = new Float64Array(count * count);
  for (let i = 0; i < count; i++) {
    const row = centred.subarray(i * width, (i + 1) * width);
    for (let j = 0; j <= i; j++) {
      const product = dot(row, centred.subarray(j * width, (j + 1) * width));
      gram[i * count + j] = product;
      gram[j * count + i] = product;
    }
  }
  let [trace, fourth] = [0, 0];
  for (let i = 0; i < count; i++) {
    trace += gram[i * count + i];
    fourth += gram[i * count + i] ** 2;
  }
  const variance = trace / count / width;
  if (!(count >= 2 && variance > 0)) throw new RangeError(`a cloud of ${count} states without spread`);
  const squares = dot(gram, gram) / count ** 2; // ‖S‖²
  const delta = squares - width * variance ** 2;
  const beta = (fourth / count - squares) / count;
  // In one dimension S is μI, and nothing is left to shrink.
  const shrinkage = delta > 1e-12 * squares ? Math.max(MIN_SHRINKAGE, Math.min(beta, delta) / delta) : 1;
  for (let i = 0; i < gram.length; i++) gram[i] *= (1 - shrinkage) / count;
  for (let i = 0; i < count; i++) gram[i * count + i] += shrinkage * variance;
  return { count, width, shrinkage, variance, centre, centred, factor: cholesky(gram, count) };
}

/**
 * [state]: √((x − x̄)ᵀ Σ⁻¹ (x − x̄)) of states [m, d]. By Woodbury's identity with λ = a μ and c = (1 − a) / n,
 * λ Σ⁻¹ = I − c Xᵀ (λ I + c G)⁻¹ X, so that only n numbers are solved for.
 */
export function distances(cloud: Cloud, states: FloatArray): Float64Array {
  const { count, width, shrinkage, variance, centre, centred, factor } = cloud;
  const moved = subtractRow(states, centre);
  const scale = (1 - shrinkage) / count;
  const solved = new Float64Array(count);
  return Float64Array.from({ length: moved.length / width }, (_, state) => {
    const row = moved.subarray(state * width, (state + 1) * width);
    let inside = 0;
    for (let i = 0; i < count; i++) {
      let sum = dot(row, centred.subarray(i * width, (i + 1) * width));
      for (let j = 0; j < i; j++) sum -= factor[i * count + j] * solved[j];
      solved[i] = sum / factor[i * count + i];
      inside += solved[i] ** 2;
    }
    return Math.sqrt(Math.max(0, dot(row, row) - scale * inside) / (shrinkage * variance));
  });
}

/** Lower factor of a positive definite matrix [n, n], in its place; what lies above the diagonal is not looked at. */
function cholesky(matrix: Float64Array, count: number): Float64Array {
  for (let i = 0; i < count; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * count + j];
      for (let k = 0; k < j; k++) sum -= matrix[i * count + k] * matrix[j * count + k];
      matrix[i * count + j] = i === j ? Math.sqrt(sum) : sum / matrix[j * count + j];
    }
  }
  return matrix;
}

/** [row]: −Σ p log p, in nats, of rows of probabilities [row, width]. */
export function entropies(rows: FloatArray, width: number): Float64Array {
  return Float64Array.from({ length: rows.length / width }, (_, row) => {
    let sum = 0;
    for (let i = row * width; i < (row + 1) * width; i++) if (rows[i] > 0) sum -= rows[i] * Math.log(rows[i]);
    return sum;
  });
}
