import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { multipleChoice } from "../../test/gallery/multiple-choice.ts";
import { headsByPair, layerByHead, layerByPosition } from "../result/fixtures.ts";
import { fromJson, toJson } from "../result/json.ts";
import { readParquet } from "../result/parquet.node.ts";
import type { Dataset } from "../result/result.ts";
import { htmlReport } from "./report.node.ts";
import { report } from "./report.ts";
import { requireWritable, save, saveRun } from "./save.node.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-report-"));
});
afterAll(() => rm(folder, { recursive: true }));

const attack = "</script><img src=x onerror=alert(1)>\"'&amp;<!--<script>";

/** A result with markup wherever a user's text can be. */
function hostile(): Dataset {
  const result = layerByPosition(3);
  const tokens = Array.from({ length: 14 }, (_, pos) => (pos === 9 ? attack : " x"));
  return {
    ...result,
    attrs: {
      ...result.attrs,
      question: attack,
      method: attack,
      warnings: [attack],
      prompts: { clean: attack, corrupt: attack, answer: attack },
      [attack]: { [attack]: attack },
    },
    coords: { ...result.coords, token_clean: { dims: ["pos"], data: tokens, attrs: {} } },
  };
}

/** The contents of the page's script elements, as an HTML parser finds them. */
function scripts(page: string): string[] {
  return [...page.matchAll(/<script[^>]*>(.*?)<\/script/gis)].map((match) => match[1] ?? "");
}

test("markup in tokens, prompts and attributes stays text", async () => {
  const page = await report(hostile(), { vega: "window.vega = '</script>';" });
  expect(page).not.toMatch(/<img/i);
  expect(page.match(/<script/gi)).toHaveLength(4);
  expect(page.match(/<\/script/gi)).toHaveLength(4);
  expect(page).not.toContain("<!--");
  expect(page).toContain("&lt;/script&gt;&lt;img");
  expect(toJson(fromJson(JSON.parse(scripts(page)[0] ?? "")))).toEqual(toJson(hostile()));
});

test("the values by pair are drawn in the figure and saved, and stay out of the heading and the table", async () => {
  const page = await report(headsByPair(), { vega: "" });
  expect(page).toMatch(/<h1>[^<]* \(z\)<\/h1>/);
  expect(page).toContain("z_per_pair, pair store");
  const table = page.slice(page.indexOf("<h2>Strongest"), page.indexOf("<h2>How it was made"));
  expect(table).toContain("<td>z</td>");
  expect(table).not.toContain("per_pair");
  await saveRun(headsByPair(), join(folder, "by-pair"));
  expect((await readdir(join(folder, "by-pair", "figures"))).sort()).toEqual(["z.svg", "z_per_pair.svg"]);
});

test("the page holds the result, the figure's data and the runtime, and refuses every request", async () => {
  const page = await htmlReport(layerByHead());
  const [result, figure, runtime] = scripts(page);
  expect(toJson(fromJson(JSON.parse(result ?? "")))).toEqual(toJson(layerByHead()));
  expect(JSON.stringify(JSON.parse(figure ?? "").data)).toContain('"interval":"-1.93 to -0.9297"');
  expect(runtime?.length).toBeGreaterThan(300_000);
  expect(page).toContain(`content="default-src 'none';`);
  expect(page.replaceAll(/<script.*?<\/script>/gs, "")).not.toMatch(/(src|href)\s*=\s*["'](https?:)?\/\//);
});

test("a page of several panels holds their figure and the sentences beside it", async () => {
  const result = multipleChoice();
  const page = await htmlReport(result);
  const [held, figure] = scripts(page);
  expect(toJson(fromJson(JSON.parse(held ?? "")))).toEqual(toJson(result));
  for (const step of ["2. share of the metric", "4. 3 nodes keep 90 %", "7. answers"])
    expect(figure).toContain(step);
});

test("the page says how the numbers were checked and what to be wary of", async () => {
  const result = layerByHead();
  const page = await report({ ...result, attrs: { ...result.attrs, warnings: ["small gap"] } }, { vega: "" });
  expect(page).toContain("4 randomly chosen cells were recomputed alone");
  expect(page).toContain("the largest difference is 2.1e-5.");
  expect(page).toContain("<li>small gap</li>");
  expect(page).toContain("model.sha256");
  const { verify_cells: _, ...unchecked } = result.attrs;
  expect(await report({ ...result, attrs: unchecked }, { vega: "" })).toContain("No cell was recomputed");
});

test("a result is saved in the form that the extension names, and read back", async () => {
  const original = layerByPosition(2);
  const path = (name: string) => join(folder, "new", name);
  for (const name of ["r.json", "r.parquet", "r.svg", "r.PNG", "r.html"]) await save(original, path(name));
  expect(toJson(fromJson(JSON.parse(await readFile(path("r.json"), "utf8"))))).toEqual(toJson(original));
  expect(toJson(await readParquet(path("r.parquet")))).toEqual(toJson(original));
  expect(await readFile(path("r.svg"), "utf8")).toMatch(/^<svg .*<\/svg>$/s);
  expect((await readdir(join(folder, "new"))).sort()).toEqual([
    "r.PNG",
    "r.html",
    "r.json",
    "r.parquet",
    "r.svg",
  ]);
  expect(() => requireWritable("r.csv", "--out")).toThrow(
    '--out: found "r.csv"; wanted a file ending in .json, .parquet, .html, .svg, .png.',
  );
});

test("a run directory holds the experiment, the result, the page and a figure per site", async () => {
  const directory = join(folder, "run");
  await saveRun(layerByPosition(2), directory, { method: "patch" });
  expect((await readdir(directory, { recursive: true })).sort()).toEqual([
    "experiment.json",
    "figures",
    "figures/mlp_out.svg",
    "figures/resid_pre.svg",
    "report.html",
    "result.json",
  ]);
});

test("long attributes are folded, numbers in six digits", async () => {
  const result = layerByHead();
  const begins = "x".repeat(59);
  const attrs = { ...result.attrs, long: `${begins}😀${"<y".repeat(200)}`, seconds: 129.55340521800002 };
  const page = await report({ ...result, attrs }, { vega: "" });
  // No half of the sign that stands where it is cut.
  expect(page).toContain(`<summary>${begins} … (461 characters)</summary>${begins}😀&lt;y`);
  expect(page).toContain('<td class="text">129.553</td>');
});
