/** @file A planted Hydra: a primary head that carries the answer, and a backup that does where the primary is gone. */

import { referenceBackend } from "../../src/backend/reference/reference.ts";
import type { Model } from "../../src/model/model.ts";
import { handNet } from "./hand-net.ts";

/**
 * Tokens: 0 holds the fact, 1 is a sink, 2 asks. Axes: 0 fact, 1 sink, 2 asks, 3 answer, 4 done. The primary head 0.0 and,
 * two layers later, the backup 2.1 attend from the asker to the fact and write the answer. Where the primary has written
 * "done", the backup attends to the sink instead.
 */
export function plantedHydra(): Model {
  const model = handNet(referenceBackend(), {
    d: 5,
    heads: 2,
    dHead: 2,
    neurons: 1,
    embedding: [
      [1, 0, 0, 0, 0],
      [0, 1, 0, 0, 0],
      [0, 0, 1, 0, 0],
    ],
    unembedding: [
      [0, 0, 0, 1, 0],
      [0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0],
    ],
    layers: [
      {
        q: [[0, 2, 60]],
        k: [[0, 0, 1]],
        v: [[0, 0, 1]],
        o: [
          [3, 0, 1],
          [4, 0, 1],
        ],
      },
      {},
      {
        q: [
          [2, 2, 60],
          [3, 4, 120],
        ],
        k: [
          [2, 0, 1],
          [3, 1, 1],
        ],
        v: [[2, 0, 1]],
        o: [[3, 2, 1]],
      },
    ],
  });
  return { ...model, tokenizer: { ...model.tokenizer, pieces: (ids) => ids.map(String) } };
}
