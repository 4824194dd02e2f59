/** @file `crosspatch run`: the next token of a prompt, with or without edits, and a continuation. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch run pocket --prompt "The capital of France is the city of"
  crosspatch run model.gguf --prompt "Once upon a time" --generate 40 --temperature 0.8 --seed 1
  crosspatch run model.gguf --prompt "…" --edit edits.json

An edit file, here zeroing head 3 of layer 9 and taking one residual stream from another prompt:
  { "edits": [ { "site": "z", "layer": 9, "where": { "head": [3] }, "value": { "kind": "fill", "value": 0 } },
               { "site": "resid_pre", "layer": 4, "where": { "pos": [2] }, "value": { "kind": "run", "run": 0 } } ],
    "runs": [ "the other prompt" ] }`;

export function addRun(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("run")
    .argument("<model>", MODEL)
    .summary(methodOf("run").summary)
    .description("The most probable next tokens of a prompt, with edits where a file of them is given.")
    .addHelpText("after", EXAMPLES);
  addOptions(command, "run").action((model: string) => act(requestOf("run", model, command)));
}
