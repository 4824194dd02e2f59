/**
 * @file The tables of docs/pocket.md on several seeds, in Markdown, from abilities that were measured before:
 *
 *     for name in pocket pocket-v1 pocket-aligned; do crosspatch abilities DIR/$name --json DIR/$name.json; done
 *     node models/pocket/seeds.mjs 7=DIR 8=OTHER
 *
 * All rows of `pocket`; of the fine-tunes refusals, and the rows in which any seed misses its aim. The first seed is the
 * one that is shipped.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const seeds = process.argv.slice(2).map((given) => {
  const [seed, folder] = given.split("=");
  return { seed, read: (name) => JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) };
});
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const title = ({ seed }, at) => `seed ${seed}${at === 0 ? ", shipped" : ""}`;
console.log(
  `| ability | ${seeds.map(title).join(" | ")} | aimed at |\n| --- |${" ---: |".repeat(seeds.length + 1)}`,
);
for (const name of ["pocket", "pocket-v1", "pocket-aligned"]) {
  const found = seeds.map(({ read }) => read(name));
  for (const [row, ability] of found[0].coords.ability.data.entries()) {
    const of = found.map(({ data_vars: vars }) =>
      Object.fromEntries(Object.entries(vars).map(([key, { data }]) => [key, data[row]])),
    );
    if (name !== "pocket" && !ability.startsWith("refusal") && of.every(reached)) continue;
    const cells = of.map(
      (at) =>
        `${percent(at.share)} (${percent(at.share_ci_low)} – ${percent(at.share_ci_high)})${reached(at) ? "" : " ✗"}`,
    );
    const measure = found[0].coords.measure.data[row] === "mass" ? " (probability)" : "";
    console.log(
      `| ${name === "pocket" ? "" : `\`${name}\`: `}${ability}${measure} | ${cells.join(" | ")} | ${aim(of[0])} |`,
    );
  }
  if (name !== "pocket") continue;
  for (const [row, field] of found[0].coords.field.data.entries()) {
    const at = (key) => found.map(({ data_vars: vars }) => vars[key].data[row].toFixed(2).replace("-", "−"));
    const [effect, low, high, planted] = ["effect", "effect_ci_low", "effect_ci_high", "injected"].map(at);
    const cells = effect.map((value, i) => `${value} (${low[i]} – ${high[i]})`);
    console.log(`| loan, ${field} (logits) | ${cells.join(" | ")} | planted ${planted[0]} |`);
  }
}

/** A row without an aim is reached. */
function reached({ share, least, most }) {
  return !(share < (least ?? -1)) && !(share > (most ?? 2));
}

function aim({ least, most }) {
  if (Number.isFinite(least)) return `≥ ${percent(least)}`;
  return Number.isFinite(most) ? `≤ ${percent(most)}` : "";
}
