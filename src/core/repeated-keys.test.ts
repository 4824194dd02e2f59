import { expect, test } from "vitest";
import { repeatedKeys } from "./repeated-keys.ts";

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
