/** @file `crosspatch patch`: exact activation patching. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch patch pocket \\
    --clean   "When Mary and John went to the store, John gave a drink to" \\
    --corrupt "When Mary and John went to the store, Mary gave a drink to" \\
    --answer " Mary" --foil " John"
  crosspatch patch model.gguf --task ioi --n 50 --site z --by layer,head --out runs/ioi-heads
  crosspatch patch model.gguf --pairs pairs.jsonl --site attn_out,mlp_out --ablate mean --json result.json`;

export function addPatch(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("patch")
    .argument("<model>", MODEL)
    .summary(methodOf("patch").summary)
    .description(
      "Replaces activations one cell at a time and measures what that does: every number is what a whole forward " +
        "pass with that one edit gives, and some are recomputed that way as a check.\n\n" +
        `Follows ${methodOf("patch").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "patch").action((model: string) => act(requestOf("patch", model, command)));
}
