/** @file Opens the tiny checkpoints of the goldens the way that users' checkpoints are opened. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Definition } from "../../src/model/architecture.ts";
import { define } from "../../src/model/families/registry.ts";
import { type WeightStore, weightStore } from "../../src/model/store.ts";
import { openSafetensorsDirectory } from "../../src/model/weights/safetensors.node.ts";

export function readDefinition(directory: string): Definition {
  return define(JSON.parse(readFileSync(join(directory, "config.json"), "utf8")));
}

/** Programs and weights; that every stored tensor has its place is checked on the way. */
export async function openCheckpoint(
  directory: string,
): Promise<{ readonly definition: Definition; readonly weights: WeightStore }> {
  const definition = readDefinition(directory);
  return { definition, weights: weightStore(definition, await openSafetensorsDirectory(directory)) };
}
