/** @file `crosspatch redundancy`: layers deleted, exchanged, repeated and reversed. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch redundancy model.gguf --text book.txt --png layers.png
  crosspatch redundancy model.gguf --text book.txt --tokens 128 --n 20 --blocks 2,4,8 --out runs/layers`;

export function addRedundancy(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("redundancy")
    .argument("<model>", MODEL)
    .summary(methodOf("redundancy").summary)
    .description(
      "Runs text through the model with each layer deleted, exchanged with the next, run twice, and with its own output " +
        "alone taken from the final stream, and compares the next-token predictions with the whole model's.\n\n" +
        `Follows ${methodOf("redundancy").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "redundancy").action((model: string) => act(requestOf("redundancy", model, command)));
}
