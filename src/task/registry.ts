/** @file The built-in tasks by name. */
import { inputError } from "../core/errors.ts";
import { didYouMean } from "../core/nearest.ts";
import type { Pair } from "../model/pair.ts";
import type { Tokenizer } from "../model/tokenizer/tokenizer.ts";
import { loan, multipleChoice, refusal } from "./decisions.ts";
import { docstring } from "./docstring.ts";
import { facts, french, twoHop } from "./facts.ts";
import { factual } from "./factual.ts";
import { greaterThan } from "./greater-than.ts";
import { ioi } from "./ioi.ts";
import { induction, retrieval } from "./recall.ts";
import { type DrawOptions, drawPairs, type Task } from "./task.ts";

export const taskNames = [
  "ioi",
  "greater-than",
  "factual",
  "docstring",
  "facts",
  "french",
  "two-hop",
  "induction",
  "retrieval",
  "loan",
  "refusal",
  "multiple-choice",
] as const;
export type TaskName = (typeof taskNames)[number];

/** Complete by type. */
export const tasks: { readonly [K in TaskName]: Task } = {
  ioi,
  "greater-than": greaterThan,
  factual,
  docstring,
  facts,
  french,
  "two-hop": twoHop,
  induction,
  retrieval,
  loan,
  refusal,
  "multiple-choice": multipleChoice,
};

/** Draws pairs of a built-in task, as {@link drawPairs} does. */
export function generatePairs(name: TaskName, tokenizer: Tokenizer, options: DrawOptions): Pair[] {
  return drawPairs(tasks[name], tokenizer, { ...options, name });
}

/** Checks a task's name. @throws InputError naming those there are. */
export function requireTask(name: string, where = "--task"): TaskName {
  const known = taskNames.find((task) => task === name);
  if (known === undefined) {
    const wanted = `one of ${taskNames.join(", ")}`;
    throw inputError(where, JSON.stringify(name), wanted, didYouMean(name, taskNames));
  }
  return known;
}
