/**
 * @file The operations in plain loops, float64 in and out: what every other engine is held against.
 *
 * Legibility comes first: no blocking, no tricks; sums run in index order. Axis names as in program/ops.ts.
 */

export type Numbers = Float64Array | Float32Array | Int32Array;

/** y[t, o] = Σ_i x[t, i]·W[o, i] (or W[i, o]) + b[o]. */
export function linear(
  x: Numbers,
  weight: Numbers,
  options: {
    readonly tokens: number;
    readonly inputs: number;
    readonly outputs: number;
    readonly outIn: boolean;
    readonly bias?: Numbers | undefined;
  },
): Float64Array {
  const { tokens, inputs, outputs, outIn, bias } = options;
  const y = new Float64Array(tokens * outputs);
  const [outStride, inStride] = outIn ? [inputs, 1] : [1, outputs];
  for (let t = 0; t < tokens; t++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias === undefined ? 0 : bias[o];
      for (let i = 0; i < inputs; i++) sum += x[t * inputs + i] * weight[o * outStride + i * inStride];
      y[t * outputs + o] = sum;
    }
  }
  return y;
}

/** y[t, h, o] = Σ_i z[t, h, i]·W[o, h·dh + i] (or W[h·dh + i, o]). */
export function headLinear(
  z: Numbers,
  weight: Numbers,
  options: {
    readonly tokens: number;
    readonly heads: number;
    readonly width: number;
    readonly outputs: number;
    readonly outIn: boolean;
  },
): Float64Array {
  const { tokens, heads, width, outputs, outIn } = options;
  const y = new Float64Array(tokens * heads * outputs);
  const [outStride, inStride] = outIn ? [heads * width, 1] : [1, outputs];
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      for (let o = 0; o < outputs; o++) {
        let sum = 0;
        for (let i = 0; i < width; i++) {
          sum += z[(t * heads + h) * width + i] * weight[o * outStride + (h * width + i) * inStride];
        }
        y[(t * heads + h) * outputs + o] = sum;
      }
    }
  }
  return y;
}

/** y[t, o] = Σ_h x[t, h, o]. */
export function sumHeads(x: Numbers, tokens: number, heads: number): Float64Array {
  const width = x.length / (tokens * heads);
  const y = new Float64Array(tokens * width);
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      for (let o = 0; o < width; o++) y[t * width + o] += x[(t * heads + h) * width + o];
    }
  }
  return y;
}

export function takeRows(ids: Numbers, table: Numbers, width: number): Float64Array {
  const rows = table.length / width;
  const y = new Float64Array(ids.length * width);
  for (let t = 0; t < ids.length; t++) {
    if (ids[t] < 0 || ids[t] >= rows) throw new RangeError(`row ${ids[t]} of a table with ${rows} rows`);
    for (let i = 0; i < width; i++) y[t * width + i] = table[ids[t] * width + i];
  }
  return y;
}

/** Tables of rows of one width, one behind the other. */
export function concat(tables: readonly Numbers[]): Float64Array {
  const y = new Float64Array(tables.reduce((size, table) => size + table.length, 0));
  let at = 0;
  for (const table of tables) {
    y.set(table, at);
    at += table.length;
  }
  return y;
}

/** Elementwise with NumPy broadcasting. */
export function elementwise(
  a: { readonly data: Numbers; readonly shape: readonly number[] },
  b: { readonly data: Numbers; readonly shape: readonly number[] },
  options: { readonly shape: readonly number[]; readonly apply: (a: number, b: number) => number },
): Float64Array {
  const { shape, apply } = options;
  const strides = (of: readonly number[]): number[] => {
    const padded = [...Array(shape.length - of.length).fill(1), ...of];
    let stride = 1;
    const result = padded.map(() => 0);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      result[axis] = padded[axis] === 1 ? 0 : stride;
      stride *= padded[axis];
    }
    return result;
  };
  const [strideA, strideB] = [strides(a.shape), strides(b.shape)];
  const size = shape.reduce((product, dim) => product * dim, 1);
  const y = new Float64Array(size);
  for (let index = 0; index < size; index++) {
    let rest = index;
    let offsetA = 0;
    let offsetB = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const i = rest % shape[axis];
      rest = (rest - i) / shape[axis];
      offsetA += i * strideA[axis];
      offsetB += i * strideB[axis];
    }
    y[index] = apply(a.data[offsetA], b.data[offsetB]);
  }
  return y;
}

