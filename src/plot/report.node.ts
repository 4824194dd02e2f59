/** @file The report page with the Vega bundle of the installed package. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Dataset } from "../result/result.ts";
import { report } from "./report.ts";

/** A result as a self-contained HTML page. */
export async function htmlReport(dataset: Dataset): Promise<string> {
  const folder = dirname(createRequire(import.meta.url).resolve("vega"));
  return await report(dataset, { vega: await readFile(join(folder, "vega.min.js"), "utf8") });
}
