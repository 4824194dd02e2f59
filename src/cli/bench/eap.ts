/** @file The row of edge attribution: estimates of every edge of the seeded model, beside the same on TransformerLens' hooks. */
import { edgeAttribution } from "../../method/edge-attribution.ts";
import type { Model } from "../../model/model.ts";
import type { Pair } from "../../model/pair.ts";
import type { Comparison, MeasureOptions, RowResult } from "./measure.ts";
import { TOLERANCE } from "./measure.ts";
import type { Peer, PeerFacts } from "./peer.ts";
import { seededPairs } from "./rows.ts";
import { maxDifference, spread } from "./statistics.ts";

export const EAP: Pick<PeerFacts, "label" | "script" | "environment"> = {
  label: "EAP on TransformerLens 2.16",
  script: "eap_transformerlens.py",
  environment: "tl2",
};

/** As many as a prompt of the IOI task has, differing in its last third. */
const TOKENS = 15;
const DIFFERS_AT = 10;
const PAIRS = 20;

export function eapPairs({ architecture: { vocabulary } }: Pick<Model, "architecture">): Pair[] {
  return seededPairs(vocabulary, { tokens: TOKENS, pairs: PAIRS, differing: DIFFERS_AT });
}

/** Estimates of all edges, with the seconds that they took from token ids on. */
export async function estimateEdges(
  model: Model,
  pairs: readonly Pair[],
): Promise<{ readonly seconds: number; readonly values: readonly number[]; readonly edges: number }> {
  const { attrs, dataVars } = await edgeAttribution(model, pairs, { verifyTop: 0 });
  const values = Array.from(dataVars.score?.data ?? [], Number);
  return { seconds: Number(attrs.seconds_estimate), values, edges: values.length };
}

/** Times both in turn (A B A B …), after one warm-up. */
export async function eapRow(
  model: Model,
  how: {
    readonly peer: Peer;
    readonly name: string;
    readonly matmul: number;
    /** Largest resident set of a process of its own that does the same. */
    readonly peakBytes: number;
    readonly options: MeasureOptions;
  },
): Promise<RowResult> {
  const { peer, name, matmul, peakBytes, options } = how;
  const pairs = eapPairs(model);
  const details = {
    pairs: pairs.map(({ clean, corrupt, answers, foils }) => ({
      clean: clean.ids,
      corrupt: corrupt.ids,
      answer: answers[0]?.ids[0],
      foil: foils[0]?.ids[0],
    })),
  };
  const ask = async (site: string): Promise<{ seconds: number; values: readonly number[] }> => {
    const found = await peer.measure({
      site,
      dims: [],
      cells: [],
      whole: true,
      pairs: pairs.slice(0, 1),
      details,
    });
    if ("skip" in found) throw new Error(found.skip);
    return { seconds: found.seconds, values: found.values[0] ?? [] };
  };
  await estimateEdges(model, pairs);
  await ask("eap");
  const [ours, theirs, ratios]: [number[], number[], number[]] = [[], [], []];
  let [difference, edges] = [0, 0];
  for (let repeat = 0; repeat < options.repeats; repeat++) {
    const mine = await estimateEdges(model, pairs);
    const other = await ask("eap");
    ours.push(mine.seconds);
    theirs.push(other.seconds);
    ratios.push(other.seconds / mine.seconds);
    difference = Math.max(difference, maxDifference([mine.values], [other.values]));
    edges = mine.edges;
  }
  const [peerPeak = Number.NaN] = (await ask("peak_bytes")).values;
  const comparison: Comparison = {
    rival: "eap",
    label: EAP.label,
    versions: peer.versions,
    cells: edges,
    pairs: PAIRS,
    seconds: spread(theirs),
    ratio: spread(ratios),
    maxDifference: difference,
    agrees: difference <= TOLERANCE,
  };
  options.say(`edges estimated: ${EAP.label} ${spread(ratios).median.toPrecision(3)}×`);
  const flops = leastFlops(model, { tokens: TOKENS * PAIRS, edges });
  const seconds = spread(ours);
  return {
    model: name,
    row: "edges, estimates of all (EAP)",
    tokens: TOKENS,
    pairs: PAIRS,
    cells: edges,
    seconds,
    flops,
    rate: flops / seconds.median / matmul,
    peaks: [
      { label: "crosspatch", bytes: peakBytes },
      { label: EAP.label, bytes: peerPeak },
    ],
    comparisons: [comparison],
  };
}

/** Products of two forward passes and one backward by activations alone, and one product an edge. */
export function leastFlops(
  { architecture, definition }: Model,
  { tokens, edges }: { readonly tokens: number; readonly edges: number },
): number {
  const matrices = definition.blocks.reduce(
    (sum, block) =>
      block.inputs.reduce(
        (size, { role, shape }) =>
          role.kind === "weight" && shape.length === 2 ? size + Number(shape[0]) * Number(shape[1]) : size,
        sum,
      ),
    0,
  );
  return 2 * tokens * (3 * matrices + edges * architecture.dModel);
}
