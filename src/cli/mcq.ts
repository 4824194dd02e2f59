/** @file `crosspatch mcq`: how a model finds the letter of the right answer. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch mcq pocket
  crosspatch mcq model.gguf --questions questions.json --out runs/mcq
  crosspatch mcq model.gguf --questions questions.json --n 50 --draws 10 --heads 23.3,24.1 --max-rank 16`;

export function addMcq(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("mcq")
    .argument("<model>", MODEL)
    .summary(methodOf("mcq").summary)
    .description(
      "Asks multiple-choice questions and takes the answer apart in seven steps: letter metric, what every head and MLP " +
        "adds to it, what each does in all when it comes from another question, the smallest set that keeps it, what heads " +
        "look at, how many directions those that find the letter need, and whether these stand for places or for labels.\n\n" +
        `Follows ${methodOf("mcq").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "mcq").action((model: string) => act(requestOf("mcq", model, command)));
}
