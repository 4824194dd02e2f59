/** @file The job of the command `mcq`: multiple-choice questions from a file, or those of the embedded world. */

import { inputError } from "../core/errors.ts";
import { mcq } from "../method/mcq.ts";
import type { Model } from "../model/model.ts";
import type { Dataset } from "../result/result.ts";
import { questionItems } from "../task/question-items.ts";
import { type QuestionSet, readQuestions, worldQuestions } from "../task/questions.ts";
import { headNamed } from "./heads.ts";
import type { JobContext } from "./input.ts";
import { DEFAULT_QUESTIONS, type McqOptions } from "./options/mcq.ts";
import { withWarnings } from "./warnings.ts";

/** Asks and takes apart. @throws InputError before anything is computed. */
export async function mcqJob(model: Model, options: McqOptions, context: JobContext): Promise<Dataset> {
  const { seed = 0, bos = model.tokenizer.addsBos } = options;
  const set = await questionsOf(options, context);
  const items = questionItems(set, model.tokenizer, { bos, seed });
  const result = await mcq(model, items, {
    metric: options.metric,
    draws: options.draws,
    share: options.keep,
    heads: options.heads?.map(headNamed),
    rank: options.rank,
    maxRank: options["max-rank"],
    seed,
    onProgress: context.onProgress,
    signal: context.signal,
  });
  return withWarnings(result, [], { bos, questions: options.questions ?? null, n: set.questions.length });
}

async function questionsOf(
  { questions: path, n, seed = 0 }: McqOptions,
  { readText }: JobContext,
): Promise<QuestionSet> {
  if (path === undefined) return worldQuestions({ n: n ?? DEFAULT_QUESTIONS, seed });
  const set = readQuestions(await readText(path), path);
  const { questions } = set;
  if (n !== undefined && n > questions.length)
    throw inputError("--n", String(n), `at most ${questions.length}, the questions of ${path}`);
  return { ...set, questions: questions.slice(0, n) };
}
