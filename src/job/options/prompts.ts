/** @file Options that say what is asked: pairs, single prompts, files and tasks of them. */
import { MAX_PAIRS } from "../../model/pair-spec.ts";
import { type TaskName, taskNames } from "../../task/registry.ts";
import { choice, flag, text, texts, whole } from "../fields.ts";
import type { OptionEntry, OptionFault, OptionTable } from "./entry.ts";
import { perPair, seed } from "./shared.ts";

/** Pairs of a task where `n` is not given: enough for an interval, few enough for a first look. */
export const DEFAULT_TASK_PAIRS = 10;

/** Pairs, from exactly one place. */
export interface PairOptions {
  readonly clean?: string;
  readonly corrupt?: string;
  readonly answer?: readonly string[];
  readonly foil?: readonly string[];
  /** File of pairs. */
  readonly pairs?: string;
  readonly task?: TaskName;
  readonly n?: number;
  readonly seed?: number;
  readonly bos?: boolean;
  readonly chat?: boolean;
}

/** One prompt with what should follow, or a file of such. */
export interface FactOptions extends Pick<PairOptions, "answer" | "foil" | "seed" | "bos" | "chat"> {
  readonly prompt?: string;
  /** File of prompts. */
  readonly facts?: string;
  readonly "per-pair"?: boolean;
}

/** Prompts without a partner are as good as pairs. */
export interface PromptOptions extends PairOptions {
  readonly prompt?: string;
  /** File of prompts. */
  readonly prompts?: string;
}

export const prompt: OptionEntry<string> = {
  read: text,
  takes: "<text>",
  under: "prompts",
  help: "the prompt",
};

export const bos: OptionEntry<boolean> = {
  read: flag,
  under: "prompts",
  negation: "also",
  help: "a BOS token in front of every prompt (default: as the tokenizer is set)",
};

export const chat: OptionEntry<boolean> = {
  read: flag,
  under: "prompts",
  help: "prompts are a user's message in the model's chat template",
};

/** @param help how many by default */
export function count(help: string): OptionEntry<number> {
  return { read: whole(1, MAX_PAIRS), takes: "<n>", under: "prompts", help };
}

function texted(help: string): OptionEntry<readonly string[]> {
  return { read: texts, takes: "<text>", under: "prompts", repeatable: true, help };
}

export const pairs: OptionTable<PairOptions> = {
  clean: { read: text, takes: "<text>", under: "prompts", help: "prompt with the behaviour" },
  corrupt: {
    read: text,
    takes: "<text>",
    under: "prompts",
    help: "prompt without it, of as many tokens",
  },
  answer: texted("what should follow the clean prompt; more than once for alternatives"),
  foil: texted("what should follow the corrupt prompt"),
  pairs: {
    read: text,
    takes: "<file>",
    file: "read",
    under: "prompts",
    help: "JSONL with those four keys, one pair a line",
  },
  task: {
    read: choice(taskNames),
    takes: "<name>",
    under: "prompts",
    help: `built-in prompts: ${taskNames.join(", ")}`,
  },
  n: count(`pairs of the task (default ${DEFAULT_TASK_PAIRS})`),
  seed: seed("the task, draws, intervals and verification", "prompts"),
  bos,
  chat,
};

export const facts: OptionTable<FactOptions> = {
  prompt,
  facts: {
    read: text,
    takes: "<file>",
    file: "read",
    under: "prompts",
    help: 'JSONL of {"prompt", "subject", "answer", "foil"}, one a line; all but the prompt may be left out',
  },
  answer: texted("what should follow (default: what the model says)"),
  foil: texted("what might follow instead"),
  seed: seed("draws and intervals", "prompts"),
  bos,
  chat,
  "per-pair": perPair("prompt's own values"),
};

/** Where pairs are one kind of prompts among others. */
export const cleanOfPair: OptionEntry<string> = { ...pairs.clean, help: `${pairs.clean.help}, of a pair` };

