/**
 * @file The primitive operations: their attributes and the shape of what they make.
 *
 * Axis legend, used all over the program folder:
 *   token   rows × positions flattened: everything but attention works token by token
 *   row     independent sequences of one attention call; dst / src: query and key positions
 *   H, G    query heads, key/value heads (H = G without grouped-query attention); dh: width of a head
 *   d       width of the residual stream
 */

/** A dimension: a number, or the name of a size known only when the program runs. */
export type Dim = number | string;
export type Shape = readonly Dim[];

export type Activation = "gelu" | "gelu_tanh" | "silu" | "relu" | "tanh";

/** Attributes of every operation; the key is the operation's name. */
export interface OpAttrs {
  /** x [token, in], weight ([out, in] or [in, out]), bias [out]? → [token, out]. */
  linear: { readonly layout: "out_in" | "in_out" };
  /** z [token, H, dh], weight ([d, H·dh] or [H·dh, d]) → [token, H, d]: each head's own share of `linear`. */
  head_linear: { readonly layout: "out_in" | "in_out" };
  /** Sum over the head axis: [token, H, d] → [token, d]. */
  sum_heads: Record<string, never>;
  /** ids [..] (int), table [rows, ..] → [.., ..]: for each id, that row of the table. */
  take_rows: Record<string, never>;
  /** Tables [.., d] of the same rows' shape, one behind the other; `size` names how many rows that makes. */
  concat: { readonly size: string };
  /** Elementwise with NumPy broadcasting. */
  add: Record<string, never>;
  sub: Record<string, never>;
  mul: Record<string, never>;
  div: Record<string, never>;
  /** x · by. */
  scale: { readonly by: number };
  /** x + by. */
  shift: { readonly by: number };
  /** Mean over the last axis, kept as 1. */
  mean: Record<string, never>;
  /** √(mean(x²) + eps) over the last axis, kept as 1. */
  rms: { readonly eps: number };
  activation: { readonly kind: Activation };
  /** Same elements, other axes; at most the listed symbols may be unknown. */
  reshape: { readonly shape: Shape };
  /** The same value under a second name, so that one reader can be edited without the others. */
  identity: Record<string, never>;
  /**
   * x [token, H, dh], cos and sin [token, dims/2] → x with its first `dims` features rotated (RoFormer, eq. 34).
   * `half` pairs feature i with i + dims/2 (GPT-NeoX, Llama); `interleaved` pairs 2i with 2i + 1 (GPT-J).
   */
  rotary: { readonly dims: number; readonly style: "half" | "interleaved" };
  /** [.., G, dh] → [.., G·times, dh]: query head h reads key/value head ⌊h / times⌋. */
  repeat_heads: { readonly times: number };
  /** q [row, dst, H, dh], k [row, src, G, dh] → q·k [row, H, dst, src]; G divides H. */
  query_key: Record<string, never>;
  /** Softmax over the last axis. */
  softmax: Record<string, never>;
  /** pattern [row, H, dst, src], v [row, src, G, dh] → [row, dst, H, dh]; G divides H. */
  pattern_value: Record<string, never>;
  /** log Σ exp over the last axis, kept as 1. */
  logsumexp: Record<string, never>;

  // What derivatives are made of, besides the operations above (vjp.ts).
  /** x, like → x broadcast to the shape of `like`. */
  expand: Record<string, never>;
  /** x summed over the axes along which `shape` would be broadcast to it: the transpose of broadcasting. */
  sum_to: { readonly shape: Shape };
  /** [.., G·times, dh] → [.., G, dh]: the transpose of `repeat_heads`. */
  sum_groups: { readonly times: number };
  /** y [token, H, d], weight ([d, H·dh] or [H·dh, d]) → [token, H, dh]: the transpose of `head_linear`. */
  head_linear_transposed: { readonly layout: "out_in" | "in_out" };
  /** The last two axes exchanged. */
  transpose: Record<string, never>;
  /** Derivative of `activation`, elementwise. */
  slope: { readonly kind: Activation };
}

export type OpName = keyof OpAttrs;

const show = (shape: Shape): string => `[${shape.join(", ")}]`;

function expect(condition: boolean, op: OpName, args: readonly Shape[]): void {
  if (!condition) throw new Error(`${op} cannot take ${args.map(show).join(" and ")}`);
}

function at(shape: Shape | undefined, index: number): Dim {
  const dim = shape?.at(index);
  if (dim === undefined)
    throw new Error(`no axis ${index} in ${shape === undefined ? "a missing argument" : show(shape)}`);
  return dim;
}

function product(a: Dim, b: Dim): Dim {
  return typeof a === "number" && typeof b === "number" ? a * b : `${a}*${b}`;
}

