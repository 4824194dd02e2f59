/**
 * @file Estimates for all edges at once: what a source writes in the clean run and not in the corrupt one, times the
 * gradient by what the target reads. Edge attribution patching (EAP: Syed et al. 2023, eq. 4; with integrated
 * gradients: Hanna et al. 2024, section 3).
 *
 * Layer by layer on the way back: held are a layer's gradients, the outputs of heads before their projection, and of
 * as many layers' heads as fit into a bound what they write; never the product of all sources and positions.
 */

import { type Check, flag, oneKindOf, oneOf, required, whole } from "../core/options.ts";
import type { FloatArray } from "../core/tensor.ts";
import type { EdgeGraph } from "../model/edge-graph.ts";
import type { Model } from "../model/model.ts";
import type { RunDifferences } from "../run/contributions.ts";
import { DIFFERENCE_SITES, runDifferences } from "../run/contributions.ts";
import type { Edit } from "../run/edit.ts";
import { endGradients } from "../run/end-gradients.ts";
import { blockNumbers, passWarnings, streamNumbers, tokensWithin } from "../run/pass-memory.ts";
import type { SiteName } from "../run/site.ts";
import { siteShape } from "../run/site.ts";
import type { Trajectory } from "../run/trajectory.ts";
import { trajectory } from "../run/trajectory.ts";
import type { AttributionPair, PassCount } from "./attribution-estimate.ts";
import { longest, together } from "./attribution-estimate.ts";
import type { StepRule } from "./attribution-gradients.ts";
import { MAX_STEPS, stepRules, stepsOf } from "./attribution-gradients.ts";
import type { SourceGroup } from "./edge-pass.ts";
import { addPass, PASS_SITES } from "./edge-pass.ts";

/** Where the gradients are taken that an edge's estimate multiplies. */
export type EdgeEstimator =
  /** At the base run. */
  | { readonly kind: "eap" }
  /** On the way from the corrupt run's embeddings to the clean one's. */
  | { readonly kind: "eap-ig"; readonly steps: number; readonly rule: StepRule }
  /**
   * On the way from one run's output to the other's, of the input, each layer's heads and each MLP by itself; every
   * such group gives the estimates of the edges that leave it. `compatible`: as the authors' repository has it, every
   * group's gradients count for all edges, and their sum is divided by the number of groups.
   */
  | {
      readonly kind: "eap-ig-activations";
      readonly steps: number;
      readonly rule: StepRule;
      readonly compatible: boolean;
    }
  /** The mean of those at the clean and at the corrupt run. */
  | { readonly kind: "clean-corrupted" };

const onTheWay = { steps: required(whole(1, MAX_STEPS)), rule: required(oneOf(stepRules)) } as const;
export const edgeEstimatorCheck: Check<EdgeEstimator> = oneKindOf<EdgeEstimator>({
  eap: {},
  "eap-ig": onTheWay,
  "eap-ig-activations": { ...onTheWay, compatible: required(flag) },
  "clean-corrupted": {},
});

