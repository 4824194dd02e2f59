import { expect, test } from "vitest";
import { multipleChoice } from "../../test/gallery/multiple-choice.ts";
import type { Dataset } from "../result/result.ts";
import type { StepRecord } from "./mcq-steps.ts";
import { mcqVerdict } from "./mcq-verdict.ts";

/** The planted result with other heads cut. */
function cutting(heads: readonly string[]): Dataset {
  const result = multipleChoice();
  const steps = (result.attrs.steps as readonly StepRecord[]).map((step) =>
    step.name === "ranks" ? { ...step, heads: [...heads] } : step,
  );
  return { ...result, attrs: { ...result.attrs, steps } };
}

test("the sentence about ranks names the heads that are cut, five at most", () => {
  const words = (...heads: string[]) => mcqVerdict(cutting(heads)).find((line) => line.includes("rank"));
  const needed = "queries and keys need rank 2; values need rank 2.";
  expect(words("7.1")).toBe(`Of the head that is cut (7.1), ${needed}`);
  expect(words("1.0", "1.1")).toBe(`Of the heads that are cut (1.0, 1.1), ${needed}`);
  expect(words("1.0", "1.1", "2.0", "2.1", "3.0")).toBe(
    `Of the heads that are cut (1.0, 1.1, 2.0, 2.1, 3.0), ${needed}`,
  );
  expect(words("1.0", "1.1", "2.0", "2.1", "3.0", "3.1", "4.2")).toBe(
    `Of the heads that are cut (1.0, 1.1, 2.0, 2.1, 3.0 and 2 more), ${needed}`,
  );
});
