/** @file How a result was made, so that it can be made again. */

import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Json } from "../result/result.ts";
import { VERSION } from "../version.ts";

/** Attributes that every result carries: model, prompts and software. */
export async function provenance(model: Model, pairs: readonly Pair[]): Promise<Record<string, Json>> {
  const { source, architecture, backend, weights } = model;
  const only = pairs.length === 1 ? pairs[0] : undefined;
  return {
    model: {
      name: source.name,
      ...(source.revision === undefined ? {} : { revision: source.revision }),
      architecture: architecture.name,
      stored_dtype: source.dtype,
      dtype: backend.precision,
      sha256: await source.hash(),
      parameters: weights.totalBytes / 4,
    },
    prompts: {
      ...(only === undefined
        ? {}
        : {
            clean: only.clean.text,
            corrupt: only.corrupt.text,
            answer: only.answers.map(({ text }) => text).join(" or "),
            foil: only.foils.map(({ text }) => text).join(" or "),
          }),
      pairs: pairs.map((pair) => ({
        id: pair.id,
        clean: pair.clean.text,
        corrupt: pair.corrupt.text,
        answers: pair.answers.map(({ text }) => text),
        foils: pair.foils.map(({ text }) => text),
        tokens_clean: [...pair.clean.ids],
        tokens_corrupt: [...pair.corrupt.ids],
      })),
    },
    software: { crosspatch: VERSION, engine: backend.version, device: backend.device },
  };
}
