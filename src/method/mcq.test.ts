import { describe, expect, test } from "vitest";
import { mcqItems, mcqNet } from "../../test/helpers/mcq-net.ts";
import { at } from "../result/cells.ts";
import { formatJson, fromJson, toJson } from "../result/json.ts";
import type { Dataset } from "../result/result.ts";
import type { Item } from "../task/question-items.ts";
import { mcq } from "./mcq.ts";
import { classOf, type HeadShares } from "./mcq-classes.ts";
import { mcqStep, mcqSteps, stepOf } from "./mcq-steps.ts";

const items = mcqItems();
const value = (result: Dataset, name: string, labels: Readonly<Record<string, string | number>>): number =>
  at(result, name, labels).value;

describe.each(["label", "place"] as const)("a network with a code of %ss", (code) => {
  const whole = mcq(mcqNet(code), items, { draws: 3, maxRank: 4 });

  test("answers right; its letter head alone argues for that, and shares sum to the metric", async () => {
    const found = await whole;
    expect(value(found, "accuracy", {})).toBe(1);
    const metric = value(found, "logit_diff", {});
    expect(value(found, "share_head", { layer: 2, head: 0 })).toBeCloseTo(metric, 12);
    expect(stepOf(found, "attribution")?.total).toBeCloseTo(metric, 12);
    expect(stepOf(found, "attribution")?.sum_max_abs_diff).toBeLessThan(1e-12);
    // Softmax over eight places beside the right label, whose score is 3 and that of the others -1; 6 logits of loudness.
    const weight = (score: number): number => Math.exp(score) / (Math.exp(3) + 3 * Math.exp(-1) + 6);
    expect(metric).toBeCloseTo(6 * (weight(3) - weight(-1)), 5);
  });

  test("the gatherer acts through the letter head, which acts by itself", async () => {
    const found = await whole;
    const of = (name: string, layer: number): number => value(found, name, { layer, head: 0 });
    expect(of("total_head", 1)).toBeLessThan(-3);
    expect(of("direct_head", 1)).toBe(0);
    expect(of("indirect_head", 1)).toBe(of("total_head", 1));
    expect(of("direct_head", 2)).toBeCloseTo(of("total_head", 2), 12);
    expect(of("total_head", 0)).toBe(0); // at the last position
  });

  test("the two of them are the minimal set: either alone keeps nothing", async () => {
    const found = await whole;
    expect(stepOf(found, "set")?.minimal_set).toEqual(["1.0", "2.0"]);
    expect(value(found, "set_faithfulness", { size: 2 })).toBeCloseTo(1, 12);
    expect(value(found, "set_faithfulness", { size: 1 })).toBeCloseTo(0, 12);
    expect(value(found, "set_metric", { size: 9 })).toBeCloseTo(value(found, "logit_diff", {}), 12);
  });

  test("the letter head is classed as one, the gatherer as what it is", async () => {
    const found = await whole;
    expect(found.attrs.letter_heads).toEqual(["2.0"]);
    expect(found.dataVars.head_class?.data[4]).toBe("correct letter");
    expect(found.dataVars.head_class?.data[2]).toBe("content gatherer");
    expect(stepOf(found, "ranks")?.keys_at).toEqual(["label"]);
  });

  test("a code of four corners of a tetrahedron: rank 3 is lossless, rank 2 is not", async () => {
    const found = await whole;
    for (const cut of ["q", "k", "qk", "v", "qkv"]) {
      const rise = (rank: number): number => value(found, "rank_loss_change", { cut, rank });
      expect(rise(0), cut).toBeGreaterThan(1);
      expect(rise(2), cut).toBeGreaterThan(0.1);
      for (const rank of [3, 4, 10]) expect(Math.abs(rise(rank)), `${cut}, rank ${rank}`).toBeLessThan(1e-6);
      expect(stepOf(found, "ranks")?.needed).toMatchObject({ [cut]: 3 });
    }
  });

  test("other labels tell what the code stands for", async () => {
    const found = await whole;
    const answers = (labels: string, swap: string): number[] =>
      (["mutation_accuracy", "mutation_by_label"] as const).map((name) =>
        value(found, name, { labels, swap }),
      );
    for (const labels of ["letters", "random", "shuffled"]) expect(answers(labels, "none")).toEqual([1, 1]);
    // The subspace is that of the letters for all of them.
    for (const labels of ["random", "shuffled"]) expect(answers(labels, "own")).toEqual([1, 1]);
    const [isPlace, isLabel] = [Number(code === "place"), Number(code === "label")];
    // A query for the second item finds it whatever it is called; one for B finds the line labelled B now, or none.
    expect(answers("shuffled", "q")).toEqual([isPlace, isLabel]);
    expect(answers("shuffled", "k")).toEqual([isPlace, isLabel]);
    expect(answers("random", "q")).toEqual([isPlace, Number.NaN]);
    // Both taken over agree with each other again.
    expect(answers("shuffled", "qk")).toEqual([1, 1]);
  });

  test("a result is read back as it is, and each step is one of its own", async () => {
    const found = await whole;
    expect(toJson(fromJson(JSON.parse(formatJson(found))))).toEqual(JSON.parse(formatJson(found)));
    const names = mcqSteps.flatMap((name) => {
      const step = mcqStep(found, name);
      expect(step.attrs).toMatchObject({ method: `mcq-${name}`, model: found.attrs.model });
      expect(toJson(fromJson(JSON.parse(formatJson(step))))).toEqual(JSON.parse(formatJson(step)));
      return Object.keys(step.dataVars);
    });
    expect(names.sort()).toEqual(Object.keys(found.dataVars).sort());
  });
});

