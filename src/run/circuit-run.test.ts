import { describe, expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { bothBackends, rounding } from "../../test/helpers/backends.ts";
import { patchedByHand } from "../../test/helpers/edges.ts";
import { useGolden } from "../../test/helpers/golden-model.ts";
import { distance, plain } from "../../test/helpers/readings.ts";
import { random } from "../core/random.ts";
import type { FloatArray } from "../core/tensor.ts";
import type { EdgeGraph, EdgeTarget } from "../model/edge-graph.ts";
import { edgeAt, edgeGraph } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import { runCircuits } from "./circuit-run.ts";
import type { EdgeRuns } from "./edge-sources.ts";
import type { Edit } from "./edit.ts";
import { patch } from "./edit.ts";
import { unembed } from "./ends.ts";
import { forward } from "./forward.ts";

const backends = bothBackends();

/** Logits at the last position. */
async function logitsOf(model: Model, residual: FloatArray): Promise<Float64Array> {
  const { logits } = await unembed(model, residual.slice(-model.architecture.dModel), { logits: true });
  return Float64Array.from(logits ?? []);
}

async function circuitLogits(
  model: Model,
  runs: EdgeRuns,
  options: { graph: EdgeGraph; circuits: readonly Uint8Array[]; stateBytes?: number },
): Promise<Float64Array[]> {
  const logits: Float64Array[] = [];
  for (const residual of await runCircuits(model, runs, options))
    logits.push(await logitsOf(model, residual));
  return logits;
}

const without = (graph: EdgeGraph, isOut: (edge: number) => boolean): Uint8Array =>
  Uint8Array.from({ length: graph.size }, (_, edge) => (isOut(edge) ? 0 : 1));

const enters = (graph: EdgeGraph, is: (target: EdgeTarget) => boolean) => (edge: number) =>
  is(graph.targets[edgeAt(graph, edge).target]);

describe.each(backends)("$name", (backend) => {
  describe.each(families())("$name", ({ name }) => {
    const open = useGolden(name, backend);
    const { clean, corrupt } = goldenFacts(name).patching;
    const runs: EdgeRuns = { base: clean, other: corrupt };
    const off = (a: Float64Array, b: Float64Array): number => distance([a], [b]);

    test("all edges are the run itself, none the other; one edge less is that edge patched", async () => {
      const model = await open();
      const graph = edgeGraph(model.definition);
      const source = random(graph.size);
      const edges = Array.from({ length: backend.precision === "float64" ? 6 : 12 }, () =>
        source.integer(graph.size),
      );
      const circuits = [
        without(graph, () => false),
        without(graph, () => true),
        ...edges.map((out) => without(graph, (edge) => edge === out)),
      ];
      const [all, none, ...less] = await circuitLogits(model, runs, { graph, circuits });
      const { residuals } = await forward(model, [clean, corrupt]);
      expect(off(all, await logitsOf(model, residuals[0]))).toBeLessThan(rounding(backend));
      expect(off(none, await logitsOf(model, residuals[1]))).toBeLessThan(rounding(backend));
      const expected = await patchedByHand(model, runs, { graph, edges });
      for (const [index, logits] of less.entries()) {
        expect(off(logits, expected[index])).toBeLessThan(rounding(backend));
      }
    });

    test("nodes cut off are nodes patched: all edges that leave one, or all that enter it", async () => {
      const model = await open();
      const { groupKv, ...graph } = edgeGraph(model.definition, { groupKv: name.length % 2 === 0 });
      const whole: EdgeGraph = { groupKv, ...graph };
      const { heads, kvHeads } = model.architecture;
      const last = model.definition.blocks.length - 1;
      const head = heads - 1;
      const mates = groupKv ? heads / kvHeads : 1;
      const group = Array.from({ length: mates }, (_, index) => heads - mates + index);
      const leaves = (is: (source: EdgeGraph["sources"][number]) => boolean) => (edge: number) =>
        is(whole.sources[edgeAt(whole, edge).source]);
      const z = (layer: number, which: readonly number[]): Edit =>
        patch("z", layer, { run: 1, where: { head: which } });
      const cases: readonly (readonly [Uint8Array, readonly Edit[]])[] = [
        [
          without(
            whole,
            leaves((source) => source.kind === "head" && source.layer === 0 && source.head === head),
          ),
          [z(0, [head])],
        ],
        [
          without(
            whole,
            leaves((source) => source.kind === "mlp" && source.layer === 0),
          ),
          [patch("mlp_out", 0, { run: 1 })],
        ],
        [
          without(
            whole,
            enters(
              whole,
              (target) =>
                (target.kind === "head" && target.layer === last && group.includes(target.head)) ||
                (target.kind === "kv" && target.layer === last && target.kvHead === kvHeads - 1),
            ),
          ),
          [z(last, group)],
        ],
        [
          without(
            whole,
            enters(whole, (target) => target.kind === "mlp" && target.layer === last),
          ),
          [patch("mlp_out", last, { run: 1 })],
        ],
      ];
      const found = await circuitLogits(model, runs, {
        graph: whole,
        circuits: cases.map(([circuit]) => circuit),
        stateBytes: 1,
      });
      const expected = await plain(model, {
        runs: [{ ids: clean }, { ids: corrupt }],
        variants: cases.map(([, edits]) => ({ run: 0, edits })),
      });
      for (const [index, logits] of found.entries()) {
        expect(distance([logits], expected[index])).toBeLessThan(rounding(backend));
      }
    });
  });
});
