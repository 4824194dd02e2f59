/** @file `crosspatch direct`: direct logit attribution and the logit lens. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch direct pocket --prompt "When Mary and John went to the store, John gave a drink to" \\
    --answer " Mary" --foil " John"
  crosspatch direct model.gguf --task ioi --n 50 --out runs/ioi-direct
  crosspatch direct model.gguf --prompt "The capital of France is the city of" --lens`;

export function addDirect(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("direct")
    .argument("<model>", MODEL)
    .summary(methodOf("direct").summary)
    .description(
      "Splits the answer's logit (less the foil's) into what every head, MLP, embedding and bias adds to it straight, " +
        "with the final norm's scale held at the run's own value: the shares sum to the logit.\n\n" +
        `Follows ${methodOf("direct").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "direct").action((model: string) => act(requestOf("direct", model, command)));
}
