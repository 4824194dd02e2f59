import { expect, test } from "vitest";
import { formatFault } from "./errors.ts";
import { repeatedKeyFaults, repeatedKeys } from "./repeated-keys.ts";

const found = (json: string): unknown[] => [...repeatedKeys(json)].map(({ key, at }) => [key, at]);

test("keys that their own object has already, in the order of the text and where they stand", () => {
  expect(found('{"a": 1, "b": 2, "a": 3, "a": 4}')).toEqual([
    ["a", 17],
    ["a", 25],
  ]);
  expect(found('[{"a": {"b": 0, "b": 1}, "c" : [], "c"\n: 2}]')).toEqual([
    ["b", 16],
    ["c", 35],
  ]);
});

test("the same key in another object, a string that is no key, and what only looks like one are not", () => {
  expect(found('{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]}')).toEqual([]);
  expect(found('{"a": "a", "b": ["a", "a"]}')).toEqual([]);
  expect(found(String.raw`{"a": "\"a\": 1, \\", "b": "{\"b\": 1}"}`)).toEqual([]);
  expect(found("")).toEqual([]);
});

test("two spellings of a key are one", () => {
  expect(found(String.raw`{"a": 1, "\u0061": 2}`)).toEqual([["a", 9]]);
});

test("as faults: the first twenty, each with its line and no more of the key than a message has room for", () => {
  expect(repeatedKeyFaults('{"a": 1,\n "a": 2}', "x.json").map(formatFault)).toEqual([
    'x.json:2: found the key "a" again in the same object; wanted each key once.',
  ]);
  const many = `{${Array.from({ length: 50 }, () => `"${"k".repeat(1000)}":1`).join()}}`;
  expect(repeatedKeyFaults(many, "x.json").length).toBe(20);
  expect(repeatedKeyFaults(many, "x.json")[0]?.found).toBe(
    `the key "${"k".repeat(59)}… again in the same object`,
  );
});
