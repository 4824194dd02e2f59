import { describe, expect, test } from "vitest";
import { define } from "../model/families/registry.ts";
import { cut, downstream, frontier } from "./cut.ts";
import { print } from "./print.ts";
import type { Program } from "./program.ts";

const [sequential] = define({
  architectures: ["LlamaForCausalLM"],
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 11,
}).blocks as [Program];
const [parallel] = define({
  architectures: ["GPTJForCausalLM"],
  n_embd: 8,
  n_head: 2,
  n_layer: 1,
  rotary_dim: 4,
  vocab_size: 11,
}).blocks as [Program];

const printed = (given: readonly string[], want: readonly string[]) =>
  print(cut(sequential, { given, want }));

describe("cuts of a Llama block", () => {
  test("the whole block: one norm for q, k and v, grouped attention, one output projection", () => {
    expect(printed(["resid_pre"], ["resid_post"])).toMatchInlineSnapshot(`
      "resid_pre [token, 8] state  ; q_in, k_in, v_in
      input_layernorm.weight [8] weight
      self_attn.q_proj.weight [8, 8] weight
      self_attn.k_proj.weight [4, 8] weight
      self_attn.v_proj.weight [4, 8] weight
      cos [token, 1] context
      sin [token, 1] context
      mask [1, 1, dst, src] context
      self_attn.o_proj.weight [8, 8] weight
      post_attention_layernorm.weight [8] weight
      mlp.gate_proj.weight [12, 8] weight
      mlp.up_proj.weight [12, 8] weight
      mlp.down_proj.weight [8, 12] weight
      %0 = rms(resid_pre) {eps=0.000001} : [token, 1]
      %1 = div(resid_pre, %0) : [token, 8]
      %2 = mul(%1, input_layernorm.weight) : [token, 8]
      %3 = linear(%2, self_attn.q_proj.weight) {layout="out_in"} : [token, 8]
      %4 = reshape(%3) {shape=["token",4,2]} : [token, 4, 2]  ; q
      %5 = linear(%2, self_attn.k_proj.weight) {layout="out_in"} : [token, 4]
      %6 = reshape(%5) {shape=["token",2,2]} : [token, 2, 2]  ; k
      %7 = linear(%2, self_attn.v_proj.weight) {layout="out_in"} : [token, 4]
      %8 = reshape(%7) {shape=["token",2,2]} : [token, 2, 2]  ; v
      %9 = rotary(%4, cos, sin) {dims=2, style="half"} : [token, 4, 2]  ; rot_q
      %10 = rotary(%6, cos, sin) {dims=2, style="half"} : [token, 2, 2]  ; rot_k
      %11 = reshape(%9) {shape=["row","dst",4,2]} : [row, dst, 4, 2]  ; queries
      %12 = reshape(%10) {shape=["row","src",2,2]} : [row, src, 2, 2]  ; keys
      %13 = reshape(%8) {shape=["row","src",2,2]} : [row, src, 2, 2]  ; values
      %14 = query_key(%11, %12) : [row, 4, dst, src]
      %15 = scale(%14) {by=0.7071067811865475} : [row, 4, dst, src]  ; scores
      %16 = add(%15, mask) : [row, 4, dst, src]
      %17 = softmax(%16) : [row, 4, dst, src]  ; pattern
      %18 = pattern_value(%17, %13) : [row, dst, 4, 2]
      %19 = reshape(%18) {shape=["token",4,2]} : [token, 4, 2]  ; z
      %20 = reshape(%19) {shape=["token",8]} : [token, 8]
      %21 = linear(%20, self_attn.o_proj.weight) {layout="out_in"} : [token, 8]  ; attn_out
      %22 = add(resid_pre, %21) : [token, 8]  ; resid_mid, mlp_in
      %23 = rms(%22) {eps=0.000001} : [token, 1]
      %24 = div(%22, %23) : [token, 8]
      %25 = mul(%24, post_attention_layernorm.weight) : [token, 8]
      %26 = linear(%25, mlp.gate_proj.weight) {layout="out_in"} : [token, 12]  ; mlp_gate
      %27 = linear(%25, mlp.up_proj.weight) {layout="out_in"} : [token, 12]  ; mlp_pre
      %28 = activation(%26) {kind="silu"} : [token, 12]
      %29 = mul(%28, %27) : [token, 12]  ; mlp_post
      %30 = linear(%29, mlp.down_proj.weight) {layout="out_in"} : [token, 8]  ; mlp_out
      %31 = add(%22, %30) : [token, 8]  ; resid_post
      return resid_post"
    `);
  });

  test("from z on there is no attention, and what it added to comes in as it was", () => {
    expect(printed(["z"], ["resid_post"])).toMatchInlineSnapshot(`
      "z [token, 4, 2] state
      resid_pre [token, 8] state
      self_attn.o_proj.weight [8, 8] weight
      post_attention_layernorm.weight [8] weight
      mlp.gate_proj.weight [12, 8] weight
      mlp.up_proj.weight [12, 8] weight
      mlp.down_proj.weight [8, 12] weight
      %0 = reshape(z) {shape=["token",8]} : [token, 8]
      %1 = linear(%0, self_attn.o_proj.weight) {layout="out_in"} : [token, 8]  ; attn_out
      %2 = add(resid_pre, %1) : [token, 8]  ; resid_mid, mlp_in
      %3 = rms(%2) {eps=0.000001} : [token, 1]
      %4 = div(%2, %3) : [token, 8]
      %5 = mul(%4, post_attention_layernorm.weight) : [token, 8]
      %6 = linear(%5, mlp.gate_proj.weight) {layout="out_in"} : [token, 12]  ; mlp_gate
      %7 = linear(%5, mlp.up_proj.weight) {layout="out_in"} : [token, 12]  ; mlp_pre
      %8 = activation(%6) {kind="silu"} : [token, 12]
      %9 = mul(%8, %7) : [token, 12]  ; mlp_post
      %10 = linear(%9, mlp.down_proj.weight) {layout="out_in"} : [token, 8]  ; mlp_out
      %11 = add(%2, %10) : [token, 8]  ; resid_post
      return resid_post"
    `);
  });

  test("keys and values need a norm, two projections and a rotation", () => {
    expect(printed(["resid_pre"], ["rot_k", "v"])).toMatchInlineSnapshot(`
      "resid_pre [token, 8] state  ; k_in, v_in
      input_layernorm.weight [8] weight
      self_attn.k_proj.weight [4, 8] weight
      self_attn.v_proj.weight [4, 8] weight
      cos [token, 1] context
      sin [token, 1] context
      %0 = rms(resid_pre) {eps=0.000001} : [token, 1]
      %1 = div(resid_pre, %0) : [token, 8]
      %2 = mul(%1, input_layernorm.weight) : [token, 8]
      %3 = linear(%2, self_attn.k_proj.weight) {layout="out_in"} : [token, 4]
      %4 = reshape(%3) {shape=["token",2,2]} : [token, 2, 2]  ; k
      %5 = linear(%2, self_attn.v_proj.weight) {layout="out_in"} : [token, 4]
      %6 = reshape(%5) {shape=["token",2,2]} : [token, 2, 2]  ; v
      %7 = rotary(%4, cos, sin) {dims=2, style="half"} : [token, 2, 2]  ; rot_k
      return rot_k, v"
    `);
  });

  test("results and repeated keys are computed apart when asked for", () => {
    const text = printed(["resid_pre"], ["result", "k_heads"]);
    expect(text).toMatch(/repeat_heads\(.*; k_heads$/m);
    expect(text).toMatch(/head_linear\(.*; result$/m);
    expect(text).not.toMatch(/; v_heads/);
  });

  test("giving one of three readings of a stream leaves the others on the stream", () => {
    const program = cut(sequential, { given: ["k_in"], want: ["queries", "keys", "values"] });
    const states = program.inputs.filter(({ role }) => role.kind === "state").map(({ name }) => name);
    expect(states).toEqual(["k_in", "resid_pre"]);
    expect(program.nodes.filter(({ op }) => op === "rms").map(({ args }) => args)).toEqual([
      ["resid_pre"],
      ["k_in"],
    ]);
  });

  test("what is given and wanted passes through: nothing is left to compute", () => {
    expect(printed(["z", "q"], ["z", "q"])).toBe("z [token, 4, 2] state\nq [token, 4, 2] state\nreturn z, q");
  });

  test("cutting again at the same place changes nothing", () => {
    const once = cut(sequential, { given: ["z"], want: ["resid_post"] });
    expect(print(cut(once, { given: ["z"], want: ["resid_post"] }))).toBe(print(once));
  });

  test("an unknown site is named, with those there are", () => {
    expect(() => cut(parallel, { given: [], want: ["resid_mid"] })).toThrow(
      /^no site resid_mid; .*mlp_out, /,
    );
  });
});

describe("what an edit reaches", () => {
  const sites = (program: Program, edited: string) => {
    const values = downstream(program, [edited]);
    return [...program.sites].filter(([, value]) => values.has(value)).map(([site]) => site);
  };

  test("in a sequential block the MLP reads what attention wrote", () => {
    expect(sites(sequential, "result")).toEqual([
      "result",
      "attn_out",
      "resid_mid",
      "mlp_in",
      "mlp_gate",
      "mlp_pre",
      "mlp_post",
      "mlp_out",
      "resid_post",
    ]);
  });

  test("in a parallel block it does not", () => {
    expect(sites(parallel, "result")).toEqual(["result", "attn_out", "resid_post"]);
  });
});

describe("what must be known to go on after an edit", () => {
  const known = (program: Program, edited: string) => frontier(program, [edited], ["resid_post"]).sort();

  test.each([
    ["q", ["k_heads", "q", "resid_pre", "v_heads"]],
    ["k_in", ["k_in", "queries", "resid_pre", "v_heads"]],
    ["pattern", ["pattern", "resid_pre", "v_heads"]],
    ["z", ["resid_pre", "z"]],
    ["mlp_post", ["mlp_post", "resid_mid"]],
    ["mlp_gate", ["mlp_gate", "mlp_pre", "resid_mid"]],
    ["resid_post", ["resid_post"]],
  ])("in a sequential block: %s", (edited, wanted) => {
    expect(known(sequential, edited)).toEqual(wanted);
  });

  test.each([
    ["q", ["k_heads", "mlp_out", "q", "resid_pre", "v_heads"]],
    ["pattern", ["mlp_out", "pattern", "resid_pre", "v_heads"]],
    ["z", ["mlp_out", "resid_pre", "z"]],
    ["mlp_post", ["attn_out", "mlp_post", "resid_pre"]],
  ])("in a parallel block: %s", (edited, wanted) => {
    expect(known(parallel, edited)).toEqual(wanted);
  });

  test("it is enough: the cut from there takes no other activation", () => {
    for (const program of [sequential, parallel]) {
      for (const edited of program.sites.keys()) {
        const given = frontier(program, [edited], ["resid_post"]);
        const { inputs } = cut(program, { given, want: ["resid_post"] });
        const states = inputs.filter(({ role }) => role.kind === "state").map(({ name }) => name);
        expect(states.sort()).toEqual(given.sort());
      }
    }
  });
});
