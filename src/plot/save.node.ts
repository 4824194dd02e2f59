/**
 * @file Results to files, by extension, and to run directories.
 *
 * What draws is loaded on first use: Vega alone takes as long to load as a small model does.
 */
import { extname, join } from "node:path";
import { inputError } from "../core/errors.ts";
import { drawnVariables } from "../result/cells.ts";
import { jsonPieces } from "../result/json.ts";
import { writeParquet } from "../result/parquet.node.ts";
import type { Dataset, Json } from "../result/result.ts";
import { replaceFile, writeWhole } from "../result/store.node.ts";
import { isTopTokens } from "./panels.ts";
import { plot } from "./spec.ts";

/** Forms of a result, by the extension that names each. */
export type FileFormat = "json" | "parquet" | "html" | "svg" | "png";

type Write = (dataset: Dataset, path: string) => Promise<void>;

/** Complete by type. */
const writers: { readonly [F in FileFormat]: Write } = {
  json: (dataset, path) => writeWhole(path, jsonPieces(dataset)),
  parquet: (dataset, path) => replaceFile(path, (temporary) => writeParquet(dataset, temporary)),
  html: async (dataset, path) => {
    const { htmlReport } = await import("./report.node.ts");
    await writeWhole(path, await htmlReport(dataset));
  },
  svg: async (dataset, path) => writeWhole(path, await drawn(dataset)),
  png: async (dataset, path) => {
    const { png } = await import("./png.node.ts");
    await writeWhole(path, await png(await drawn(dataset)));
  },
};

/** The figure of some sites, or of all, as SVG. */
async function drawn(dataset: Dataset, sites?: readonly string[]): Promise<string> {
  const { svg } = await import("./svg.ts");
  return svg(plot(dataset, sites === undefined ? {} : { sites }));
}

const MAX_JSON_CELLS = 1_000_000; // about 20 MB of text; beyond that a run directory holds Parquet

/** The form that a path's extension names. @throws InputError where no result can be written as such. */
export function requireWritable(path: string, where = "output"): FileFormat {
  const extension = extname(path).slice(1).toLowerCase();
  if (Object.hasOwn(writers, extension)) return extension as FileFormat;
  const known = Object.keys(writers).map((format) => `.${format}`);
  throw inputError(where, JSON.stringify(path), `a file ending in ${known.join(", ")}`);
}

/**
 * Writes a result in a form, by default the one that the path's extension names: whole or not at all.
 * @throws InputError where the extension is none of .json, .parquet, .html, .svg, .png.
 */
export async function save(
  dataset: Dataset,
  path: string,
  format: FileFormat = requireWritable(path),
): Promise<void> {
  await writers[format](dataset, path);
}

/**
 * Writes a run directory: `experiment.json` where one is given, `result.json` (`result.parquet` where large),
 * `report.html` and a figure per site. The result comes last, so that a directory with one is complete.
 */
export async function saveRun(dataset: Dataset, directory: string, experiment?: Json): Promise<void> {
  if (experiment !== undefined) {
    await writeWhole(join(directory, "experiment.json"), `${JSON.stringify(experiment, undefined, 2)}\n`);
  }
  for (const site of isTopTokens(dataset) ? ["prob"] : drawnVariables(dataset)) {
    // A variable may be named by a user's file; only plain characters go into a path.
    const name = site.replace(/[^\p{L}\p{N}_-]/gu, "_");
    await writeWhole(join(directory, "figures", `${name}.svg`), await drawn(dataset, [site]));
  }
  await save(dataset, join(directory, "report.html"));
  const cells = Object.values(dataset.dataVars).reduce((sum, { data }) => sum + data.length, 0);
  await save(dataset, join(directory, cells > MAX_JSON_CELLS ? "result.parquet" : "result.json"));
}
