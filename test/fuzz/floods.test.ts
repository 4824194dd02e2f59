/** @file Files that are sound in form and large in one respect: more faults, indices or text than there is room for. */

import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { InputError, refuse } from "../../src/core/errors.ts";
import { EXPERIMENT_FORMAT, readExperiment } from "../../src/job/experiment.ts";
import { define } from "../../src/model/families/registry.ts";
import { MAX_LINE_CHARACTERS } from "../../src/model/jsonl.ts";
import { load } from "../../src/model/load.node.ts";
import { readPairs } from "../../src/model/pair-spec.ts";
import type { ByteSource } from "../../src/model/weights/byte-source.ts";
import {
  MAX_HEADER_BYTES as MAX_GGUF_HEADER_BYTES,
  readGgufHeader,
} from "../../src/model/weights/gguf-header.ts";
import {
  MAX_INDEX_BYTES,
  openSafetensors,
  openShardedSafetensors,
} from "../../src/model/weights/safetensors.ts";
import { MAX_HEADER_BYTES } from "../../src/model/weights/safetensors-header.ts";
import { byteWriter, watchedSource, withHeader } from "../../src/model/weights/testing.ts";
import { changedPositions, patch } from "../../src/run/edit.ts";

/** More than a call takes as arguments. */
const MANY = 150_000;

const many = (entry: (index: number) => string): string =>
  Array.from({ length: MANY }, (_, i) => entry(i)).join();

/** The InputError that `read` throws. */
async function refusal(read: () => unknown): Promise<InputError> {
  try {
    await read();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("more faults than a call takes arguments", () => {
  const keys = many((i) => `"k${i}":0`);
  test.each<[string, () => unknown]>([
    ["pair", () => readPairs(`{${keys}}`, "pairs.jsonl")],
    ["config", () => define(JSON.parse(`{"architectures":["GPT2LMHeadModel"],${keys}}`))],
    [
      "experiment",
      () =>
        refuse(
          readExperiment(
            JSON.parse(
              `{"format":"${EXPERIMENT_FORMAT}","command":"info","model":"pocket","options":{${keys}}}`,
            ),
            "e.json",
          ).faults,
        ),
    ],
    [
      "safetensors",
      () => {
        const tensors = many((i) => `"${i}":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`);
        return openSafetensors(watchedSource("x", withHeader(`{${tensors}}`, [new Uint8Array(1)])).source);
      },
    ],
  ])("%s: is refused in a message that can be read", async (_, read) => {
    const { message } = await refusal(read);
    expect(message.split("\n").length).toBeLessThanOrEqual(101);
  });
});

test("an edit may list a position any number of times", () => {
  const pos = Array<number>(MANY).fill(1);
  const edit = patch("q", 0, { run: 0, where: { pos } });
  expect(changedPositions(edit, { length: 3, causal: true })).toEqual([1]);
  const key = patch("k", 0, { run: 0, where: { pos } });
  expect(changedPositions(key, { length: 3, causal: true })).toEqual([1, 2]);
});

/** A file that claims a size; only its first bytes are there, zeros follow. */
function vast(size: number, first: Uint8Array): { source: ByteSource; asked: () => number } {
  const { source } = watchedSource("vast", first);
  let asked = 0;
  return {
    source: {
      ...source,
      size,
      async read(offset, length) {
        asked = Math.max(asked, length);
        const bytes = new Uint8Array(length);
        if (offset < first.length) bytes.set(first.subarray(offset, offset + length));
        return bytes;
      },
    },
    asked: () => asked,
  };
}

describe("headers longer than their bound", () => {
  test("safetensors: eight bytes are read", async () => {
    const writer = byteWriter();
    writer.uint64(MAX_HEADER_BYTES + 1);
    const { source, asked } = vast(2 ** 40, writer.bytes());
    expect((await refusal(() => openSafetensors(source))).message).toMatch(/at most 25000000 bytes/);
    expect(asked()).toBe(8);
  });

  test("safetensors index: nothing is read", async () => {
    const { source, asked } = vast(MAX_INDEX_BYTES + 1, new Uint8Array(0));
    const refused = await refusal(() => openShardedSafetensors(source, async () => source));
    expect(refused.message).toMatch(/at most 25000000/);
    expect(asked()).toBe(0);
  });

  test("GGUF: no more than the bound is read", async () => {
    const writer = byteWriter();
    writer.raw([0x47, 0x47, 0x55, 0x46]);
    writer.uint32(3);
    writer.uint64(0);
    writer.uint64(1);
    writer.text("a");
    writer.uint32(8);
    writer.uint64(2 ** 36); // a text longer than any header
    const { source, asked } = vast(2 ** 40, writer.bytes());
    expect((await refusal(() => readGgufHeader(source))).message).toMatch(/text of 68719476736/);
    expect(asked()).toBeLessThanOrEqual(MAX_GGUF_HEADER_BYTES);
  });
});

describe("text longer than its bound is refused before it is read", () => {
  let directory = "";
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "crosspatch-floods-"));
  });
  afterAll(() => rm(directory, { recursive: true }));

  /** A file of zeros that takes no space. */
  async function sparse(name: string, bytes: number): Promise<string> {
    const path = join(directory, name);
    const file = await open(path, "w");
    await file.truncate(bytes);
    await file.close();
    return path;
  }

  async function typed(...argv: string[]): Promise<{ status: number; errors: string }> {
    let errors = "";
    const sink = { write: () => {} };
    const status = await main(argv, {
      stdout: sink,
      stderr: { write: (text: string) => (errors += text) },
      env: {},
      uninterrupted: (work) => work(),
    });
    return { status, errors };
  }

  test("config.json", async () => {
    await sparse("config.json", 2 ** 40);
    expect((await refusal(() => load(directory))).message).toMatch(/config\.json: .*at most 134217728/);
  });

  test("experiment", async () => {
    const { status, errors } = await typed("experiment", await sparse("e.json", 2 ** 40));
    expect([status, errors]).toEqual([2, expect.stringMatching(/e\.json: .*at most 16777216/)]);
  });

  test("pairs", async () => {
    const { status, errors } = await typed("patch", "pocket", "--pairs", await sparse("p.jsonl", 2 ** 40));
    expect([status, errors]).toEqual([2, expect.stringMatching(/p\.jsonl.*at most/)]);
    const line = `{"clean":"${"x".repeat(MAX_LINE_CHARACTERS)}"}`;
    expect((await refusal(() => readPairs(line, "p"))).message).toMatch(/at most 4000000 a line/);
  });
});
