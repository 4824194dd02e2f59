import fc from "fast-check";
import { expect, test } from "vitest";
import { displayWidth } from "./labels.ts";
import { type Column, table } from "./table.ts";

const right = (title: string): Column => ({ title, align: "right" });
const site: Column = { title: "site", label: "name" };
const position: Column = { title: "position", label: "text" };

test("a title that has no room is wrapped, above numbers that are whole", () => {
  const columns = [site, position, right("value"), right("95 % interval of the value")];
  const rows = [["resid_pre", "4", "1.16", "-2.915 to 5.113"]];
  expect(table(columns, rows, 80)).toEqual([
    "site       position  value  95 % interval of the value",
    "resid_pre  4          1.16             -2.915 to 5.113",
  ]);
  expect(table(columns, rows, 45)).toEqual([
    "                              95 % interval",
    "site       position  value     of the value",
    "resid_pre  4          1.16  -2.915 to 5.113",
  ]);
});

test("then the text of tokens is cut, not the name of a site", () => {
  const rows = [["resid_pre", "14: ␣approximately / ␣precisely", "1.16"]];
  expect(table([site, position, right("value")], rows, 34)).toEqual([
    "site       position          value",
    "resid_pre  14: ␣approximat…   1.16",
  ]);
});

test("then columns go beneath, each row named again, and the last resort is to cut names", () => {
  const columns = [site, position, right("value"), right("effect"), right("interval")];
  const rows = [["resid_pre", "4", "1.16", "+0.108", "-2.915 to 5.113"]];
  expect(table(columns, rows, 34)).toEqual([
    "site       position  value  effect",
    "resid_pre  4          1.16  +0.108",
    "",
    "site     position         interval",
    "resid_…  4         -2.915 to 5.113",
  ]);
});

test("a list goes on in further lines", () => {
  const columns: Column[] = [{ title: "class", label: "name" }, right("heads"), { title: "", wraps: true }];
  expect(table(columns, [["uniform", "4", "10.11*, 9.2, 8.13, 7.1, 6.12"]], 40)).toEqual([
    "class    heads",
    "uniform      4  10.11*, 9.2, 8.13, 7.1,",
    "                6.12",
  ]);
});

test("a label has at most 40 columns at any width", () => {
  const [, row = ""] = table([position, right("value")], [["␣".repeat(100), "1"]]);
  expect(displayWidth(row)).toBe(40 + 2 + 5);
});

test("no number is cut at any width, and lines have room where numbers have", () => {
  const number = fc.double({ min: -1e4, max: 1e4, noNaN: true }).map((value) => value.toPrecision(4));
  const interval = fc.tuple(number, number).map(([low, high]) => `${low} to ${high}`);
  const cells = fc.tuple(fc.string({ unit: "grapheme", maxLength: 60 }), number, number, interval);
  const columns = [position, right("value"), right("normalised"), right("95 % interval of the effect")];
  fc.assert(
    fc.property(fc.array(cells, { maxLength: 6 }), fc.integer({ min: 36, max: 120 }), (rows, width) => {
      const lines = table(columns, rows, width);
      expect(lines.filter((line) => displayWidth(line) > width)).toEqual([]);
      const text = lines.join("\n");
      for (const [, ...numbers] of rows) for (const cell of numbers) expect(text).toContain(cell);
    }),
  );
});
