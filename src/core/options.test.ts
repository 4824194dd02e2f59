import { expect, expectTypeOf, test } from "vitest";
import { formatFault } from "./errors.ts";
import {
  atLeast,
  between,
  type Check,
  callback,
  flag,
  indices,
  listOf,
  nested,
  type OptionChecks,
  oneKindOf,
  oneOf,
  optionFaults,
  type RequiredCheck,
  required,
  seed,
  sequences,
  signal,
  text,
  texts,
  whole,
  wordOr,
} from "./options.ts";

interface Painting {
  readonly colour: "red" | "green";
  readonly coats?: number | undefined;
  readonly wet?: boolean;
  readonly brush?:
    | { readonly kind: "hair" }
    | { readonly kind: "roller"; readonly width: number }
    | undefined;
  readonly onStroke?: ((done: number) => void) | undefined;
}

const painting: OptionChecks<Painting> = {
  colour: required(oneOf(["red", "green"])),
  coats: whole(1, 9),
  wet: flag,
  brush: oneKindOf<NonNullable<Painting["brush"]>>({ hair: {}, roller: { width: required(atLeast(0)) } }),
  onStroke: callback,
};

const faultsOf = (options: unknown): string[] => optionFaults(options, painting).map(formatFault);

test("options that are as the table says have no fault, and undefined counts as not given", () => {
  expect(faultsOf({ colour: "red" })).toEqual([]);
  expect(
    faultsOf({
      colour: "green",
      coats: 9,
      wet: undefined,
      brush: { kind: "roller", width: 0.5 },
      odd: undefined,
    }),
  ).toEqual([]);
});

test("all faults come at once: unknown keys with what was meant, words, numbers, kinds, and what is missing", () => {
  expect(faultsOf({ color: "red", coats: 0, wet: "no", brush: { kind: "rolller" }, onStroke: 3 })).toEqual([
    'options.color: found an unknown option; wanted one of colour, coats, wet, brush, onStroke. Did you mean "colour"?',
    "options.coats: found 0; wanted a whole number from 1 to 9.",
    'options.wet: found "no"; wanted true or false.',
    'options.brush.kind: found "rolller"; wanted one of hair, roller. Did you mean "roller"?',
    "options.onStroke: found 3; wanted a function.",
    "options.colour: found nothing; wanted one of red, green.",
  ]);
  expect(faultsOf({ colour: "red", brush: { kind: "hair", width: 2 } })).toEqual([
    "options.brush.width: found an unknown option; wanted none.",
  ]);
  expect(faultsOf({ colour: "red", brush: "hair" })).toEqual([
    'options.brush: found "hair"; wanted an object whose kind is one of hair, roller. Write { kind: "hair" }.',
  ]);
  expect(faultsOf({ colour: "red", brush: { kind: "roller" } })).toEqual([
    "options.brush.width: found nothing; wanted a number, 0 or more.",
  ]);
  expect(faultsOf(undefined)).toEqual(["options.colour: found nothing; wanted one of red, green."]);
});

test.each([
  [null, "null"],
  ["red", '"red"'],
  [["red"], '["red"]'],
])("%j is no options", (given, found) => {
  expect(faultsOf(given)).toEqual([
    `options: found ${found}; wanted an object with some of colour, coats, wet, brush, onStroke.`,
  ]);
});

test("names of every object are no options", () => {
  expect(faultsOf({ colour: "red", toString: 1, constructor: 2 })).toHaveLength(2);
});

const said = (check: Check<unknown>, value: unknown): string[] => check(value, "it").map(formatFault);

test.each<[string, Check<unknown>, readonly unknown[], readonly (readonly [unknown, string])[]]>([
  [
    "whole numbers",
    whole(0),
    [0, 5],
    [
      [1.5, "found 1.5; wanted a whole number, 0 or more."],
      [Number.NaN, "found NaN; wanted a whole number, 0 or more."],
      ["3", 'found "3"; wanted a whole number, 0 or more.'],
      [3n, "found 3n; wanted a whole number, 0 or more."],
    ],
  ],
  [
    "seeds",
    seed,
    [0, 2 ** 32 - 1],
    [[2 ** 32, "found 4294967296; wanted a whole number from 0 to 4294967295."]],
  ],
  [
    "numbers",
    atLeast(0),
    [0, 0.5],
    [
      [-1, "found -1; wanted a number, 0 or more."],
      [Number.POSITIVE_INFINITY, "found Infinity; wanted a number, 0 or more."],
    ],
  ],
  [
    "shares",
    between(0.5, 1),
    [0.5, 0.99],
    [
      [1, "found 1; wanted a number of at least 0.5 and below 1."],
      [Number.NaN, "found NaN; wanted a number of at least 0.5 and below 1."],
    ],
  ],
  [
    "texts",
    text,
    ["a"],
    [
      ["", 'found ""; wanted a text.'],
      [Promise.resolve("a"), "found a promise that is not awaited; wanted a text."],
    ],
  ],
  [
    "lists",
    texts,
    [[], ["a"]],
    [
      ["z", 'found "z"; wanted a list of texts. Put it into a list: ["z"].'],
      [{}, "found an object; wanted a list of texts."],
    ],
  ],
  [
    "labels",
    indices,
    [[3, 0]],
    [
      [[], "found an empty list; wanted at least one."],
      [[3, 3], "found 3 again; wanted each once."],
      [2, "found 2; wanted a list of whole numbers. Put it into a list: [2]."],
    ],
  ],
  [
    "token ids",
    sequences,
    [[[1, 2], []]],
    [
      [
        [1, 2],
        "found 1; wanted a list of token ids, as model.tokenizer.encode gives them. Put it into a list: [1].",
      ],
    ],
  ],
  [
    "a word or a list",
    wordOr("all", listOf(nested<{ readonly a: number }>({ a: required(whole(0)) }), "objects")),
    ["all", [{ a: 1 }]],
    [["al", 'found "al"; wanted a list of objects, or "all".']],
  ],
  ["signals", signal, [new AbortController().signal], [[true, "found true; wanted an AbortSignal."]]],
])("%s", (_, check, right, wrong) => {
  for (const value of right) expect(said(check, value)).toEqual([]);
  for (const [value, message] of wrong) expect(said(check, value)[0]?.replace(/^it\S*: /, "")).toBe(message);
});

test("elements are told by their places", () => {
  expect(said(texts, ["a", 3])).toEqual(["it[1]: found 3; wanted a text."]);
});

test("tables are complete by type, and hold each option to its own", () => {
  type Checks = OptionChecks<Painting>;
  expectTypeOf<Checks["colour"]>().toEqualTypeOf<RequiredCheck<"red" | "green">>();
  expectTypeOf<Checks["wet"]>().toEqualTypeOf<Check<boolean>>();
  // @ts-expect-error -- no check of what can be left out where there is no default
  const optional: Checks["colour"] = oneOf(["red", "green"]);
  // @ts-expect-error -- another word
  const word: Checks["colour"] = required(oneOf(["red", "blue"]));
  // @ts-expect-error -- another type
  const type: Checks["coats"] = flag;
  // @ts-expect-error -- keys that are not there
  const few: Checks = { colour: painting.colour, coats: whole(1) };
  expect([optional, word, type, few]).toHaveLength(4);
});
