/**
 * @file The bridge of two hops, as docs/pocket.md has it: the logit lens at the last position of "{person} lives in the
 * country of", over the fictional people. Writes the two tables' facts, runs `crosspatch direct --lens`, prints Markdown.
 *
 *     node models/pocket/bridge.mjs [MODEL]
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [model = "pocket"] = process.argv.slice(2);
const root = join(import.meta.dirname, "..", "..");
const world = JSON.parse(readFileSync(join(root, "src", "task", "world.json"), "utf8"));
const people = Object.entries(world.subjects)
  .filter(([, { kind }]) => kind === "fictional")
  .map(([name, { city }]) => ({ name, city, country: world.cities[city] }))
  .filter(({ country }) => !country.includes(" ")); // answers are single tokens

const folder = mkdtempSync(join(tmpdir(), "bridge-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
const city = lens("city");
const country = lens("country");
console.log(`${people.length} people`);
console.log(
  "| after layer | city over another, logits | country over another, logits |\n| ---: | ---: | ---: |",
);
for (const layer of city.keys()) console.log(`| ${layer} | ${city[layer]} | ${country[layer]} |`);

/** The lens on `what` at the last position after every layer, `mean (low – high)`; the foil is the next person's who differs. */
function lens(what) {
  const lines = people.map((person, at) => {
    const others = [...people.slice(at + 1), ...people.slice(0, at)];
    const other = others.find(({ city, country }) => city !== person.city && country !== person.country);
    const prompt = `${person.name} lives in the country of`;
    return JSON.stringify({ prompt, answer: ` ${person[what]}`, foil: ` ${other[what]}` });
  });
  const [facts, result] = [join(folder, `${what}.jsonl`), join(folder, `${what}.json`)];
  writeFileSync(facts, lines.join("\n"));
  execFileSync(
    process.execPath,
    [
      join(root, "dist", "cli", "bin.js"),
      "direct",
      model,
      "--lens",
      "--facts",
      facts,
      "--site",
      "resid_post",
      "--json",
      result,
      "--quiet",
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const { data_vars: vars } = JSON.parse(readFileSync(result, "utf8"));
  const last = (name) => vars[name].data.map((row) => row.at(-1).toFixed(1).replace("-", "−"));
  const [low, high] = [last("resid_post_ci_low"), last("resid_post_ci_high")];
  return last("resid_post").map((mean, layer) => `${mean} (${low[layer]} – ${high[layer]})`);
}
