/**
 * @file The parts that families are made of: normalisation, attention and MLP, in their most separable form, with
 * every site named. Cuts fold back what is not looked at.
 */

import type { Activation } from "../program/ops.ts";
import type { Builder, Take, Value } from "../program/program.ts";
import type { Rotary } from "./rope.ts";

/** A normalisation over the last axis. */
export interface Norm {
  readonly kind: "rms" | "layer";
  readonly weight: string;
  readonly bias?: string;
  readonly eps: number;
  readonly width: number;
  /** Gemma stores the gain minus 1. */
  readonly gainMinusOne?: boolean;
}

/**
 * RMSNorm (Zhang & Sennrich 2019, eq. 4) or LayerNorm (Ba et al. 2016, eq. 4): centred x over its root mean square.
 * `scale` names that root [token, 1]: in a cut that is given it, the norm is frozen, and linear in x but for its bias.
 */
export function norm(b: Builder, x: Value, options: Norm, scale?: string): Value {
  const centred = options.kind === "layer" ? b.op("sub", [x, b.op("mean", [x])]) : x;
  const root = b.op("rms", [centred], { eps: options.eps });
  const scaled = b.op("div", [centred, scale === undefined ? root : b.site(scale, root)]);
  const stored = b.weight(options.weight, [options.width]);
  const gain = options.gainMinusOne ? b.op("shift", [stored], { by: 1 }) : stored;
  const gained = b.op("mul", [scaled, gain]);
  return options.bias === undefined ? gained : b.op("add", [gained, b.weight(options.bias, [options.width])]);
}

/** A stored matrix, or the part of a fused one, with its bias. */
export interface Projection {
  readonly weight: string;
  readonly bias?: string | undefined;
  readonly inputs: number;
  readonly outputs: number;
  /** PyTorch's Linear stores [out, in]; GPT-2's Conv1D stores [in, out]. */
  readonly layout?: "out_in" | "in_out";
  /** Where this is a part of a fused projection: the fused number of outputs, and which of them. */
  readonly fused?: { readonly outputs: number; readonly take: Omit<Take, "axis"> };
}

export function project(b: Builder, x: Value, projection: Projection): Value {
  const { weight, bias, inputs, layout = "out_in", fused } = projection;
  const outputs = fused?.outputs ?? projection.outputs;
  const axis = layout === "out_in" ? 0 : 1;
  const stored = layout === "out_in" ? [outputs, inputs] : [inputs, outputs];
  const args = [x, b.weight(weight, stored, fused && { ...fused.take, axis })];
  if (bias !== undefined) args.push(b.weight(bias, [outputs], fused && { ...fused.take, axis: 0 }));
  return b.op("linear", args, { layout });
}

export interface AttentionOptions {
  readonly heads: number;
  readonly kvHeads: number;
  readonly dHead: number;
  /** Applied to the residual stream, once for each of q, k and v, so that each can be given another input. */
  readonly norm: Norm;
  readonly query: Projection;
  readonly key: Projection;
  readonly value: Projection;
  readonly output: Projection;
  /** Normalisation of each head's query and key (Qwen3, Gemma 3). */
  readonly queryNorm?: Norm | undefined;
  readonly keyNorm?: Norm | undefined;
  readonly rotary?: Pick<Rotary, "dims" | "style"> | undefined;
  /** Factor on q·k, usually 1/√d_head. */
  readonly scale: number;
  /** Scores become cap·tanh(scores/cap) (Gemma 2). */
  readonly softcap?: number | undefined;
  /** Normalisation of the module's output before it is added (Gemma 2 and 3). */
  readonly postNorm?: Norm | undefined;
}

/**
 * Attention from the residual stream to what is added to it. Sites, in order of computation:
 * q_in, k_in, v_in [token, d]; q [token, H, dh], k, v [token, G, dh] (after any per-head norm);
 * rot_q, rot_k (q and k turned by their positions; the same values where there is no rotary embedding);
 * queries [row, dst, H, dh], keys, values [row, src, G, dh]; k_heads, v_heads [row, src, H, dh] (a copy for every
 * query head); scores [row, H, dst, src] (scaled and capped, before the mask), pattern; z [token, H, dh];
 * result [token, H, d]; attn_raw [token, d] (where a norm follows), attn_out [token, d].
 */
