/** @file Damaged JSON for fuzz tests: one to three seeded mutations of a good document. */

import type { Random } from "../../src/core/random.ts";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Values that a field does not expect, whatever it expects. */
const strangers: readonly ((random: Random) => Json)[] = [
  () => null,
  () => true,
  () => -1,
  () => 0.5,
  () => 4_294_967_296,
  () => 1e308,
  (random) => random.integer(2 ** 31),
  () => "",
  () => "x".repeat(20_000),
  () => "\u0000\ud800",
  () => "__proto__",
  () => [],
  () => [[], {}, null, 7],
  () => ({}),
  () => ({ type: "Sequence", length: 1e9 }),
  (random) => nested(200, SEQUENCES[random.integer(SEQUENCES.length)] ?? ""),
];

/** What the parts of a tokenizer call the steps of a sequence. */
const SEQUENCES = ["pretokenizers", "normalizers", "decoders"];

function nested(depth: number, children: string): Json {
  let value: Json = { type: "Sequence" };
  for (let i = 0; i < depth; i++) value = { type: "Sequence", [children]: [value] };
  return value;
}

/** A node of the document, with the object or array that holds it. */
interface Place {
  readonly holder: Json[] | { [key: string]: Json };
  readonly key: string;
}

/** Goes down at random and stops at random, so that fields near the root are hit as often as entries of long lists. */
function pick(document: Json, random: Random): Place | undefined {
  let place: Place | undefined;
  let value = document;
  while (typeof value === "object" && value !== null) {
    const keys = Object.keys(value);
    const key = keys[random.integer(keys.length)];
    if (key === undefined) break;
    place = { holder: value, key };
    value = get(place);
    if (random.uniform() < 0.25) break;
  }
  return place;
}

const get = ({ holder, key }: Place): Json => (holder as { [key: string]: Json })[key] ?? null;
const set = ({ holder, key }: Place, value: Json): void => {
  (holder as { [key: string]: Json })[key] = value;
};

/** Each damages the document at one place; `elsewhere` is a second place of the same document. */
const mutations: readonly ((place: Place, elsewhere: Place, random: Random) => void)[] = [
  (place, _, random) => set(place, strangers[random.integer(strangers.length)]?.(random) ?? null),
  (place) => {
    if (Array.isArray(place.holder)) place.holder.splice(Number(place.key), 1);
    else delete place.holder[place.key];
  },
  (place, elsewhere) => set(place, structuredClone(get(elsewhere))),
  (place) => {
    if (Array.isArray(place.holder)) place.holder.push(structuredClone(get(place)));
    else place.holder[`${place.key}x`] = get(place);
  },
  (place, _, random) => {
    const value = get(place);
    if (typeof value === "number") set(place, value + 1 + random.integer(1000));
    else if (typeof value === "string") set(place, value.slice(0, random.integer(value.length + 1)));
    else if (typeof value === "boolean") set(place, !value);
    else set(place, Array.isArray(value) ? value.slice(0, random.integer(value.length + 1)) : [value]);
  },
];

/** A damaged copy; the same random numbers give the same damage. */
export function mutate(document: Json, random: Random): Json {
  const copy = structuredClone(document);
  const count = 1 + random.integer(3);
  for (let i = 0; i < count; i++) {
    const place = pick(copy, random);
    const elsewhere = pick(copy, random);
    if (place !== undefined && elsewhere !== undefined)
      mutations[random.integer(mutations.length)]?.(place, elsewhere, random);
  }
  return copy;
}
