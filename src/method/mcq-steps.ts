/** @file The steps of the multiple-choice procedure: their names, what each asks, and one taken out of a result. */

import type { Dataset, Json } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import type { Variables } from "./mcq-records.ts";

/** The steps, in order. */
export const mcqSteps = ["metric", "attribution", "effects", "set", "classes", "ranks", "mutations"] as const;
export type McqStep = (typeof mcqSteps)[number];

const QUESTIONS: { readonly [S in McqStep]: string } = {
  metric: "Does the model say the right letter?",
  attribution: "Which heads and MLPs argue for it themselves, at the last position?",
  effects: "What does each do in all, and how much of that is direct?",
  set: "How few of them keep the metric while all others come from another question?",
  classes: "What do heads look at from the last position?",
  ranks: "How many directions do the queries, keys and values of letter heads take?",
  mutations: "Do they find the second item, or the line labelled B?",
};

/** What a step was asked and found beside its variables. */
export type StepRecord = Readonly<Record<string, Json>>;

/** Collects variables and records of steps as they are done. */
export interface StepRecords {
  add(name: McqStep, variables: Variables, record?: StepRecord): void;
  /** In the order of the steps. */
  records(): readonly StepRecord[];
  variables(): Variables;
}

export function stepRecords(): StepRecords {
  const found = new Map<McqStep, StepRecord>();
  const all: Record<string, Variables[string]> = {};
  return {
    add(name, variables, record = {}) {
      Object.assign(all, variables);
      found.set(name, { name, question: QUESTIONS[name], variables: Object.keys(variables), ...record });
    },
    records: () =>
      mcqSteps.flatMap((name): StepRecord[] => {
        const record = found.get(name);
        return record === undefined ? [] : [record];
      }),
    variables: () => all,
  };
}

/** The record of a step; undefined for one that was not made. */
export function stepOf(whole: Dataset, name: McqStep): StepRecord | undefined {
  return (whole.attrs.steps as readonly StepRecord[]).find((step) => step.name === name);
}

/** One step of a result as a result of its own. @throws RangeError for a step that was not made. */
export function mcqStep(whole: Dataset, name: McqStep): Dataset {
  const step = stepOf(whole, name);
  if (step === undefined) throw new RangeError(`the result has no step ${name}`);
  const variables = step.variables as readonly string[];
  const dataVars = Object.fromEntries(
    Object.entries(whole.dataVars).filter(([key]) => variables.includes(key)),
  );
  const dims = new Set(Object.values(dataVars).flatMap((variable) => variable.dims));
  const { steps: _, ...attrs } = whole.attrs;
  return dataset({
    attrs: { ...attrs, method: `mcq-${name}`, question: step.question ?? "", step },
    dims: Object.fromEntries(Object.entries(whole.dims).filter(([dim]) => dims.has(dim))),
    coords: Object.fromEntries(
      Object.entries(whole.coords).filter(([, coordinate]) => coordinate.dims.every((dim) => dims.has(dim))),
    ),
    dataVars,
  });
}
