import { expect, test } from "vitest";
import type { Architecture } from "../../model/architecture.ts";
import { axesOf, cellsOf, seededPairs } from "./rows.ts";

const architecture: Architecture = {
  name: "LlamaForCausalLM",
  layers: [{}, {}, {}, {}, {}],
  dModel: 8,
  heads: 4,
  kvHeads: 2,
  dHead: 2,
  dMlp: 6,
  vocabulary: 50,
  maxPositions: 16,
  causal: true,
};

test("cells are listed in row-major order, as results hold them", () => {
  expect(cellsOf([[4], [0, 1], [7, 8]])).toEqual([
    [4, 0, 7],
    [4, 0, 8],
    [4, 1, 7],
    [4, 1, 8],
  ]);
  expect(cellsOf(axesOf("heads", architecture, 3))).toHaveLength(5 * 4);
  expect(axesOf("neurons", architecture, 3)).toEqual([[2], [0, 1, 2, 3, 4, 5]]);
});

test("seeded pairs differ at the one position that they say, by any vocabulary", () => {
  for (const vocabulary of [2, 50]) {
    for (const { clean, corrupt, differing, answers, foils } of seededPairs(vocabulary, {
      tokens: 14,
      pairs: 30,
    })) {
      const found = clean.ids.flatMap((id, pos) => (id === corrupt.ids[pos] ? [] : [pos]));
      expect(found).toEqual(differing);
      expect(answers[0].ids).not.toEqual(foils[0].ids);
      expect(Math.max(...clean.ids, ...corrupt.ids)).toBeLessThan(vocabulary);
    }
  }
  expect(seededPairs(50, { tokens: 14, pairs: 1 })).toEqual(seededPairs(50, { tokens: 14, pairs: 1 }));
});
