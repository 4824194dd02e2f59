import { describe, expect, test } from "vitest";
import { families, goldenFacts } from "../../test/goldens/load.ts";
import { bothBackends, rounding } from "../../test/helpers/backends.ts";
import { patchedByHand } from "../../test/helpers/edges.ts";
import { useGolden } from "../../test/helpers/golden-model.ts";
import { distance } from "../../test/helpers/readings.ts";
import { random } from "../core/random.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import { edgeAt, edgeGraph, edgeName } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import type { EdgeRuns } from "./edge-sources.ts";
import { edgeVariants } from "./edge-variants.ts";
import { planSweep } from "./plan.ts";
import { sweep } from "./sweep.ts";
import type { SweepInput } from "./variant.ts";

const backends = bothBackends();

interface Patched {
  /** Logits at the last position, by edge of the list. */
  readonly logits: readonly Float64Array[];
  /** Whether an edge was not run. */
  readonly exact: readonly boolean[];
  readonly base: Float64Array;
  readonly waves: number;
}

async function patched(
  model: Model,
  runs: EdgeRuns,
  { graph, edges, stateBytes }: { graph: EdgeGraph; edges: readonly number[]; stateBytes?: number },
): Promise<Patched> {
  const variants = edgeVariants(model, { graph, edges, pairs: [runs], baseRun: () => 0 });
  const read = [{ position: runs.base.length - 1, readout: { logits: true } }];
  const input: SweepInput = { runs: [{ ids: runs.base, read }], ...variants };
  const plan = planSweep(model, input, stateBytes === undefined ? {} : { stateBytes });
  const logits = edges.map(() => new Float64Array(0));
  const exact = edges.map(() => false);
  let base = new Float64Array(0);
  await sweep(model, input, {
    plan,
    prepare: variants.prepare,
    onRun: (_, [position]) => {
      base = Float64Array.from(position.logits ?? []);
    },
    onReading(index, [position], unchanged) {
      const { edge } = variants.place(index);
      logits[edge] = Float64Array.from(position.logits ?? []);
      exact[edge] = unchanged;
    },
  });
  return { logits, exact, base, waves: plan.waves.length };
}

/** The golden's pair, clean run patched. */
function runsOf(name: string): EdgeRuns {
  const { clean, corrupt } = goldenFacts(name).patching;
  return { base: clean, other: corrupt };
}

const everyEdge = ({ size }: EdgeGraph): number[] => Array.from({ length: size }, (_, edge) => edge);

/** Some edges into every kind of target at every layer, the first and the last of each list of targets among them. */
function someEdges(graph: EdgeGraph, most: number): number[] {
  const source = random(graph.size);
  const chosen = new Set([0, graph.size - 1]);
  while (chosen.size < Math.min(most, graph.size)) chosen.add(source.integer(graph.size));
  return [...chosen];
}

describe.each(backends)("$name", (backend) => {
  describe.each(families())("$name", ({ name }) => {
    const open = useGolden(name, backend);

    test("edges patched one at a time give the logits of whole passes in which they are spelled out", async () => {
      const model = await open();
      const graph = edgeGraph(model.definition);
      const edges = someEdges(graph, backend.precision === "float64" ? 24 : 60);
      const runs = runsOf(name);
      const found = await patched(model, runs, { graph, edges });
      const expected = await patchedByHand(model, runs, { graph, edges });
      let moved = 0;
      for (const [index, edge] of edges.entries()) {
        const off = distance([found.logits[index]], [expected[index]]);
        expect(off, edgeName(graph, edge)).toBeLessThan(rounding(backend));
        if (found.exact[index]) expect(found.logits[index]).toEqual(found.base);
        else moved += 1;
      }
      expect(moved).toBeGreaterThan(edges.length / 3);
    });
  });
});

describe.each(backends)("$name, all edges", (backend) => {
  const open = useGolden("qwen2", backend);

  test.each([
    { groupKv: false, stateBytes: undefined },
    { groupKv: true, stateBytes: 20_000 },
  ])("of a model with grouped keys and values, %o", async ({ groupKv, stateBytes }) => {
    const model = await open();
    const graph = edgeGraph(model.definition, { groupKv });
    const edges = everyEdge(graph);
    const runs = runsOf("qwen2");
    const found = await patched(model, runs, {
      graph,
      edges,
      ...(stateBytes === undefined ? {} : { stateBytes }),
    });
    expect(found.waves > 3).toBe(stateBytes !== undefined);
    const expected = await patchedByHand(model, runs, { graph, edges });
    const off = edges.map((edge) => distance([found.logits[edge]], [expected[edge]]));
    expect(Math.max(...off)).toBeLessThan(rounding(backend));
  });

  test("edges of a run patched with itself are not run, and sum to nothing", async () => {
    const model = await open();
    const graph = edgeGraph(model.definition);
    const { base } = runsOf("qwen2");
    const found = await patched(model, { base, other: base }, { graph, edges: everyEdge(graph) });
    expect(found.exact.every((one) => one)).toBe(true);
    for (const logits of found.logits) expect(logits).toEqual(found.base);
  });

  test("queries at positions that are not read, and sources that write alike, leave edges of the last layer unrun", async () => {
    const model = await open();
    const graph = edgeGraph(model.definition);
    const { base } = runsOf("qwen2");
    const other = base.with(3, (base[3] ?? 0) + 1);
    const found = await patched(model, { base, other }, { graph, edges: everyEdge(graph) });
    const last = model.definition.blocks.length - 1;
    const exact = everyEdge(graph).filter((edge) => found.exact[edge]);
    // The embedding of the changed token alone: seen by the last token through keys and values only.
    const expected = everyEdge(graph).filter((edge) => {
      const { source, target } = edgeAt(graph, edge);
      const to = graph.targets[target];
      if (graph.sources[source].kind !== "input") return false;
      if (to.kind === "logits") return true;
      return to.layer === last && (to.kind === "mlp" || to.slot === "q");
    });
    expect(exact).toEqual(expected);
  });
});
