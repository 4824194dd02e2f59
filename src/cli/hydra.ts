/** @file `crosspatch hydra`: self-repair, and heads that step in for others. */
import type { Command } from "commander";
import { methodOf } from "../method/registry.ts";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

const EXAMPLES = `
Examples:
  crosspatch hydra model.gguf --prompts facts.jsonl --out runs/hydra
  crosspatch hydra model.gguf --task ioi --n 20 --ablate mean --clamp
  crosspatch hydra model.gguf --task ioi --n 20 --backups --rounds 3 --png backups.png`;

export function addHydra(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("hydra")
    .argument("<model>", MODEL)
    .summary(methodOf("hydra").summary)
    .description(
      "Ablates every attention layer, MLP and head at the last position, and splits what becomes of the answer's logit " +
        "into the part's own direct effect, what later attention and MLPs add more or less, and the final norm.\n\n" +
        `Follows ${methodOf("hydra").source}.`,
    )
    .addHelpText("after", EXAMPLES);
  addOptions(command, "hydra").action((model: string) => act(requestOf("hydra", model, command)));
}