export interface EdgeScoreOptions {
  readonly graph: EdgeGraph;
  readonly estimator: EdgeEstimator;
  /** Which of the two runs the base is: the one whose metric is differentiated. */
  readonly base: "clean" | "corrupt";
  /** Bytes for forward values of one pass; beyond them blocks are computed again on the way back. */
  readonly keepBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

export interface EdgeScores {
  /** [pair, edge]: how much the metric drops, to first order, when the edge carries the corrupt value. */
  readonly scores: Float64Array;
  /** Metric of the unedited runs, by pair. */
  readonly base: Float64Array;
  readonly source: Float64Array;
  readonly passes: PassCount;
}

/** Estimates for all edges on all pairs. */
export async function edgeScores(
  model: Model,
  pairs: readonly AttributionPair[],
  options: EdgeScoreOptions,
): Promise<EdgeScores> {
  const { graph } = options;
  const found: EdgeScores & { passes: { forwards: number; backwards: number } } = {
    scores: new Float64Array(pairs.length * graph.size),
    base: new Float64Array(pairs.length),
    source: new Float64Array(pairs.length),
    passes: { forwards: 0, backwards: 0 },
  };
  let done = 0;
  for (const some of together(pairs, chunksOf(model, pairs))) {
    requireGoing(options.signal);
    const chunk = some.map((index) => pairs[index] as AttributionPair);
    const spent = await scoreTogether(model, chunk, {
      ...options,
      scores: some.map((pair) => found.scores.subarray(pair * graph.size, (pair + 1) * graph.size)),
      onValues(row, { base, source }) {
        found.base[some[row] ?? 0] = base;
        found.source[some[row] ?? 0] = source;
      },
    });
    found.passes.forwards += spent.forwards * some.length;
    found.passes.backwards += spent.backwards * some.length;
    done += some.length;
    options.onProgress?.(done, pairs.length);
  }
  return found;
}

/** Numbers of one layer's gradients that are held at once, for all that it reads and all tokens of a chunk of pairs. */
const HELD_NUMBERS = 1 << 24;
/** Of which a chunk of pairs is made by {@link together}, in tokens. */
const CHUNK_TOKENS = 2048;

/** How pairs make chunks: a layer's gradients stay within bounds, and all that a chunk holds within the budget, if there is one. */
function chunksOf(
  model: Model,
  pairs: readonly AttributionPair[],
): { readonly rows: number; readonly tokens: number } {
  const { heads, dModel } = model.architecture;
  const rows = Math.max(2, Math.ceil((CHUNK_TOKENS * (3 * heads + 1) * dModel) / HELD_NUMBERS));
  const numbers = edgeNumbers(model, longest(pairs));
  return { rows, tokens: rows * tokensWithin(model, numbers, CHUNK_TOKENS / rows) };
}

/** What a user who set a budget of memory should know. */
export function edgeMemoryWarnings(model: Model, pairs: readonly AttributionPair[]): string[] {
  return passWarnings(model, edgeNumbers(model, longest(pairs)), longest(pairs));
}

/**
 * Numbers that a token of a pair takes: two residual streams of all layers (one of a run on the way between the two),
 * outputs of heads and MLPs as they are in the other run and as they differ, gradients by all that a layer reads, what
 * its heads write, and one block's values and gradients.
 */
function edgeNumbers(model: Model, length: number): number {
  const { heads, dHead, dModel } = model.architecture;
  const outputs = model.definition.blocks.length * (heads * dHead + dModel);
  const layer = (3 * heads + 1) * dModel + 2 * heads * dModel;
  return 2 * streamNumbers(model) + 2 * outputs + layer + blockNumbers(model, length);
}

interface Together extends EdgeScoreOptions {
  readonly scores: readonly Float64Array[];
  readonly onValues: (row: number, values: { readonly base: number; readonly source: number }) => void;
}

async function scoreTogether(
  model: Model,
  pairs: readonly AttributionPair[],
  options: Together,
): Promise<PassCount> {
  const { estimator, base } = options;
  const keep = options.keepBytes === undefined ? {} : { keepBytes: options.keepBytes };
  const bases = pairs.map((pair) => pair.base);
  const path = await trajectory(
    model,
    bases.map(({ ids }) => ids),
    { ...keep, sites: present(model, [...DIFFERENCE_SITES, ...PASS_SITES]) },
  );
  const others = pairs.map(({ source }) => source);
  const { differences, residuals } = await runDifferences(model, path, {
    others: others.map(({ ids }) => ids),
    of: base,
  });
  const ends = await endGradients(model, bases, path);
  const sources = await endGradients(
    model,
    others,
    { batch: path.batch, final: residuals },
    {
      valuesOnly: true,
    },
  );
  for (const row of pairs.keys())
    options.onValues(row, {
      base: ends.values[row] ?? Number.NaN,
      source: sources.values[row] ?? Number.NaN,
    });
  const spent = { forwards: 2, backwards: 0 };
  const at = async (
    run: {
      readonly path: Trajectory;
      readonly gradient: FloatArray;
      readonly edits?: readonly (readonly Edit[])[];
    },
    weight: number,
    only?: SourceGroup,
  ): Promise<void> => {
    const { graph, scores } = options;
    spent.backwards += await addPass(model, { graph, scores, differences, weight, only, ...run });
  };
  /** A run whose base has a value moved towards the other's. */
  const moved = async (
    group: SourceGroup,
    alpha: number,
    weight: number,
    only?: SourceGroup,
  ): Promise<void> => {
    const towards = base === "corrupt" ? alpha : alpha - 1; // differences are clean less corrupt
    const edits = await movedEdits(model, { path, differences, group, by: towards });
    const step = await trajectory(
      model,
      bases.map(({ ids }) => ids),
      { ...keep, edits, sites: present(model, PASS_SITES) },
    );
    spent.forwards += 1;
    const { gradient } = await endGradients(model, bases, step);
    await at({ path: step, gradient, edits }, weight, only);
  };

  switch (estimator.kind) {
    case "eap":
      await at({ path, gradient: ends.gradient }, 1);
      break;
    case "clean-corrupted": {
      await at({ path, gradient: ends.gradient }, 1 / 2);
      const other = await trajectory(
        model,
        others.map(({ ids }) => ids),
        { ...keep, sites: present(model, PASS_SITES) },
      );
      spent.forwards += 1;
      const { gradient } = await endGradients(model, others, other);
      await at({ path: other, gradient }, 1 / 2);
      break;
    }
    case "eap-ig":
      for (const alpha of stepsOf(estimator.rule, estimator.steps))
        await moved({ kind: "input", layer: 0 }, alpha, 1 / estimator.steps);
      break;
    case "eap-ig-activations": {
      const groups = sourceGroups(options.graph);
      const share = 1 / (estimator.steps * (estimator.compatible ? groups.length : 1));
      for (const group of groups) {
        requireGoing(options.signal);
        for (const alpha of stepsOf(estimator.rule, estimator.steps))
          await moved(group, alpha, share, estimator.compatible ? undefined : group);
      }
    }
  }
  return spent;
}

function requireGoing(signal: { readonly aborted: boolean } | undefined): void {
  if (signal?.aborted) throw new Error("cancelled");
}

const present = ({ definition }: Model, sites: readonly SiteName[]): SiteName[] =>
  sites.filter((site) => definition.blocks.some((block) => block.sites.has(site)));

function sourceGroups({ sources }: EdgeGraph): SourceGroup[] {
  const groups = new Map<string, SourceGroup>();
  for (const source of sources) {
    const group = { kind: source.kind, layer: source.kind === "input" ? 0 : source.layer };
    groups.set(`${group.kind} ${group.layer}`, group);
  }
  return [...groups.values()];
}

/** Edits of each row that add a share of the difference to what a group of sources writes. */
async function movedEdits(
  model: Model,
  how: {
    readonly path: Trajectory;
    readonly differences: RunDifferences;
    readonly group: SourceGroup;
    readonly by: number;
  },
): Promise<Edit[][]> {
  const { path, differences, group, by } = how;
  const { kind, layer } = group;
  const site: SiteName = kind === "input" ? "resid_pre" : kind === "head" ? "z" : "mlp_out";
  const difference = { input: differences.input, head: differences.z[layer], mlp: differences.mlp[layer] }[
    kind
  ];
  const value = (await path.values(layer)).get(site) as FloatArray | undefined;
  if (value === undefined || difference === undefined)
    throw new Error(`${site} of layer ${layer} was not kept`);
  const width = value.length / path.batch.tokens;
  return path.batch.rows.map(({ length }, row): Edit[] => {
    const from = (path.batch.offsets[row] ?? 0) * width;
    const data = model.backend.allocate(length * width);
    for (let i = 0; i < data.length; i++) data[i] = (value[from + i] ?? 0) + by * (difference[from + i] ?? 0);
    const shape = siteShape(site, model.architecture, length);
    return [{ site, layer, where: {}, action: "replace", value: { kind: "given", shape, data } }];
  });
}
