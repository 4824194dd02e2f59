/**
 * @file Widths of text where there is no canvas to measure it on.
 *
 * Vega then takes every character as 0.8 em, a third too wide, and leaves gaps between labels and titles. These
 * classes follow the advance widths of DejaVu Sans, the widest of the fonts that figures ask for.
 */
import * as vega from "vega";
import { displayWidth } from "./labels.ts";

const BOLD = 1.12; // DejaVu Sans Bold against Regular, mean over ASCII letters

/** The width of a text in em. */
export function textWidthEm(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/[iljI.,:;'|![\]() ]/.test(character)) width += 0.35;
    else if (/[mwMW%@—]/.test(character)) width += 0.92;
    else if (/[A-Z+=<>−]/.test(character)) width += 0.72;
    else width += 0.61 * displayWidth(character);
  }
  return width;
}

interface TextItem {
  readonly fontSize?: number;
  readonly fontWeight?: string | number;
  /** Longer text is cut to this many pixels. */
  readonly limit?: number;
}

/** Makes Vega measure text with {@link textWidthEm}, unless it has a page's canvas. */
export function measureTextWithoutCanvas(): void {
  // Exported by vega-scenegraph for this purpose, but missing from vega's types.
  const metrics: unknown = Reflect.get(vega, "textMetrics");
  if (typeof metrics !== "object" || metrics === null || "document" in globalThis) return;
  Reflect.set(metrics, "width", (item: TextItem, text: unknown): number => {
    const isBold = item.fontWeight === "bold" || Number(item.fontWeight) >= 600;
    const width = textWidthEm(String(text ?? "").trim()) * (item.fontSize ?? 11) * (isBold ? BOLD : 1);
    return item.limit !== undefined && item.limit > 0 ? Math.min(width, item.limit) : width;
  });
}
