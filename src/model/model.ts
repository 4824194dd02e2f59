/** @file A loaded model: its programs, its weights, its tokenizer and the backend that runs them. */

import type { Backend, Executable } from "../backend/backend.ts";
import type { CutOptions } from "../program/cut.ts";
import { cut } from "../program/cut.ts";
import type { Program } from "../program/program.ts";
import type { Architecture, Definition } from "./architecture.ts";
import type { WeightStore } from "./store.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

/** Where the weights came from and in which form, for provenance. */
export interface ModelSource {
  /** File, directory or hub name as the user gave it. */
  readonly name: string;
  readonly revision?: string;
  /** Stored element types with their counts, e.g. `Q4_1 ×210, F32 ×61`. */
  readonly dtype: string;
  /** sha256 of the weights; computed when asked for. */
  readonly hash: () => Promise<string>;
}

export interface Model {
  readonly architecture: Architecture;
  readonly definition: Definition;
  readonly weights: WeightStore;
  readonly tokenizer: Tokenizer;
  readonly backend: Backend;
  readonly source: ModelSource;
  /** Bytes that a sweep may hold for variants under way, where the model was opened with a budget of memory. */
  readonly stateBytes?: number | undefined;
  /** The executable of a cut of one of the model's programs; equal cuts share it. */
  compile(program: Program, options: CutOptions): Promise<Executable & { readonly program: Program }>;
  close(): Promise<void>;
}

export interface ModelParts {
  readonly definition: Definition;
  readonly weights: WeightStore;
  readonly tokenizer: Tokenizer;
  readonly backend: Backend;
  readonly source: ModelSource;
  readonly stateBytes?: number | undefined;
}

/** Puts a model together from its parts. */
export function makeModel(parts: ModelParts): Model {
  const { definition, weights, backend } = parts;
  // Layers of a kind share one Program object: the key is the object and the names, without printing it again.
  const cuts = new WeakMap<Program, Map<string, Promise<Executable & { readonly program: Program }>>>();
  return {
    ...parts,
    architecture: definition.architecture,
    compile(program, options) {
      let known = cuts.get(program);
      if (known === undefined) {
        known = new Map();
        cuts.set(program, known);
      }
      const key = `${options.given.join()}>${options.want.join()}`;
      let found = known.get(key);
      if (found === undefined) {
        const part = cut(program, options);
        found = backend.compile(part).then((executable) => ({ run: executable.run, program: part }));
        known.set(key, found);
      }
      return found;
    },
    async close() {
      await backend.close();
      await weights.close();
    },
  };
}
