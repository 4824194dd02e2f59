/** @file The tiny checkpoints of the goldens as models. Trusted test data. */

import { afterAll } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import type { Definition } from "../../src/model/architecture.ts";
import type { Model } from "../../src/model/model.ts";
import { makeModel } from "../../src/model/model.ts";
import type { WeightStore } from "../../src/model/store.ts";
import type { Tokenizer } from "../../src/model/tokenizer/tokenizer.ts";
import { openCheckpoint } from "../conformance/checkpoint.ts";
import { families } from "../goldens/load.ts";

const opened: WeightStore[] = [];
afterAll(async () => {
  await Promise.all(opened.map((weights) => weights.close()));
});

/** A golden checkpoint on a backend, closed when the test file ends. The backend is the caller's to close. */
export async function loadGolden(name: string, backend: Backend): Promise<Model> {
  const family = families().find((known) => known.name === name);
  if (family === undefined) throw new Error(`no golden is named ${name}`);
  const checkpoint = await openCheckpoint(family.directory);
  opened.push(checkpoint.weights);
  return modelOf({ ...checkpoint, backend });
}

/** The same for all tests of the describe block it is called in: opened once, when first asked for. */
export function useGolden(name: string, backend: Backend): () => Promise<Model> {
  let model: Promise<Model> | undefined;
  return () => {
    model ??= loadGolden(name, backend);
    return model;
  };
}

/** A model without a tokenizer. */
export function modelOf(parts: {
  readonly definition: Definition;
  readonly weights: WeightStore;
  readonly backend: Backend;
}): Model {
  const { name } = parts.definition.architecture;
  return makeModel({ ...parts, tokenizer: NO_TOKENIZER, source: { name, dtype: "", hash: async () => "" } });
}

const refused = (): never => {
  throw new Error("this model has no tokenizer");
};

const NO_TOKENIZER: Tokenizer = {
  size: 0,
  bosId: undefined,
  eosIds: [],
  addsBos: false,
  encode: refused,
  decode: refused,
  pieces: refused,
  chat: refused,
};
