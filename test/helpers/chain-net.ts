/**
 * @file A residual stream of one number: the first block writes its input into it once more, the last one nearly
 * erases it, those between write nothing. The oracle of dropped gradients (AtP*, section 3.2).
 */

import { referenceBackend } from "../../src/backend/reference/reference.ts";
import { random } from "../../src/core/random.ts";
import { tensor } from "../../src/core/tensor.ts";
import type { Definition } from "../../src/model/architecture.ts";
import type { Model } from "../../src/model/model.ts";
import { weightStore } from "../../src/model/store.ts";
import type { Program } from "../../src/program/program.ts";
import { builder } from "../../src/program/program.ts";
import { modelOf } from "./golden-model.ts";

const VOCABULARY = 5;

interface BlockKind {
  readonly relu: boolean;
  readonly head: boolean;
}

function block({ relu, head }: BlockKind): Program {
  const b = builder();
  let residual = b.state("resid_pre", ["token", 1]);
  if (head) residual = b.op("add", [residual, b.op("scale", [silentHead(b, residual)], { by: 0 })]);
  const input = b.site("mlp_in", b.op("identity", [residual]));
  const pre = b.site("mlp_pre", b.op("linear", [input, b.weight("gain", [1, 1])], { layout: "out_in" }));
  const out = relu ? b.op("activation", [pre], { kind: "relu" }) : b.op("identity", [pre]);
  b.site("resid_post", b.op("add", [residual, b.site("mlp_out", out)]));
  return b.build(["resid_post"]);
}

/** A head whose queries, keys and values are the stream itself. */
function silentHead(b: ReturnType<typeof builder>, residual: string): string {
  const project = (name: string): string =>
    b.site(name, b.op("reshape", [residual], { shape: ["token", 1, 1] }));
  const [q, k, v] = [project("q"), project("k"), project("v")];
  b.site("rot_q", q);
  b.site("rot_k", k);
  const queries = b.site("queries", b.op("reshape", [q], { shape: ["row", "dst", 1, 1] }));
  const keys = b.site("keys", b.op("reshape", [k], { shape: ["row", "src", 1, 1] }));
  const values = b.site("values", b.op("reshape", [v], { shape: ["row", "src", 1, 1] }));
  const scores = b.site("scores", b.op("query_key", [queries, keys]));
  const masked = b.op("add", [scores, b.context("mask", [1, 1, "dst", "src"])]);
  const pattern = b.site("pattern", b.op("softmax", [masked]));
  const mixed = b.op("pattern_value", [pattern, values]);
  const z = b.site("z", b.op("reshape", [mixed], { shape: ["token", 1, 1] }));
  return b.op("reshape", [z], { shape: ["token", 1] });
}

/**
 * Blocks add `gains[layer]` times the stream to it, those of `relu` only where that is above 0; logit 0 is the stream,
 * the others are 0. The stream begins with the token's `embedding`; without one, with a number drawn for it.
 */
export function chainNet(
  gains: readonly number[],
  options: {
    readonly relu?: readonly number[];
    readonly embedding?: readonly number[];
    /** A head in each block that writes nothing: sweeps know no block without attention. */
    readonly head?: boolean;
  } = {},
): Model {
  const { relu = [], embedding = [], head = false } = options;
  const e = builder();
  e.site(
    "resid_pre",
    e.op("take_rows", [e.context("ids", ["token"], "int"), e.weight("embedding", [VOCABULARY, 1])]),
  );
  const u = builder();
  const stream = u.state("resid_post", ["token", 1]);
  const table = u.weight("head", [VOCABULARY, 1]);
  u.site("logits", u.op("linear", [stream, table], { layout: "out_in" }));
  const chosen = u.op("take_rows", [u.context("columns", ["column"], "int"), table]);
  u.site("columns", u.op("linear", [stream, chosen], { layout: "out_in" }));
  const definition: Definition = {
    architecture: {
      name: "ChainNet",
      layers: gains.map(() => ({})),
      dModel: 1,
      heads: 1,
      kvHeads: 1,
      dHead: 1,
      dMlp: 1,
      vocabulary: VOCABULARY,
      maxPositions: 8,
      causal: true,
    },
    embed: e.build(["resid_pre"]),
    blocks: gains.map((_, layer) => block({ relu: relu.includes(layer), head })),
    unembed: u.build(["logits"]),
    layerPrefix: (layer) => `${layer}.`,
    basePrefix: "",
    ignored: [],
  };
  const { normal } = random(1);
  const values = new Map([
    [
      "embedding",
      tensor(
        Float32Array.from({ length: VOCABULARY }, (_, id) => embedding[id] ?? normal()),
        [VOCABULARY, 1],
      ),
    ],
    [
      "head",
      tensor(
        Float32Array.from({ length: VOCABULARY }, (_, id) => (id === 0 ? 1 : 0)),
        [VOCABULARY, 1],
      ),
    ],
    ...gains.map((gain, layer) => [`${layer}.gain`, tensor(Float32Array.of(gain), [1, 1])] as const),
  ]);
  const tensors = new Map(
    [...values].map(
      ([name, { shape, data }]) => [name, { name, shape, dtype: "F32", bytes: 4 * data.length }] as const,
    ),
  );
  const source = {
    tensors,
    read: async (names: readonly string[]) => new Map([...values].filter(([name]) => names.includes(name))),
    readRows: async (name: string, rows: ArrayLike<number>) => {
      const { data } = values.get(name) ?? { data: new Float32Array(0) };
      return tensor(
        Float32Array.from(rows, (row) => data[row]),
        [rows.length, 1],
      );
    },
    hash: async () => "",
    close: async () => {},
  };
  return modelOf({ definition, weights: weightStore(definition, source), backend: referenceBackend() });
}
