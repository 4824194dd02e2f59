/** @file Prompts of a job: pairs as typed, from a file or from a task, and reference prompts. */
import { z } from "zod";
import { type Fact, prepareFacts, readFacts, readFactsOrTexts } from "../model/fact.ts";
import { objectParser, readLines } from "../model/jsonl.ts";
import type { Pair } from "../model/pair.ts";
import { preparePairs } from "../model/pair.ts";
import { MAX_PAIRS, type PairSpec, readPairs } from "../model/pair-spec.ts";
import type { Tokenizer } from "../model/tokenizer/tokenizer.ts";
import type { Json } from "../result/result.ts";
import { generatePairs } from "../task/registry.ts";
import type { JobContext } from "./input.ts";
import { DEFAULT_TASK_PAIRS, type FactOptions, type PairOptions } from "./options/prompts.ts";

/** The pairs that the options name, and what is odd about them. @throws InputError as {@link preparePairs} does. */
export async function pairsOf(
  options: PairOptions,
  tokenizer: Tokenizer,
  { readText }: Pick<JobContext, "readText">,
): Promise<{ readonly pairs: readonly Pair[]; readonly warnings: readonly string[] }> {
  const { bos, chat, task } = options;
  if (task !== undefined) {
    const { n = DEFAULT_TASK_PAIRS, seed = 0 } = options;
    return { pairs: generatePairs(task, tokenizer, { n, seed, bos }), warnings: [] };
  }
  if (options.pairs !== undefined) {
    const { specs, where } = readPairs(await readText(options.pairs), options.pairs);
    return preparePairs(specs, tokenizer, { bos, chat, where });
  }
  const one: PairSpec = {
    clean: options.clean ?? "",
    corrupt: options.corrupt ?? "",
    answer: options.answer,
    foil: options.foil,
  };
  return preparePairs([one], tokenizer, { bos, chat, where: ["pair"] });
}

/** The facts that the options name, with their subjects. @throws InputError as {@link prepareFacts} does. */
export async function factsOf(
  options: FactOptions & { readonly subject?: string },
  tokenizer: Tokenizer,
  { readText }: Pick<JobContext, "readText">,
): Promise<{ readonly facts: readonly Fact[]; readonly warnings: readonly string[] }> {
  const { bos, chat, facts, prompt = "", subject, answer, foil } = options;
  if (facts !== undefined) {
    const { specs, where } = readFacts(await readText(facts), facts);
    return prepareFacts(specs, tokenizer, { bos, chat, where });
  }
  return prepareFacts([{ prompt, subject, answer, foil }], tokenizer, { bos, chat });
}

/** Prompts from wherever the options have them: facts, or the pairs that {@link pairsOf} reads. */
export async function promptedOf(
  options: PairOptions & FactOptions,
  tokenizer: Tokenizer,
  context: Pick<JobContext, "readText">,
): Promise<{ readonly prompts: readonly (Fact | Pair)[]; readonly warnings: readonly string[] }> {
  if (options.prompt === undefined && options.facts === undefined) {
    const { pairs, warnings } = await pairsOf(options, tokenizer, context);
    return { prompts: pairs, warnings };
  }
  const { facts, warnings } = await factsOf(options, tokenizer, context);
  return { prompts: facts, warnings };
}

/** Prompts of a file of {@link readFactsOrTexts}, or from wherever else the options have them. */
export async function promptsFileOr(
  options: PairOptions & FactOptions & { readonly prompts?: string },
  tokenizer: Tokenizer,
  context: Pick<JobContext, "readText">,
): Promise<{ readonly prompts: readonly (Fact | Pair)[]; readonly warnings: readonly string[] }> {
  const { prompts: path, bos, chat } = options;
  if (path === undefined) return promptedOf(options, tokenizer, context);
  const { specs, where } = readFactsOrTexts(await context.readText(path), path);
  const { facts, warnings } = prepareFacts(specs, tokenizer, { bos, chat, where });
  return { prompts: facts, warnings };
}

/** Where the prompts of a job come from and in which form, as its result says it; nothing where they were typed as they are. */
export function promptSource(
  options: Pick<
    PairOptions & FactOptions & { readonly prompts?: string },
    "task" | "n" | "pairs" | "facts" | "prompts" | "chat"
  >,
): Record<string, Json> {
  const { task, n = DEFAULT_TASK_PAIRS, pairs, facts, prompts, chat } = options;
  const given = task === undefined ? { pairs, facts, prompts, chat } : { task, n };
  return Object.fromEntries(
    Object.entries(given).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
}

const parsePrompt = objectParser(
  z.strictObject({ prompt: z.string().min(1) }),
  { prompt: "a non-empty string" },
  { text: "prompt" },
);

/**
 * Reads a file of prompts, one a line: a JSON string, or an object with the key `prompt`. Blank lines are skipped.
 * @throws InputError naming every bad line.
 */
export function readPrompts(jsonl: string, where: string): string[] {
  const wanted = 'a JSON string or {"prompt": "…"}, one a line';
  const kind = { one: "prompt", most: MAX_PAIRS, wanted, parse: parsePrompt };
  return readLines(jsonl, where, kind).specs.map(({ prompt }) => prompt);
}
