import { expect, test } from "vitest";
import { multipleChoice } from "../../test/gallery/multiple-choice.ts";
import {
  attrs,
  destinationBySource,
  headsByPair,
  layerByHead,
  layerByPosition,
  layerByPositionByHead,
  nextTokens,
  pathEffects,
  range,
  variable,
} from "../result/fixtures.ts";
import { type Dataset, dataset } from "../result/result.ts";
import { displayWidth } from "./labels.ts";
import { terminal } from "./terminal.ts";
import { colorDepth, shaded } from "./terminal-color.ts";
import { compactNumber, tenths } from "./terminal-heatmap.ts";

const sequences = new RegExp(`${"\u001b"}\\[[0-9;]*m`, "g");

const results: [string, Dataset][] = [
  ["layer × pos", layerByPosition()],
  ["layer × head", layerByHead()],
  ["layer × pos × head", layerByPositionByHead()],
  ["dst × src", destinationBySource()],
  ["bars", pathEffects()],
  ["tokens", nextTokens()],
  ["multiple choice", multipleChoice()],
];

test.each(results)("%s fits every width, in every colour depth", (_, result) => {
  for (const columns of [40, 60, 80, 132]) {
    for (const color of ["none", "256", "truecolor"] as const) {
      const lines = terminal(result, { columns, color }).replace(sequences, "").split("\n");
      expect(lines.filter((line) => displayWidth(line) > columns)).toEqual([]);
    }
  }
});

test.each(results)("%s without colours is the same text: numbers do not depend on them", (_, result) => {
  const plain = terminal(result, { columns: 132 });
  expect(plain).not.toContain("\u001b");
  const words = (text: string) =>
    text
      .replace(sequences, "")
      .split(/\s+/)
      .filter((word) => /[0-9]/.test(word));
  const colored = words(terminal(result, { columns: 132, color: "truecolor" }));
  expect(colored).toEqual(expect.arrayContaining(words(plain)));
});

test("a map of traced modules says how many layers are restored together; states are single", () => {
  const traced = (window: number): string[] => {
    const given = { ...attrs, method: "causal-tracing", options: { window } };
    const text = terminal({ ...layerByPosition(), attrs: given }, { columns: 132 });
    return text.split("\n").filter((line) => line.includes("(down)"));
  };
  expect(traced(10)).toEqual(
    expect.arrayContaining([
      "resid_pre: layer (down) × position (across)",
      expect.stringMatching(/^mlp_\w+, windows of 10 layers: layer \(down\)/),
    ]),
  );
  expect(traced(1).join()).not.toContain("windows");
});

test("a planted head is where it was planted, and first in the list", () => {
  const lines = terminal(layerByHead(), { columns: 80 }).split("\n");
  const row = lines.find((line) => line.startsWith(" 9 ")) ?? "";
  expect(row.trim().split(/\s+/)[1 + 6]).toBe("+4.06");
  expect(lines[lines.indexOf("strongest") + 2]).toMatch(
    /^z\s+9\s+6\s+-1\.43\s+\+4\.055\s+-1\.93 to -0\.9297$/,
  );
});

test("the values by pair have maps of their own; the list ranks the means, and there is none of bars", () => {
  const text = terminal(headsByPair(), { columns: 132 });
  expect(text).toMatch(/^Which layer and head, .*\? \(z\)$/m);
  expect(text).toMatch(/^z_per_pair, pair store: layer \(down\) × head \(across\)$/m);
  const list = text.slice(text.indexOf("strongest")).split("\n").slice(2, -1);
  expect(list).toHaveLength(8);
  expect(list.filter((line) => !/^z +\d +\d /.test(line))).toEqual([]);
  expect(list[0]).toMatch(/^z +4 +2 .*\+5\.803/);

  const bars = dataset({
    ...headsByPair(),
    dataVars: {
      z: variable({ layer: 6 }, (layer) => layer),
      z_per_pair: variable({ pair: 2, layer: 6 }, (pair, layer) => layer + pair),
    },
  });
  expect(terminal(bars)).toMatch(/^z_per_pair: layer \(down\) × pair \(across\)$/m);
  expect(terminal(bars)).not.toContain("strongest");
  expect(terminal(bars, { sites: ["z_per_pair"] })).toMatch(/^strongest\nsite +pair /m);
});

/** Effects from -1 to almost 1 over positions of layer 0, none at all in layer 1. */
function alongPositions(size: number): Dataset {
  return dataset({
    attrs,
    dims: { layer: 2, pos: size },
    coords: { pos: range("pos", size) },
    dataVars: {
      z: variable({ layer: 2, pos: size }, (layer, pos) => -5.485 + (layer === 0 ? effectAt(pos, size) : 0)),
    },
  });
}

function effectAt(pos: number, size: number): number {
  return (2 * pos) / size - 1;
}

/** The texts of the cells of a layer, block after block. */
function rowOf(text: string, layer: number): string[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith(`${layer} `))
    .flatMap((line) => line.slice(2).trim().split(/\s+/));
}

test("a map that is too wide goes on in blocks of about the same width, and keeps its numbers", () => {
  const text = terminal(alongPositions(30), { columns: 80 });
  expect(rowOf(text, 0)).toEqual(Array.from({ length: 30 }, (_, pos) => compactNumber(effectAt(pos, 30))));
  const widths = text.split("\n").flatMap((line) => (line.startsWith("1 ") ? [line.length] : []));
  expect(widths).toEqual([61, 61, 61]);
  expect(text).not.toContain("tenths");
});