export function attention(b: Builder, residual: Value, options: AttentionOptions): Value {
  const { heads, kvHeads, dHead, rotary } = options;
  const read = (name: string): Value => norm(b, b.site(name, b.op("identity", [residual])), options.norm);
  const perHead = (x: Value, count: number): Value =>
    b.op("reshape", [x], { shape: ["token", count, dHead] });
  const normed = (x: Value, by: Norm | undefined): Value => (by === undefined ? x : norm(b, x, by));
  const turned = (x: Value): Value => {
    if (rotary === undefined) return x;
    const { dims, style } = rotary;
    const tables = [b.context("cos", ["token", dims / 2]), b.context("sin", ["token", dims / 2])];
    return b.op("rotary", [x, ...tables], { dims, style });
  };

  const q = b.site("q", normed(perHead(project(b, read("q_in"), options.query), heads), options.queryNorm));
  const k = b.site("k", normed(perHead(project(b, read("k_in"), options.key), kvHeads), options.keyNorm));
  const v = b.site("v", perHead(project(b, read("v_in"), options.value), kvHeads));
  const rotQ = b.site("rot_q", turned(q));
  const rotK = b.site("rot_k", turned(k));

  const queries = b.site("queries", b.op("reshape", [rotQ], { shape: ["row", "dst", heads, dHead] }));
  const keys = b.site("keys", b.op("reshape", [rotK], { shape: ["row", "src", kvHeads, dHead] }));
  const values = b.site("values", b.op("reshape", [v], { shape: ["row", "src", kvHeads, dHead] }));
  const times = heads / kvHeads;
  const keyOfHead = b.site("k_heads", b.op("repeat_heads", [keys], { times }));
  const valueOfHead = b.site("v_heads", b.op("repeat_heads", [values], { times }));

  const product = b.op("scale", [b.op("query_key", [queries, keyOfHead])], { by: options.scale });
  const scores = b.site(
    "scores",
    options.softcap === undefined ? product : softcap(b, product, options.softcap),
  );
  const masked = b.op("add", [scores, b.context("mask", [1, 1, "dst", "src"])]);
  const pattern = b.site("pattern", b.op("softmax", [masked]));
  const mixed = b.op("pattern_value", [pattern, valueOfHead]);
  const z = b.site("z", b.op("reshape", [mixed], { shape: ["token", heads, dHead] }));

  const { weight, bias, layout = "out_in", inputs, outputs } = options.output;
  const stored = b.weight(weight, layout === "out_in" ? [outputs, inputs] : [inputs, outputs]);
  const result = b.site("result", b.op("head_linear", [z, stored], { layout }));
  const sum = b.op("sum_heads", [result]);
  const out = bias === undefined ? sum : b.op("add", [sum, b.weight(bias, [outputs])]);
  return contribution(b, out, { site: "attn", postNorm: options.postNorm });
}

export interface MlpOptions {
  readonly norm: Norm;
  readonly activation: Activation;
  /** Gated (SwiGLU and kin, Shazeer 2020): act(gate(x)) ⊙ up(x). */
  readonly gate?: Projection;
  readonly up: Projection;
  readonly down: Projection;
  readonly postNorm?: Norm | undefined;
}

/**
 * MLP from the residual stream to what is added to it. Sites: mlp_in [token, d]; mlp_gate (gated only) and
 * mlp_pre [token, neuron], both before the activation; mlp_post [token, neuron]; mlp_raw [token, d] (where a norm
 * follows), mlp_out [token, d].
 */
export function mlp(b: Builder, residual: Value, options: MlpOptions): Value {
  const x = norm(b, b.site("mlp_in", b.op("identity", [residual])), options.norm);
  const kind = options.activation;
  const gate = options.gate && b.site("mlp_gate", project(b, x, options.gate));
  const pre = b.site("mlp_pre", project(b, x, options.up));
  const post =
    gate === undefined
      ? b.op("activation", [pre], { kind })
      : b.op("mul", [b.op("activation", [gate], { kind }), pre]);
  const out = project(b, b.site("mlp_post", post), options.down);
  return contribution(b, out, { site: "mlp", postNorm: options.postNorm });
}

/** cap·tanh(x/cap). */
export function softcap(b: Builder, x: Value, cap: number): Value {
  const squashed = b.op("activation", [b.op("scale", [x], { by: 1 / cap })], { kind: "tanh" });
  return b.op("scale", [squashed], { by: cap });
}

/** Names what is added to the stream; the module's raw output has a name of its own where a norm stands between. */
function contribution(
  b: Builder,
  raw: Value,
  { site, postNorm }: { readonly site: "attn" | "mlp"; readonly postNorm: Norm | undefined },
): Value {
  if (postNorm === undefined) return b.site(`${site}_out`, raw);
  return b.site(`${site}_out`, norm(b, b.site(`${site}_raw`, raw), postNorm, `${site}_scale`));
}

/** Attention, then the MLP on the sum. */
export function sequentialBlock(
  b: Builder,
  parts: { readonly attention: AttentionOptions; readonly mlp: MlpOptions },
): void {
  const width = parts.attention.norm.width;
  const pre = b.state("resid_pre", ["token", width]);
  const mid = b.site("resid_mid", b.op("add", [pre, attention(b, pre, parts.attention)]));
  b.site("resid_post", b.op("add", [mid, mlp(b, mid, parts.mlp)]));
}

/** Attention and MLP side by side on the same stream (GPT-J, GPT-NeoX, Phi): there is no resid_mid. */
export function parallelBlock(
  b: Builder,
  parts: { readonly attention: AttentionOptions; readonly mlp: MlpOptions },
): void {
  const width = parts.attention.norm.width;
  const pre = b.state("resid_pre", ["token", width]);
  const attn = attention(b, pre, parts.attention);
  b.site("resid_post", b.op("add", [b.op("add", [pre, attn]), mlp(b, pre, parts.mlp)]));
}
