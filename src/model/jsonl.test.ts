/** @file The one reader of JSONL files, by each of the three that it is behind. */
import { describe, expect, test } from "vitest";
import { InputError } from "../core/errors.ts";
import { readPrompts } from "../job/prompts.ts";
import { readFacts, readFactsOrTexts } from "./fact.ts";
import { MAX_LINE_CHARACTERS } from "./jsonl.ts";
import { MAX_PAIRS, readPairs } from "./pair-spec.ts";

/** The lines of the message of the InputError that a file is refused with. */
function refusal(read: () => unknown): string[] {
  try {
    read();
  } catch (error) {
    if (error instanceof InputError) return error.message.split("\n");
    throw error;
  }
  return [];
}

const readers = {
  pairs: { read: readPairs, line: '{"clean":"a","corrupt":"b"}', none: "no pair; wanted one JSON object" },
  facts: { read: readFacts, line: '{"prompt":"a"}', none: "no fact; wanted a JSON object" },
  "facts or texts": { read: readFactsOrTexts, line: '"a"', none: "no prompt; wanted a JSON string or" },
  prompts: { read: readPrompts, line: '"a"', none: "no prompt; wanted a JSON string or" },
};

describe.each(Object.entries(readers))("%s", (_, { read, line, none }) => {
  test("byte order mark, line ends of either kind and blank lines are no part of it", () => {
    const plain = read(`${line}\n${line}`, "f");
    const specs = "specs" in plain ? plain.specs : plain;
    expect(specs.length).toBe(2);
    const other = read(`\uFEFF\r\n${line}\r\n \n${line}\n`, "f");
    expect("specs" in other ? other.specs : other).toEqual(specs);
    expect("specs" in other ? other.where : ["f:2", "f:4"]).toEqual(["f:2", "f:4"]);
  });

  test("a file without any is refused, blank or empty", () => {
    for (const file of ["", " \n\n", "\uFEFF"]) expect(() => read(file, "f")).toThrow(`f: found ${none}`);
  });

  test("what only completes to JSON is none", () => {
    expect(() => read(`${line},"answer":" x"`, "f")).toThrow(
      `f:1: found what is not JSON: ${line},"answer":" x"; wanted `,
    );
  });

  test("a key that stands twice is refused, in objects within as well", () => {
    const twice = '{"id":"a","\\u0069d":"b","roles":{"x":"a","x":"b"}}';
    expect(refusal(() => read(`${line}\n${twice}`, "f"))).toEqual([
      'f:2: found the key "id" again in the same object; wanted each key once.',
      'f:2: found the key "x" again in the same object; wanted each key once.',
    ]);
  });

  test("of a line full of repeated keys some are listed", () => {
    const line = `{${'"a":0,'.repeat(1000)}"a":0}`;
    expect(() => read(line, "f")).toThrow(/^(f:1: found the key "a" again[^\n]*\n?){20}$/);
  });

  test("the longest line and the most lines are read, one more is not", () => {
    expect(() => read(line.padEnd(MAX_LINE_CHARACTERS), "f")).not.toThrow();
    expect(() => read(line.padEnd(MAX_LINE_CHARACTERS + 1), "f")).toThrow(
      "f:1: found 4000001 characters; wanted at most 4000000 a line.",
    );
    const most = `${line}\n`.repeat(MAX_PAIRS);
    expect(() => read(most, "f")).not.toThrow();
    expect(() => read(most + line, "f")).toThrow(/^f:100001: found one more \w+; wanted at most 100000\. /);
  });

  test("values nested without end are refused like any other", () => {
    const deep = "[".repeat(20_000) + "]".repeat(20_000);
    expect(() => read(`${deep}\n{"prompt":${deep},"clean":${deep}}`, "f")).toThrow(
      /^f:1: found a list of 1: \[\[\[\["…"\]\]\]\]; wanted a JSON /,
    );
  });
});