test("columns without any effect are left out where the map then needs fewer blocks, and named", () => {
  const late = (columns: number): string =>
    terminal(
      dataset({
        attrs,
        dims: { layer: 2, pos: 20 },
        coords: { pos: range("pos", 20) },
        dataVars: {
          z: variable({ layer: 2, pos: 20 }, (_, pos) => -5.485 + (pos < 11 || pos === 14 ? 0 : pos / 10)),
        },
      }),
      { columns },
    );
  const kept = [11, 12, 13, 15, 16, 17, 18, 19].map((pos) => compactNumber(pos / 10));
  expect(rowOf(late(80), 0)).toEqual(kept);
  expect(late(80)).toContain("left out, no effect at all: position 0 to 10, 14\n");
  expect(late(80)).not.toContain("·: ");
  expect(rowOf(late(130), 0)).toHaveLength(20); // all fit
  expect(late(130)).not.toContain("left out");
});

test("beyond three blocks it gets tenths, with the largest effect in its heading; no column is lost", () => {
  for (const color of ["none", "256"] as const) {
    const text = terminal(alongPositions(40), { columns: 64, color }).replace(sequences, "");
    expect(rowOf(text, 0)).toEqual(Array.from({ length: 40 }, (_, pos) => tenths(effectAt(pos, 40))));
    expect(text.replace(/\s+/g, " ")).toContain(
      "z: layer (down) × position (across), in tenths of 1; largest effect here -1 ",
    );
  }
});

test("no effect at all and little of one have symbols of their own, each explained where it is", () => {
  const legend = (text: string): string[] => text.split("\n").filter((line) => /[·0]: /.test(line));
  expect(legend(terminal(alongPositions(30), { columns: 80 }))).toEqual(["·: no effect at all"]);
  expect(legend(terminal(layerByHead(), { columns: 80 }))).toEqual(["0: an effect that rounds to 0"]);
  expect(legend(terminal(layerByPosition(), { columns: 120 }))).toEqual([
    "·: no effect at all; 0: an effect that rounds to 0",
  ]);
  expect(legend(terminal(alongPositions(40), { columns: 70 }))).toEqual([
    "+9 … -9: tenths of the largest effect, 1; 0: less than a tenth",
    "·: no effect at all",
  ]);
});

test("bars of one unit share a scale with all panels of it; what is under half a block has none", () => {
  const lengths = (text: string): number[] =>
    text
      .split("\n")
      .filter((line) => line.includes("│"))
      .map((line) => [...line].filter((character) => character === "█").length);
  const bars = (unit: string): Dataset =>
    dataset({
      attrs: { ...attrs, method: "direct", unit: "logit" },
      dims: { layer: 2 },
      coords: {},
      dataVars: {
        mlp: variable({ layer: 2 }, (layer) => (layer === 0 ? 4 : -0.21), { unit: "logit" }),
        embed: variable({}, () => 0.19, { unit }),
      },
    });
  expect(lengths(terminal(bars("logit")))).toEqual([10, 1, 0]);
  expect(lengths(terminal(bars("nat")))).toEqual([10, 1, 10]);
});

test("cells say at most five characters, and nothing in place of a rounded zero", () => {
  expect([0, 0.001, -0.004, 9.994, 9.996, -99.94, 99.96, -999].map(compactNumber)).toEqual([
    "·",
    "0",
    "0",
    "+9.99",
    "+10.0",
    "-99.9",
    "+100",
    "-999",
  ]);
  expect([1, -1, 0.9, 0.05, -0.1, 0].map(tenths)).toEqual(["+9", "-9", "+9", "0", "-1", "·"]);
});

test("small effects are written in a unit that shows them", () => {
  const small = dataset({
    attrs: { ...attrs, metric: "prob", unit: "1", baseline_clean: 0.004, baseline_corrupt: 0 },
    dims: { layer: 1, head: 2 },
    coords: {},
    dataVars: { z: variable({ layer: 1, head: 2 }, (_, head) => 0.0031 * head) },
  });
  const text = terminal(small, { columns: 80 });
  expect(text).toMatch(/^0 {5}· \+3\.10$/m);
  expect(text).toContain("numbers in units of 0.001");
});

test("a token cannot send control sequences to the terminal", () => {
  const evil = nextTokens();
  const token = {
    ...evil.coords.token,
    dims: ["rank"],
    attrs: {},
    data: ["\u001b]0;x\u0007", "\u202e", "\r", "a"],
  };
  expect(terminal({ ...evil, coords: { ...evil.coords, token } })).not.toMatch(/[^\P{C}\n]/u);
});

test("colours follow NO_COLOR, the terminal and what it can show", () => {
  const isTerminal = true;
  expect(colorDepth({ COLORTERM: "truecolor", TERM: "xterm-256color" }, { isTerminal })).toBe("truecolor");
  expect(colorDepth({ TERM: "xterm-256color" }, { isTerminal })).toBe("256");
  expect(colorDepth({ COLORTERM: "truecolor", NO_COLOR: "1" }, { isTerminal })).toBe("none");
  expect(colorDepth({ TERM: "dumb" }, { isTerminal })).toBe("none");
  expect(colorDepth({ COLORTERM: "truecolor" }, { isTerminal: false })).toBe("none");
});

test("zero is neutral in both depths, and the two ends differ", () => {
  expect(shaded("x", 0, "truecolor")).toBe("\u001b[48;2;247;247;247;38;2;20;20;20mx\u001b[0m");
  expect(shaded("x", 0, "256")).toBe("\u001b[48;5;255;38;5;16mx\u001b[0m");
  expect(shaded("x", -1, "256")).toBe("\u001b[48;5;88;38;5;231mx\u001b[0m");
  expect(shaded("x", 1, "256")).toBe("\u001b[48;5;19;38;5;231mx\u001b[0m");
});
