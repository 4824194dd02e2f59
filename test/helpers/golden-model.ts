/** @file The tiny checkpoints of the goldens as models. Trusted test data. */

import type { Backend } from "../../src/backend/backend.ts";
import type { Definition } from "../../src/model/architecture.ts";
import { define } from "../../src/model/families/registry.ts";
import type { Model } from "../../src/model/model.ts";
import { makeModel } from "../../src/model/model.ts";
import { weightStore } from "../../src/model/store.ts";
import type { Tokenizer } from "../../src/model/tokenizer/tokenizer.ts";
import type { WeightSource } from "../../src/model/weights/source.ts";
import { readCheckpoint, readConfig } from "../conformance/checkpoint.ts";
import { families } from "../goldens/load.ts";

/** A golden checkpoint on a backend. The backend is the caller's to close. */
export function loadGolden(name: string, backend: Backend): Model {
  const family = families().find((known) => known.name === name);
  if (family === undefined) throw new Error(`no golden is named ${name}`);
  const { directory } = family;
  return modelOf(define(readConfig(directory)), readCheckpoint(directory), backend);
}

/** A model of any definition and weights, without a tokenizer. */
export function modelOf(definition: Definition, source: WeightSource, backend: Backend): Model {
  return makeModel({
    definition,
    weights: weightStore(definition, source),
    backend,
    tokenizer: NO_TOKENIZER,
    source: { name: definition.architecture.name, dtype: "", hash: () => source.hash() },
  });
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
