/** @file What every report page has in common: its style, and the script that draws the figure and saves the JSON. */

export const pageStyle = `
:root { color-scheme: light; --ink: #1a1a1a; --soft: #5c5c5c; --line: #e2e2e2; --tint: #f6f6f4; --loss: #b2182b; --gain: #2166ac; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 48px 32px 80px; }
.kind { margin: 0 0 8px; color: var(--soft); font-size: 13px; letter-spacing: .06em; text-transform: uppercase; }
h1 { margin: 0 0 20px; font-size: 28px; line-height: 1.25; font-weight: 600; text-wrap: balance; }
h2 { margin: 48px 0 12px; padding-top: 16px; border-top: 1px solid var(--line); font-size: 18px; font-weight: 600; }
p { max-width: 72ch; margin: 8px 0; }
.soft { color: var(--soft); }
.numbers { display: flex; flex-wrap: wrap; gap: 12px 40px; margin: 24px 0; }
.numbers div { min-width: 110px; }
.numbers dt { color: var(--soft); font-size: 13px; }
.numbers dd { margin: 0; font-size: 22px; font-variant-numeric: tabular-nums; }
.numbers small { color: var(--soft); font-size: 13px; }
.warnings { margin: 20px 0; padding: 12px 20px; border-left: 4px solid #d98200; background: #fff7e8; }
.warnings ul { margin: 4px 0; padding-left: 20px; }
.scroll { overflow-x: auto; }
#figure svg, #figure canvas { display: block; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 400; text-align: left; white-space: nowrap; }
th, td { padding: 5px 20px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.right { text-align: right; }
td.text, code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
td.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.tokens { display: flex; flex-wrap: wrap; gap: 4px; margin: 12px 0; font: 13px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.tokens span { padding: 3px 6px; border-radius: 3px; background: var(--tint); }
.tokens span small { display: block; color: var(--soft); font-size: 10px; }
.tokens .differs { background: #ffe9c7; }
.tokens i { color: var(--soft); font-style: normal; }
button { padding: 8px 16px; border: 1px solid #999; border-radius: 4px; background: #fff; color: inherit; font: inherit; font-size: 14px; cursor: pointer; }
button:hover { border-color: var(--ink); }
#tip { position: fixed; z-index: 9; display: none; max-width: 420px; padding: 8px 12px; border: 1px solid #bbb; border-radius: 4px; background: #fff; box-shadow: 0 2px 10px #0002; font-size: 13px; pointer-events: none; }
#tip table { font-size: 13px; } #tip th, #tip td { padding: 1px 12px 1px 0; border: 0; }
@media print { button { display: none; } main { padding: 0; } }
`;

/**
 * Runs in the page, so it is text here. The drawing that the page comes with is replaced by a live one with values
 * under the pointer; text goes in by `textContent` only.
 */
export const pageScript = `
"use strict";
const read = (id) => document.getElementById(id).textContent;
const tip = document.getElementById("tip");
function showTip(handler, event, item, value) {
  tip.style.display = "none";
  if (value === null || typeof value !== "object") return;
  const table = document.createElement("table");
  for (const [key, text] of Object.entries(value)) {
    const line = table.insertRow();
    const head = document.createElement("th");
    head.textContent = key;
    line.append(head);
    line.insertCell().textContent = String(text);
  }
  tip.replaceChildren(table);
  tip.style.display = "block";
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.min(event.clientX + 14, innerWidth - box.width - 8) + "px";
  tip.style.top = Math.min(event.clientY + 14, innerHeight - box.height - 8) + "px";
}
const place = document.getElementById("figure");
const still = [...place.childNodes];
place.replaceChildren();
new vega.View(vega.parse(JSON.parse(read("figure-data"))), { renderer: "svg", container: place, hover: true })
  .tooltip(showTip).runAsync().catch(() => place.replaceChildren(...still));
document.getElementById("save")?.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(JSON.parse(read("result"))) + "\\n"], { type: "application/json" }));
  link.download = "result.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
`;
