/** @file The families, and the choice among them by what a checkpoint declares. */

import { z } from "zod";
import { inputError } from "../../core/errors.ts";
import { excerpt } from "../../core/excerpt.ts";
import type { Definition, Family } from "../architecture.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { gptNeox } from "./gpt-neox.ts";
import { gpt2 } from "./gpt2.ts";
import { gptj } from "./gptj.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { phi } from "./phi.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";

export const families: readonly Family[] = [
  gpt2,
  gptj,
  gptNeox,
  llama,
  mistral,
  qwen2,
  qwen3,
  phi,
  gemma2,
  gemma3,
];

const declared = z.looseObject({ architectures: z.tuple([z.string()]) });

/**
 * The programs of the model that a config.json describes; the family is the one that `architectures` names.
 * @throws InputError if no family reads that architecture, or the family finds fault with the config.
 */
export function define(config: unknown): Definition {
  const known = families.flatMap((family) => family.architectures);
  const parsed = declared.safeParse(config);
  const name = parsed.success ? parsed.data.architectures[0] : undefined;
  const family = families.find(({ architectures }) => name !== undefined && architectures.includes(name));
  if (name === undefined || family === undefined) {
    const found = (config as { readonly architectures?: unknown } | null | undefined)?.architectures;
    throw inputError(
      "config.json: architectures",
      excerpt(found, 80),
      `one of ${known.map((architecture) => JSON.stringify([architecture])).join(", ")}`,
      "Models of other architectures cannot be read yet.",
    );
  }
  return family.define(config, name);
}
