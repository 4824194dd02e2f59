/**
 * @file Reverse-mode differentiation: from a program to the program that also computes gradients.
 *
 * The cotangent of a value is the gradient of some scalar by it, and has its shape. Each operation has one rule, from
 * the cotangent of what it makes to those of what it takes (a vector-Jacobian product). The result is a program like
 * any other: `cut` at the sites `d.z`, `d.resid_post`, … it computes part of a gradient from another part, and what
 * the forward pass has left in hand need not be computed again.
 */

import type { OpName, Shape } from "./ops.ts";
import type { AnyNode, Builder, Node, Program, Value } from "./program.ts";
import { builder, valueOfSite } from "./program.ts";
import { mergeEqual, renumber } from "./simplify.ts";

/** Name of the site that holds the gradient by another. */
export function gradientSite(site: string): string {
  return `d.${site}`;
}

/** What flows back to one argument; `none` where it decides on shapes only. An argument left out has no derivative. */
type Flow = (() => Value) | "none";

type Rule<K extends OpName> = (b: Builder, node: Node<K>, dy: Value) => readonly Flow[];

const arg = (node: { readonly args: readonly Value[] }, index: number): Value => {
  const value = node.args[index];
  if (value === undefined) throw new Error(`argument ${index} is missing`);
  return value;
};

const flipped = (layout: "out_in" | "in_out"): "out_in" | "in_out" =>
  layout === "out_in" ? "in_out" : "out_in";

const equal = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((dim, i) => dim === b[i]);

/** Undoes broadcasting: sums `dy` to the shape of `like`. */
function unbroadcast(b: Builder, dy: Value, like: Value): Value {
  const shape = b.shape(like);
  return equal(b.shape(dy), shape) ? dy : b.op("sum_to", [dy], { shape });
}

const width = (b: Builder, x: Value): number => Number(b.shape(x).at(-1));
/** Axis of heads in [.., heads, d_head]. */
const heads = (b: Builder, x: Value): number => Number(b.shape(x).at(-2));

/** Σ over the query heads of each group and over queries: pattern-like [row, H, dst, src] and [row, dst, H, dh] → [row, src, G, dh]. */
function byKeys(b: Builder, [cells, queries]: readonly [Value, Value], groups: number): Value {
  const perHead = b.op("pattern_value", [b.op("transpose", [cells]), queries]);
  const times = heads(b, perHead) / groups;
  return times === 1 ? perHead : b.op("sum_groups", [perHead], { times });
}

/**
 * Complete by type. Weights and token ids are not differentiated: `linear` has no rule for its weight, and a program
 * that would need one is refused.
 */
const rules: { readonly [K in OpName]: Rule<K> } = {
  linear: (b, { args: [, weight = ""], attrs: { layout } }, dy) => [
    () => b.op("linear", [dy, weight], { layout: flipped(layout) }),
  ],
  head_linear: (b, { args: [, weight = ""], attrs }, dy) => [
    () => b.op("head_linear_transposed", [dy, weight], attrs),
  ],
  sum_heads: (b, node, dy) => [
    () => {
      const [token = "token", times] = b.shape(arg(node, 0));
      const one = b.op("reshape", [dy], { shape: [token, 1, width(b, dy)] });
      return b.op("repeat_heads", [one], { times: Number(times) });
    },
  ],
  take_rows: () => [],
  concat: () => [], // programs that put rows together run forward only
  add: (b, node, dy) => [() => unbroadcast(b, dy, arg(node, 0)), () => unbroadcast(b, dy, arg(node, 1))],
  sub: (b, node, dy) => [
    () => unbroadcast(b, dy, arg(node, 0)),
    () => b.op("scale", [unbroadcast(b, dy, arg(node, 1))], { by: -1 }),
  ],
  mul: (b, { args: [x = "", y = ""] }, dy) => [
    () => unbroadcast(b, b.op("mul", [dy, y]), x),
    () => unbroadcast(b, b.op("mul", [dy, x]), y),
  ],
  // d(x/y) = dx/y − (x/y)·dy/y
  div: (b, { args: [x = "", y = ""], out }, dy) => [
    () => unbroadcast(b, b.op("div", [dy, y]), x),
    () => b.op("scale", [b.op("div", [unbroadcast(b, b.op("mul", [dy, out]), y), y])], { by: -1 }),
  ],
  scale: (b, { attrs }, dy) => [() => b.op("scale", [dy], attrs)],
  shift: (_b, _node, dy) => [() => dy],
  // Broadcast when it is added to what other readers of x send back, or at the end.
  mean: (b, node, dy) => [() => b.op("scale", [dy], { by: 1 / width(b, arg(node, 0)) })],
  // d√(Σx²/n + ε) = x dx / (n·rms)
  rms: (b, node, dy) => [
    () => {
      const x = arg(node, 0);
      return b.op("mul", [x, b.op("scale", [b.op("div", [dy, node.out])], { by: 1 / width(b, x) })]);
    },
  ],
  activation: (b, node, dy) => [() => b.op("mul", [dy, b.op("slope", [arg(node, 0)], node.attrs)])],
  reshape: (b, node, dy) => [() => b.op("reshape", [dy], { shape: b.shape(arg(node, 0)) })],
  identity: (_b, _node, dy) => [() => dy],
  // The inverse of a rotation is its transpose: the same one backwards.
  rotary: (b, { args: [, cos = "", sin = ""], attrs }, dy) => [
    () => b.op("rotary", [dy, cos, b.op("scale", [sin], { by: -1 })], attrs),
  ],
  repeat_heads: (b, { attrs }, dy) => [() => b.op("sum_groups", [dy], attrs)],
  // s_ij = q_i·k_j: dq_i = Σ_j ds_ij k_j, dk_j = Σ_i ds_ij q_i
  query_key: (b, { args: [q = "", k = ""] }, dy) => [
    () => b.op("pattern_value", [dy, k]),
    () => byKeys(b, [dy, q], heads(b, k)),
  ],
  // dx = p ⊙ (dy − Σ p dy)
  softmax: (b, { out }, dy) => [
    () => {
      const shape = [...b.shape(out).slice(0, -1), 1];
      const mean = b.op("sum_to", [b.op("mul", [out, dy])], { shape });
      return b.op("mul", [out, b.op("sub", [dy, mean])]);
    },
  ],
  // z_i = Σ_j p_ij v_j: dp_ij = dz_i·v_j, dv_j = Σ_i p_ij dz_i
  pattern_value: (b, { args: [pattern = "", v = ""] }, dy) => [
    () => b.op("query_key", [dy, v]),
    () => byKeys(b, [pattern, dy], heads(b, v)),
  ],
  logsumexp: (b, node, dy) => [() => b.op("mul", [dy, b.op("softmax", [arg(node, 0)])])],
  expand: (b, node, dy) => [() => unbroadcast(b, dy, arg(node, 0)), "none"],
  sum_to: (b, node, dy) => [() => b.op("expand", [dy, arg(node, 0)])],
  sum_groups: (b, { attrs }, dy) => [() => b.op("repeat_heads", [dy], attrs)],
  head_linear_transposed: (b, { args: [, weight = ""], attrs }, dy) => [
    () => b.op("head_linear", [dy, weight], attrs),
  ],
  transpose: (b, _node, dy) => [() => b.op("transpose", [dy])],
  slope: () => [], // second derivatives of activations are not taken
};

