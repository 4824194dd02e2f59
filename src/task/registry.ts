/** @file The built-in tasks by name. */
import { inputError, refuse } from "../core/errors.ts";
import { didYouMean } from "../core/nearest.ts";
import { optionFaults } from "../core/options.ts";
import type { Pair } from "../model/pair.ts";
import type { Tokenizer } from "../model/tokenizer/tokenizer.ts";
import { loan, loanFields, multipleChoice } from "./decisions.ts";
import { docstring } from "./docstring.ts";
import { facts, french, twoHop } from "./facts.ts";
import { factual } from "./factual.ts";
import { greaterThan } from "./greater-than.ts";
import { ioi } from "./ioi.ts";
import { induction, retrieval } from "./recall.ts";
import { jailbreak, refusal } from "./requests.ts";
import { type DrawOptions, drawChecks, drawPairs, type Task } from "./task.ts";

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
  "loan-income",
  "loan-debt",
  "loan-history",
  "loan-gender",
  "loan-district",
  "loan-status",
  "refusal",
  "jailbreak",
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
  ...loanFields,
  refusal,
  jailbreak,
  "multiple-choice": multipleChoice,
};

/**
 * Draws pairs of a built-in task, as {@link drawPairs} does; their ids are the task's name and a number.
 * @throws InputError for an unknown task and for options that are none, too.
 */
export function generatePairs(name: TaskName, tokenizer: Tokenizer, options: DrawOptions): Pair[] {
  const task = requireTask(name);
  refuse(optionFaults(options, drawChecks));
  return drawPairs(tasks[task], tokenizer, { ...options, name: task });
}

/** Checks a task's name. @throws InputError naming those there are. */
export function requireTask(name: string): TaskName {
  const known = taskNames.find((task) => task === name);
  if (known === undefined) {
    const wanted = `one of ${taskNames.join(", ")}`;
    throw inputError("task", JSON.stringify(name), wanted, didYouMean(name, taskNames));
  }
  return known;
}
