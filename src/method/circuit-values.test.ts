import { expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { referenceBackend } from "../backend/reference/reference.ts";
import { edgeGraph, edgeName } from "../model/edge-graph.ts";
import type { Pair } from "../model/pair.ts";
import { at } from "../result/cells.ts";
import { activationPatching } from "./activation-patching.ts";
import { circuitValues } from "./circuit-values.ts";
import { exactEdges } from "./exact-edges.ts";

const tokens = (ids: readonly number[]): Pair["clean"] => ({
  text: "",
  ids,
  pieces: ids.map((id) => `<${id}>`),
});

function pairOf(clean: readonly number[], corrupt: readonly number[], id: string): Pair {
  const differing = clean.flatMap((token, position) => (token === corrupt[position] ? [] : [position]));
  return {
    id,
    where: id,
    clean: tokens(clean),
    corrupt: tokens(corrupt),
    answers: [tokens([5])],
    foils: [tokens([9])],
    differing,
  };
}

test.each([
  { metric: "logit_diff", direction: "noise" },
  { metric: "logit_diff", direction: "denoise" },
  { metric: "kl", direction: "noise" },
  { metric: "kl", direction: "denoise" },
] as const)(
  "circuits range from one baseline to the other, and differ by an edge as that edge scores, %o",
  async ({ metric, direction }) => {
    const model = await loadGolden("gemma2", referenceBackend());
    const { clean, corrupt } = goldenFacts("gemma2").patching;
    const pairs = [pairOf(clean, corrupt, "0"), pairOf(corrupt, clean.with(-1, 3), "1")];
    const graph = edgeGraph(model.definition);
    const lacking = [3, graph.size - 2, Math.floor(graph.size / 2)];
    const circuits = lacking.map((out) =>
      Uint8Array.from({ length: graph.size }, (_, edge) => (edge === out ? 0 : 1)),
    );
    const { values, whole, empty } = await circuitValues(model, pairs, {
      graph,
      circuits,
      metric,
      direction,
    });

    const baselines = await activationPatching(model, pairs, {
      sites: ["resid_pre"],
      by: ["layer"],
      direction,
      metric,
      perPair: true,
      normalize: false,
      verify: 0,
    });
    const own = (side: string): number[] =>
      Array.from(baselines.coords[`baseline_${side}`]?.data ?? [], Number);
    const [from, to] = direction === "noise" ? ["clean", "corrupt"] : ["corrupt", "clean"];
    for (const pair of pairs.keys()) {
      expect(whole[pair]).toBeCloseTo(own(from)[pair], 8);
      expect(empty[pair]).toBeCloseTo(own(to)[pair], 8);
    }

    const names = lacking.map((edge) => edgeName(graph, edge));
    const scores = await exactEdges(model, pairs, {
      edges: names,
      metric,
      direction,
      perPair: true,
      verify: 0,
    });
    const sign = direction === "noise" ? -1 : 1;
    for (const [pair, { id }] of pairs.entries()) {
      for (const [index, edge] of names.entries()) {
        const change = values[pair * names.length + index] - whole[pair];
        expect(at(scores, "score_per_pair", { pair: id, edge }).value).toBeCloseTo(sign * change, 8);
      }
    }
  },
);
