/** @file Laws of reading options. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { bytes, choices, heads, indices, names, numbers, readFields } from "./fields.ts";
import { commandOptions } from "./options.ts";

test("what was read reads as itself, so that an experiment file replays what was typed", () => {
  const typed = {
    clean: "a",
    corrupt: " b",
    answer: " c",
    site: "z, mlp_out",
    by: "layer,pos",
    layer: "3,7-9",
    n: "12",
    memory: "1.5GiB",
    verify: "0",
    joint: true,
    bos: false,
  };
  const once = readFields(commandOptions.patch.table, typed);
  expect(once).toEqual({
    faults: [],
    options: {
      ...typed,
      answer: [" c"],
      site: ["z", "mlp_out"],
      by: ["layer", "pos"],
      layer: [3, 7, 8, 9],
      n: 12,
      memory: 1.5 * 2 ** 30,
      verify: 0,
    },
  });
  expect(readFields(commandOptions.patch.table, JSON.parse(JSON.stringify(once.options)))).toEqual(once);
});

test("a word mistyped is told from one that is none of those there are", () => {
  const { faults } = readFields(commandOptions.patch.table, { task: "iio", direction: "up" });
  expect(faults.map(({ option, fix }) => [option, fix])).toEqual([
    ["task", 'Did you mean "ioi"?'],
    ["direction", undefined],
  ]);
});

test("ranges are the numbers that they span", () => {
  const range = fc.tuple(fc.nat(50), fc.nat(50)).map(([first, length]) => [first, first + length] as const);
  fc.assert(
    fc.property(fc.uniqueArray(range, { minLength: 1, maxLength: 5 }), (ranges) => {
      const text = ranges
        .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
        .join(",");
      const spanned = ranges.flatMap(([first, last]) =>
        Array.from({ length: last - first + 1 }, (_, index) => first + index),
      );
      const isRepeated = new Set(spanned).size !== spanned.length;
      expect(indices.safeParse(text).data).toEqual(isRepeated ? undefined : spanned);
    }),
  );
});

test.each(["", "3,", "-1", "1-", "9-3", "1.5", "0-99999999", "1e3", "a"])(
  "%j is no list of labels",
  (text) => {
    expect(indices.safeParse(text).success).toBe(false);
  },
);

test("sizes are decimal and binary", () => {
  const sizes = ["4GB", "4 gib", "2000000", "512MiB"].map((text) => bytes.parse(text));
  expect(sizes).toEqual([4e9, 4 * 2 ** 30, 2e6, 512 * 2 ** 20]);
  expect(["4XB", "GB", "-1GB", "10kB"].map((text) => bytes.safeParse(text).success)).toEqual([
    false,
    false,
    false,
    false,
  ]);
});

test("numbers and choices are read once each, typed or listed", () => {
  const factors = numbers(0);
  expect(factors.parse("1, 3,0.5")).toEqual([1, 3, 0.5]);
  expect(factors.parse([0, 2])).toEqual([0, 2]);
  for (const wrong of ["", "1,", "-1", "1,1.0", "x", "1e999", [], [Number.NaN]])
    expect(factors.safeParse(wrong).success).toBe(false);
  const words = choices(["noise", "zero"]);
  expect(words.parse("zero, noise")).toEqual(["zero", "noise"]);
  for (const wrong of ["", "zero,", "zero,zero", "mean", []])
    expect(words.safeParse(wrong).success).toBe(false);
  expect(words.safeParse("mean").error?.issues[0]?.message).toBe(
    "some of noise, zero, separated by commas, each once",
  );
});

test("names lose the spaces around them, and an empty one is refused", () => {
  expect(names.parse("z , mlp_out")).toEqual(["z", "mlp_out"]);
  expect(names.safeParse("z,,v").success).toBe(false);
});

test("heads are read once each, whatever their spelling, or all of them by one word", () => {
  expect(heads().parse("9.6, 10.0")).toEqual(["9.6", "10.0"]);
  expect(heads("all").parse("all")).toEqual(["all"]);
  for (const wrong of ["", "9.6,", "9", "9.6,9.6", "9.6,9.06", "-1.0", "all", 9.6, []])
    expect(heads().safeParse(wrong).error?.issues[0]?.message).toBe("heads such as 9.6,9.9, each once");
  expect(heads("all").safeParse("all,9.6").error?.issues[0]?.message).toBe(
    "heads such as 9.6,9.9, each once, or all",
  );
});
