/** @file `crosspatch corruptions`: noise against token replacement, side by side. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch corruptions model.gguf --task ioi --n 6 --png corruptions.png
  crosspatch corruptions model.gguf --pairs facts.jsonl --sigma 1,3 --window 1,5 --out runs/corruptions
  crosspatch corruptions model.gguf --task ioi --n 20 --site z --corruption noise,replacement --symmetric`;

export function addCorruptions(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("corruptions")
    .argument("<model>", MODEL)
    .summary(methodOf("corruptions").summary)
    .description(
      "Corrupts the tokens at which the prompts of each pair differ in several ways, restores the same states, outputs " +
        "and windows in each, and says where the ways find the same, where they part, and how far off the data each is.\n\n" +
        `Follows ${methodOf("corruptions").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "corruptions").action((model: string) => act(requestOf("corruptions", model, command)));
}
