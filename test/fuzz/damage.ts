/** @file Damage to files, drawn from a seed: bits, bytes and lengths of binary files, characters and values of JSON. */

import type { Random } from "../../src/core/random.ts";
import { type Json, mutate } from "../support/json-mutations.ts";

/** Counts and sizes at the edges of their types. */
const EXTREMES = [0n, 1n, 255n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/**
 * A copy with one to three changes: a bit flipped, a byte or a number replaced, the rest cut off, a stretch removed or
 * repeated. Four of five are in the first `header` bytes.
 */
export function damagedBytes(
  original: Uint8Array,
  header: number,
  { integer, uniform }: Random,
): Uint8Array<ArrayBuffer> {
  let bytes = Uint8Array.from(original);
  for (let change = integer(3); change >= 0 && bytes.length > 0; change--) {
    const at = integer(uniform() < 0.8 ? Math.min(header, bytes.length) : bytes.length);
    const view = new DataView(bytes.buffer);
    const kind = integer(6);
    if (kind === 0) view.setUint8(at, view.getUint8(at) ^ (1 << integer(8)));
    else if (kind === 1) view.setUint8(at, integer(256));
    else if (kind === 2 && at + 8 <= bytes.length) {
      view.setBigUint64(at, EXTREMES[integer(EXTREMES.length)] ?? 0n, true);
    } else if (kind === 3 && at + 4 <= bytes.length) {
      view.setUint32(at, integer(2) === 0 ? integer(64) : 0xffffffff, true);
    } else if (kind === 4) bytes = bytes.slice(0, at);
    else {
      const length = integer(40);
      const copies = integer(2) === 0 ? [] : [bytes.slice(at, at + length), bytes.slice(at, at + length)];
      bytes = joined([bytes.slice(0, at), ...copies, bytes.slice(at + length)]);
    }
  }
  return bytes;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** What takes the place of a value: deep enough to exhaust the stack of whoever walks it recursively, and odd numbers. */
const VALUES = [
  `${"[".repeat(100_000)}${"]".repeat(100_000)}`,
  `${'{"a":'.repeat(50_000)}0${"}".repeat(50_000)}`,
  `[${"[],".repeat(1000)}0]`,
  "16777216",
  "4294967297",
  "1e999",
  "-0",
  '"\\ud800"',
  "null",
];

/**
 * A document damaged in its values, in its text, or in both: values of another kind, deep nesting, keys given twice,
 * characters lost, the rest cut off, a byte order mark.
 */
export function damagedJson(document: Json, source: Random): string {
  const { integer, uniform } = source;
  let text = JSON.stringify(uniform() < 0.8 ? mutate(document, source) : document);
  if (uniform() < 0.25) {
    const value = VALUES[integer(VALUES.length)] ?? "";
    const places = [...text.matchAll(/(?<=:)("[^"\\]*"|[\d.]+|true|false|null|\[\])/g)];
    const { index = 0, 0: old = "" } = places[integer(places.length)] ?? {};
    text = text.slice(0, index) + value + text.slice(index + old.length);
  }
  if (uniform() < 0.05) text = `\uFEFF${text}`;
  if (uniform() < 0.1) {
    const at = integer(text.length);
    const end = uniform() < 0.3 ? text.length : at + 1 + integer(20);
    text = text.slice(0, at) + text.slice(end);
  }
  if (uniform() < 0.05) text = text.replace("{", '{"__proto__":{"type":"BPE"},"constructor":1,');
  return text;
}
