/** @file `crosspatch trace`: causal tracing. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch trace model.gguf --prompt "The Space Needle is located in downtown" --subject "The Space Needle" \\
    --metric prob --png trace.png
  crosspatch trace model.gguf --facts facts.jsonl --metric prob --out runs/facts
  crosspatch trace model.gguf --facts facts.jsonl --metric prob --sever mlp --json severed.json`;

export function addTrace(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("trace")
    .argument("<model>", MODEL)
    .summary(methodOf("trace").summary)
    .description(
      "Adds noise to the token embeddings of the prompt's subject, which takes the answer away, and puts back one " +
        "state at a time as it was without noise: how much of the answer comes back?\n\n" +
        `Follows ${methodOf("trace").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "trace").action((model: string) => act(requestOf("trace", model, command)));
}
