import { describe, expect, test } from "vitest";
import { goldenFacts } from "../../test/goldens/load.ts";
import { bothBackends, rounding } from "../../test/helpers/backends.ts";
import { patchedByHand } from "../../test/helpers/edges.ts";
import { loadGolden, useGolden } from "../../test/helpers/golden-model.ts";
import type { Fault } from "../core/errors.ts";
import { InputError } from "../core/errors.ts";
import { edgeGraph, edgeName } from "../model/edge-graph.ts";
import type { Pair } from "../model/pair.ts";
import { at } from "../result/cells.ts";
import type { RecordLog } from "../run/records.ts";
import { type ExactEdgesOptions, exactEdges } from "./exact-edges.ts";

const backends = bothBackends();

const tokens = (ids: readonly number[], text: string): Pair["clean"] => ({
  text,
  ids,
  pieces: ids.map((id) => `<${id}>`),
});

function pairOf(clean: readonly number[], corrupt: readonly number[], id = "0"): Pair {
  const differing = clean.flatMap((token, position) => (token === corrupt[position] ? [] : [position]));
  return {
    id,
    where: `pair ${id}`,
    clean: tokens(clean, "clean"),
    corrupt: tokens(corrupt, "corrupt"),
    answers: [tokens([ANSWER], "answer")],
    foils: [tokens([FOIL], "foil")],
    differing,
  };
}
const [ANSWER, FOIL] = [5, 9];

/** Pairs that differ at one token, and at more. */
function pairsOf(name: string): Pair[] {
  const { clean, corrupt } = goldenFacts(name).patching;
  const later = clean.with(clean.length - 2, ((clean[clean.length - 2] ?? 0) + 1) % 20);
  return [pairOf(clean, corrupt), pairOf(corrupt, later, "1")];
}

const scoresOf = (result: Awaited<ReturnType<typeof exactEdges>>, name = "score"): number[] =>
  Array.from(result.dataVars[name]?.data ?? [], Number);

describe.each(backends)("$name", (backend) => {
  const open = useGolden("llama-gqa-tied", backend);

  test.each([
    { direction: "noise", groupKv: false },
    { direction: "denoise", groupKv: true },
  ] as const)(
    "scores are drops and gains of the logit difference, $direction",
    async ({ direction, groupKv }) => {
      const model = await open();
      const graph = edgeGraph(model.definition, { groupKv });
      const edges = Array.from({ length: graph.size }, (_, edge) => edge);
      const pairs = pairsOf("llama-gqa-tied");
      const result = await exactEdges(model, pairs, { direction, groupKv, perPair: true });
      expect(result.coords.edge?.data).toEqual(edges.map((edge) => edgeName(graph, edge)));
      const each = scoresOf(result, "score_per_pair");
      const mean = scoresOf(result);
      const difference = (logits: Float64Array): number => logits[ANSWER] - logits[FOIL];
      for (const [index, { clean, corrupt }] of pairs.entries()) {
        const [base, other] = direction === "noise" ? [clean.ids, corrupt.ids] : [corrupt.ids, clean.ids];
        const [own] = await patchedByHand(model, { base, other: base }, { graph, edges: [0] });
        const found = await patchedByHand(model, { base, other }, { graph, edges });
        for (const edge of edges) {
          const gain = difference(found[edge]) - difference(own);
          const expected = direction === "noise" ? -gain : gain;
          expect(Math.abs(each[index * graph.size + edge] - expected)).toBeLessThan(2 * rounding(backend));
        }
      }
      for (const edge of edges) {
        expect(mean[edge]).toBeCloseTo((each[edge] + each[graph.size + edge]) / 2, 12);
      }
      expect(Math.max(...mean.map(Math.abs))).toBeGreaterThan(0.05);
    },
  );

  test("an interrupted run that is taken up again gives the same scores", async () => {
    const model = await open();
    const pairs = pairsOf("llama-gqa-tied");
    const options: ExactEdgesOptions = { stateBytes: 40_000 };
    const whole = await exactEdges(model, pairs, options);
    const records: Uint8Array<ArrayBuffer>[] = [];
    const logOf = (most: number): RecordLog => {
      let read = 0;
      return {
        next: async () => records[read++]?.slice(),
        async append(record) {
          if (records.length >= most) throw new Error("killed");
          records.push(new Uint8Array(record));
        },
      };
    };
    const works: string[] = [];
    const keep =
      (most: number): ExactEdgesOptions["keep"] =>
      async (work) => {
        works.push(work);
        return { kind: "records", log: logOf(most) };
      };
    await expect(exactEdges(model, pairs, { ...options, keep: keep(3) })).rejects.toThrow("killed");
    let resumed = 0;
    const rest = await exactEdges(model, pairs, {
      ...options,
      keep: keep(Number.POSITIVE_INFINITY),
      onResume: (kept) => {
        resumed = kept;
      },
    });
    expect(resumed).toBe(3);
    expect(works[0]).toBe(works[1]);
    expect(scoresOf(rest)).toEqual(scoresOf(whole));
    expect(rest.attrs.edges_unchanged).toBe(whole.attrs.edges_unchanged);
  });
});

describe.each(backends)("$name", (backend) => {
  test.each(["gemma2", "gptj", "phi-qk-norm", "gemma3-bidirectional"])(
    "whole passes agree, %s",
    async (name) => {
      const model = await loadGolden(name, backend);
      const result = await exactEdges(model, pairsOf(name), { verify: 30, seed: 3 });
      expect(result.attrs.verify_cells).toBe(30);
      expect(result.attrs.verify_max_abs_diff).toBeLessThan(rounding(backend));
    },
  );
});

describe("what is asked", () => {
  const open = useGolden("gpt2", backends[0] as (typeof backends)[number]);

  test("chosen edges have the scores that they have among all", async () => {
    const model = await open();
    const pairs = pairsOf("gpt2");
    const all = await exactEdges(model, pairs, { verify: 0 });
    const names = ["input->logits", "a0.h1->m0", "m0->a1.h0<k>", "input->a0.h0<v>"];
    const some = await exactEdges(model, pairs, { edges: names, verify: 0 });
    expect(some.coords.edge?.data).toEqual(names);
    for (const edge of names) {
      expect(at(some, "score", { edge }).value).toBeCloseTo(Number(at(all, "score", { edge }).value), 9);
    }
  });

  test("all that is wrong is refused before anything runs", async () => {
    const model = await open();
    const pairs = pairsOf("gpt2");
    const seen: unknown[] = [];
    const faultsOf = async (
      asked: readonly Pair[],
      options: ExactEdgesOptions,
    ): Promise<readonly Fault[]> => {
      const onPlan = (plan: unknown): void => {
        seen.push(plan);
      };
      const error = await exactEdges(model, asked, { ...options, onPlan }).catch((reason: unknown) => reason);
      if (!(error instanceof InputError)) throw error;
      return error.faults;
    };
    const short = { ...pairs[0], clean: tokens([1, 2], "short"), where: "pair 7" } as Pair;
    const settings = await faultsOf([short], { direction: "backwards" as "noise" });
    expect(settings.map(({ where }) => where)).toEqual(["options.direction", "pair 7"]);
    const edges = await faultsOf(pairs, { edges: ["m0->a0.h0<q>", "input->nowhere", "a0.h0->m0"] });
    expect(edges.map(({ where }) => where)).toEqual(["edges, 1", "edges, 2"]);
    expect(edges[0]).toMatchObject({
      found: '"m0->a0.h0<q>"',
      wanted: "a source that writes before a0.h0<q> reads",
    });
    expect(seen).toEqual([]);
  });
});
