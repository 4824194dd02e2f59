/** @file Prompts of a job: pairs as typed, from a file or from a task, and reference prompts. */
import { z } from "zod";
import { type Fault, refuse } from "../core/errors.ts";
import { type Fact, prepareFacts, readFacts } from "../model/fact.ts";
import type { Pair } from "../model/pair.ts";
import { preparePairs } from "../model/pair.ts";
import { MAX_LINE_CHARACTERS, MAX_PAIRS, type PairSpec, readPairs } from "../model/pair-spec.ts";
import type { Tokenizer } from "../model/tokenizer/tokenizer.ts";
import { generatePairs } from "../task/registry.ts";
import { inWords } from "./fields.ts";
import type { JobContext } from "./input.ts";
import { DEFAULT_TASK_PAIRS, type FactOptions, type PairOptions } from "./options/prompts.ts";

/** The pairs that the options name, and what is odd about them. @throws InputError as {@link preparePairs} does. */
export async function pairsOf(
  options: PairOptions,
  tokenizer: Tokenizer,
  { readText }: Pick<JobContext, "readText">,
): Promise<{ readonly pairs: readonly Pair[]; readonly warnings: readonly string[] }> {
  const { bos, task } = options;
  if (task !== undefined) {
    const { n = DEFAULT_TASK_PAIRS, seed = 0 } = options;
    return { pairs: generatePairs(task, tokenizer, { n, seed, bos }), warnings: [] };
  }
  if (options.pairs !== undefined) {
    const { specs, where } = readPairs(await readText(options.pairs), options.pairs);
    return preparePairs(specs, tokenizer, { bos, where });
  }
  const one: PairSpec = {
    clean: options.clean ?? "",
    corrupt: options.corrupt ?? "",
    answer: options.answer,
    foil: options.foil,
  };
  return preparePairs([one], tokenizer, { bos, where: ["pair"] });
}

/** The facts that the options name, with their subjects. @throws InputError as {@link prepareFacts} does. */
export async function factsOf(
  options: FactOptions & { readonly subject?: string },
  tokenizer: Tokenizer,
  { readText }: Pick<JobContext, "readText">,
): Promise<{ readonly facts: readonly Fact[]; readonly warnings: readonly string[] }> {
  const { bos, facts, prompt = "", subject, answer, foil } = options;
  if (facts !== undefined) {
    const { specs, where } = readFacts(await readText(facts), facts);
    return prepareFacts(specs, tokenizer, { bos, where });
  }
  return prepareFacts([{ prompt, subject, answer, foil }], tokenizer, { bos });
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

/** Prompts of a file of {@link readFacts}'s lines or mere JSON strings, or from wherever else the options have them. */
export async function promptsFileOr(
  options: PairOptions & FactOptions & { readonly prompts?: string },
  tokenizer: Tokenizer,
  context: Pick<JobContext, "readText">,
): Promise<{ readonly prompts: readonly (Fact | Pair)[]; readonly warnings: readonly string[] }> {
  const { prompts: path, bos } = options;
  if (path === undefined) return promptedOf(options, tokenizer, context);
  const { specs, where } = readFacts(withKeys(await context.readText(path)), path);
  const { facts, warnings } = prepareFacts(specs, tokenizer, { bos, where });
  return { prompts: facts, warnings };
}

/** Lines that are no more than a JSON string are prompts without an answer. */
function withKeys(jsonl: string): string {
  return jsonl
    .replace(/^\uFEFF/, "")
    .split("\n")
    .map((line) => (/^\s*"/.test(line) ? `{"prompt":${line.trim()}}` : line))
    .join("\n");
}

const text = z.string().min(1);
const line = z.union([text, z.strictObject({ prompt: text }).transform(({ prompt }) => prompt)]);

/**
 * Reads a file of prompts, one a line: a JSON string, or an object with the key `prompt`. Blank lines are skipped.
 * @throws InputError naming every bad line.
 */
export function readPrompts(jsonl: string, where: string): string[] {
  const prompts: string[] = [];
  const faults: Fault[] = [];
  const wanted = 'a JSON string or {"prompt": "…"}, one a line';
  for (const [index, content] of jsonl
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    if (content.trim() === "") continue;
    const place = `${where}:${index + 1}`;
    if (prompts.length === MAX_PAIRS) {
      faults.push({ where: place, found: "one more prompt", wanted: `at most ${MAX_PAIRS}` });
      break;
    }
    const parsed = line.safeParse(content.length > MAX_LINE_CHARACTERS ? undefined : parse(content));
    if (parsed.success) prompts.push(parsed.data);
    else faults.push({ where: place, found: inWords(content), wanted });
  }
  if (prompts.length === 0 && faults.length === 0) faults.push({ where, found: "no prompt", wanted });
  refuse(faults);
  return prompts;
}

function parse(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return undefined;
  }
}
