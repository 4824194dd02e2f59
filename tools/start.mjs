/** @file `npm start`: from a fresh checkout to a first result, on the model that comes along. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root, setUp } from "./setup.mjs";

setUp();
const out = join("runs", "start");
process.stdout.write(`
Two prompts that differ in one word. After "… John gave a drink to" the toy model says " Mary"; after "… Mary gave
a drink to" it says " John". Each cell below is the second prompt with one activation taken from the first.

`);
const { status } = spawnSync(
  process.execPath,
  [
    join(root, "dist", "cli", "bin.js"),
    ...["patch", "toy"],
    ...["--clean", "When Mary and John went to the store, John gave a drink to"],
    ...["--corrupt", "When Mary and John went to the store, Mary gave a drink to"],
    ...["--answer", " Mary", "--foil", " John"],
    ...["--site", "resid_pre,attn_out", "--by", "layer,pos"],
    ...["--out", out, "--show"],
  ],
  { cwd: root, stdio: "inherit" },
);
if (status !== 0) process.exit(status ?? 1);
process.stdout.write(`
A strong cell is enough to bring " Mary" back. In the residual stream (resid_pre) the answer sits at the changed name
before every layer; the attention of layer 3 (attn_out) carries it to the last word.

The report:   ${join(out, "report.html")}
Again:        npx crosspatch experiment ${join(out, "experiment.json")}

Next:
  npx crosspatch patch toy --task ioi --n 50 --site z --by layer,head     which heads, over 50 pairs, with intervals
  npx crosspatch run toy --prompt "The capital of France is the city of"  what the model says
  npx crosspatch info model.gguf                                          any Llama, Qwen, Gemma, GPT-2, … GGUF file
  npx crosspatch patch hf:openai-community/gpt2 --task ioi --n 10         or a model from the hub
  npx crosspatch --help
`);
