/**
 * @file Networks written by hand, entry by entry: causal attention and ReLU MLPs without norms or rotary embedding, whose
 * every number is known. All weights that are not given are 0.
 */

import type { Backend } from "../../src/backend/backend.ts";
import { tensor } from "../../src/core/tensor.ts";
import type { Definition } from "../../src/model/architecture.ts";
import type { Model } from "../../src/model/model.ts";
import { weightStore } from "../../src/model/store.ts";
import { takeRows } from "../../src/numeric/take.ts";
import type { Program } from "../../src/program/program.ts";
import { builder } from "../../src/program/program.ts";
import { modelOf } from "./golden-model.ts";

/** Entries of a matrix [out, in] or a vector [out]. */
type Entries = readonly (readonly [out: number, into: number, value: number])[];

/** One layer. Rows of q, k and v are head · dHead + i, as are columns of o. */
export interface HandLayer {
  readonly q?: Entries;
  readonly k?: Entries;
  readonly v?: Entries;
  readonly o?: Entries;
  readonly up?: Entries;
  /** Columns are 0. */
  readonly upBias?: Entries;
  readonly down?: Entries;
}

export interface HandNet {
  readonly d: number;
  readonly heads: number;
  readonly dHead: number;
  readonly neurons: number;
  /** [vocabulary][d] */
  readonly embedding: readonly (readonly number[])[];
  /** [position][d] added to the embedding; nothing if absent. */
  readonly positions?: readonly (readonly number[])[];
  /** [vocabulary][d] */
  readonly unembedding: readonly (readonly number[])[];
  readonly layers: readonly HandLayer[];
}

function block({ d, heads, dHead, neurons }: HandNet): Program {
  const b = builder();
  const residual = b.state("resid_pre", ["token", d]);
  const [q, k, v] = (["q", "k", "v"] as const).map((name) => {
    const flat = b.op("linear", [residual, b.weight(name, [heads * dHead, d])], { layout: "out_in" });
    return b.site(name, b.op("reshape", [flat], { shape: ["token", heads, dHead] }));
  });
  b.site("rot_q", q);
  b.site("rot_k", k);
  const queries = b.site("queries", b.op("reshape", [q], { shape: ["row", "dst", heads, dHead] }));
  const keys = b.site("keys", b.op("reshape", [k], { shape: ["row", "src", heads, dHead] }));
  const values = b.site("values", b.op("reshape", [v], { shape: ["row", "src", heads, dHead] }));
  const scores = b.site("scores", b.op("query_key", [queries, keys]));
  const masked = b.op("add", [scores, b.context("mask", [1, 1, "dst", "src"])]);
  const pattern = b.site("pattern", b.op("softmax", [masked]));
  const mixed = b.op("pattern_value", [pattern, values]);
  const z = b.site("z", b.op("reshape", [mixed], { shape: ["token", heads, dHead] }));
  const result = b.site(
    "result",
    b.op("head_linear", [z, b.weight("o", [d, heads * dHead])], { layout: "out_in" }),
  );
  const attention = b.site("attn_out", b.op("sum_heads", [result]));
  const middle = b.site("resid_mid", b.op("add", [residual, attention]));
  const up = b.op("linear", [middle, b.weight("up", [neurons, d]), b.weight("upBias", [neurons])], {
    layout: "out_in",
  });
  const post = b.site("mlp_post", b.op("activation", [b.site("mlp_pre", up)], { kind: "relu" }));
  const out = b.site("mlp_out", b.op("linear", [post, b.weight("down", [d, neurons])], { layout: "out_in" }));
  b.site("resid_post", b.op("add", [middle, out]));
  return b.build(["resid_post"]);
}

/** The network as a model. */
export function handNet(backend: Backend, net: HandNet): Model {
  const { d, heads, dHead, neurons, embedding, positions, layers } = net;
  const vocabulary = embedding.length;
  const program = block(net);
  const e = builder();
  const token = e.op("take_rows", [
    e.context("ids", ["token"], "int"),
    e.weight("embedding", [vocabulary, d]),
  ]);
  const place = positions && [
    e.context("positions", ["token"], "int"),
    e.weight("places", [positions.length, d]),
  ];
  e.site("resid_pre", place === undefined ? token : e.op("add", [token, e.op("take_rows", place)]));
  const u = builder();
  const residual = u.state("resid_post", ["token", d]);
  const head = u.weight("head", [vocabulary, d]);
  u.site("logits", u.op("linear", [residual, head], { layout: "out_in" }));
  const chosen = u.site("column_rows", u.op("take_rows", [u.context("columns", ["column"], "int"), head]));
  u.site("columns", u.op("linear", [residual, chosen], { layout: "out_in" }));
  const definition: Definition = {
    architecture: {
      name: "HandNet",
      layers: layers.map(() => ({})),
      dModel: d,
      heads,
      kvHeads: heads,
      dHead,
      dMlp: neurons,
      vocabulary,
      maxPositions: 64,
      causal: true,
    },
    embed: e.build(["resid_pre"]),
    blocks: layers.map(() => program),
    unembed: u.build(["logits"]),
    layerPrefix: (layer) => `${layer}.`,
    basePrefix: "",
    ignored: [],
  };
  const shapes: Readonly<Record<keyof HandLayer, readonly number[]>> = {
    q: [heads * dHead, d],
    k: [heads * dHead, d],
    v: [heads * dHead, d],
    o: [d, heads * dHead],
    up: [neurons, d],
    upBias: [neurons],
    down: [d, neurons],
  };
  const matrix = (entries: Entries, shape: readonly number[]) => {
    const width = shape[1] ?? 1;
    const data = new Float32Array((shape[0] ?? 1) * width);
    for (const [row, column, value] of entries) data[row * width + column] = value;
    return tensor(data, shape);
  };
  const values = new Map([
    ["embedding", tensor(Float32Array.from(embedding.flat()), [vocabulary, d])],
    ...(positions === undefined
      ? []
      : [["places", tensor(Float32Array.from(positions.flat()), [positions.length, d])] as const]),
    ["head", tensor(Float32Array.from(net.unembedding.flat()), [vocabulary, d])],
    ...layers.flatMap((layer, index) =>
      Object.entries(shapes).map(
        ([name, shape]) => [`${index}.${name}`, matrix(layer[name as keyof HandLayer] ?? [], shape)] as const,
      ),
    ),
  ]);
  const tensors = new Map(
    [...values].map(
      ([name, { shape, data }]) => [name, { name, shape, dtype: "F32", bytes: 4 * data.length }] as const,
    ),
  );
  const source = {
    tensors,
    read: async (names: readonly string[]) => new Map([...values].filter(([name]) => names.includes(name))),
    readRows: async (name: string, rows: ArrayLike<number>) =>
      takeRows(values.get(name) ?? matrix([], [0]), Array.from(rows)),
    hash: async () => "",
    close: async () => {},
  };
  return modelOf({ definition, weights: weightStore(definition, source), backend });
}
