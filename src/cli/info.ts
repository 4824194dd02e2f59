/** @file `crosspatch info`: what a model is made of. */
import type { Command } from "commander";
import { addOptions } from "./options.ts";
import { MODEL, type Request, requestOf } from "./request.ts";

export function addInfo(program: Command, act: (request: Request) => Promise<void>): void {
  const command = program
    .command("info")
    .argument("<model>", MODEL)
    .summary("architecture, sizes, sites with shapes, memory and cost of a sweep")
    .description("What a model is made of, and what patching it would cost. Nothing is computed.");
  addOptions(command, "info").action((model: string) => act(requestOf("info", model, command)));
}
