/**
 * @file One layer of a wave.
 *
 * Companions and the variants that the layer does not edit go through it in one batch, so that the engine sees few and
 * large matrices. Where edits compare or replace values in it, the companions go ahead: as far as `z`, and then once
 * more with the others, if nothing behind it is looked at and they are few; to the end of the layer otherwise. Variants
 * edited at `z` join that batch behind attention, and those in which whole tokens behind attention are replaced have
 * another. Whatever is edited elsewhere, or has no room, follows in batches of its own.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { BatchOptions } from "./advance.ts";
import { advanceAll, advanced, advanceWhole, append, batchesOf, givenTo, isWhole } from "./advance.ts";
import type { Batch } from "./batch.ts";
import { batchOf } from "./batch.ts";
import type { Layer, SiteValue } from "./block.ts";
import { runBlock } from "./block.ts";
import type { Branch, Companions, Pending } from "./branch.ts";
import { join, startSites } from "./branch.ts";
import type { ReadPositions } from "./finish.ts";
import { finishAll } from "./finish.ts";
import type { SiteName } from "./site.ts";
import { SITES } from "./site.ts";
import { fitsWhole, runWhole } from "./whole.ts";

/** A wave between two layers. */
export interface WaveState {
  readonly pending: readonly Pending[];
  readonly branches: readonly Branch[];
  /** resid_pre of the companions [token, d]. */
  readonly residual: FloatArray;
}

export interface LayerOptions extends BatchOptions, ReadPositions {
  /** The companions' rows. */
  readonly batch: Batch;
  /** Row of each run in the batch. */
  readonly rowOf: ReadonlyMap<number, number>;
}

/**
 * Companions are few where they are a quarter of a batch at most: then queries, keys and values computed twice cost less
 * than small matrices of their own behind them.
 */
const FEW = 4;

/** Takes companions and variants through the layer; in the last one, variants only as far as they are read. */
export function runLayer(layer: Layer, state: WaveState, options: LayerOptions): Promise<WaveState> {
  const last = layer.index === layer.model.definition.blocks.length - 1;
  return last ? runLast(layer, state, options) : runInner(layer, state, options);
}

async function runInner(
  layer: Layer,
  { pending, branches, residual }: WaveState,
  options: LayerOptions,
): Promise<WaveState> {
  const { batch: own, rowOf, batchTokens, capture } = options;
  const { dModel } = layer.model.architecture;
  const start = new Map<SiteName, SiteValue>([["resid_pre", residual]]);
  const atStart = join(layer, { companions: { batch: own, rowOf, values: start }, pending });
  const ready = [...branches, ...atStart.branches];
  const needed = neededSites(layer, [...atStart.pending, ...ready]);
  const isWatched = ({ index }: Branch): boolean => capture?.wants(index) === true;
  const passes = (branch: Branch): boolean => !isWatched(branch) && isWhole(layer, branch);
  const [aboard = [], ...waiting] = batchesOf(layer, ready.filter(passes), {
    limit: batchTokens,
    first: batchTokens - own.tokens,
  });
  const together = batchOf([...own.rows, ...aboard]);
  const middle = startSites(layer, "z");
  const isAlone = needed.length === 0 && aboard.length === ready.length;
  const few = isAlone || own.tokens * FEW <= batchTokens;
  const isAhead = (site: SiteName): boolean => SITES[site].stage !== "after" || middle.includes(site);
  const ride = few && needed.every(isAhead) && fitsWhole(together);
  const want = new Set<SiteName>(["rot_k", "v", ...needed, ...(ride ? [] : (["resid_post"] as const))]);
  const found =
    ride && isAlone ? start : await runBlock(layer, { batch: own, known: start, want: [...want] });
  let companions: Companions = { batch: own, rowOf, values: new Map([...found, ...start]) };

  const joined = join(layer, { companions, pending: atStart.pending });
  const boards = (branch: Branch): boolean =>
    !isWatched(branch) && startsAt(branch, middle) && !editedIn(layer, branch);
  const [late = [], ...missed] = batchesOf(layer, joined.branches.filter(boards), {
    limit: batchTokens,
    first: batchTokens - (ride ? together : batchOf(aboard)).tokens,
  });
  const through: Branch[] = [];
  if (ride) {
    const residuals = await runWhole(layer, {
      batch: together,
      place: 0,
      residual: append(layer, residual, aboard),
      past: {
        firstToken: (row) => own.offsets[rowOf.get(aboard[row - own.rows.length]?.run ?? -1) ?? -1] ?? 0,
      },
      ...givenTo(layer, { branches: aboard, late, batch: together, companions }),
    });
    const split = own.tokens * dModel;
    const values = new Map([...companions.values, ["resid_post", residuals.subarray(0, split)] as const]);
    companions = { ...companions, values };
    through.push(
      ...advanced(layer, [...aboard, ...late], { companions, residual: residuals.subarray(split) }),
    );
    through.push(...(await advanceWhole(layer, waiting, { late: [], companions })));
  } else through.push(...(await advanceWhole(layer, [aboard, ...waiting], { late, companions })));
  const apart = [
    ...ready.filter((branch) => !passes(branch)),
    ...joined.branches.filter((branch) => !boards(branch)),
  ];
  const batches = [...missed, ...batchesOf(layer, apart, { limit: batchTokens })];
  const rest = await advanceAll(layer, batches, { companions, capture });
  return {
    pending: joined.pending,
    branches: [...through, ...rest],
    residual: companions.values.get("resid_post") as FloatArray,
  };
}

async function runLast(
  layer: Layer,
  { pending, branches, residual }: WaveState,
  options: LayerOptions,
): Promise<WaveState> {
  const { batch, rowOf, batchTokens, runs, capture } = options;
  const values = await runBlock(layer, {
    batch,
    known: new Map([["resid_pre", residual]]),
    want: [
      ...new Set<SiteName>(["rot_k", "v", "resid_post", ...neededSites(layer, [...pending, ...branches])]),
    ],
  });
  const companions: Companions = { batch, rowOf, values: new Map([...values, ["resid_pre", residual]]) };
  const joined = join(layer, { companions, pending });
  const batches = batchesOf(layer, [...branches, ...joined.branches], { limit: batchTokens });
  return {
    pending: joined.pending,
    branches: await finishAll(layer, batches, { companions, runs, capture }),
    residual: values.get("resid_post") as FloatArray,
  };
}

/** Sites of the companions that edits in this layer are compared with, start from, or take values from. */
function neededSites(layer: Layer, variants: readonly Pending[]): SiteName[] {
  const edited = new Set<SiteName>();
  for (const { edits } of variants) {
    for (const { layer: index, site } of edits) if (index === layer.index) edited.add(site);
  }
  const needed = new Set(edited);
  for (const site of edited) for (const start of startSites(layer, site)) needed.add(start);
  needed.delete("resid_pre");
  return [...needed];
}

const editedIn = (layer: Layer, { edits }: Pending): boolean => edits[0]?.layer === layer.index;

function startsAt({ state }: Branch, sites: readonly SiteName[]): boolean {
  return state.size === sites.length && sites.every((site) => state.has(site));
}
