/** @file The row of causal tracing: one fact, states and windows of both modules, beside the ROME procedure. */
import { random } from "../../core/random.ts";
import { causalTracing } from "../../method/causal-tracing.ts";
import { drawNoise, embeddingSpread } from "../../method/noise.ts";
import { prepareFacts } from "../../model/fact.ts";
import type { Model } from "../../model/model.ts";
import type { Comparison, MeasureOptions, RowResult } from "./measure.ts";
import { TOLERANCE } from "./measure.ts";
import type { Peer } from "./peer.ts";
import { maxDifference, spread } from "./statistics.ts";

const FACT = {
  prompt: "The Eiffel Tower is located in the city of",
  subject: "The Eiffel Tower",
  answer: " Paris",
};
const SAMPLES = 10;
const WINDOW = 10;
const SITES = ["resid_post", "mlp_out", "attn_out"] as const;

export const ROME = {
  label: "ROME's procedure, Hugging Face hooks",
  script: "rome_trace.py",
  environment: "base",
} as const;

/**
 * Times the whole trace against a sample of the peer's cells, in turn. The peer takes one forward pass a cell, of the
 * clean prompt and its ten noised copies, as Meng et al. released it; both sides add the same noise.
 */
export async function traceRow(
  model: Model,
  {
    peer,
    name,
    matmul,
    options,
  }: {
    readonly peer: Peer;
    readonly name: string;
    readonly matmul: number;
    readonly options: MeasureOptions;
  },
): Promise<RowResult> {
  const { facts } = prepareFacts([FACT], model.tokenizer);
  const [fact] = facts;
  if (fact === undefined) throw new Error("no fact");
  const tokens = fact.subject.length;
  const noise = await drawNoise(model, {
    distribution: "gaussian",
    sigma: 3 * (await embeddingSpread(model)),
    factor: 3,
    samples: SAMPLES,
    tokens,
    antithetic: false,
    seed: 1,
  });
  const shape = [SAMPLES, tokens, model.architecture.dModel];
  const given = { shape, data: Float32Array.from(noise) };
  let flops = 0;
  const own = async (): Promise<{ readonly seconds: number; readonly values: readonly number[] }> => {
    const begun = performance.now();
    const found = await causalTracing(model, facts, {
      sites: SITES,
      noise: given,
      window: WINDOW,
      metric: "prob",
      verify: 0,
      onProgress: (_, total) => {
        flops = total;
      },
    });
    const seconds = (performance.now() - begun) / 1000;
    return { seconds, values: SITES.flatMap((site) => Array.from(found.dataVars[site]?.data ?? [], Number)) };
  };

  const [layers, length] = [model.architecture.layers.length, fact.clean.ids.length];
  const cells = SITES.flatMap((_, site) =>
    Array.from({ length: layers * length }, (__, cell) => [site, Math.floor(cell / length), cell % length]),
  );
  const chosen = random(cells.length)
    .shuffle([...cells.keys()])
    .slice(0, Math.min(cells.length, 3 * options.sample));
  const job = {
    site: "trace",
    dims: ["site", "layer", "pos"],
    whole: false,
    pairs: [{ ...fact, corrupt: fact.clean, foils: fact.answers, differing: [] }],
    details: {
      sites: SITES,
      subject: fact.subject,
      window: WINDOW,
      samples: SAMPLES,
      noise: [...given.data],
    },
  };
  const measured = async (indices: readonly number[]) => {
    const found = await peer.measure({ ...job, cells: indices.map((index) => cells[index] ?? []) });
    if ("skip" in found) throw new Error(found.skip);
    return found;
  };
  await own(); // warm-up
  await measured(chosen.slice(0, 2));
  const scale = (cells.length + 1) / (chosen.length + 1); // the noised run without restoration comes first
  const [ours, theirs, ratios]: [number[], number[], number[]] = [[], [], []];
  let difference = 0;
  for (let repeat = 0; repeat < options.repeats; repeat++) {
    const mine = await own();
    const other = await measured(chosen);
    ours.push(mine.seconds);
    theirs.push(other.seconds * scale);
    ratios.push((other.seconds * scale) / mine.seconds);
    const same = [chosen.map((index) => mine.values[index] ?? Number.NaN)];
    difference = Math.max(difference, maxDifference(same, other.values));
  }
  const comparison: Comparison = {
    rival: "rome",
    label: ROME.label,
    versions: peer.versions,
    cells: chosen.length,
    pairs: 1,
    seconds: spread(theirs),
    ratio: spread(ratios),
    maxDifference: difference,
    agrees: difference <= TOLERANCE,
  };
  options.say(`causal trace: ${ROME.label} ${spread(ratios).median.toPrecision(3)}×`);
  const seconds = spread(ours);
  return {
    model: name,
    row: `causal trace, ${SAMPLES} noise samples, windows of ${WINDOW}`,
    tokens: length,
    pairs: 1,
    cells: cells.length,
    seconds,
    flops,
    rate: flops / seconds.median / matmul,
    comparisons: [comparison],
  };
}
