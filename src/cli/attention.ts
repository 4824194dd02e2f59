/** @file `crosspatch attention`: patterns, and scores that tell kinds of heads apart. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch attention model.gguf --repeat 24 --n 8
  crosspatch attention model.gguf --task ioi --n 50 --out runs/ioi-attention
  crosspatch attention pocket --prompt "When Mary and John went to the store, John gave a drink to" --patterns 5.2,7.2`;

export function addAttention(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("attention")
    .argument("<model>", MODEL)
    .summary(methodOf("attention").summary)
    .description(
      "How much of each head's attention falls on the token before, on earlier copies of the same token, on what followed " +
        "them (induction), and on the answer, the foil and other named parts of prompts; whether it copies what it reads; " +
        "and its pattern on one prompt.\n\n" +
        `Follows ${methodOf("attention").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "attention").action((model: string) => act(requestOf("attention", model, command)));
}
