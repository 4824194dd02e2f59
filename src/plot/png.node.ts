/** @file SVG to PNG with resvg. DejaVu comes with us, so that text appears on machines without fonts. */
import { createRequire } from "node:module";

const PIXELS_PER_UNIT = 2; // sharp on dense screens and in print

/** Characters that DejaVu Sans covers well enough; anything else needs a font of the machine. */
const covered =
  /^[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Common}\p{Script=Inherited}]*$/u;

/** Renders an SVG document as PNG bytes, on white. */
export async function png(svg: string): Promise<Uint8Array> {
  const { Resvg } = await import("@resvg/resvg-js");
  const { resolve } = createRequire(import.meta.url);
  const text = svg.replace(/<[^>]*>/g, "");
  const image = new Resvg(svg, {
    background: "white",
    fitTo: { mode: "zoom", value: PIXELS_PER_UNIT },
    font: {
      // Searching the machine's fonts takes a second, so only where a script needs it.
      loadSystemFonts: !covered.test(text) || /\p{Emoji_Presentation}/u.test(text),
      fontFiles: ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf"].map((file) =>
        resolve(`dejavu-fonts-ttf/ttf/${file}`),
      ),
      defaultFontFamily: "DejaVu Sans",
      sansSerifFamily: "DejaVu Sans",
    },
  });
  return image.render().asPng();
}
