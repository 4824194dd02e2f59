/**
 * @file One layer of a wave: companions and variants go through it in the same batch, so that the engine sees few
 * and large matrices.
 *
 * The shared batch holds the companions and every variant that is not edited in this layer. It stops behind
 * attention, where variants edited at `z` come aboard. Whatever is edited elsewhere in the layer, or has no room,
 * follows in batches of its own.
 */

import type { FloatArray } from "../core/tensor.ts";
import type { BatchOptions } from "./advance.ts";
import { advanceAll, advanced, append, batchesOf, keysOrValues } from "./advance.ts";
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
  const { scratch } = layer.contexts;
  const { dModel, heads, kvHeads, dHead } = layer.model.architecture;
  const start = new Map<SiteName, SiteValue>([["resid_pre", residual]]);
  const atStart = join(layer, { companions: { batch: own, rowOf, values: start }, pending });
  const needed = neededSites(layer, [...atStart.pending, ...branches, ...atStart.branches]);
  // What the companions must be looked into for is only computed for all if it costs nothing.
  const middle = startSites(layer, "z");
  const free = new Set<SiteName>(["resid_pre", "rot_k", "v", ...middle, "resid_post"]);
  const shares = capture === undefined && needed.every((site) => free.has(site));
  const room = shares ? batchTokens : 0;

  const ready = [...branches, ...atStart.branches];
  const isPlain = (branch: Branch): boolean => startsAt(branch, ["resid_pre"]) && !editedIn(layer, branch);
  const [aboard = [], ...waiting] = batchesOf(layer, ready.filter(isPlain), {
    limit: batchTokens,
    first: room - own.tokens,
  });
  const batch = batchOf([...own.rows, ...aboard]);
  const early = (site: SiteName): boolean => SITES[site].stage !== "after" || middle.includes(site);
  const atMiddle = await runBlock(layer, {
    batch,
    known: new Map([
      ["resid_pre", append(layer, residual, { branches: aboard, site: "resid_pre", space: "start" })],
    ]),
    into: {
      rot_q: scratch("rot_q", batch.tokens * heads * dHead),
      rot_k: scratch("own rot_k", batch.tokens * kvHeads * dHead),
      v: scratch("own v", batch.tokens * kvHeads * dHead),
      z: scratch("z", batch.tokens * heads * dHead),
    },
    past: (row, _, all) => {
      const companion = rowOf.get(aboard[row - own.rows.length]?.run ?? -1) ?? row;
      return keysOrValues(layer, all, { batch: own, row: companion });
    },
    want: [...new Set<SiteName>([...middle, "rot_k", "v", ...needed.filter(early)])],
  });
  const inMiddle = join(layer, {
    companions: { batch, rowOf, values: new Map([...atMiddle, ...start]) },
    pending: atStart.pending,
  });

  const boards = (branch: Branch): boolean => startsAt(branch, middle) && !editedIn(layer, branch);
  const [late = [], ...missed] = batchesOf(layer, inMiddle.branches.filter(boards), {
    limit: batchTokens,
    first: room - batch.tokens,
  });
  const whole = batchOf([...batch.rows, ...late]);
  const value = (site: SiteName): FloatArray => atMiddle.get(site) as FloatArray;
  const atEnd = await runBlock(layer, {
    batch: whole,
    known: new Map(
      middle.map((site) => [
        site,
        append(layer, value(site), { branches: late, site, space: `middle ${site}` }),
      ]),
    ),
    // The next layer reads this one's output while it writes its own.
    into: { resid_post: scratch(`resid_post ${layer.index % 2}`, whole.tokens * dModel) },
    want: [...new Set<SiteName>(["resid_post", ...needed.filter((site) => !early(site))])],
  });
  const companions: Companions = {
    batch: whole,
    rowOf,
    values: new Map([...atMiddle, ...atEnd, ...start]),
  };
  const atLast = join(layer, { companions, pending: inMiddle.pending });

  const residuals = atEnd.get("resid_post") as FloatArray;
  const split = own.tokens * dModel;
  const through = advanced(layer, [...aboard, ...late], { companions, residual: residuals.subarray(split) });
  const apart = [
    ...ready.filter((branch) => !isPlain(branch)),
    ...inMiddle.branches.filter((branch) => !boards(branch)),
    ...atLast.branches,
  ];
  const batches = [...waiting, ...missed, ...batchesOf(layer, apart, { limit: batchTokens })];
  const rest = await advanceAll(layer, batches, { companions, capture });
  return {
    pending: atLast.pending,
    branches: [...through, ...rest],
    residual: residuals.subarray(0, split),
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