/** @param keys of a prompt that is an object */
export function promptsWith(...keys: readonly string[]): OptionTable<PromptOptions> {
  const shape = ["prompt", ...keys].map((key) => JSON.stringify(key)).join(", ");
  return {
    ...pairs,
    clean: cleanOfPair,
    answer: facts.answer,
    foil: facts.foil,
    prompt,
    prompts: {
      read: text,
      takes: "<file>",
      file: "read",
      under: "prompts",
      help: `JSONL of prompts, one a line: a string, or {${shape}}`,
    },
  };
}

/** Pairs come from exactly one place. */
export function pairFaults(options: Omit<PairOptions, "seed" | "bos">): OptionFault[] {
  const { clean, corrupt, pairs: file, task } = options;
  const typed = [clean, corrupt, options.answer, options.foil].some((value) => value !== undefined);
  const given = [
    ...(typed ? ["--clean and --corrupt"] : []),
    ...(file === undefined ? [] : ["--pairs"]),
    ...(task === undefined ? [] : ["--task"]),
  ];
  const faults: OptionFault[] = [];
  if (given.length !== 1) {
    faults.push({
      option: file === undefined ? (task === undefined ? "clean" : "task") : "pairs",
      found: given.length === 0 ? "no prompts" : given.join(", "),
      wanted: "prompts from one of --clean and --corrupt, --pairs FILE, --task NAME",
    });
  } else if (typed) {
    for (const option of ["clean", "corrupt"] as const) {
      if (options[option] === undefined) faults.push({ option, found: "none", wanted: "a prompt" });
    }
  }
  return [...faults, ...taskFaults(options)];
}

/** Prompts of `direct` and `trace` come from exactly one place. */
export function factFaults(options: FactOptions, others: readonly string[] = []): OptionFault[] {
  const { prompt: typed, facts: file } = options;
  const given = [
    ...(typed === undefined ? [] : ["--prompt"]),
    ...(file === undefined ? [] : ["--facts"]),
    ...others,
  ];
  if (given.length !== 1) {
    return [
      {
        option: file === undefined ? "prompt" : "facts",
        found: given.length === 0 ? "no prompts" : given.join(", "),
        wanted: "prompts from one place: --prompt, --facts FILE, or what else the command takes",
      },
    ];
  }
  if (file === undefined || (options.answer === undefined && options.foil === undefined)) return [];
  return [{ option: "facts", found: "--answer or --foil beside it", wanted: "answers in the file" }];
}

/** Prompts, with a partner or without, come from exactly one place. */
export function promptFaults(options: PromptOptions): OptionFault[] {
  const { prompt: typed, prompts: file, answer, foil } = options;
  if (isPaired(options) && typed === undefined && file === undefined) return pairFaults(options);
  const given = [
    ...(typed === undefined ? [] : ["--prompt"]),
    ...(file === undefined ? [] : ["--prompts"]),
    ...(isPaired(options) ? [PAIRED] : []),
  ];
  const faults: OptionFault[] = [];
  if (given.length !== 1) {
    faults.push({
      option: "prompts",
      found: given.length === 0 ? "no prompts" : given.join(", "),
      wanted:
        "prompts from one place: --prompts FILE, --prompt, --clean and --corrupt, --pairs FILE or --task NAME",
    });
  } else if (file !== undefined && (answer !== undefined || foil !== undefined)) {
    faults.push({ option: "prompts", found: "--answer or --foil beside it", wanted: "answers in the file" });
  }
  return [...faults, ...taskFaults(options)];
}

/** Where pairs come from, in words. */
export const PAIRED = "--clean and --corrupt, --pairs or --task";

/** Whether any place of pairs is given. */
export function isPaired(options: Pick<PairOptions, "clean" | "corrupt" | "pairs" | "task">): boolean {
  const { clean, corrupt, pairs: file, task } = options;
  return [clean, corrupt, file, task].some((value) => value !== undefined);
}

function taskFaults({ n, task, chat: inChat }: Pick<PairOptions, "n" | "task" | "chat">): OptionFault[] {
  if (task === undefined)
    return n === undefined ? [] : [{ option: "n", found: "no --task", wanted: "--task with it" }];
  if (inChat !== true) return [];
  return [
    { option: "chat", found: "--task, whose prompts have a form of their own", wanted: "one of the two" },
  ];
}
