/** @file Colours of a terminal: 24 bit, 256 or none. */
import type { Rgb } from "./palette.ts";

export type ColorDepth = "truecolor" | "256" | "none";

/**
 * The colours to use, from the environment: none where `NO_COLOR` is set (https://no-color.org), the output is no
 * terminal or the terminal is dumb; 24 bit where `COLORTERM` says so.
 */
export function colorDepth(
  environment: Readonly<Record<string, string | undefined>>,
  isTerminal: boolean,
): ColorDepth {
  const { NO_COLOR = "", COLORTERM = "", TERM = "" } = environment;
  if (NO_COLOR !== "" || !isTerminal || TERM === "dumb") return "none";
  return /truecolor|24bit/i.test(COLORTERM) || TERM.endsWith("-direct") ? "truecolor" : "256";
}

/** Text on a background, black or white by which is easier to read on it. */
export function onBackground(text: string, color: Rgb, depth: ColorDepth): string {
  if (depth === "none") return text;
  const ink: Rgb = luminance(color) > 0.4 ? [20, 20, 20] : [255, 255, 255];
  return `${sequence(48, color, depth)}${sequence(38, ink, depth)}${text}\u001b[0m`;
}

/** Text in a colour. */
export function inColor(text: string, color: Rgb, depth: ColorDepth): string {
  return depth === "none" ? text : `${sequence(38, color, depth)}${text}\u001b[0m`;
}

function sequence(layer: 38 | 48, color: Rgb, depth: Exclude<ColorDepth, "none">): string {
  return depth === "truecolor"
    ? `\u001b[${layer};2;${color.join(";")}m`
    : `\u001b[${layer};5;${nearest256(color)}m`;
}

const cubeLevels = [0, 95, 135, 175, 215, 255]; // xterm's 6 × 6 × 6 cube, indices 16 to 231

/** The nearest of xterm's 256 colours: its cube or its 24 greys. */
function nearest256(color: Rgb): number {
  const steps = color.map((channel) => nearestIndex(cubeLevels, channel));
  const cube = steps.map((step) => cubeLevels[step] ?? 0);
  const greys = Array.from({ length: 24 }, (_, index) => 8 + 10 * index);
  const grey = nearestIndex(greys, (color[0] + color[1] + color[2]) / 3);
  const distance = (other: readonly number[]): number =>
    color.reduce((sum, channel, index) => sum + (channel - (other[index] ?? 0)) ** 2, 0);
  const greyLevel = greys[grey] ?? 0;
  if (distance([greyLevel, greyLevel, greyLevel]) < distance(cube)) return 232 + grey;
  return 16 + 36 * (steps[0] ?? 0) + 6 * (steps[1] ?? 0) + (steps[2] ?? 0);
}

function nearestIndex(levels: readonly number[], value: number): number {
  return levels.reduce(
    (best, level, index) => (Math.abs(level - value) < Math.abs((levels[best] ?? 0) - value) ? index : best),
    0,
  );
}

/** Relative luminance, WCAG 2.1. */
function luminance(color: Rgb): number {
  const [red, green, blue] = color.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * (red ?? 0) + 0.7152 * (green ?? 0) + 0.0722 * (blue ?? 0);
}