test("where the same letter is right always, other questions' nodes change nothing: no share is told, no set is the smallest", async () => {
  const found = await mcq(
    mcqNet("label"),
    mcqItems(() => 2),
    { draws: 2, maxRank: 1 },
  );
  expect(value(found, "accuracy", {})).toBe(1);
  expect(stepOf(found, "set")).toMatchObject({
    all_resampled: { change: 0, ci_low: 0, ci_high: 0 },
    needed: null,
    minimal_set: [],
  });
  const numbers = (name: string): Set<number> =>
    new Set(Array.from(found.dataVars[name]?.data ?? [], Number));
  for (const side of ["", "_ci_low", "_ci_high"])
    expect(numbers(`set_faithfulness${side}`)).toEqual(new Set([Number.NaN]));
  expect((found.attrs.verdict as readonly string[])[0]).toBe(
    "With all 9 nodes at the last position from other questions the metric changes by 0 logit [0, 0], an interval with 0 in it: no share that some of them keep can be told.",
  );
  // Nor by how a mean over draws is rounded: the loss, in sevenths, is one that a sum of them misses.
  const sevenths = await mcq(
    mcqNet("label"),
    mcqItems(() => 2),
    { metric: "loss", draws: 7, maxRank: 1 },
  );
  expect(stepOf(sevenths, "set")).toMatchObject({ all_resampled: { change: 0 }, needed: null });
  // Classes do without the set.
  expect(numbers("head_kept")).toEqual(new Set([0]));
  expect(found.attrs.letter_heads).toEqual(["2.0"]);
  expect(toJson(fromJson(JSON.parse(formatJson(found))))).toEqual(JSON.parse(formatJson(found)));
});

test("effects may be on the loss, and heads may be named", async () => {
  const heads = [{ layer: 1, head: 1 }];
  const found = await mcq(mcqNet("label"), items, { metric: "loss", heads, draws: 1, maxRank: 1 });
  expect(found.attrs).toMatchObject({ unit: "nat", letter_heads: ["1.1"] });
  expect(found.attrs.baseline_clean).toBeCloseTo(value(found, "loss", {}), 12);
  expect(value(found, "total_head", { layer: 1, head: 0 })).toBeGreaterThan(1); // the loss rises
  // A head that does nothing can be cut to nothing.
  expect(value(found, "rank_loss_change", { cut: "qkv", rank: 0 })).toBeCloseTo(0, 12);
  expect(stepOf(found, "ranks")?.needed).toMatchObject({ qkv: null });
});

test("classes of heads by their shares", () => {
  const head = (places: readonly number[], correct: number, tail: number): HeadShares => ({
    places,
    correct,
    tail,
    options: places.reduce((sum, share) => sum + share, 0),
    readsLabels: true,
  });
  const even = [0.2, 0.2, 0.2, 0.2];
  expect(classOf(head(even, 0.6, 0), { writes: true })).toBe("correct letter");
  expect(classOf(head(even, 0.6, 0), { writes: false })).toBe("content gatherer");
  expect(classOf(head(even, 0.2, 0), { writes: true })).toBe("uniform");
  expect(classOf(head([0.7, 0.05, 0.05, 0], 0.2, 0), { writes: true })).toBe("single letter");
  expect(classOf(head([0.35, 0.35, 0.05, 0.05], 0.2, 0), { writes: true })).toBe("");
  expect(classOf(head([0.05, 0.05, 0.05, 0.05], 0.2, 0.7), { writes: true })).toBe("amplification");
  expect(classOf(head([0.05, 0.05, 0.05, 0.05], 0.2, 0.1), { writes: true })).toBe("");
});

test("all that is wrong is refused at once", async () => {
  const few = { ...items, items: { letters: items.items.letters.slice(0, 3) } };
  const heads = [3, 1, 1].map((layer) => ({ layer, head: 0 }));
  await expect(mcq(mcqNet("label"), few, { heads, rank: 11 })).rejects.toThrow(
    [
      "questions: found 3; wanted at least 4: directions are those of the other half.",
      "--heads: found 3.0; wanted layers 0 to 2 with heads 0 to 1.",
      "--heads: found 1.0 again; wanted each head once.",
      "--rank: found 11; wanted at most 10, the size of a head.",
    ].join("\n"),
  );
});

test("one question over and over is refused: there is nothing to draw from", async () => {
  const [first] = items.items.letters;
  const same = { ...items, items: { letters: Array.from({ length: 4 }, () => first as Item) } };
  await expect(mcq(mcqNet("label"), same)).rejects.toThrow(
    "questions: found the same one 4 times; wanted at least two: the values of one are put into another.",
  );
});
