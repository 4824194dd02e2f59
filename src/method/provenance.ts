/** @file How a result was made, so that it can be made again. */

import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import type { Json } from "../result/result.ts";
import { VERSION } from "../version.ts";

/** Attributes that every result carries: model, prompts and software. */
export async function provenance(model: Model, pairs: readonly Prompted[]): Promise<Record<string, Json>> {
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
            ...(only.corrupt === undefined
              ? { prompt: only.clean.text }
              : { clean: only.clean.text, corrupt: only.corrupt.text }),
            answer: only.answers.map(({ text }) => text).join(" or "),
            ...(only.foils.length === 0 ? {} : { foil: only.foils.map(({ text }) => text).join(" or ") }),
          }),
      pairs: pairs.map(({ id, clean, corrupt, answers, foils }) => ({
        id,
        ...(corrupt === undefined ? { prompt: clean.text } : { clean: clean.text, corrupt: corrupt.text }),
        answers: answers.map(({ text }) => text),
        foils: foils.map(({ text }) => text),
        ...(corrupt === undefined
          ? { tokens: [...clean.ids] }
          : { tokens_clean: [...clean.ids], tokens_corrupt: [...corrupt.ids] }),
      })),
    },
    software: { crosspatch: VERSION, engine: backend.version, device: backend.device },
  };
}
