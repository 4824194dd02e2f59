/** @file A result as one HTML page that opens offline: question, baselines, figure, strongest cells, how it was made. */
import { baseline, baselineInterval, baseRun, sites, strongest } from "../result/cells.ts";
import { formatJson } from "../result/json.ts";
import type { Dataset, Json } from "../result/result.ts";
import {
  formatNumber,
  metricWord,
  noEffectWords,
  promptText,
  question,
  subjectLine,
  unitOf,
} from "../result/words.ts";
import { agreementLines } from "./attribution-text.ts";
import { strongestRows } from "./cell-table.ts";
import { edgeAgreementLines } from "./edges-text.ts";
import { namedLabels, visible } from "./labels.ts";
import { isTopTokens } from "./panels.ts";
import { pageScript, pageStyle } from "./report-page.ts";
import { figureNotes, plot, showsEffects } from "./spec.ts";
import { svg, toVega } from "./svg.ts";

export interface ReportOptions {
  /** Source of Vega's browser bundle, put into the page so that it needs no network. */
  readonly vega: string;
  /** Rows of the table of strongest cells. Default 20. */
  readonly strongest?: number | undefined;
}

const MAX_EMBEDDED_CELLS = 1_000_000; // about 20 MB of JSON; a page with more takes too long to open

/** The page. Every text of the result is escaped; a content policy in the page forbids all requests. */
export async function report(dataset: Dataset, options: ReportOptions): Promise<string> {
  const spec = plot(dataset, { title: "" });
  const heading = question(dataset);
  const cells = Object.values(dataset.dataVars).reduce((sum, { data }) => sum + data.length, 0);
  const holdsData = cells <= MAX_EMBEDDED_CELLS;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:">
<title>${html(heading)}</title>
<style>${pageStyle}</style>
</head>
<body>
<main>
<p class="kind">${html(["crosspatch", subjectLine(dataset)].join(" · "))}</p>
<h1>${html(heading)}</h1>
${warnings(dataset)}${prompts(dataset)}${numbers(dataset)}
<h2>Figure</h2>
<div id="figure" class="scroll">${await svg(spec)}</div>
<p class="soft">${html(figureNotes(dataset).join(" "))} ${isTopTokens(dataset) || !showsEffects(dataset) ? "" : `${html(noEffectWords(dataset))}; blue: the metric rises, red: it falls. `}Point at a cell for its values.</p>
${strongestSection(dataset, options.strongest ?? 20)}
<h2>How it was made</h2>
${verification(dataset)}
<div class="scroll">${attributes(dataset)}</div>
<h2>Data</h2>
${
  holdsData
    ? '<p><button id="save" type="button">Save result.json</button></p><p class="soft">Python: <code>xarray.Dataset.from_dict(json.load(open("result.json")))</code></p>'
    : `<p class="soft">${cells} values: too many for a page; they are in the result file.</p>`
}
</main>
<div id="tip"></div>
${holdsData ? jsonScript("result", formatJson(dataset)) : ""}
${jsonScript("figure-data", JSON.stringify(toVega(spec)))}
<script>${script(options.vega)}</script>
<script>${script(pageScript)}</script>
</body>
</html>
`;
}

/** Text for HTML, between tags or in a quoted attribute. */
export function html(text: string): string {
  const names: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => names[character] ?? character);
}

/** JSON in a page: no `<` of it can end the script element or begin a comment. */
function jsonScript(id: string, json: string): string {
  return `<script type="application/json" id="${id}">${json.trim().replaceAll("<", "\\u003c")}</script>`;
}

/** Our own or a library's JavaScript in a page: `</script` can only be inside a string or a pattern there. */
function script(source: string): string {
  return source.replace(/<\/(script)/gi, "<\\/$1");
}

function warnings({ attrs }: Dataset): string {
  const list = Array.isArray(attrs.warnings) ? attrs.warnings : [];
  if (list.length === 0) return "";
  const items = list
    .map((item) => `<li>${html(typeof item === "string" ? item : JSON.stringify(item))}</li>`)
    .join("");
  return `<div class="warnings"><strong>To be read with care</strong><ul>${items}</ul></div>`;
}

/** The prompt, token by token where the result has them; clean and corrupt side by side where they differ. */
function prompts(dataset: Dataset): string {
  const tokens = Object.hasOwn(dataset.dims, "pos")
    ? namedLabels(dataset, "pos").filter((named) => named.tokens.length > 0)
    : [];
  if (tokens.length > 0) {
    const spans = tokens.map(({ label, tokens: [clean = "", corrupt] }) => {
      const text = corrupt === undefined ? html(clean) : `${html(clean)} <i>/</i> ${html(corrupt)}`;
      return `<span${corrupt === undefined ? "" : ' class="differs"'}><small>${html(String(label))}</small>${text}</span>`;
    });
    const differ = tokens.some((named) => named.tokens.length > 1);
    return `<div class="tokens">${spans.join("")}</div>${differ ? '<p class="soft">Where the prompts differ: clean / corrupt.</p>' : ""}`;
  }
  const texts = (["prompt", "clean", "corrupt"] as const).flatMap((key) => {
    const text = promptText(dataset, key);
    return text === undefined
      ? []
      : [`<p><span class="soft">${key}</span> <code>${html(visible(text).replaceAll("␣", " "))}</code></p>`];
  });
  return texts.join("");
}

function numbers(dataset: Dataset): string {
  const unit = unitOf(dataset);
  const clean = baseline(dataset, "clean");
  const corrupt = baseline(dataset, "corrupt");
  const item = (title: string, value: number, note: string) =>
    `<div><dt>${html(title)}</dt><dd>${html(formatNumber(value))} <small>${html(note)}</small></dd></div>`;
  const note = (run: "clean" | "corrupt"): string => {
    const interval = baselineInterval(dataset, run)?.map(formatNumber).join(" to ");
    return interval === undefined ? unit : `${unit}, 95 % interval ${interval}`;
  };
  const items = [
    ...(clean === undefined ? [] : [item(`${metricWord(dataset)}, clean run`, clean, note("clean"))]),
    ...(corrupt === undefined ? [] : [item(`${metricWord(dataset)}, corrupt run`, corrupt, note("corrupt"))]),
    ...(clean === undefined || corrupt === undefined ? [] : [item("gap to explain", clean - corrupt, unit)]),
  ];
  if (items.length === 0) return "";
  return `<dl class="numbers">${items.join("")}</dl><p class="soft">The edits are made in the ${baseRun(dataset)} run.</p>`;
}

function strongestSection(dataset: Dataset, count: number): string {
  const cells = strongest(dataset, count, isTopTokens(dataset) ? ["prob"] : sites(dataset));
  if (cells.length === 0) return "";
  const { titles, rows } = strongestRows(dataset, cells);
  const side = (index: number) => (titles[index]?.align === "right" ? ' class="right"' : "");
  const head = titles.map(({ title }, index) => `<th${side(index)}>${html(title)}</th>`).join("");
  const body = rows.map(
    (row) => `<tr>${row.map((text, index) => `<td${side(index)}>${html(text)}</td>`).join("")}</tr>`,
  );
  return `<h2>Strongest ${cells.length}</h2><div class="scroll"><table><tr>${head}</tr>${body.join("")}</table></div>`;
}

function verification(dataset: Dataset): string {
  const { verify_cells: count, verify_max_abs_diff: difference, noise_floor: floor } = dataset.attrs;
  const estimated = [...agreementLines(dataset), ...edgeAgreementLines(dataset)];
  if (estimated.length > 0) return estimated.map((line) => `<p>${html(line)}.</p>`).join("");
  const sentences: string[] = [];
  if (typeof count === "number" && count > 0 && typeof difference === "number") {
    sentences.push(
      `${count} randomly chosen cell${count === 1 ? " was" : "s were"} recomputed alone, by a whole forward pass with one edit: the largest difference is ${formatNumber(difference)}.`,
    );
  } else sentences.push("No cell was recomputed for verification.");
  if (typeof floor === "number") sentences.push(`Noise floor: ${formatNumber(floor)}.`);
  return `<p>${html(sentences.join(" "))}</p>`;
}

/** Characters of a value that is shown at once; a longer one is unfolded by the reader. */
const MAX_UNFOLDED = 300;
/** Significant digits of attributes that are no whole numbers; the result file has them all. */
const DIGITS = 6;

/** Every attribute, nested ones by their path. */
function attributes({ attrs }: Dataset): string {
  const rows: [path: string, value: string][] = [];
  const visit = (path: string, value: Json | undefined): void => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) visit(path === "" ? key : `${path}.${key}`, inner);
    } else if (typeof value === "number" && !Number.isInteger(value))
      rows.push([path, String(Number(value.toPrecision(DIGITS)))]);
    else rows.push([path, typeof value === "string" ? value : JSON.stringify(value)]);
  };
  visit("", attrs);
  const lines = rows.map(
    ([path, value]) => `<tr><th>${html(path)}</th><td class="text">${folded(value)}</td></tr>`,
  );
  return `<table>${lines.join("")}</table>`;
}

function folded(value: string): string {
  const text = html(printable(value));
  if (value.length <= MAX_UNFOLDED) return text;
  const begins = html(printable(value.slice(0, MAX_UNFOLDED / 5).replace(/[\ud800-\udbff]$/, "")));
  return `<details><summary>${begins} … (${value.length} characters)</summary>${text}</details>`;
}

/** Control and bidirectional characters made visible; spaces and line ends left as they are. */
function printable(text: string): string {
  return text.replace(/[^\P{C}\n\t]/gu, (character) => visible(character));
}
