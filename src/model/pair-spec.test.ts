/** @file The reader of pair files: every bad line at once, and nothing but InputError on any bytes. */
import { describe, expect, test } from "vitest";
import { InputError } from "../core/errors.ts";
import { random } from "../core/random.ts";
import { MAX_LINE_CHARACTERS } from "./jsonl.ts";
import { drawPairsFile, mutatePairsFile } from "./pair-fixtures.ts";
import { MAX_ANSWERS, MAX_PAIRS, readPairs } from "./pair-spec.ts";

/** The message of the InputError that the file is refused with. */
function refusal(jsonl: string): string {
  try {
    readPairs(jsonl, "pairs.jsonl");
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return "accepted";
}

test("reads a pair a line, text exactly as typed, with the line of each", () => {
  const file =
    '\uFEFF{"clean":" a ","corrupt":"b","answer":" x"}\r\n\n{"clean":"c","corrupt":"d","answer":["x","y"],"foil":"z","id":"two"}';
  expect(readPairs(file, "pairs.jsonl")).toEqual({
    specs: [
      { clean: " a ", corrupt: "b", answer: " x" },
      { clean: "c", corrupt: "d", answer: ["x", "y"], foil: "z", id: "two" },
    ],
    where: ["pairs.jsonl:1", "pairs.jsonl:3"],
  });
});

test("names every fault of every line in one error", () => {
  const file = [
    '{"clean":"a","corupt":"b","answer":[]}',
    '{"clean":"a","corrupt":"b","answer":" x"}',
    "{clean: a}",
    '{"clean":"a","corrupt":"","answer":["x",3]}',
    "[1,2]",
    '{"clean":"\\ud800","corrupt":"b"}',
  ].join("\n");
  expect(refusal(file).split("\n")).toEqual([
    "pairs.jsonl:1, corrupt: found nothing; wanted a non-empty string.",
    "pairs.jsonl:1, answer: found an empty list; wanted a non-empty string or a list of 1 to 1000 of them.",
    'pairs.jsonl:1: found the unknown key "corupt"; wanted only clean, corrupt, answer, foil, id. Correct its spelling or remove it.',
    "pairs.jsonl:3: found what is not JSON: {clean: a}; wanted one JSON object a line.",
    "pairs.jsonl:4, corrupt: found an empty string; wanted a non-empty string.",
    'pairs.jsonl:4, answer: found a list of 2: ["x",3]; wanted a non-empty string or a list of 1 to 1000 of them.',
    "pairs.jsonl:5: found a list of 2: [1,2]; wanted a JSON object with the keys clean, corrupt, answer, foil, id.",
    "pairs.jsonl:6, clean: found half of a surrogate pair (\\ud800 … \\udfff); wanted whole characters.",
  ]);
});

describe("bounds", () => {
  const pair = '{"clean":"a","corrupt":"b"}';
  test("a file without a pair", () => {
    expect(refusal(" \n\n")).toBe("pairs.jsonl: found no pair; wanted one JSON object a line.");
  });
  test("the longest line is read, one character more is not", () => {
    const padded = pair.padEnd(MAX_LINE_CHARACTERS);
    expect(readPairs(padded, "f").specs.length).toBe(1);
    expect(refusal(`${padded} `)).toBe(
      "pairs.jsonl:1: found 4000001 characters; wanted at most 4000000 a line.",
    );
  });
  test("the most pairs are read, one more is not", () => {
    const file = `${pair}\n`.repeat(MAX_PAIRS);
    expect(readPairs(file, "f").specs.length).toBe(MAX_PAIRS);
    expect(refusal(file + pair)).toBe(
      "pairs.jsonl:100001: found one more pair; wanted at most 100000. Split the file.",
    );
  });
  test("the most answers are read, one more is not", () => {
    const answers = (count: number) =>
      JSON.stringify({ clean: "a", corrupt: "b", answer: Array(count).fill("x") });
    expect(readPairs(answers(MAX_ANSWERS), "f").specs.length).toBe(1);
    expect(refusal(answers(MAX_ANSWERS + 1))).toMatch(/found a list of 1001: \["x",.*…; wanted .* 1 to 1000/);
  });
  test("of a thousand bad lines a hundred are listed and the rest counted", () => {
    const lines = refusal("x\n".repeat(1000)).split("\n");
    expect(lines.length).toBe(101);
    expect(lines.at(-1)).toBe("and 900 more faults");
  });
});

test("any mutation of a file is read or refused with an InputError", () => {
  const source = random(20240607);
  let read = 0;
  for (let trial = 0; trial < 3000; trial++) {
    if (refusal(mutatePairsFile(drawPairsFile(source), source)) === "accepted") read++;
  }
  // Both outcomes are exercised: mutations inside a text leave the file valid.
  expect(read).toBeGreaterThan(300);
  expect(read).toBeLessThan(2700);
});

test("every file the builder draws is read", () => {
  const source = random(5);
  for (let trial = 0; trial < 300; trial++) expect(refusal(drawPairsFile(source))).toBe("accepted");
});
