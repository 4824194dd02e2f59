import { expect, test } from "vitest";
import { families } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { handNet } from "../../test/helpers/hand-net.ts";
import { linearNet } from "../../test/helpers/linear-net.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { at } from "../result/cells.ts";
import type { Dataset } from "../result/result.ts";
import { forward } from "../run/forward.ts";
import { attention } from "./attention.ts";
import { readAttention } from "./attention-scores.ts";
import type { AttendedPrompt } from "./attention-targets.ts";

const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });
const prompted = (ids: readonly number[], more: Partial<AttendedPrompt> = {}): AttendedPrompt => ({
  id: ids.join(),
  where: "prompt",
  clean: tokens(ids),
  answers: [],
  foils: [],
  ...more,
});

/**
 * Words 0 to 3, and 4 to begin with. Axes: which word it is (5), where it stands (9), which word stood before it (5), what
 * is said (5).
 */
const [WORDS, PLACES, START] = [5, 9, 4];
const [PLACE, BEFORE, SAID] = [WORDS, WORDS + PLACES, 2 * WORDS + PLACES];
const D = SAID + WORDS;
/** A head's coordinates: words, places, and one to rest by. */
const WIDTH = WORDS + PLACES + 1;
const REST = WIDTH - 1;
const BIG = 60;
const words = [...Array(WORDS).keys()];
const places = [...Array(PLACES).keys()];
type Entry = readonly [number, number, number];
/** From axis `from` on to the head's coordinate `to` on, so many of them. */
const copy = (head: number, axes: { from: number; to: number; count: number; by?: number }): Entry[] =>
  [...Array(axes.count).keys()].map((i): Entry => [head * WIDTH + axes.to + i, axes.from + i, axes.by ?? 1]);
/** What a head writes: its coordinate i on to axis `onto` + i. */
const write = (head: number, onto: number, by = 1): Entry[] =>
  words.map((i): Entry => [onto + i, head * WIDTH + i, by]);
/** Where nothing matches, the first position is looked at. */
const restQuery = (head: number): Entry[] =>
  places.map((i): Entry => [head * WIDTH + REST, PLACE + i, BIG / 2]);
const restKey = (head: number): Entry => [head * WIDTH + REST, START, 1];
/** Matches the query's place with the place before it; reads the word there. */
const previous = (head: number) => ({
  q: places.slice(1).map((i): Entry => [head * WIDTH + WORDS + i - 1, PLACE + i, BIG]),
  k: copy(head, { from: PLACE, to: WORDS, count: PLACES }),
  v: copy(head, { from: 0, to: 0, count: WORDS }),
});

/** One head of each kind, written by hand. */
function heads(): Model {
  const [prev, first, duplicate, copies, suppresses] = [0, 1, 2, 3, 4] as const;
  const same = {
    // The same word, but not where the query itself stands.
    q: [
      ...copy(duplicate, { from: 0, to: 0, count: WORDS, by: BIG }),
      ...copy(duplicate, { from: PLACE, to: WORDS, count: PLACES, by: -2 * BIG }),
      ...restQuery(duplicate),
    ],
    k: [
      ...copy(duplicate, { from: 0, to: 0, count: WORDS }),
      ...copy(duplicate, { from: PLACE, to: WORDS, count: PLACES }),
      restKey(duplicate),
    ],
  };
  const [before, reader, opponent] = [previous(prev), previous(copies), previous(suppresses)];
  return handNet(referenceBackend(), {
    d: D,
    heads: 5,
    dHead: WIDTH,
    neurons: 1,
    embedding: words.map((word) => Array.from({ length: D }, (_, axis) => Number(axis === word))),
    positions: places.map((place) => Array.from({ length: D }, (_, axis) => Number(axis === PLACE + place))),
    unembedding: words.map((word) => Array.from({ length: D }, (_, axis) => Number(axis === SAID + word))),
    layers: [
      {
        q: [...before.q, ...restQuery(first), ...same.q, ...reader.q, ...opponent.q],
        k: [...before.k, restKey(first), ...same.k, ...reader.k, ...opponent.k],
        v: [...before.v, ...reader.v, ...opponent.v],
        o: [...write(prev, BEFORE), ...write(copies, SAID), ...write(suppresses, SAID, -1)],
      },
      {
        // Head 0: the position behind an earlier occurrence of this word.
        q: [...copy(0, { from: 0, to: 0, count: WORDS, by: BIG }), ...restQuery(0)],
        k: [...copy(0, { from: BEFORE, to: 0, count: WORDS }), restKey(0)],
        v: copy(0, { from: 0, to: 0, count: WORDS }),
        o: write(0, SAID),
      },
    ],
  });
}
const repeated = [START, 0, 1, 2, 3, 0, 1, 2, 3];
const score = (result: Dataset, name: string, layer: number, head: number): number =>
  at(result, name, { layer, head }).value;

