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
import { builder } from "../../src/program/program.ts";
import { modelOf } from "./golden-model.ts";

const VOCABULARY = 5;

/** Blocks add `gains[layer]` times the stream to it; logit 0 is the stream, the others are 0. */
export function chainNet(gains: readonly number[]): Model {
  const b = builder();
  const residual = b.state("resid_pre", ["token", 1]);
  const input = b.site("mlp_in", b.op("identity", [residual]));
  const out = b.site("mlp_out", b.op("linear", [input, b.weight("gain", [1, 1])], { layout: "out_in" }));
  b.site("resid_post", b.op("add", [residual, out]));
  const block = b.build(["resid_post"]);
  const e = builder();
  e.site(
    "resid_pre",
    e.op("take_rows", [e.context("ids", ["token"], "int"), e.weight("embedding", [VOCABULARY, 1])]),
  );
  const u = builder();
  const stream = u.state("resid_post", ["token", 1]);
  const head = u.weight("head", [VOCABULARY, 1]);
  u.site("logits", u.op("linear", [stream, head], { layout: "out_in" }));
  const chosen = u.op("take_rows", [u.context("columns", ["column"], "int"), head]);
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
    blocks: gains.map(() => block),
    unembed: u.build(["logits"]),
    layerPrefix: (layer) => `${layer}.`,
    basePrefix: "",
    ignored: [],
  };
  const { normal } = random(1);
  const values = new Map([
    ["embedding", tensor(Float32Array.from({ length: VOCABULARY }, normal), [VOCABULARY, 1])],
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
