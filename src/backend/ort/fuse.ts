/**
 * @file Groups of operations for which the engine has one kernel: normalisations, and attention whose scores and
 * pattern nobody asks for. The kernels round differently in the last bits and pass over the data once.
 */

import type { AnyNode, Program, Value } from "../../program/program.ts";
import { shapeOf, valueOfSite } from "../../program/program.ts";

/** Operations that are emitted as one; `out` is the value of the last of them. */
export type Fused = Normalisation | Attention;

/** RMSNorm, or LayerNorm where there is a bias: gain · x / √(mean(x²) + ε), over the last axis. */
export interface Normalisation {
  readonly kind: "normalisation";
  readonly x: Value;
  readonly gain: Value;
  /** Of a LayerNorm, which also takes the mean off first. */
  readonly bias?: Value;
  readonly eps: number;
  readonly out: Value;
}

/** softmax(scale · q kᵀ + mask) v: q [row, dst, H, dh], k and v [row, src, G, dh]. */
export interface Attention {
  readonly kind: "attention";
  readonly queries: Value;
  readonly keys: Value;
  readonly values: Value;
  readonly mask: Value;
  readonly scale: number;
  readonly out: Value;
}

export interface Fusion {
  /** By the value of the last operation. */
  readonly fused: ReadonlyMap<Value, Fused>;
  /** Values that no longer come to be. */
  readonly inner: ReadonlySet<Value>;
}

type NodeOf<K extends AnyNode["op"]> = Extract<AnyNode, { readonly op: K }>;

/** Finds them. A value that is an output, or that anything else uses, stays. */
export function fuse(program: Program): Fusion {
  const makers = new Map<Value, AnyNode>(program.nodes.map((node) => [node.out, node]));
  const uses = new Map<Value, number>();
  const count = (value: Value): unknown => uses.set(value, (uses.get(value) ?? 0) + 1);
  for (const { args } of program.nodes) for (const arg of args) count(arg);
  for (const site of program.outputs) count(valueOfSite(program, site));

  /** The node that makes a value, if it is of that kind and the value is used that often and no more. */
  const made = <K extends AnyNode["op"]>(
    op: K,
    value: Value | undefined,
    times = 1,
  ): NodeOf<K> | undefined => {
    const node = makers.get(value ?? "");
    return node?.op === op && uses.get(node.out) === times ? (node as NodeOf<K>) : undefined;
  };

  const fused = new Map<Value, Fused>();
  const inner = new Set<Value>();
  const keep = (found: Fused, absorbed: readonly (AnyNode | undefined)[]): void => {
    fused.set(found.out, found);
    for (const node of absorbed) if (node !== undefined) inner.add(node.out);
  };

  // Later operations first: a LayerNorm holds an RMSNorm.
  for (const node of program.nodes.toReversed()) {
    if (inner.has(node.out)) continue;
    if (node.op === "add") layerNorm(node);
    else if (node.op === "mul") rmsNorm(node);
    else if (node.op === "pattern_value") attention(node);
  }
  return { fused, inner };

  function isVector(value: Value): boolean {
    return shapeOf(program, value).length === 1;
  }

  function layerNorm(node: NodeOf<"add">): void {
    const [sum, bias = ""] = node.args;
    const product = made("mul", sum);
    const [quotient, gain = ""] = product?.args ?? [];
    const scaled = made("div", quotient);
    const centred = made("sub", scaled?.args[0], 2);
    const root = made("rms", scaled?.args[1]);
    const mean = made("mean", centred?.args[1]);
    const x = centred?.args[0];
    if (root === undefined || mean === undefined || x === undefined) return;
    if (root.args[0] !== centred?.out || mean.args[0] !== x || !isVector(gain) || !isVector(bias)) return;
    const { eps } = root.attrs;
    keep({ kind: "normalisation", x, gain, bias, eps, out: node.out }, [
      product,
      scaled,
      centred,
      root,
      mean,
    ]);
  }

  function rmsNorm(node: NodeOf<"mul">): void {
    const [quotient, gain = ""] = node.args;
    const scaled = made("div", quotient);
    const root = made("rms", scaled?.args[1]);
    const x = scaled?.args[0];
    if (root === undefined || x === undefined || root.args[0] !== x || !isVector(gain)) return;
    keep({ kind: "normalisation", x, gain, eps: root.attrs.eps, out: node.out }, [scaled, root]);
  }

  function attention(node: NodeOf<"pattern_value">): void {
    const [pattern, values = ""] = node.args;
    const softmax = made("softmax", pattern);
    const masked = made("add", softmax?.args[0]);
    const [scores, mask = ""] = masked?.args ?? [];
    const scaled = made("scale", scores);
    const product = made("query_key", scaled?.args[0]);
    const [queries = "", keys = ""] = product?.args ?? [];
    if (scaled === undefined || product === undefined) return;
    // The kernel takes as many heads of values as of keys; one of them may be asked for head by head.
    if (shapeOf(program, keys)[2] !== shapeOf(program, values)[2]) return;
    const found = { queries, keys, values, mask, scale: scaled.attrs.by, out: node.out };
    keep({ kind: "attention", ...found }, [softmax, masked, scaled, product]);
  }
}