test("a head of each kind scores 1 for its kind and 0 for the others", async () => {
  const found = await attention(heads(), [prompted(repeated)]);
  const kinds = ["previous_token", "first_token", "duplicate_token", "induction"];
  const resting = 3 / 7; // of the rows from the third on, those whose word is new
  for (const [kind, layer, head, first] of [
    ["previous_token", 0, 0, 0],
    ["first_token", 0, 1, 1],
    ["duplicate_token", 0, 2, resting],
    ["induction", 1, 0, resting],
  ] as const) {
    for (const other of kinds) {
      const expected = other === "first_token" ? first : Number(other === kind);
      expect(score(found, other, layer, head), `${other} of ${kind}`).toBeCloseTo(expected, 9);
    }
  }
  expect(found.dataVars.class?.data.slice(0, 3)).toEqual([
    "previous token",
    "first token",
    "duplicate token",
  ]);
  expect(found.dataVars.class?.data[5]).toBe("induction");
});

test("copying: 1 for a head that says what it reads, -1 for one that says anything else, 0 for one that says nothing", async () => {
  const found = await attention(heads(), [prompted(repeated)]);
  expect(score(found, "copying", 0, 3)).toBeCloseTo(1, 9);
  expect(score(found, "copying", 0, 4)).toBeCloseTo(-1, 9);
  expect(score(found, "copying", 1, 0)).toBeCloseTo(1, 9);
  expect(score(found, "copying", 0, 0)).toBe(0); // writes, but nothing that is said
  expect(score(found, "copying", 0, 1)).toBeNaN(); // writes nothing
  expect(score(found, "previous_token_weighted", 0, 0)).toBeCloseTo(1, 9);
  expect(score(found, "first_token_weighted", 0, 1)).toBeNaN();
});

test("attention to roles is read at the last position, or at all from the role on", async () => {
  const model = heads();
  const roles = { eighth: [7], first: [0] };
  const prompts = [prompted(repeated, { answers: [tokens([3])], differing: [3], roles })];
  const last = await attention(model, prompts);
  expect(last.coords.role?.data).toEqual(["answer", "differing", "eighth", "first"]);
  const to = (result: Dataset, role: string, layer: number, head: number): number =>
    at(result, "attention_to", { role, layer, head }).value;
  expect(to(last, "eighth", 0, 0)).toBeCloseTo(1, 9); // the previous token of the last
  expect(to(last, "answer", 0, 2)).toBeCloseTo(1, 9); // its duplicate
  expect(to(last, "differing", 0, 0)).toBeCloseTo(0, 9);
  expect(to(last, "first", 0, 1)).toBeCloseTo(1, 9);
  const all = await attention(model, prompts, { from: "all" });
  expect(to(all, "differing", 0, 0)).toBeCloseTo(1 / 6, 9); // one row of six
  expect(to(all, "eighth", 0, 0)).toBeCloseTo(1 / 2, 9);
});