export interface VjpOptions {
  /** Sites whose gradients are given: inputs `d.<site>` of the result. */
  readonly of: readonly string[];
  /** Sites whose gradients are wanted: sites `d.<site>` of the result, and its outputs. */
  readonly wrt: readonly string[];
}

/**
 * The program with the gradients of a scalar by the sites `wrt`, from those by the sites `of`. The scalar depends on
 * the program only through `of`; a site's gradient counts all ways from it to them.
 *
 * Values that are equal (the three copies of the residual stream that queries, keys and values read) are told apart
 * only where one of them is in `wrt`.
 */
export function vjp(program: Program, { of, wrt }: VjpOptions): Program {
  const distinct = new Set(wrt.map((site) => valueOfSite(program, site)));
  const primal = renumber(mergeEqual(program, distinct));
  const b = builder(primal);
  const active = activeValues(primal, wrt);
  const wanted = new Set(wrt.filter((site) => !of.includes(site)).map((site) => valueOfSite(primal, site)));
  const parts = new Map<Value, Value[]>();
  const send = (value: Value, cotangent: Value): void => {
    const list = parts.get(value);
    if (list === undefined) parts.set(value, [cotangent]);
    else list.push(cotangent);
  };
  const total = (value: Value): Value | undefined => {
    const list = parts.get(value);
    if (list === undefined) return undefined;
    const sum = list.reduce((one, other) => b.op("add", [one, other]));
    const expanded = equal(b.shape(sum), b.shape(value)) ? sum : b.op("expand", [sum, value]);
    // A gradient that can be given must not be another's value (past a sum, both are), or the other would be given too.
    const whole = wanted.has(value) ? b.op("identity", [expanded]) : expanded;
    wanted.delete(value);
    parts.set(value, [whole]);
    return whole;
  };

  for (const site of new Set(of)) {
    const value = valueOfSite(primal, site);
    send(value, b.state(gradientSite(site), b.shape(value)));
  }
  for (const node of primal.nodes.toReversed()) {
    const dy = active.has(node.out) ? total(node.out) : undefined;
    if (dy === undefined) continue;
    const flows = flowsOf(b, node, dy);
    for (const [index, value] of node.args.entries()) {
      if (!active.has(value)) continue;
      const flow = flows[index];
      if (flow === undefined) throw new Error(`${node.op} has no derivative by its argument ${index}`);
      if (flow !== "none") send(value, flow());
    }
  }

  const outputs = [...new Set(wrt)].map(gradientSite);
  for (const site of new Set(wrt)) {
    const gradient = total(valueOfSite(primal, site));
    if (gradient === undefined) throw new Error(`${of.join(", ")} do not depend on ${site}`);
    if (!of.includes(site)) b.site(gradientSite(site), gradient);
  }
  return b.build(outputs);
}

function flowsOf(b: Builder, node: AnyNode, dy: Value): readonly Flow[] {
  const rule = rules[node.op] as Rule<OpName>;
  return rule(b, node, dy);
}

/** What depends on any of the sites. */
function activeValues(program: Program, sites: readonly string[]): Set<Value> {
  const active = new Set(sites.map((site) => valueOfSite(program, site)));
  for (const node of program.nodes) if (node.args.some((value) => active.has(value))) active.add(node.out);
  return active;
}
