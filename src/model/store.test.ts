import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { families } from "../../test/goldens/load.ts";
import { bothBackends } from "../../test/helpers/backends.ts";
import { modelOf } from "../../test/helpers/golden-model.ts";
import { forward } from "../run/forward.ts";
import { define } from "./families/registry.ts";
import type { Part, WeightStore, Weights } from "./store.ts";
import { partBytes, weightStore } from "./store.ts";
import { openSafetensorsDirectory } from "./weights/safetensors.node.ts";
import type { WeightSource } from "./weights/source.ts";
import type { Spare } from "./weights/threads.ts";

const POCKET = new URL("../../models/pocket/", import.meta.url).pathname;
const definition = define(JSON.parse(readFileSync(`${POCKET}config.json`, "utf8")));
const source = await openSafetensorsDirectory(POCKET);
const layers = definition.blocks.length;
const layerBytes = partBytes(definition, 0);
afterAll(() => source.close());

/** A source that counts how often each tensor is read, and notes what memory was offered. */
function watched(): {
  readonly source: WeightSource;
  readonly reads: Map<string, number>;
  readonly spare: Spare[];
} {
  const reads = new Map<string, number>();
  const spare: Spare[] = [];
  return {
    reads,
    spare,
    source: {
      ...source,
      close: async () => {},
      read(names, offered = []) {
        for (const name of names) reads.set(name, (reads.get(name) ?? 0) + 1);
        spare.push(offered);
        return source.read(names, offered);
      },
    },
  };
}

/** Goes through all layers as a wave does. */
async function wave(store: WeightStore): Promise<void> {
  for (let layer = 0; layer < layers; layer++) {
    await store.get(layer);
    if (layer + 1 < layers) store.prefetch(layer + 1);
    store.release(layer);
  }
}

const readsOf = (reads: ReadonlyMap<string, number>, part: Part): Set<number> =>
  new Set(
    [...reads]
      .filter(([name]) => name.startsWith(`${definition.layerPrefix(Number(part))}`))
      .map(([, n]) => n),
  );

/** Names, shapes and a hash of the bytes: what a comparison of many numbers would take seconds for. */
function bits(weights: Weights): unknown {
  return Object.entries(weights).map(([name, { shape, data }]) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return [name, shape, createHash("sha256").update(bytes).digest("hex")];
  });
}

describe("a store that keeps everything", () => {
  test("reads every weight once, however many waves there are", async () => {
    const { source: counted, reads } = watched();
    const store = weightStore(definition, counted);
    for (let round = 0; round < 3; round++) await wave(store);
    for (let layer = 0; layer < layers; layer++) expect(readsOf(reads, layer)).toEqual(new Set([1]));
  });
});

describe.each([2, 3, 6])("a store that keeps %d layers", (kept) => {
  test("reads every weight at most once a wave; from the second on it has all but two of the layers it keeps already", async () => {
    const { source: counted, reads } = watched();
    const store = weightStore(definition, counted, { keepBytes: kept * layerBytes });
    const rounds = 4;
    let before = 0;
    for (let round = 1; round <= rounds; round++) {
      await wave(store);
      for (let layer = 0; layer < layers; layer++) {
        for (const count of readsOf(reads, layer)) expect(count).toBeLessThanOrEqual(round);
      }
      const read = [...Array(layers).keys()].reduce(
        (sum, layer) => sum + Math.max(...readsOf(reads, layer)),
        0,
      );
      expect(read - before).toBeLessThanOrEqual(round === 1 ? layers : layers - (kept - 2));
      before = read;
    }
  });

  test("gives the same weights, bit for bit", async () => {
    const store = weightStore(definition, source, { keepBytes: kept * layerBytes });
    const all = weightStore(definition, source);
    for (let round = 0; round < 2; round++) {
      for (let layer = 0; layer < layers; layer++) {
        const found = await store.get(layer);
        if (layer + 1 < layers) store.prefetch(layer + 1);
        expect(bits(found)).toEqual(bits(await all.get(layer)));
        store.release(layer);
      }
    }
  });
});

test("memory of a layer that was released is offered for the next; of one that was not it is not", async () => {
  for (const released of [true, false]) {
    const { source: counted, spare } = watched();
    const store = weightStore(definition, counted, { keepBytes: layerBytes });
    const { buffer } = Object.values(await store.get(0))[0]?.data ?? new Float32Array(0);
    if (released) store.release(0);
    await store.get(1);
    expect(spare[1]?.includes(buffer as ArrayBuffer)).toBe(released);
  }
});

test("a part that could not be read is read again when it is asked for again", async () => {
  let failures = 1;
  const store = weightStore(definition, {
    ...source,
    read: (names, spare) =>
      failures-- > 0 ? Promise.reject(new Error("the disk is gone")) : source.read(names, spare),
  });
  await expect(store.get(0)).rejects.toThrow("the disk is gone");
  expect(bits(await store.get(0))).toEqual(bits(await weightStore(definition, source).get(0)));
});

test("rows are those of the whole matrix, whether it is there or not", async () => {
  const store = weightStore(definition, source);
  const [{ name } = { name: "" }] = definition.embed.inputs.filter(({ role }) => role.kind === "weight");
  const rows = [5, 0, 17, 5];
  const apart = await store.rows(name, rows);
  const { data, shape: [, width = 0] = [] } = (await store.get("ends"))[name] ?? {
    data: new Float32Array(0),
  };
  const wanted = rows.flatMap((row) => [...data.subarray(row * width, (row + 1) * width)]);
  expect(apart.shape).toEqual([4, width]);
  expect([...apart.data]).toEqual(wanted);
  expect(await store.rows(name, rows)).toEqual(apart);
});

describe.each(bothBackends())("on $name", (backend) => {
  test.each(["llama", "gpt2", "gpt-neox"])(
    "%s computes the same through two layers at a time",
    async (name) => {
      const family = families().find((one) => one.name === name);
      if (family === undefined) throw new Error(name);
      const config = define(JSON.parse(readFileSync(`${family.directory}/config.json`, "utf8")));
      const weights = await openSafetensorsDirectory(family.directory);
      const results = [];
      for (const keepBytes of [Number.POSITIVE_INFINITY, 1]) {
        const model = modelOf({
          definition: config,
          weights: weightStore(config, weights, { keepBytes }),
          backend,
        });
        results.push(
          (
            await forward(model, [
              [1, 2, 3, 4],
              [5, 6],
            ])
          ).residuals,
        );
      }
      expect(results[1]).toEqual(results[0]);
      await weights.close();
    },
  );
});