export function map(x: Numbers, apply: (value: number) => number): Float64Array {
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) y[i] = apply(x[i]);
  return y;
}

/** One number from each run of `width` values. */
export function reduceLast(x: Numbers, width: number, reduce: (values: Numbers) => number): Float64Array {
  const y = new Float64Array(x.length / width);
  for (let row = 0; row < y.length; row++) y[row] = reduce(x.subarray(row * width, (row + 1) * width));
  return y;
}

export function mean(values: Numbers): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** √(mean(x²) + eps). */
export function rootMeanSquare(values: Numbers, eps: number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return Math.sqrt(sum / values.length + eps);
}

export function logsumexp(values: Numbers): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) top = Math.max(top, values[i]);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += Math.exp(values[i] - top);
  return top + Math.log(sum);
}

export function softmax(x: Numbers, width: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += width) {
    const total = logsumexp(x.subarray(row, row + width));
    for (let i = row; i < row + width; i++) y[i] = Math.exp(x[i] - total);
  }
  return y;
}

/**
 * erf to 1e-15: near 0 the series without alternating signs, which cannot cancel, beyond it the continued fraction
 * of erfc (Abramowitz & Stegun 7.1.6, 7.1.14).
 */
export function erf(x: number): number {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (size + fraction);
  const complement = Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction);
  return Math.sign(x) * (1 - complement);
}

export const activations: Readonly<
  Record<"gelu" | "gelu_tanh" | "silu" | "relu" | "tanh", (x: number) => number>
> = {
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
  relu: (x) => Math.max(x, 0),
  tanh: Math.tanh,
};

/** Derivatives of the activations. */
export const slopes: typeof activations = {
  // d[x·Φ(x)] = Φ(x) + x·φ(x)
  gelu: (x) => 0.5 * (1 + erf(x * Math.SQRT1_2)) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
  gelu_tanh: (x) => {
    const scale = Math.sqrt(2 / Math.PI);
    const t = Math.tanh(scale * (x + 0.044715 * x ** 3));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x);
  },
  // d[x·σ(x)] = σ + x·σ(1 − σ)
  silu: (x) => {
    const sigmoid = 1 / (1 + Math.exp(-x));
    return sigmoid * (1 + x * (1 - sigmoid));
  },
  relu: (x) => (x > 0 ? 1 : 0), // at 0 as PyTorch has it
  tanh: (x) => 1 - Math.tanh(x) ** 2,
};

/** Rotates the first `dims` features of each head; x [tokens, heads, width], cos and sin [tokens, dims/2]. */
export function rotary(
  x: Numbers,
  tables: { readonly cos: Numbers; readonly sin: Numbers },
  options: {
    readonly heads: number;
    readonly width: number;
    readonly dims: number;
    readonly interleaved: boolean;
  },
): Float64Array {
  const { heads, width, dims, interleaved } = options;
  const half = dims / 2;
  const y = Float64Array.from(x);
  for (let vector = 0; vector * width < x.length; vector++) {
    const token = Math.floor(vector / heads);
    for (let i = 0; i < half; i++) {
      const first = vector * width + (interleaved ? 2 * i : i);
      const second = first + (interleaved ? 1 : half);
      const [cos, sin] = [tables.cos[token * half + i], tables.sin[token * half + i]];
      y[first] = x[first] * cos - x[second] * sin;
      y[second] = x[second] * cos + x[first] * sin;
    }
  }
  return y;
}

/** Copies each of the G vectors of `width` per token `times` times in place: [.., G, width] → [.., G·times, width]. */
export function repeatHeads(x: Numbers, width: number, times: number): Float64Array {
  const y = new Float64Array(x.length * times);
  for (let vector = 0; vector * width < x.length; vector++) {
    for (let copy = 0; copy < times; copy++) {
      for (let i = 0; i < width; i++) y[(vector * times + copy) * width + i] = x[vector * width + i];
    }
  }
  return y;
}

