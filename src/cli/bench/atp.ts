/** @file The row of attribution patching: estimates of every node of one pair, beside the same on PyTorch's autograd. */
import { attributionCells, estimate, prepareAttribution } from "../../method/attribution.ts";
import type { Model } from "../../model/model.ts";
import type { Pair } from "../../model/pair.ts";
import { leastFlops } from "./eap.ts";
import type { Comparison, MeasureOptions, RowResult } from "./measure.ts";
import { TOLERANCE } from "./measure.ts";
import type { Peer, PeerFacts } from "./peer.ts";
import { maxDifference, spread } from "./statistics.ts";

export const ATP: Pick<PeerFacts, "label" | "script" | "environment"> = {
  label: "PyTorch autograd, Hugging Face hooks",
  script: "atp_autograd.py",
  environment: "base",
};

/** Every site that is a module's input or output in transformers' Llama. */
const WITH_HEADS = ["q", "k", "v", "z"] as const;
const WITHOUT_HEADS = ["resid_pre", "attn_out", "resid_mid", "mlp_post", "mlp_out"] as const;
const SITES = [...WITH_HEADS, ...WITHOUT_HEADS];

/** Estimates of all nodes, site by site, with the seconds that they took from token ids on. */
async function estimateNodes(
  model: Model,
  pair: Pair,
): Promise<{ readonly seconds: number; readonly values: readonly (readonly number[])[] }> {
  const begun = performance.now();
  const heads = { sites: WITH_HEADS, by: ["layer", "pos", "head"] };
  const others = { sites: WITHOUT_HEADS, by: ["layer", "pos"] };
  const asked = { metric: "logit_diff", positions: pair.clean.ids.length } as const;
  const setup = await prepareAttribution(model, [pair], { ...heads, metric: asked.metric });
  const cells = [...setup.cells, ...attributionCells(model, others, asked)];
  const { signed } = await estimate(model, { ...setup, cells }, {});
  return { seconds: (performance.now() - begun) / 1000, values: signed.map((values) => [...values]) };
}

/**
 * Times both in turn (A B A B …), after one warm-up. The difference is that of an estimate over the largest of its
 * site, as estimates of single nodes are sums in which much cancels.
 */
export async function atpRow(
  model: Model,
  how: {
    readonly pair: Pair;
    readonly peer: Peer;
    readonly name: string;
    readonly matmul: number;
    readonly options: MeasureOptions;
  },
): Promise<RowResult> {
  const { pair, peer, name, matmul, options } = how;
  const ask = async (): Promise<{ readonly seconds: number; readonly values: readonly number[] }> => {
    const job = { site: "atp", dims: [], cells: [], whole: true, pairs: [pair], details: { sites: SITES } };
    const found = await peer.measure(job);
    if ("skip" in found) throw new Error(found.skip);
    return { seconds: found.seconds, values: found.values[0] ?? [] };
  };
  const first = await estimateNodes(model, pair);
  const nodes = first.values.reduce((sum, { length }) => sum + length, 0);
  await ask();
  const [ours, theirs, ratios]: [number[], number[], number[]] = [[], [], []];
  let difference = 0;
  for (let repeat = 0; repeat < options.repeats; repeat++) {
    const mine = await estimateNodes(model, pair);
    const other = await ask();
    ours.push(mine.seconds);
    theirs.push(other.seconds);
    ratios.push(other.seconds / mine.seconds);
    if (other.values.length !== nodes) throw new Error(`${other.values.length} estimates of ${nodes} nodes`);
    let from = 0;
    for (const values of mine.values) {
      const same = other.values.slice(from, from + values.length);
      const largest = same.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const relative = (list: readonly number[]): number[] => list.map((value) => value / largest);
      difference = Math.max(difference, maxDifference([relative(values)], [relative(same)]));
      from += values.length;
    }
  }
  const comparison: Comparison = {
    rival: "autograd",
    label: ATP.label,
    versions: peer.versions,
    cells: nodes,
    pairs: 1,
    seconds: spread(theirs),
    ratio: spread(ratios),
    maxDifference: difference,
    agrees: difference <= TOLERANCE,
  };
  options.say(`nodes estimated: ${ATP.label} ${spread(ratios).median.toPrecision(3)}×`);
  const tokens = pair.clean.ids.length;
  const flops = leastFlops(model, { tokens, edges: 0 });
  const seconds = spread(ours);
  return {
    model: name,
    row: "nodes, estimates of all (AtP)",
    tokens,
    pairs: 1,
    cells: nodes,
    seconds,
    flops,
    rate: flops / seconds.median / matmul,
    comparisons: [comparison],
  };
}
