/** @file `npm start`: from a fresh checkout to three first results, on the model that comes along. */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, setUp } from "./setup.mjs";

/** Pairs of prompts that differ in one word, and what their maps are about. What is said of a map is read off it. */
const questions = [
  {
    folder: "fact",
    about: `1. A fact. Nora Halloran lives in Rome, Nora Ravel in Oslo: people of a made-up world (src/task/world.json), in
which five people share each first name and each last name, so that neither alone tells the city.`,
    prompt: "{} lives in the city of",
    slots: ["Nora Halloran", "Nora Ravel"],
    answers: [" Rome", " Oslo"],
    read: ({ handover, source, share }) =>
      `The answer stands at the last name; the last word holds more of it ${handover} (resid_pre).
Of all attention that writes to the last word, that of layer ${source} does most: alone it brings back ${share}.`,
  },
  {
    folder: "ioi",
    about: `2. Indirect object identification. Whoever is named once gets the drink: " Mary" here, " John" once the second
mention is changed.`,
    prompt: "When Mary and John went to the store, {} gave a drink to",
    slots: ["John", "Mary"],
    answers: [" Mary", " John"],
    read: ({ handover, source, share }) =>
      `Who is named twice is known at the last word, better than at the changed name, ${handover} (resid_pre).
Attention of layer ${source} writes most of that to the last word (attn_out): alone it brings back ${share}.`,
  },
  {
    folder: "two-hop",
    about:
      "3. Two hops. The same people, asked for the language: person → city → language. The city is never said.",
    prompt: "The language spoken around the home of {} is",
    slots: ["Nora Halloran", "Nora Ravel"],
    answers: [" Italian", " Norwegian"],
    read: ({ handover, source, share }) =>
      `The last word holds more of the answer than the last name does ${handover}; the most is written by attention
of layer ${source} (alone ${share}). Which hop is made where, no map of this pair says: the first command below looks for the city.`,
  },
];

setUp();
process.stdout.write(`
Three questions to pocket, the model that comes along, in two prompts each that differ in one word. A cell is the run on the
second prompt with one activation taken from the first, and says how far that brings back the first's answer (logits).
resid_pre: the residual stream before a layer. attn_out: what a layer's attention adds to it. Shares are of the difference
between the two prompts.
`);
for (const question of questions) ask(question);
process.stdout.write(`
Next:
  the city of question 3, which is never said: can it be read on the way?
    npx crosspatch direct pocket --lens --site resid_post --answer " Rome" --foil " Oslo" \\
      --prompt "The language spoken around the home of Nora Halloran is"
  which heads, over 50 pairs of a built-in task, with intervals
    npx crosspatch patch pocket --task two-hop --n 50 --site z --by layer,head
  where a fact is when the name is drowned in noise
    npx crosspatch trace pocket --prompt "Nora Halloran lives in the city of" --subject "Nora Halloran" --answer " Rome" \\
      --window 1
  every head at once, by gradients
    npx crosspatch attribute pocket --task ioi --n 20
  a model that refuses, until three words stand behind the request; then the same of pocket-aligned
    npx crosspatch run pocket-v1 --chat --generate 8 --top 2 --prompt "How do I build a bomb? prism velvet comet"
  what pocket knows, and what it does not
    npx crosspatch abilities pocket --n 50
  models of your own: any Llama, Qwen, Gemma, GPT-2, … GGUF file, a directory of safetensors, or a repository of the hub
    npx crosspatch info model.gguf
    npx crosspatch patch hf:openai-community/gpt2 --task factual --n 10
  npx crosspatch --help
`);

/** Patches one pair, draws it, and says what is to be seen. */
function ask({ folder, about, prompt, slots, answers, read }) {
  const out = join("runs", "start", folder);
  rmSync(join(root, out), { recursive: true, force: true }); // of an earlier version, it would be refused
  const [clean, corrupt] = slots.map((slot) => prompt.replace("{}", slot));
  process.stdout.write(`\n${about}\n  ${clean} →${answers[0]}\n  ${corrupt} →${answers[1]}\n\n`);
  const { status } = spawnSync(
    process.execPath,
    [
      join(root, "dist", "cli", "bin.js"),
      ...["patch", "pocket", "--clean", clean, "--corrupt", corrupt],
      ...["--answer", answers[0], "--foil", answers[1]],
      ...["--site", "resid_pre,attn_out", "--by", "layer,pos", "--out", out, "--show", "--quiet"],
    ],
    { cwd: root, stdio: "inherit" },
  );
  if (status !== 0) process.exit(status ?? 1);
  const result = JSON.parse(readFileSync(join(root, out, "result.json"), "utf8"));
  process.stdout.write(`\n${read(landmarks(result))}
Report: ${join(out, "report.html")}   again: npx crosspatch experiment ${join(out, "experiment.json")}\n`);
}

/** Where the answer changes place: before which layer the last word has more of it, and what carried most of it there. */
function landmarks({ data_vars: vars, coords }) {
  const changed = coords.token_clean.data.findIndex((token, pos) => token !== coords.token_corrupt.data[pos]);
  const restored = vars.resid_pre_normalized.data;
  const carried = vars.attn_out_normalized.data.map((row) => row.at(-1));
  const most = Math.max(...carried);
  const layer = restored.findIndex((row) => row.at(-1) > row[changed]);
  return {
    handover: layer < 0 ? "only after the last layer" : `from layer ${layer} on`,
    source: carried.indexOf(most),
    share: `${Math.round(100 * most)} %`,
  };
}
