import { expect, test } from "vitest";
import { agreement, agreementWarnings } from "./agreement.ts";

const exact = [5, 4, 3, -2, 1];

test("agreement is that of the numbers by hand; of nothing there is none", () => {
  expect(agreement({ estimates: [], exact: [] })).toEqual({});
  expect(agreement({ estimates: [4, 5, 3, 2, 1], exact })).toEqual({
    // Ranks 4 5 3 2 1 and 5 4 3 1 2: 1 − 6 · 4 / (5 · 24).
    verify_rank_correlation: expect.closeTo(0.8, 12),
    verify_max_abs_error: 4,
    verify_mean_abs_exact: 3,
    verify_sign_agreement: 0.8,
  });
});

test("estimates that are no guide are warned of, each way in which they are none", () => {
  const warned = (estimates: readonly number[], of = exact): string[] =>
    agreementWarnings({ estimates, exact: of }, "patch");
  expect(warned(exact)).toEqual([]);
  expect(warned([1, 2, 3, 4, 5])).toEqual([
    "estimates: of the 5 that were computed exactly, rank correlation -0.90; one is off by more than half of the largest effect. Go by the exact effects; patch",
  ]);
  expect(warned([-5, -4, 3, -2, 1])).toEqual([
    "estimates: of the 5 that were computed exactly, rank correlation -0.60; 40 % of the wrong sign; one is off by more than half of the largest effect. Go by the exact effects; patch",
  ]);
  expect(warned([5, 4, 3, -2, 4.1])).toEqual([
    "estimates: of the 5 that were computed exactly, one is off by more than half of the largest effect. Go by the exact effects; patch",
  ]);
  expect(warned([1, 2, 3, 4], [4, 3, 2, 1])).toEqual([]); // too few to say
});
