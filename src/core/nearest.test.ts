import fc from "fast-check";
import { expect, test } from "vitest";
import { didYouMean, nearestOf } from "./nearest.ts";

test("the name with the fewest slips: added, left out, changed, swapped letters, and capitals", () => {
  const known = ["ioi", "loan", "docstring", "multiple-choice"];
  expect(
    ["iio", "ioii", "lon", "Loan", "dcostrings", "multiple_choice"].map((name) => nearestOf(name, known)),
  ).toEqual(["ioi", "ioi", "loan", "loan", "docstring", "multiple-choice"]);
  expect(didYouMean("poket", ["pocket", "pocket-v1"])).toBe('Did you mean "pocket"?');
});

test("nothing where no name is near: other words, paths, what is short", () => {
  const known = ["pocket", "ioi"];
  expect(
    ["", "x", "ab", "model.gguf", "./pocket.gguf", "x".repeat(1e6)].map((name) => nearestOf(name, known)),
  ).toEqual(Array(6).fill(undefined));
});

test("a known name is its own nearest, and one slip in five letters or more is understood", () => {
  const names = fc.uniqueArray(fc.stringMatching(/^[a-z]{5,12}$/), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(names, fc.nat(), fc.nat(), (known, which, where) => {
      const name = known[which % known.length] ?? "";
      expect(nearestOf(name, known)).toBe(name);
      const cut = where % name.length;
      expect(nearestOf(name.slice(0, cut) + name.slice(cut + 1), [name])).toBe(name);
    }),
  );
});
