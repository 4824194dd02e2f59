/** @file Colours of a terminal: 24 bit, 256 or none. */
import { diverging, type Rgb } from "./palette.ts";

export type ColorDepth = "truecolor" | "256" | "none";

/**
 * The colours to use, from the environment: none where `NO_COLOR` is set (https://no-color.org), the output is no
 * terminal or the terminal is dumb; 24 bit where `COLORTERM` says so.
 */
export function colorDepth(
  environment: Readonly<Record<string, string | undefined>>,
  options: { readonly isTerminal: boolean },
): ColorDepth {
  const { NO_COLOR = "", COLORTERM = "", TERM = "" } = environment;
  if (NO_COLOR !== "" || !options.isTerminal || TERM === "dumb") return "none";
  return /truecolor|24bit/i.test(COLORTERM) || TERM.endsWith("-direct") ? "truecolor" : "256";
}

/**
 * xterm colours from loss over neutral to gain. Chosen by hand: the nearest of the 256 to each colour of the palette
 * run through grey and teal, so that a stronger effect could look weaker.
 */
const xtermScale = [88, 124, 160, 203, 210, 217, 224, 255, 189, 153, 111, 69, 27, 26, 19];
const FIRST_LIGHT = 3; // steps 3 to 11: black is easier to read than white
const LAST_LIGHT = 11;

/** Text on the colour of an effect, -1 to 1 of the largest, in black or white by which is easier to read. */
export function shaded(text: string, share: number, depth: ColorDepth): string {
  if (depth === "none") return text;
  if (depth === "truecolor") {
    const color = diverging(share);
    const ink: Rgb = luminance(color) > 0.4 ? [20, 20, 20] : [255, 255, 255];
    return `\u001b[48;2;${color.join(";")};38;2;${ink.join(";")}m${text}\u001b[0m`;
  }
  const step = xtermStep(share);
  const isLight = step >= FIRST_LIGHT && step <= LAST_LIGHT;
  return `\u001b[48;5;${xtermScale[step]};38;5;${isLight ? 16 : 231}m${text}\u001b[0m`;
}

/** Text in the colour of an effect. */
export function inked(text: string, share: number, depth: ColorDepth): string {
  if (depth === "none") return text;
  const color =
    depth === "truecolor" ? `2;${diverging(share).join(";")}` : `5;${xtermScale[xtermStep(share)]}`;
  return `\u001b[38;${color}m${text}\u001b[0m`;
}

function xtermStep(share: number): number {
  const middle = (xtermScale.length - 1) / 2;
  return middle + Math.round(Math.max(-1, Math.min(1, share)) * middle);
}

/** Relative luminance, WCAG 2.1. */
function luminance(color: Rgb): number {
  const [red, green, blue] = color.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * (red ?? 0) + 0.7152 * (green ?? 0) + 0.0722 * (blue ?? 0);
}