test("even attention scores what the result says that it would", async () => {
  const model = linearNet(referenceBackend());
  const prompts = [prompted([1, 2, 3, 1, 2]), prompted([4, 5, 4, 4])].map((prompt) => ({
    ...prompt,
    roles: { second: [1] },
  }));
  const { attrs, dataVars } = await attention(model, prompts, { from: "all" });
  const even = attrs.even as Readonly<Record<string, number>>;
  for (const name of ["previous_token", "first_token", "duplicate_token", "induction"]) {
    expect(even[name]).toBeGreaterThan(0);
    for (const value of dataVars[name]?.data ?? []) expect(value).toBeCloseTo(even[name] ?? Number.NaN, 6);
  }
  for (const value of dataVars.attention_to?.data ?? [])
    expect(value).toBeCloseTo(even["to second"] ?? Number.NaN, 6);
});

test("a score that no prompt can have is NaN, and prompts that have it make its mean", async () => {
  const model = heads();
  const none = await attention(model, [prompted([0, 1, 2])]);
  expect(score(none, "induction", 1, 0)).toBeNaN();
  expect((none.attrs.even as { induction: null }).induction).toBeNull();
  const mixed = await attention(model, [prompted([0, 1, 2]), prompted(repeated)]);
  expect(score(mixed, "induction", 1, 0)).toBeCloseTo(1, 9);
  expect(mixed.attrs.rows).toMatchObject({ induction: 4, previous_token: 8 });
});

const names = families().map(({ name }) => name);
test.each(names)(
  "%s: an entry of the weighted pattern is the length of what the head writes if it reads that alone",
  async (name) => {
    const model = await loadGolden(name, referenceBackend());
    const ids = [3, 5, 2, 7];
    const [dst, src] = [3, 1];
    const layer = model.definition.blocks.length - 1;
    const { heads: count, dModel } = model.architecture;
    const where = { dst: [dst], src: [0, 2, 3] };
    const edit = {
      site: "pattern",
      layer,
      where,
      action: "replace",
      value: { kind: "fill", value: 0 },
    } as const;
    const { caches } = await forward(model, [ids], { edits: [[edit]], capture: [{ site: "result" }] });
    const result = caches[0]?.get("result", layer).data.subarray(dst * count * dModel) ?? [];
    let pattern = new Float64Array(0);
    await readAttention(model, {
      sequences: [ids],
      layers: [layer],
      onLayer: ({ valuePattern }) => {
        pattern = Float64Array.from(valuePattern);
      },
    });
    for (let head = 0; head < count; head++) {
      const own = Array.from(result.slice(head * dModel, (head + 1) * dModel));
      expect(pattern[(head * ids.length + dst) * ids.length + src]).toBeCloseTo(Math.hypot(...own), 9);
    }
  },
);

test("patterns are of the heads and the prompt asked for", async () => {
  const model = heads();
  const prompts = [prompted([0, 1, 2]), prompted([3, 2, 1, 0])];
  const found = await attention(model, prompts, { patterns: [{ layer: 0, head: 0 }], example: 1 });
  expect(found.coords.token?.data).toEqual(["3", "2", "1", "0"]);
  const pattern = [...(found.dataVars.pattern?.data ?? [])].map(
    (value) => Math.round(Number(value) * 1e6) / 1e6,
  );
  expect(pattern).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]);
  const all = await attention(model, prompts, { patterns: "all" });
  expect(all.dims.pattern_head).toBe(10);
});

test("all that is wrong is refused at once", async () => {
  const asked = attention(heads(), [prompted([0, 1])], {
    patterns: [
      { layer: 0, head: 5 },
      { layer: 2, head: 0 },
      { layer: 1, head: 4 },
      { layer: 1, head: 4 },
    ],
    example: 1,
  });
  await expect(asked).rejects.toThrow(
    [
      "prompt: found 2 tokens; wanted three at least, so that the previous token is not the first.",
      "--example: found 1; wanted a prompt from 0 to 0.",
      "--patterns: found 0.5, 2.0; wanted layers 0 to 1 with heads 0 to 4.",
      "--patterns: found 1.4 again; wanted each head once.",
    ].join("\n"),
  );
});
