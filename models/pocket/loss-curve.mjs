/** @file Draws the loss of a training run, from the logs that train.py leaves: node models/pocket/loss-curve.mjs FOLDER > figure.svg */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, View } from "vega";
import { compile } from "vega-lite";

const [folder = "models/pocket/.training/7"] = process.argv.slice(2);
const stages = { first: "facts", second: "copying", third: "wordings", base: "two hops" };
const values = [];
let before = 0;
for (const [name, label] of Object.entries(stages)) {
  const lines = readFileSync(join(folder, `${name}.jsonl`), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  for (const { step, loss } of lines) values.push({ step: before + step, loss, stage: label });
  before += lines.at(-1).step;
}
const spec = {
  background: "white",
  padding: 12,
  width: 620,
  height: 220,
  data: { values },
  mark: { type: "line", strokeWidth: 1.5 },
  encoding: {
    x: { field: "step", type: "quantitative", title: "step (2048 tokens each)" },
    y: { field: "loss", type: "quantitative", title: "loss (nats), mean of the last 50 steps" },
    color: { field: "stage", type: "nominal", sort: Object.values(stages), title: "stage" },
  },
};
process.stdout.write(await new View(parse(compile(spec).spec)).toSVG());
