import fc from "fast-check";
import { expect, test } from "vitest";
import { at } from "../result/cells.ts";
import {
  attrs,
  destinationBySource,
  layerByHead,
  layerByPosition,
  layerByPositionByHead,
  pathEffects,
  variable,
} from "../result/fixtures.ts";
import { type Dataset, dataset } from "../result/result.ts";
import { displayWidth, labelText, namedLabels, truncate, visible, wrap } from "./labels.ts";
import { diverging, divergingColors } from "./palette.ts";
import { layPanels } from "./panels.ts";
import { png } from "./png.node.ts";
import { figureNotes, plot } from "./spec.ts";
import { svg } from "./svg.ts";
import { DOT_NOTE } from "./views.ts";

/** layer × head with metric values that are `shift` off the corrupt baseline where `cell` says so. */
function shifted(shift: number, direction: "denoise" | "noise" = "denoise"): Dataset {
  const base = direction === "noise" ? 6.12 : -5.485;
  return dataset({
    attrs: { ...attrs, direction },
    dims: { layer: 2, head: 2 },
    coords: {},
    dataVars: { z: variable({ layer: 2, head: 2 }, (l, h) => base + (l === 1 && h === 0 ? shift : 0)) },
  });
}

/** Fill colours of a heat map's cells, row by row. */
async function fills(result: Dataset): Promise<string[]> {
  const drawn = await svg(plot(result));
  const cells = drawn.match(/<g class="mark-rect[^>]*>.*?<\/g>/s)?.[0] ?? "";
  return [...cells.matchAll(/fill="([^"]+)"/g)].map((match) => match[1] ?? "");
}

const neutral = "rgb(247, 247, 247)";

test.each(["denoise", "noise"] as const)("no effect is neutral in every cell when %s", async (direction) => {
  expect(await fills(shifted(0, direction))).toEqual([neutral, neutral, neutral, neutral]);
});

test("the scale is centred at the base run: a gain is the blue end, a loss the red end, the rest neutral", async () => {
  expect(await fills(shifted(3))).toEqual([neutral, neutral, "rgb(5, 48, 97)", neutral]);
  expect(await fills(shifted(-0.25, "noise"))).toEqual([neutral, neutral, "rgb(103, 0, 31)", neutral]);
});

test("the palette passes through its anchors and is neutral at zero", () => {
  const hex = divergingColors.map((_, step) =>
    diverging((step - 5) / 5).reduce((text, channel) => text + channel.toString(16).padStart(2, "0"), "#"),
  );
  expect(hex).toEqual([...divergingColors]);
  expect(diverging(7)).toEqual(diverging(1));
});

test.each([
  ["layer × pos", layerByPosition(5)],
  ["layer × head", layerByHead()],
  ["dst × src", destinationBySource()],
])("every cell of a %s panel is the dataset's cell of the labels beside it", (_, result) => {
  let seen = 0;
  for (const { site, x, y, cells } of layPanels(result).panels) {
    for (const cell of cells) {
      const labels = {
        [x.dim]: x.labels[cell.x]?.label ?? "",
        [y?.dim ?? ""]: y?.labels[cell.y]?.label ?? "",
      };
      expect(cell.value).toBe(at(result, site, labels).value);
      seen++;
    }
  }
  const computed = Object.entries(result.dataVars)
    .filter(([name]) => !/_(normalized|ci_low|ci_high)$/.test(name))
    .flatMap(([, { data }]) => [...data].filter((value) => !Number.isNaN(value)));
  expect(seen).toBe(computed.length);
});

test("three dims become a panel each; where there are too many, the planted one is kept and the rest named", () => {
  const all = layPanels(layerByPositionByHead());
  expect(all.panels.map(({ title }) => title)).toEqual(["z, head 0", "z, head 1", "z, head 2", "z, head 3"]);
  const one = layPanels(layerByPositionByHead(), { maxPanels: 1, maxLabels: 3 });
  expect(one.panels.map(({ title }) => title)).toEqual(["z, head 2"]);
  expect(one.panels[0]?.x.labels.map(({ label }) => label)).toContain(13);
  expect(one.notes).toEqual([
    "z: the 3 of 14 positions with the largest effects",
    "z: the 3 of 6 layers with the largest effects",
    "z: the 1 of 4 panels with the largest effects",
  ]);
});

test("a token cannot attend to later ones, so only other cells without a value count as not computed", () => {
  expect(layPanels(destinationBySource()).panels[0]?.missing).toBe(0);
  expect(layPanels(layerByHead()).panels[0]?.missing).toBe(1);
  expect(figureNotes(layerByHead())).toEqual([`Grey: not computed. ${DOT_NOTE}`]);
});

test("the interval of an effect is that of the value, moved by the base run", () => {
  const [cell] = layPanels(layerByHead()).panels[0]?.cells.filter(({ x, y }) => x === 6 && y === 9) ?? [];
  expect(cell?.effectLow).toBeCloseTo((cell?.effect ?? 0) - 0.5, 12);
  expect(cell?.effectHigh).toBeCloseTo((cell?.effect ?? 0) + 0.5, 12);
});

test("variables without dims share one panel of bars", () => {
  const { panels } = layPanels(pathEffects());
  expect(panels.map(({ title, y }) => [title, y?.dim])).toEqual([
    ["head_effect", "layer"],
    ["mlp_effect", undefined],
    ["single terms", undefined],
  ]);
  expect(panels[2]?.cells.map(({ effect }) => effect)).toEqual([-0.35]);
});

test("labels show both tokens where they differ, and whitespace always", () => {
  const labels = namedLabels(layerByPosition(2), "pos").map(labelText);
  expect(labels.slice(8, 11)).toEqual(["8: ,", "9: ␣John / ␣Mary", "10: ␣gave"]);
  expect(["\n\t", "\u001b[31m", "a\u202eb", "", "\u00a0", "\u200d"].map(visible)).toEqual([
    "↵⇥",
    "\\u{1b}[31m",
    "a\\u{202e}b",
    "∅",
    "\\u{a0}",
    "\\u{200d}",
  ]);
});

test("nothing invisible survives, and a cut text fits its width", () => {
  const text = fc.string({ unit: "binary", maxLength: 30 });
  fc.assert(fc.property(text, (token) => !/[\p{C}\p{Z}]/u.test(visible(token))));
  fc.assert(
    fc.property(text, fc.nat(20), (token, width) => displayWidth(truncate(visible(token), width)) <= width),
  );
  expect([
    displayWidth("約翰"),
    displayWidth("e\u0301"),
    truncate("␣store", 4),
    truncate("約翰約", 5),
  ]).toEqual([4, 1, "␣st…", "約翰…"]);
});

test("wrapping keeps every word and the width", () => {
  const words = fc.array(fc.stringMatching(/^[a-z]{1,9}$/), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(words, (list) => {
      const lines = wrap(list.join(" "), 12);
      expect(lines.join(" ")).toBe(list.join(" "));
      expect(lines.every((line) => line.length <= 12)).toBe(true);
    }),
  );
});

test("wrapping parts no number from its unit", () => {
  const text = "passes: largest difference 2.86e-6 logit, 95 % interval (95 tokens, 3 s)";
  for (let width = 12; width < text.length; width++) {
    const lines = wrap(text, width);
    expect(lines.join(" ")).toBe(text);
    expect(lines.filter((line) => /^(logit|%|s\))/.test(line))).toEqual([]);
  }
});

test("PNG text is drawn with the font that comes along, none of the machine's", async () => {
  const page = (text: string) =>
    `<svg xmlns="http://www.w3.org/2000/svg" width="80" height="20"><text x="2" y="15" font-family="Nowhere, sans-serif">${text}</text></svg>`;
  const [blank, latin, mark] = await Promise.all(["", "to", "␣to"].map((text) => png(page(text))));
  expect([...(latin ?? [])].slice(1, 4)).toEqual([..."PNG"].map((letter) => letter.charCodeAt(0)));
  expect(latin).not.toEqual(blank);
  expect(mark).not.toEqual(latin);
});
