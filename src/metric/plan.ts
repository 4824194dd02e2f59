/** @file What a metric reads of a pair's logits, as data: positions, columns, ids to append. */
import { type Fault, refuse } from "../core/errors.ts";
import { oneOf } from "../core/options.ts";
import type { Prompted } from "../model/fact.ts";
import { showTokens, type Tokens } from "../model/pair-tokens.ts";

export const metricNames = ["logit_diff", "logprob", "prob", "kl", "kl_reverse", "loss"] as const;
export type MetricName = (typeof metricNames)[number];

/** How a metric treats the pair's answers and foils, and which head outputs it needs. */
export interface MetricReading {
  /** `columns`: the logits of the answers and foils alone; `columns-and-logsumexp`: also log Σ exp over the vocabulary. */
  readonly reads: "columns" | "columns-and-logsumexp" | "all-logits";
  /** `single-token`: read after the prompt; `teacher-forced`: read after the prompt and after each of their own tokens. */
  readonly answers: "single-token" | "teacher-forced" | "unused";
  readonly foils: "single-token" | "unused";
}

/** Complete by type: every metric says what it reads. */
export const readings: { readonly [K in MetricName]: MetricReading } = {
  logit_diff: { reads: "columns", answers: "single-token", foils: "single-token" },
  logprob: { reads: "columns-and-logsumexp", answers: "teacher-forced", foils: "unused" },
  prob: { reads: "columns-and-logsumexp", answers: "teacher-forced", foils: "unused" },
  loss: { reads: "columns-and-logsumexp", answers: "teacher-forced", foils: "unused" },
  kl: { reads: "all-logits", answers: "unused", foils: "unused" },
  kl_reverse: { reads: "all-logits", answers: "unused", foils: "unused" },
};

/** What the model has to provide at one position of a row. */
export interface MetricNeeds {
  /** Vocabulary ids whose logits are read; empty where all of them are. */
  readonly columns: readonly number[];
  readonly logsumexp: boolean;
  readonly fullLogits: boolean;
}

/** A position whose logits are read: `pos` counts in the prompt with the appended ids. */
export interface MetricPosition extends MetricNeeds {
  readonly pos: number;
}

/** Where the tokens of one answer are read: the k-th in column `columns[k]` of position k of the plan. */
export type AnswerColumns = readonly number[];

/** All that is needed to run and evaluate a metric on a pair; plain data. */
export interface MetricPlan {
  readonly metric: MetricName;
  /** Ids put after both prompts (teacher forcing): the answer without its last token. Empty for single tokens. */
  readonly appended: readonly number[];
  /** Ascending and adjacent; the first is the last position of the prompt. */
  readonly positions: readonly MetricPosition[];
  readonly answers: readonly AnswerColumns[];
  readonly foils: readonly AnswerColumns[];
}

/** The default metric: logit_diff where a foil is given, else logprob. A pair that lacks the foil others have is then refused. */
export function defaultMetric(pairs: readonly Prompted[]): MetricName {
  return pairs.some((pair) => pair.foils.length > 0) ? "logit_diff" : "logprob";
}

/**
 * Plans a metric for each pair.
 * @throws InputError with every pair that the metric is not defined on: no answer, no foil, answers of several tokens
 * where one is wanted, answers that one teacher-forced run cannot read.
 */
export function metricPlans(pairs: readonly Prompted[], metric: MetricName): MetricPlan[] {
  refuse(pairs.flatMap((pair) => planFaults(pair, metric)));
  return pairs.map((pair) => buildPlan(pair, metric));
}

/** Plans a metric for one pair, as {@link metricPlans} does. */
export function metricPlan(pair: Prompted, metric: MetricName): MetricPlan {
  refuse(oneOf(metricNames)(metric, "metric"));
  refuse(planFaults(pair, metric));
  return buildPlan(pair, metric);
}

function buildPlan(pair: Prompted, metric: MetricName): MetricPlan {
  const { reads, answers: answerUse, foils: foilUse } = readings[metric];
  const answers = answerUse === "unused" ? [] : pair.answers;
  const foils = foilUse === "unused" ? [] : pair.foils;
  const appended = forcedIds(answers);
  const last = pair.clean.ids.length - 1;
  const positions = [...appended, undefined].map((_, step): MetricPosition => {
    const columns = new Set([...answers, ...foils].flatMap(({ ids }) => ids.slice(step, step + 1)));
    return {
      pos: last + step,
      columns: [...columns],
      logsumexp: reads === "columns-and-logsumexp",
      fullLogits: reads === "all-logits",
    };
  });
  const columnsOf = ({ ids }: Tokens): AnswerColumns =>
    ids.map((id, step) => positions[step]?.columns.indexOf(id) ?? -1);
  return { metric, appended, positions, answers: answers.map(columnsOf), foils: foils.map(columnsOf) };
}

/** The longest answer without its last token. */
function forcedIds(answers: readonly Tokens[]): readonly number[] {
  const longest = answers.reduce(
    (most: readonly number[], { ids }) => (ids.length > most.length ? ids : most),
    [],
  );
  return longest.slice(0, -1);
}

function planFaults(pair: Prompted, metric: MetricName): Fault[] {
  const reading = readings[metric];
  const faults: Fault[] = [];
  for (const key of ["answer", "foil"] as const) {
    const options = key === "answer" ? pair.answers : pair.foils;
    const use = key === "answer" ? reading.answers : reading.foils;
    const where = `${pair.where}, ${key}`;
    if (use === "unused") continue;
    if (options.length === 0) {
      const fix =
        key === "answer" ? "Give one, or use the metric kl." : "Give one, or use the metric logprob.";
      faults.push({ where, found: "none", wanted: `at least one for the metric ${metric}`, fix });
    }
    if (use === "teacher-forced") faults.push(...forcingFaults(options, where));
    if (use !== "single-token") continue;
    for (const option of options.filter(({ ids }) => ids.length > 1)) {
      faults.push({
        where,
        found: `${JSON.stringify(option.text)}, ${option.ids.length} tokens: ${showTokens(option)}`,
        wanted: `one token for the metric ${metric}`,
        fix: "Choose a text of one token, or use the metric logprob, prob or loss.",
      });
    }
  }
  return faults;
}

/** Answers can share one run if each, without its last token, begins what that run is forced to say. */
function forcingFaults(answers: readonly Tokens[], where: string): Fault[] {
  const forced = forcedIds(answers);
  return answers
    .filter(({ ids }) => ids.slice(0, -1).some((id, step) => id !== forced[step]))
    .map((answer) => ({
      where,
      found: `${JSON.stringify(answer.text)} ${showTokens(answer)}, which parts from another answer before its last token`,
      wanted: "answers of one token, or of several that differ in their last token only",
      fix: "Give each such answer a pair of its own.",
    }));
}
