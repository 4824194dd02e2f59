/** @file Runs that fail half-way: whichever program it is that throws, no layer stays held, and the model can be used again. */

import { afterAll, describe, expect, test } from "vitest";
import type { FloatArray } from "../../src/core/tensor.ts";
import { type LayerAttention, readAttention } from "../../src/method/attention-scores.ts";
import { shareCaptures, shares } from "../../src/method/direct-shares.ts";
import { edgeScores } from "../../src/method/edge-scores.ts";
import { embeddingSpread, tokenEmbeddings } from "../../src/method/noise.ts";
import { edgeGraph } from "../../src/model/edge-graph.ts";
import type { Model } from "../../src/model/model.ts";
import type { Part } from "../../src/model/store.ts";
import { weightStore } from "../../src/model/store.ts";
import { openSafetensorsDirectory } from "../../src/model/weights/safetensors.node.ts";
import { contributions, DIFFERENCE_SITES, runDifferences } from "../../src/run/contributions.ts";
import { patch } from "../../src/run/edit.ts";
import { forward } from "../../src/run/forward.ts";
import { generate } from "../../src/run/generate.ts";
import { gradients } from "../../src/run/gradients.ts";
import type { Reading } from "../../src/run/read.ts";
import { lastingReading, sweep } from "../../src/run/sweep.ts";
import { trajectory } from "../../src/run/trajectory.ts";
import { readDefinition } from "../conformance/checkpoint.ts";
import { families, goldenFacts } from "../goldens/load.ts";
import { bothBackends } from "../helpers/backends.ts";
import { modelOf } from "../helpers/golden-model.ts";

const NAME = "gemma2"; // has a norm behind attention, through which differences are pushed by a program of their own
const directory = families().find(({ name }) => name === NAME)?.directory ?? "";
const source = await openSafetensorsDirectory(directory);
afterAll(() => source.close());
const definition = readDefinition(directory);
const layers = [...definition.blocks.keys()];
const { clean, corrupt } = goldenFacts(NAME).patching;
const read = [{ position: clean.length - 1, readout: { logits: true } }];
const objective = {
  positions: [clean.length - 1],
  evaluate: ([row = []]: readonly ArrayLike<number>[]) => ({
    value: row[0] ?? 0,
    gradient: [Array.from(row, (_, id) => (id === 0 ? 1 : 0))],
  }),
};

const runs: Readonly<Record<string, (model: Model) => Promise<unknown>>> = {
  forward: async (model) => (await forward(model, [clean, corrupt])).residuals,
  generate: (model) => generate(model, clean, { tokens: 2, stopIds: [] }),
  sweep: async (model) => {
    const readings: Reading[] = [];
    const input = {
      runs: [clean, corrupt].map((ids) => ({ ids, read })),
      count: layers.length,
      variant: (layer: number) => ({ run: 0, edits: [patch("mlp_pre", layer, { run: 1 })] }),
    };
    await sweep(model, input, {
      onReading: (index, reading) => {
        readings[index] = lastingReading(reading);
      },
    });
    return readings;
  },
  "trajectory and back": async (model) => {
    const path = await trajectory(model, [clean, corrupt], { keepBytes: 0 });
    const found: unknown[] = [];
    for (const index of layers.toReversed()) {
      await path.at(index, async (_, values) => found.push([...values]));
      found.push([...(await path.values(index))]);
    }
    return found;
  },
  contributions: async (model) => {
    const sites = [...DIFFERENCE_SITES, "attn_raw"] as const;
    const path = await trajectory(model, [clean], { keepBytes: 0, sites });
    const { differences } = await runDifferences(model, path, { others: [corrupt], of: "clean" });
    const raw: FloatArray[] = [];
    for (const layer of layers) raw.push((await path.values(layer)).get("attn_raw") as FloatArray);
    const made = contributions(model, differences, (layer) => raw[layer]);
    const found: unknown[] = [];
    for (const layer of layers) found.push(await made.heads(layer));
    return found;
  },
  gradients: async (model) => {
    const [found] = await gradients(model, [{ ids: clean, objective }], { sites: ["z"], keepBytes: 0 });
    return layers.map((layer) => found?.get("z", layer));
  },
  edges: async (model) => {
    const estimator = { kind: "eap-ig", steps: 1, rule: "midpoint" } as const;
    const pair = { base: { ids: clean, objective }, source: { ids: corrupt, objective } };
    const graph = edgeGraph(model.definition);
    return edgeScores(model, [pair], { graph, estimator, base: "clean", keepBytes: 0 });
  },
  "direct shares": async (model) => {
    const asked = { sources: true, neuronLayers: [1] };
    const { caches } = await forward(model, [clean], { capture: shareCaptures(model, asked) });
    const weights = new Float64Array(model.architecture.dModel).fill(1);
    const direction = { weights, constant: 0, total: 0 };
    return shares(
      model,
      caches.map((cache) => ({ cache, position: clean.length - 1, direction })),
      asked,
    );
  },
  attention: async (model) => {
    const found: LayerAttention[] = [];
    await readAttention(model, {
      sequences: [clean],
      standings: false,
      onLayer: (attention) => found.push(attention),
    });
    return found;
  },
  noise: async (model) => [await tokenEmbeddings(model, clean), await embeddingSpread(model, clean)],
};

/** The model with room for two layers, told how many programs may run before one throws, and who holds what. */
function fragile(model: Model): {
  readonly model: Model;
  readonly held: () => Part[];
  readonly failAfter: (programs: number) => void;
} {
  let left = Number.POSITIVE_INFINITY;
  const users = new Map<Part, number>();
  const count = (part: Part, more: number): void => {
    users.set(part, (users.get(part) ?? 0) + more);
  };
  return {
    held: () => [...users].filter(([, number]) => number !== 0).map(([part]) => part),
    failAfter(programs) {
      left = programs;
    },
    model: {
      ...model,
      async compile(program, options) {
        const made = await model.compile(program, options);
        return {
          ...made,
          run: (inputs, into) =>
            left-- > 0 ? made.run(inputs, into) : Promise.reject(new Error("out of luck")),
        };
      },
      weights: {
        ...model.weights,
        get(part) {
          count(part, 1);
          return model.weights.get(part);
        },
        release(part) {
          count(part, -1);
          model.weights.release(part);
        },
      },
    },
  };
}

describe.each(bothBackends())("$name", (backend) => {
  test.each(Object.entries(runs))("%s: wherever it fails, nothing stays held", async (_, run) => {
    const open = (): Model =>
      modelOf({ definition, weights: weightStore(definition, source, { keepBytes: 1 }), backend });
    const wanted = await run(open());
    const { model, held, failAfter } = fragile(open());
    let failures = 0;
    for (; ; failures++) {
      failAfter(failures);
      const failed = await run(model).then(
        () => false,
        (error: Error) => error.message === "out of luck",
      );
      expect(held(), `after ${failures} programs`).toEqual([]);
      if (!failed) break;
    }
    expect(failures).toBeGreaterThan(1);
    failAfter(Number.POSITIVE_INFINITY);
    expect(await run(model)).toEqual(wanted);
  });
});
