/**
 * @file A network whose answer is linear in what is put into it: attention without norms, rotary embedding or MLP,
 * and queries that are 0, so that every pattern is uniform over the positions a query may see.
 */

import type { Backend } from "../../src/backend/backend.ts";
import { random } from "../../src/core/random.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { sizeOf, tensor } from "../../src/core/tensor.ts";
import type { Definition } from "../../src/model/architecture.ts";
import type { Model } from "../../src/model/model.ts";
import { weightStore } from "../../src/model/store.ts";
import type { WeightInfo, WeightSource } from "../../src/model/weights/source.ts";
import { takeRows } from "../../src/numeric/take.ts";
import type { Program } from "../../src/program/program.ts";
import { builder } from "../../src/program/program.ts";
import { modelOf } from "./golden-model.ts";

const [LAYERS, D, HEADS, GROUPS, WIDTH, VOCABULARY] = [3, 8, 4, 2, 3, 7];

function block(): Program {
  const b = builder();
  const residual = b.state("resid_pre", ["token", D]);
  const project = (name: string, heads: number): string => {
    const input = b.site(`${name}_in`, b.op("identity", [residual]));
    const flat = b.op("linear", [input, b.weight(`${name}.weight`, [heads * WIDTH, D])], {
      layout: "out_in",
    });
    return b.site(name, b.op("reshape", [flat], { shape: ["token", heads, WIDTH] }));
  };
  const [q, k, v] = [project("q", HEADS), project("k", GROUPS), project("v", GROUPS)];
  b.site("rot_q", q);
  b.site("rot_k", k);
  const queries = b.site("queries", b.op("reshape", [q], { shape: ["row", "dst", HEADS, WIDTH] }));
  const keys = b.site("keys", b.op("reshape", [k], { shape: ["row", "src", GROUPS, WIDTH] }));
  const values = b.site("values", b.op("reshape", [v], { shape: ["row", "src", GROUPS, WIDTH] }));
  const times = HEADS / GROUPS;
  const keyOfHead = b.site("k_heads", b.op("repeat_heads", [keys], { times }));
  const valueOfHead = b.site("v_heads", b.op("repeat_heads", [values], { times }));
  const scores = b.site("scores", b.op("query_key", [queries, keyOfHead]));
  const masked = b.op("add", [scores, b.context("mask", [1, 1, "dst", "src"])]);
  const pattern = b.site("pattern", b.op("softmax", [masked]));
  const mixed = b.op("pattern_value", [pattern, valueOfHead]);
  const z = b.site("z", b.op("reshape", [mixed], { shape: ["token", HEADS, WIDTH] }));
  const output = b.weight("o.weight", [D, HEADS * WIDTH]);
  const result = b.site("result", b.op("head_linear", [z, output], { layout: "out_in" }));
  const out = b.site("attn_out", b.op("sum_heads", [result]));
  b.site("resid_post", b.op("add", [residual, out]));
  return b.build(["resid_post"]);
}

function ends(): Pick<Definition, "embed" | "unembed"> {
  const table = "embedding";
  const e = builder();
  e.site(
    "resid_pre",
    e.op("take_rows", [e.context("ids", ["token"], "int"), e.weight(table, [VOCABULARY, D])]),
  );
  const u = builder();
  const residual = u.state("resid_post", ["token", D]);
  const head = u.weight("head", [VOCABULARY, D]);
  u.site("logits", u.op("linear", [residual, head], { layout: "out_in" }));
  const chosen = u.op("take_rows", [u.context("columns", ["column"], "int"), head]);
  u.site("columns", u.op("linear", [residual, chosen], { layout: "out_in" }));
  return { embed: e.build(["resid_pre"]), unembed: u.build(["logits"]) };
}

function weights(definition: Definition, seed: number, queryScale: number): WeightSource {
  const { normal } = random(seed);
  const shapes = new Map<string, readonly number[]>();
  const add = (program: Program, prefix: string): void => {
    for (const { role } of program.inputs)
      if (role.kind === "weight") shapes.set(prefix + role.tensor, role.stored);
  };
  add(definition.embed, "");
  add(definition.unembed, "");
  for (const [layer, program] of definition.blocks.entries()) add(program, definition.layerPrefix(layer));
  const values = new Map(
    [...shapes].map(([name, shape]) => {
      const scale = name.endsWith("q.weight") ? queryScale : 0.5;
      return [
        name,
        tensor(
          Float32Array.from({ length: sizeOf(shape) }, () => scale * normal()),
          shape,
        ),
      ] as const;
    }),
  );
  const info = ([name, shape]: [string, readonly number[]]): [string, WeightInfo] => [
    name,
    { name, shape, dtype: "F32", bytes: 4 * sizeOf(shape) },
  ];
  return {
    tensors: new Map([...shapes].map(info)),
    read: async (names) => new Map([...values].filter(([name]) => names.includes(name))),
    readRows: async (name, rows) => takeRows(values.get(name) as Tensor<Float32Array>, rows),
    hash: async () => "",
    close: async () => {},
  };
}

/**
 * Weights are drawn from the normal distribution; the first is as good as any other seed. With a `queryScale` above 0
 * patterns depend on the input: of one layer, the answer is then linear in the pattern and the values only.
 */
export function linearNet(
  backend: Backend,
  seed = 1,
  options: { readonly layers?: number; readonly queryScale?: number } = {},
): Model {
  const { layers = LAYERS, queryScale = 0 } = options;
  const program = block();
  const definition: Definition = {
    architecture: {
      name: "LinearNet",
      layers: Array.from({ length: layers }, () => ({})),
      dModel: D,
      heads: HEADS,
      kvHeads: GROUPS,
      dHead: WIDTH,
      dMlp: 0,
      vocabulary: VOCABULARY,
      maxPositions: 64,
      causal: true,
    },
    ...ends(),
    blocks: Array.from({ length: layers }, () => program),
    layerPrefix: (layer) => `layers.${layer}.`,
    basePrefix: "",
    ignored: [],
  };
  return modelOf({
    definition,
    weights: weightStore(definition, weights(definition, seed, queryScale)),
    backend,
  });
}
