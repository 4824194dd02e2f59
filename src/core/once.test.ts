import { expect, test } from "vitest";
import { oncePer } from "./once.ts";

test("a value is made once for each key, whoever asks for it meanwhile", async () => {
  let made = 0;
  const of = oncePer(async (key: { readonly name: string }) => `${key.name} ${++made}`);
  const [one, two] = [{ name: "one" }, { name: "two" }];
  expect(await Promise.all([of(one), of(one), of(two)])).toEqual(["one 1", "one 1", "two 2"]);
  expect(await of(one)).toBe("one 1");
});

test("a failure is everyone's who asked meanwhile, and forgotten afterwards", async () => {
  let tries = 0;
  const of = oncePer(async (_: object) => {
    if (++tries === 1) throw new Error("no weights");
    return tries;
  });
  const key = {};
  const both = await Promise.allSettled([of(key), of(key)]);
  expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await of(key)).toBe(2);
});
