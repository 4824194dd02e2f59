/** @file What the panels of the multiple-choice figure share. */

import type { Cell } from "../result/cells.ts";
import type { Json } from "../result/result.ts";
import type { Spec } from "./views.ts";

// Okabe & Ito's colours, told apart also by the colour-blind.
export const colours = {
  black: "#000000",
  blue: "#0072b2",
  orange: "#e69f00",
  green: "#009e73",
  red: "#d55e00",
  pink: "#cc79a7",
  grey: "#bbbbbb",
} as const;

/** Pixels of a panel. */
export const PANEL = { width: 290, height: 230 } as const;
/** The heading of a panel. */
export const titled = (text: string): Json => ({ text, fontSize: 12, fontWeight: 600, offset: 8 });
/** A cell as a row of a plot's data. */
export const interval = ({ value, ciLow, ciHigh }: Cell): Readonly<Record<string, Json>> => ({
  value,
  ...(ciLow === undefined || ciHigh === undefined ? {} : { low: ciLow, high: ciHigh }),
});
/** A quantitative channel with its axis. */
export const numbered = (field: string, title: string, more: Spec = {}): Spec => ({
  field,
  type: "quantitative",
  axis: { title, grid: true, gridColor: "#eee", tickCount: 6 },
  ...more,
});
/** A line at a value. */
export const zero = (channel: "x" | "y", datum = 0): Spec => ({
  mark: { type: "rule", color: "#999", strokeDash: datum === 0 ? [] : [4, 3], aria: false },
  encoding: { [channel]: { datum, type: "quantitative" } },
});
/** A panel of the usual size. */
export const panel = (title: string, more: Spec): Spec => ({
  title: titled(title),
  width: PANEL.width,
  height: PANEL.height,
  ...more,
});
