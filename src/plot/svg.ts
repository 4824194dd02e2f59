/** @file Specifications to SVG, without a DOM. */
import { parse, type Spec as VegaSpec, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { measureTextWithoutCanvas } from "./text-width.ts";
import type { Spec } from "./views.ts";

/** What Vega and Vega-Lite find odd about a specification goes here; a figure of ours should give them nothing. */
export interface DrawOptions {
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** Compiles Vega-Lite to Vega, which is what the page of a report runs. */
export function toVega(spec: Spec, options: DrawOptions = {}): VegaSpec {
  return compile(spec as unknown as TopLevelSpec, { logger: logger(options) }).spec;
}

/** Draws a specification as a self-contained SVG document. */
export async function svg(spec: Spec, options: DrawOptions = {}): Promise<string> {
  measureTextWithoutCanvas();
  const view = new View(parse(toVega(spec, options)), { renderer: "none", logger: logger(options) });
  try {
    return shorten(await view.toSVG());
  } finally {
    view.finalize();
  }
}

/** Coordinates to a hundredth of a pixel: smaller files, and the same text on every machine. */
function shorten(text: string): string {
  return text.replace(/ (d|transform|[xy][12]?|width|height)="[^"]*"/g, (attribute) =>
    attribute.replace(/-?\d+\.\d{3,}(e-?\d+)?/g, (number) => String(Math.round(Number(number) * 100) / 100)),
  );
}

function logger({ onWarning }: DrawOptions) {
  const warn = (...messages: readonly unknown[]): void => onWarning?.(messages.map(String).join(" "));
  let level = 2; // vega's Warn
  const self = {
    level(next?: number) {
      if (next === undefined) return level;
      level = next;
      return self;
    },
    error: (...messages: readonly unknown[]): never => {
      throw new Error(`the figure could not be drawn: ${messages.map(String).join(" ")}`);
    },
    warn: (...messages: readonly unknown[]) => {
      warn(...messages);
      return self;
    },
    info: () => self,
    debug: () => self,
  };
  return self as never;
}