test("a part named __proto__ is refused, not dropped", () => {
  const file =
    '{"prompt":"a","roles":{"__proto__":"a"}}\n{"prompt":"a","roles":{"__proto__":"a","x":3},"id":1}';
  for (const read of [readFacts, readFactsOrTexts]) {
    expect(refusal(() => read(file, "f"))).toEqual([
      'f:1, roles: found the name "__proto__"; wanted another name.',
      expect.stringMatching(/^f:2, roles\.x: found 3; /),
      "f:2, id: found 1; wanted a non-empty string.",
      'f:2, roles: found the name "__proto__"; wanted another name.',
    ]);
  }
});

test("of a line of a fact every fault is said, each with what was found", () => {
  const file = [
    '{"prompt":3,"answer":["",""],"subject":null,"x":1,"y":2}',
    "{bad}",
    '{"prompt":"a","roles":{"one":["a",0],"two":{},"three":"b"}}',
    '{"prompt":"a","roles":{"":"b"},"id":""}',
    '{"prompt":"a","roles":{"x":"\\udc00"}}',
    "[1]",
    '"a"',
  ].join("\n");
  const roles =
    "wanted for each name a non-empty string, or a list of it and which of its occurrences is meant, from 1.";
  const keys = "prompt, subject, answer, foil, roles, id";
  expect(refusal(() => readFacts(file, "f"))).toEqual([
    "f:1, prompt: found 3; wanted a non-empty string.",
    "f:1, subject: found null; wanted a non-empty string.",
    'f:1, answer: found a list of 2: ["",""]; wanted a non-empty string or a list of 1 to 1000 of them.',
    `f:1: found the unknown key "x"; wanted only ${keys}. Correct its spelling or remove it.`,
    `f:1: found the unknown key "y"; wanted only ${keys}. Correct its spelling or remove it.`,
    'f:2: found what is not JSON: {bad}; wanted a JSON object such as {"prompt": "…", "subject": "…", "answer": " …"}, one a line.',
    `f:3, roles.one: found a list of 2: ["a",0]; ${roles}`,
    `f:3, roles.two: found an object; ${roles}`,
    `f:4, roles: found the name ""; ${roles}`,
    "f:4, id: found an empty string; wanted a non-empty string.",
    "f:5, roles: found half of a surrogate pair (\\ud800 … \\udfff); wanted whole characters.",
    `f:6: found a list of 1: [1]; wanted a JSON object with the keys ${keys}.`,
    `f:7: found "a"; wanted a JSON object with the keys ${keys}.`,
  ]);
});

test("a mere string is a prompt where it may be", () => {
  const file = '"a \\"b\\""\n{"prompt":"c","answer":" d"}\n""';
  expect(() => readFactsOrTexts(file, "f")).toThrow(
    "f:3, prompt: found an empty string; wanted a non-empty string.",
  );
  expect(readFactsOrTexts(file.slice(0, -3), "f")).toEqual({
    specs: [{ prompt: 'a "b"' }, { prompt: "c", answer: " d" }],
    where: ["f:1", "f:2"],
  });
  expect(() => readFactsOrTexts("3", "f")).toThrow(
    "f:1: found 3; wanted a JSON string or object with the keys prompt, subject, answer, foil, roles, id.",
  );
});

test("reference prompts are strings or objects with that one key", () => {
  expect(readPrompts(' "a"\n{"prompt":" b"}', "f")).toEqual(["a", " b"]);
  expect(refusal(() => readPrompts('{"prompt":"a","answer":" b"}\n3\n{}\n"\\ud800"', "f"))).toEqual([
    'f:1: found the unknown key "answer"; wanted only prompt. Correct its spelling or remove it.',
    "f:2: found 3; wanted a JSON string or object with the key prompt.",
    "f:3, prompt: found nothing; wanted a non-empty string.",
    "f:4, prompt: found half of a surrogate pair (\\ud800 … \\udfff); wanted whole characters.",
  ]);
});