/** NumPy broadcasting, where a symbol only meets itself or 1. */
function broadcast(op: OpName, args: readonly Shape[]): Shape {
  const [a = [], b = []] = args;
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a.at(i - rank) ?? 1;
    const y = b.at(i - rank) ?? 1;
    const [p, q] = [i - rank + a.length < 0 ? 1 : x, i - rank + b.length < 0 ? 1 : y];
    expect(p === q || p === 1 || q === 1, op, args);
    return p === 1 ? q : p;
  });
}

const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((dim, i) => dim === b[i]);

const same = ([x = []]: readonly Shape[]): Shape => x;
const reduceLast = ([x = []]: readonly Shape[]): Shape => [...x.slice(0, -1), 1];

function linear(args: readonly Shape[], { layout }: OpAttrs["linear"]): Shape {
  const [x, weight, bias] = args;
  const [into, out] = layout === "out_in" ? [at(weight, 1), at(weight, 0)] : [at(weight, 0), at(weight, 1)];
  expect(x?.length === 2 && at(x, 1) === into && (bias === undefined || at(bias, 0) === out), "linear", args);
  return [at(x, 0), out];
}

/** The shape that each operation makes from the shapes it takes; an argument it cannot take is an error. */
export const inferShape: { readonly [K in OpName]: (args: readonly Shape[], attrs: OpAttrs[K]) => Shape } = {
  linear,
  head_linear(args, { layout }) {
    const [z, weight] = args;
    const [into, out] = layout === "out_in" ? [at(weight, 1), at(weight, 0)] : [at(weight, 0), at(weight, 1)];
    expect(z?.length === 3 && product(at(z, 1), at(z, 2)) === into, "head_linear", args);
    return [at(z, 0), at(z, 1), out];
  },
  sum_heads(args) {
    const [x] = args;
    expect(x?.length === 3, "sum_heads", args);
    return [at(x, 0), at(x, 2)];
  },
  take_rows(args) {
    const [ids, table] = args;
    expect(ids !== undefined && ids.length > 0 && table !== undefined && table.length > 1, "take_rows", args);
    return [...(ids ?? []), ...(table ?? []).slice(1)];
  },
  concat(args, { size }) {
    const [[, ...row] = []] = args;
    expect(
      args.every((table) => sameShape(table.slice(1), row)),
      "concat",
      args,
    );
    return [size, ...row];
  },
  add: (args) => broadcast("add", args),
  sub: (args) => broadcast("sub", args),
  mul: (args) => broadcast("mul", args),
  div: (args) => broadcast("div", args),
  scale: same,
  shift: same,
  mean: reduceLast,
  rms: reduceLast,
  activation: same,
  reshape: (_, { shape }) => shape,
  identity: same,
  rotary(args, { dims }) {
    const [x, cos, sin] = args;
    const width = at(x, 2);
    expect(typeof width === "number" && dims % 2 === 0 && dims <= width, "rotary", args);
    expect(at(cos, 1) === dims / 2 && at(sin, 1) === dims / 2, "rotary", args);
    return x ?? [];
  },
  repeat_heads([x = []], { times }) {
    return [...x.slice(0, -2), product(at(x, -2), times), at(x, -1)];
  },
  query_key(args) {
    const [q, k] = args;
    expect(q?.length === 4 && k?.length === 4 && at(q, 3) === at(k, 3), "query_key", args);
    expect(Number(at(q, 2)) % Number(at(k, 2)) === 0, "query_key", args);
    return [at(q, 0), at(q, 2), at(q, 1), at(k, 1)];
  },
  softmax: same,
  pattern_value(args) {
    const [pattern, v] = args;
    expect(pattern?.length === 4 && v?.length === 4 && at(pattern, 3) === at(v, 1), "pattern_value", args);
    expect(Number(at(pattern, 1)) % Number(at(v, 2)) === 0, "pattern_value", args);
    return [at(pattern, 0), at(pattern, 2), at(pattern, 1), at(v, 3)];
  },
  logsumexp: reduceLast,
  expand(args) {
    const [, like = []] = args;
    expect(sameShape(broadcast("expand", args), like), "expand", args);
    return like;
  },
  sum_to(args, { shape }) {
    const [x = []] = args;
    expect(sameShape(broadcast("sum_to", [x, shape]), x), "sum_to", [...args, shape]);
    return shape;
  },
  sum_groups(args, { times }) {
    const [x = []] = args;
    const heads = Number(at(x, -2));
    expect(heads % times === 0, "sum_groups", args);
    return [...x.slice(0, -2), heads / times, at(x, -1)];
  },
  head_linear_transposed(args, { layout }) {
    const [y, weight] = args;
    const [into, out] = layout === "out_in" ? [at(weight, 1), at(weight, 0)] : [at(weight, 0), at(weight, 1)];
    const [heads, inputs] = [Number(at(y, 1)), Number(into)];
    expect(y?.length === 3 && at(y, 2) === out && inputs % heads === 0, "head_linear_transposed", args);
    return [at(y, 0), heads, inputs / heads];
  },
  transpose([x = []]) {
    return [...x.slice(0, -2), at(x, -1), at(x, -2)];
  },
  slope: same,
};
