/** @file Facts of the embedded model's world: in English, in French, and over two hops. */
import type { Candidates, Task } from "./task.ts";
import {
  facts as factsOf,
  french as frenchOf,
  type Statement,
  subjectSwaps,
  twoHop as twoHopOf,
} from "./world.ts";

const SOURCE = "the world of the embedded model, docs/pocket.md";

/** Two subjects in one sentence; statements that were trained on. */
export const facts: Task = task("Recall a fact of the embedded model's world", () => factsOf("train"));
export const french: Task = task("Recall a fact in French", () => frenchOf("stated"));
export const twoHop: Task = task("Answer over two hops: subject → city → country, language, currency", () =>
  twoHopOf("train"),
);

function task(description: string, statements: () => readonly Statement[]): Task {
  return {
    description,
    source: SOURCE,
    defaultMetric: "logit_diff",
    candidates: (): Candidates => ({ ...subjectSwaps(statements()), answersAtBoundary: true }),
  };
}
