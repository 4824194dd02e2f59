/**
 * @file The one colour scale: diverging, its neutral middle at no effect.
 *
 * ColorBrewer's RdBu (Cynthia Brewer, Apache-2.0), which readers with any common colour blindness can tell apart;
 * red is a loss of the metric, blue a gain.
 */
// biome-ignore format: one row per half
const anchors = [
  "#67001f", "#b2182b", "#d6604d", "#f4a582", "#fddbc7",
  "#f7f7f7",
  "#d1e5f0", "#92c5de", "#4393c3", "#2166ac", "#053061",
] as const;

/** The scale as colours at equal steps from -1 to 1. */
export const divergingColors: readonly string[] = anchors;

/** Colours for the sign alone: bars and points. */
export const signColors: { readonly loss: string; readonly gain: string } = {
  loss: "#b2182b",
  gain: "#2166ac",
};

/** Cells that were not computed; darker than the neutral middle. */
export const missingColor = "#c4c4c4";

export type Rgb = readonly [red: number, green: number, blue: number];

/** The colour at `share` of the largest effect, -1 to 1 (clamped): linear in sRGB between the anchors. */
export function diverging(share: number): Rgb {
  const place = ((Math.max(-1, Math.min(1, share)) + 1) / 2) * (anchors.length - 1);
  const low = parse(anchors[Math.floor(place)]);
  const high = parse(anchors[Math.ceil(place)]);
  const weight = place - Math.floor(place);
  const mix = (a: number, b: number): number => Math.round(a + weight * (b - a));
  return [mix(low[0], high[0]), mix(low[1], high[1]), mix(low[2], high[2])];
}

function parse(hex: string | undefined): Rgb {
  const value = Number.parseInt((hex ?? "#000000").slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
