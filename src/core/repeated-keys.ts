/** @file Keys that stand twice in an object of JSON: JSON.parse keeps the last without a word. */
import type { Fault } from "./errors.ts";
import { excerpt } from "./excerpt.ts";

/** Keys given twice that are named: enough to see a pattern; a hostile file has millions. */
const MAX_REPEATED = 20;
/** Characters of a key that a message has room for. */
const MAX_SHOWN = 60;

/** A key that its object has already. */
export interface RepeatedKey {
  readonly key: string;
  /** Character of the JSON at which it stands again, its quote. */
  readonly at: number;
}

/**
 * Every key of valid JSON that its object has already, in the order of the text.
 * Scanned by hand, as a regular expression for strings overflows its stack on one of some megabytes.
 */
export function* repeatedKeys(json: string): Generator<RepeatedKey> {
  const open: Set<string>[] = [];
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === "{") open.push(new Set());
    else if (character === "}") open.pop();
    else if (character === '"') {
      const start = i;
      i = closingQuote(json, start);
      let next = i + 1;
      while (json.charCodeAt(next) <= 0x20) next++;
      if (json[next] !== ":") continue;
      // Two spellings of a key are one key, so escapes have to be resolved.
      const key = String(JSON.parse(json.slice(start, i + 1)));
      const keys = open.at(-1);
      if (keys?.has(key)) yield { key, at: start };
      keys?.add(key);
    }
  }
}

/**
 * The first of them in valid JSON as faults.
 * @param placeOf names the place of a character of the JSON
 */
export function repeatedKeyFaults(
  json: string,
  where: string,
  placeOf = (at: number): string => `${where}:${json.slice(0, at).split("\n").length}`,
): Fault[] {
  const faults: Fault[] = [];
  for (const { key, at } of repeatedKeys(json)) {
    const found = `the key ${excerpt(key, MAX_SHOWN)} again in the same object`;
    faults.push({ where: placeOf(at), found, wanted: "each key once" });
    if (faults.length === MAX_REPEATED) break;
  }
  return faults;
}

/** Where the string that starts at `start` ends. */
function closingQuote(json: string, start: number): number {
  let i = start + 1;
  while (i < json.length && json[i] !== '"') i += json[i] === "\\" ? 2 : 1;
  return i;
}
