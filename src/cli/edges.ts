/** @file `crosspatch edges`: scores of all edges, and the circuit that they make. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch edges pocket \\
    --clean   "When Mary and John went to the store, John gave a drink to" \\
    --corrupt "When Mary and John went to the store, Mary gave a drink to" \\
    --answer " Mary" --foil " John"
  crosspatch edges model.gguf --task ioi --n 20 --method eap-ig --circuit ioi.json --png ioi.png
  crosspatch edges model.gguf --task ioi --n 5 --method exact --edges-file ioi.json --out runs/ioi-exact`;

export function addEdges(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("edges")
    .argument("<model>", MODEL)
    .summary(methodOf("edges").summary)
    .description(
      "Scores every edge between two nodes (input, heads, MLPs, logits; queries, keys and values apart): by how much the " +
        "metric drops when that edge alone carries the corrupt value. Estimated for all edges at once from gradients, " +
        "the largest computed exactly; or exact for all. Chooses the circuit of the largest.\n\n" +
        `Follows ${methodOf("edges").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "edges").action((model: string) => act(requestOf("edges", model, command)));
}