/** Sums each `times` neighbouring vectors of `width`: [.., G·times, width] → [.., G, width]. */
export function sumGroups(x: Numbers, width: number, times: number): Float64Array {
  const y = new Float64Array(x.length / times);
  for (let vector = 0; vector * width < x.length; vector++) {
    const group = Math.floor(vector / times);
    for (let i = 0; i < width; i++) y[group * width + i] += x[vector * width + i];
  }
  return y;
}

/** y[t, h, i] = Σ_o x[t, h, o]·W[o, h·dh + i] (or W[h·dh + i, o]). */
export function headLinearTransposed(
  x: Numbers,
  weight: Numbers,
  options: {
    readonly tokens: number;
    readonly heads: number;
    readonly width: number;
    readonly outputs: number;
    readonly outIn: boolean;
  },
): Float64Array {
  const { tokens, heads, width, outputs, outIn } = options;
  const y = new Float64Array(tokens * heads * width);
  const [outStride, inStride] = outIn ? [heads * width, 1] : [1, outputs];
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < width; i++) {
        let sum = 0;
        for (let o = 0; o < outputs; o++) {
          sum += x[(t * heads + h) * outputs + o] * weight[o * outStride + (h * width + i) * inStride];
        }
        y[(t * heads + h) * width + i] = sum;
      }
    }
  }
  return y;
}

/** The last two axes, `rows` and `columns`, exchanged. */
export function transpose(x: Numbers, rows: number, columns: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += rows * columns) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) y[start + j * rows + i] = x[start + i * columns + j];
    }
  }
  return y;
}

/** Sums x over the axes that a tensor of `shape` would be broadcast along to x's own shape. */
export function sumTo(
  x: { readonly data: Numbers; readonly shape: readonly number[] },
  shape: readonly number[],
): Float64Array {
  const y = new Float64Array(shape.reduce((product, dim) => product * dim, 1));
  const lead = x.shape.length - shape.length;
  for (let index = 0; index < x.data.length; index++) {
    let rest = index;
    let stride = 1;
    let target = 0;
    for (let axis = x.shape.length - 1; axis >= lead; axis--) {
      const i = rest % x.shape[axis];
      rest = (rest - i) / x.shape[axis];
      if (shape[axis - lead] === 1) continue;
      target += i * stride;
      stride *= shape[axis - lead];
    }
    y[target] += x.data[index];
  }
  return y;
}

export interface AttentionSizes {
  readonly rows: number;
  readonly dst: number;
  readonly src: number;
  readonly heads: number;
  readonly groups: number;
  readonly width: number;
}

/** scores[r, h, i, j] = q[r, i, h]·k[r, j, g(h)]. */
export function queryKey(q: Numbers, k: Numbers, sizes: AttentionSizes): Float64Array {
  const { rows, dst, src, heads, groups, width } = sizes;
  const scores = new Float64Array(rows * heads * dst * src);
  for (let r = 0; r < rows; r++) {
    for (let h = 0; h < heads; h++) {
      const g = Math.floor(h / (heads / groups));
      for (let i = 0; i < dst; i++) {
        for (let j = 0; j < src; j++) {
          const query = ((r * dst + i) * heads + h) * width;
          const key = ((r * src + j) * groups + g) * width;
          let sum = 0;
          for (let c = 0; c < width; c++) sum += q[query + c] * k[key + c];
          scores[((r * heads + h) * dst + i) * src + j] = sum;
        }
      }
    }
  }
  return scores;
}

/** z[r, i, h] = Σ_j pattern[r, h, i, j]·v[r, j, g(h)]. */
export function patternValue(pattern: Numbers, v: Numbers, sizes: AttentionSizes): Float64Array {
  const { rows, dst, src, heads, groups, width } = sizes;
  const z = new Float64Array(rows * dst * heads * width);
  for (let r = 0; r < rows; r++) {
    for (let h = 0; h < heads; h++) {
      const g = Math.floor(h / (heads / groups));
      for (let i = 0; i < dst; i++) {
        for (let j = 0; j < src; j++) {
          const weight = pattern[((r * heads + h) * dst + i) * src + j];
          const value = ((r * src + j) * groups + g) * width;
          const out = ((r * dst + i) * heads + h) * width;
          for (let c = 0; c < width; c++) z[out + c] += weight * v[value + c];
        }
      }
    }
  }
  return z;
}
