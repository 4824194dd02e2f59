/** @file What a sweep costs, before it starts: cells, floating-point operations, bytes. */
import type { Grid } from "../method/grid.ts";
import { cellAt } from "../method/grid.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import { attentionFlopsPerCell, linearFlopsPerToken } from "../program/cost.ts";
import { changedPositions } from "../run/edit.ts";

/** Cells looked at one by one for an estimate; larger grids are sampled evenly. */
const MAX_SAMPLED = 20_000;

/**
 * FLOPs of one block over the last `positions` of a prompt of `length` tokens: products with weights for each
 * position, scores and mixing of values for each query and key.
 */
function blockFlops(
  model: Model,
  layer: number,
  { positions, length }: { readonly positions: number; readonly length: number },
): number {
  const block = model.definition.blocks[layer];
  if (block === undefined) return 0;
  const attention = attentionFlopsPerCell(model.architecture) * length;
  return positions * (linearFlopsPerToken(block) + attention);
}

/** FLOPs of a whole forward pass without the unembedding. */
export function passFlops(model: Model, length: number): number {
  return model.definition.blocks.reduce(
    (sum, _, layer) => sum + blockFlops(model, layer, { positions: length, length }),
    0,
  );
}

/** FLOPs of an edited run whose positions from `layer` on differ: only those are computed. */
function branchFlops(
  model: Model,
  layer: number,
  positions: { readonly positions: number; readonly length: number },
): number {
  return model.definition.blocks.reduce(
    (sum, _, index) => (index < layer ? sum : sum + blockFlops(model, index, positions)),
    0,
  );
}

/** The sum of the sweep's edited runs over every layer and position of resid_pre, without the unedited runs. */
export function residualSweepFlops(model: Model, length: number): number {
  let flops = 0;
  for (const layer of model.definition.blocks.keys()) {
    for (let pos = 0; pos < length; pos++) {
      const positions = model.architecture.causal ? length - pos : length;
      flops += branchFlops(model, layer, { positions, length });
    }
  }
  return flops;
}

export interface SweepCost {
  readonly cells: number;
  readonly flops: number;
}

/**
 * The cost of patching every cell of the grids on every pair. An upper bound: the first edited block is counted whole,
 * and so are cells that turn out to be the same in both runs.
 */
export function sweepCost(
  model: Model,
  pairs: readonly Pair[],
  { grids, draws }: { readonly grids: readonly Grid[]; readonly draws: number },
): SweepCost {
  const { causal } = model.architecture;
  const lengths = pairs.map(({ clean }) => clean.ids.length);
  const distinct = new Map<number, number>();
  for (const length of lengths) distinct.set(length, (distinct.get(length) ?? 0) + 1);
  let flops = lengths.reduce((sum, length) => sum + 2 * passFlops(model, length), 0);
  let cells = 0;
  for (const grid of grids) {
    cells += grid.size * pairs.length;
    const step = Math.max(1, Math.floor(grid.size / MAX_SAMPLED));
    const known = new Map<string, number>();
    for (const [length, count] of distinct) {
      let sampled = 0;
      let sum = 0;
      for (let cell = 0; cell < grid.size; cell += step) {
        const labels = cellAt(grid, cell);
        const layer = labels.layer ?? Math.min(...grid.sites.flatMap(({ layers }) => layers));
        const changed = grid.sites.map(({ site, where }) =>
          changedPositions(
            { site, layer, where: where(labels), action: "replace", value: { kind: "fill", value: 0 } },
            { length, causal },
          ),
        );
        const positions = Math.max(
          ...changed.map((list) => (causal ? length - (list[0] ?? length) : length)),
        );
        const key = `${layer}.${positions}`;
        const found = known.get(`${length}.${key}`) ?? branchFlops(model, layer, { positions, length });
        known.set(`${length}.${key}`, found);
        sum += found;
        sampled++;
      }
      flops += sampled === 0 ? 0 : (sum / sampled) * grid.size * count * draws;
    }
  }
  return { cells, flops };
}

/** `1.2 TFLOP`. */
export function formatFlops(flops: number): string {
  return scaled(flops, 1000, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"]);
}

/** `538 MB`, in powers of ten. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1000, ["bytes", "kB", "MB", "GB", "TB"]);
}

function scaled(value: number, base: number, units: readonly string[]): string {
  const power = value < base ? 0 : Math.min(units.length - 1, Math.floor(Math.log(value) / Math.log(base)));
  const number = value / base ** power;
  return `${power === 0 ? Math.round(number) : Number(number.toPrecision(3))} ${units[power]}`;
}
