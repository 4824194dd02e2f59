/** @file The row of edges: every edge of the seeded model patched by itself, beside whole passes for a sample of them. */
import { random } from "../../core/random.ts";
import { exactEdges } from "../../method/exact-edges.ts";
import { cleanRun, pairRuns } from "../../method/measure.ts";
import { plainReading } from "../../method/verify.ts";
import { metricPlans } from "../../metric/plan.ts";
import { edgeGraph, edgeName } from "../../model/edge-graph.ts";
import type { Model } from "../../model/model.ts";
import { plainEdge } from "../../run/edge-plain.ts";
import type { Comparison, MeasureOptions, RowResult } from "./measure.ts";
import { TOLERANCE } from "./measure.ts";
import { seededPairs } from "./rows.ts";
import { maxDifference, spread } from "./statistics.ts";

/** As many as a prompt of the IOI task has, differing in its last third. */
const TOKENS = 15;
const DIFFERS_AT = 10;

/** Times all edges once, and some by whole passes before and after: the row takes minutes, and takes no turns. */
export async function edgesRow(
  model: Model,
  how: { readonly name: string; readonly matmul: number; readonly options: MeasureOptions },
): Promise<RowResult> {
  const { name, matmul, options } = how;
  const pairs = seededPairs(model.architecture.vocabulary, {
    tokens: TOKENS,
    pairs: 1,
    differing: DIFFERS_AT,
  });
  const graph = edgeGraph(model.definition);
  const chosen = random(graph.size)
    .shuffle(Array.from({ length: graph.size }, (_, edge) => edge))
    .slice(0, options.sample);
  const [plan] = metricPlans(pairs, "logit_diff");
  const runs = pairRuns(pairs, plan === undefined ? [] : [plan]);
  const [clean, corrupt] = runs.map(({ ids }) => ids);
  if (clean === undefined || corrupt === undefined) throw new Error("no pair");
  const difference = (edits: Parameters<typeof plainReading>[2]["variant"]["edits"]): Promise<number> =>
    plainReading(
      model,
      { runs },
      {
        variant: { run: cleanRun(0), edits },
        use: ([position]) => (position?.columns[0] ?? Number.NaN) - (position?.columns[1] ?? Number.NaN),
      },
    );
  const own = await difference([]);
  const plainly = async (edges: readonly number[]): Promise<{ seconds: number; values: number[] }> => {
    const begun = performance.now();
    const values: number[] = [];
    for (const edge of edges) {
      const edit = await plainEdge(model, { base: clean, other: corrupt }, { graph, edge });
      values.push(own - (await difference([edit])));
    }
    return { seconds: (performance.now() - begun) / 1000, values };
  };

  // Warm-up: edges into every layer.
  const some = chosen.slice(0, 10);
  await plainly(some);
  await exactEdges(model, pairs, { edges: some.map((edge) => edgeName(graph, edge)), verify: 0 });
  const half = Math.ceil(chosen.length / 2);
  const before = await plainly(chosen.slice(0, half));
  let flops = 0;
  const used = process.cpuUsage();
  const begun = performance.now();
  const found = await exactEdges(model, pairs, {
    verify: 0,
    onProgress: (_, total) => {
      flops = total;
    },
  });
  const seconds = (performance.now() - begun) / 1000;
  const { user, system } = process.cpuUsage(used);
  const after = await plainly(chosen.slice(half));

  const scores = found.dataVars.score?.data ?? [];
  const theirs = (before.seconds + after.seconds) * (graph.size / chosen.length);
  const worst = maxDifference(
    [chosen.map((edge) => Number(scores[edge]))],
    [[...before.values, ...after.values]],
  );
  const comparison: Comparison = {
    rival: "plain",
    label: "crosspatch, whole passes",
    versions: {},
    cells: chosen.length,
    pairs: 1,
    seconds: spread([theirs]),
    ratio: spread([theirs / seconds]),
    maxDifference: worst,
    agrees: worst <= TOLERANCE,
  };
  options.say(`edges: ${seconds.toPrecision(3)} s for ${graph.size}`);
  return {
    model: name,
    row: "edges, every one by itself",
    tokens: TOKENS,
    pairs: 1,
    cells: graph.size,
    seconds: spread([seconds]),
    cpuSeconds: (user + system) / 1e6,
    flops,
    rate: flops / seconds / matmul,
    comparisons: [comparison],
  };
}
