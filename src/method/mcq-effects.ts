/**
 * @file What each node at the last position of questions does to the answer, resampled from other questions: the total
 * effect, everything later computed again, against the direct one, its change put straight into the final stream.
 * Source: Lieberum et al. 2023, "Does Circuit Analysis Interpretability Scale?", section 3.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { runPart, type WeightedProgram } from "../run/part.ts";
import { readRows } from "../run/read.ts";
import { sweep } from "../run/sweep.ts";
import type { SweepOptions, Variant } from "../run/variant.ts";
import { withWeights } from "../run/with-layer.ts";
import type { Item } from "../task/question-items.ts";
import type { Ablated, Unit } from "./ablated-units.ts";
import { type LetterMetric, type LetterScores, scoresOf } from "./mcq-scores.ts";

/** A head or an MLP at the last position. */
export type Node =
  | Extract<Unit, { readonly kind: "head" }>
  | { readonly kind: "mlp"; readonly layer: number };

/** Effects on one question, (resampled − as it is), means over draws; by node. */
export interface NodeEffects {
  readonly total: Float64Array;
  readonly direct: Float64Array;
}

export interface NodeRequest {
  readonly items: readonly Item[];
  readonly nodes: readonly Node[];
  readonly metric: LetterMetric;
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

/** Rows of heads' outputs that are projected at once. */
const ROWS = 512;

/** All heads layer by layer, each layer's MLP behind them. */
export function nodesOf({ definition, architecture }: Model, { hasMlp }: Ablated): Node[] {
  return [...definition.blocks.keys()].flatMap((layer) => [
    ...Array.from({ length: architecture.heads }, (_, head): Node => ({ kind: "head", layer, head })),
    ...(hasMlp ? [{ kind: "mlp", layer } as const] : []),
  ]);
}

/** `2.1` for a head, `mlp 3` for an MLP. */
export const nodeName = (node: Node): string =>
  node.kind === "head" ? `${node.layer}.${node.head}` : `mlp ${node.layer}`;

/** Options of a sweep that are given, under exact optional types. */
export function sweepOptions({
  stateBytes,
  onProgress,
  signal,
}: Pick<NodeRequest, "stateBytes" | "onProgress" | "signal">): Pick<
  SweepOptions,
  "stateBytes" | "onProgress" | "signal"
> {
  return {
    ...(stateBytes === undefined ? {} : { stateBytes }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  };
}

/** Effects of all nodes on all questions, and each question's scores as it is. */
export async function nodeEffects(
  model: Model,
  ablated: Ablated,
  request: NodeRequest,
): Promise<{ readonly effects: readonly NodeEffects[]; readonly clean: readonly LetterScores[] }> {
  const { items, nodes, metric } = request;
  const effects = items.map((): NodeEffects => {
    const row = (): Float64Array => new Float64Array(nodes.length);
    return { total: row(), direct: row() };
  });
  const clean: LetterScores[] = [];
  const starts = [0];
  for (const draws of ablated.draws) starts.push((starts.at(-1) ?? 0) + draws * nodes.length);
  const placeOf = (index: number) => {
    const prompt = starts.findLastIndex((start) => start <= index);
    const rest = index - (starts[prompt] ?? 0);
    return { prompt, node: rest % nodes.length, draw: Math.floor(rest / nodes.length) };
  };
  const add = (kind: keyof NodeEffects, at: { prompt: number; node: number }, value: number): void => {
    const into = effects[at.prompt]?.[kind];
    if (into) into[at.node] = (into[at.node] ?? 0) + value / (ablated.draws[at.prompt] ?? 1);
  };
  const change = (prompt: number, scores: LetterScores): number =>
    scores[metric] - (clean[prompt]?.[metric] ?? Number.NaN);
  const variant = (index: number): Variant => {
    const { prompt, node, draw } = placeOf(index);
    return { run: prompt, edits: [ablated.edit(nodes[node] as Node, { prompt, draw })] };
  };
  await sweep(
    model,
    { runs: ablated.runs, count: starts.at(-1) ?? 0, variant },
    {
      ...sweepOptions(request),
      onRun(run, reading) {
        clean[run] = scoresOf(items[run] as Item, reading);
      },
      onReading(index, reading, exact) {
        if (exact) return;
        const place = placeOf(index);
        add("total", place, change(place.prompt, scoresOf(items[place.prompt] as Item, reading)));
      },
    },
  );
  await directEffects(model, ablated, {
    nodes,
    onRow(place, reading) {
      add("direct", place, change(place.prompt, scoresOf(items[place.prompt] as Item, reading)));
    },
  });
  return { effects, clean };
}

interface Row {
  readonly prompt: number;
  readonly node: number;
  readonly residual: FloatArray;
}

/** The final stream with each node's change added to it, read as any other. */
async function directEffects(
  model: Model,
  ablated: Ablated,
  {
    nodes,
    onRow,
  }: {
    readonly nodes: readonly Node[];
    readonly onRow: (row: Row, reading: Parameters<typeof scoresOf>[1]) => void;
  },
): Promise<void> {
  const { heads, dHead } = model.architecture;
  for (const [layer, program] of model.definition.blocks.entries()) {
    await withWeights(model, layer, async (weights) => {
      const block: WeightedProgram = { program, weights };
      const own = nodes.flatMap((unit, node) => (unit.layer === layer ? [{ unit, node }] : []));
      for (const prompt of ablated.runs.keys()) {
        const residual = ablated.residuals[prompt] ?? model.backend.allocate(0);
        const moved = (from: ArrayLike<number>, to: ArrayLike<number>): FloatArray =>
          residual.map((value, i) => value + ((to[i] ?? 0) - (from[i] ?? 0)));
        const values: { readonly node: number; readonly z: FloatArray }[] = [];
        const rows: Row[] = [];
        for (let draw = 0; draw < (ablated.draws[prompt] ?? 1); draw++) {
          for (const { unit, node } of own) {
            const { value } = ablated.edit(unit, { prompt, draw });
            if (value.kind !== "given") throw new RangeError("resampled values are given ones");
            const before = ablated.output(unit, prompt);
            if (unit.kind === "mlp") rows.push({ prompt, node, residual: moved(before, value.data) });
            else {
              const z = before.slice();
              for (let i = unit.head * dHead; i < (unit.head + 1) * dHead; i++) z[i] = value.data[i] ?? 0;
              values.push({ node, z });
            }
          }
        }
        const [first] = own.flatMap(({ unit }) => (unit.kind === "head" ? [unit] : []));
        for (let start = 0; first !== undefined && start < values.length; start += ROWS) {
          const chunk = values.slice(start, start + ROWS);
          const size = heads * dHead;
          const data = model.backend.allocate((chunk.length + 1) * size);
          data.set(ablated.output(first, prompt)); // row 0: as it is
          for (const [row, { z }] of chunk.entries()) data.set(z, (row + 1) * size);
          const given = { z: { data, shape: [chunk.length + 1, heads, dHead] } };
          const out = await runPart(model, block, { given, want: "attn_out" });
          const width = out.length / (chunk.length + 1);
          for (const [row, { node }] of chunk.entries()) {
            const to = out.subarray((row + 1) * width, (row + 2) * width);
            rows.push({ prompt, node, residual: moved(out.subarray(0, width), to) });
          }
        }
        const { read } = ablated.runs[prompt] as Ablated["runs"][number];
        await readRows(model, rows, { reads: () => read, onReading: onRow });
      }
    });
  }
}
