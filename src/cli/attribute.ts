/** @file `crosspatch attribute`: attribution patching that checks itself. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch attribute pocket \\
    --clean   "When Mary and John went to the store, John gave a drink to" \\
    --corrupt "When Mary and John went to the store, Mary gave a drink to" \\
    --answer " Mary" --foil " John"
  crosspatch attribute model.gguf --task ioi --n 20 --site q,k --method atp-star --direction noise --json heads.json
  crosspatch attribute model.gguf --pairs pairs.jsonl --site mlp_post --by layer,neuron --verify-top 100`;

export function addAttribute(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("attribute")
    .argument("<model>", MODEL)
    .summary(methodOf("attribute").summary)
    .description(
      "Estimates what patching each cell would do from the gradient of one run, for all cells at once; computes the " +
        "largest exactly, and says how far the estimates were off and what the others can hide.\n\n" +
        `Follows ${methodOf("attribute").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "attribute").action((model: string) => act(requestOf("attribute", model, command)));
}
