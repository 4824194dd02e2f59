/** @file The last layer, of which only what is read is computed. */

import type { FloatArray } from "../core/tensor.ts";
import { editsAt, pastOf, stack } from "./advance.ts";
import type { Batch } from "./batch.ts";
import { batchOf, groupKey, rowsOf } from "./batch.ts";
import type { Layer, Past, SiteValue } from "./block.ts";
import { needsAttention, runBlock } from "./block.ts";
import type { Branch, Companions } from "./branch.ts";
import { capturedSites, handOut } from "./capture.ts";
import type { Edit } from "./edit.ts";
import type { SiteName } from "./site.ts";
import type { SweepCapture } from "./variant.ts";

/** Every run of the sweep, with the positions at which it and its variants are read. */
export interface ReadPositions {
  readonly runs: readonly { readonly read: readonly { readonly position: number }[] }[];
  readonly capture?: SweepCapture | undefined;
}

/** Takes batches of branches through the last layer; a branch is left with the positions that are read. */
export async function finishAll(
  layer: Layer,
  batches: readonly (readonly Branch[])[],
  how: ReadPositions & { readonly companions: Companions },
): Promise<Branch[]> {
  const done: Branch[] = [];
  for (const branches of batches) done.push(...(await finish(layer, branches, how)));
  return done;
}

/** Sites whose edits are made before keys and values are put together. */
const KEY_SIDE: ReadonlySet<SiteName> = new Set(["resid_pre", "k_in", "v_in", "k", "v", "rot_k"]);

/** Keys and values are computed at every position that a branch holds, all else only at those that are read. */
async function finish(
  layer: Layer,
  branches: readonly Branch[],
  { runs, companions, capture }: ReadPositions & { readonly companions: Companions },
): Promise<Branch[]> {
  const { architecture, backend } = layer.model;
  const batch = batchOf(branches);
  const past = pastOf(branches, companions);

  let known: ReadonlyMap<SiteName, SiteValue> = stack(branches, (_, size) => backend.allocate(size));
  let own: Past | undefined;
  if (needsAttention(layer.program, "resid_post", known)) {
    const keySide = ({ site }: Edit): boolean => KEY_SIDE.has(site);
    const kept = [...known.keys()].filter((site) => site !== "rot_k" && site !== "v");
    known = await runBlock(layer, {
      batch,
      known,
      past,
      edits: editsAt(layer, { branches, batch, companions, only: keySide }),
      want: [...kept, "rot_k", "v"],
    });
    own = overlay(layer, branches, { batch, past, found: known });
  }

  const kept = branches
    .map((branch, row) => {
      const read = new Set(runs[branch.run]?.read.map(({ position }) => position));
      return { branch, row, positions: branch.positions.filter((position) => read.has(position)) };
    })
    .filter(({ positions }) => positions.length > 0)
    .map((entry) => ({ ...entry, key: groupKey({ ...entry.branch, positions: entry.positions }) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.row - b.row));
  if (kept.length === 0) return [];

  const rows = kept.map(({ branch, positions }) => ({ ...branch, positions }));
  const read = batchOf(rows);
  const tokens = kept.flatMap(({ branch, row, positions }) =>
    Array.from(positions, (position) => (batch.offsets[row] ?? 0) + branch.positions.indexOf(position)),
  );
  const { allocate } = backend;
  const found = await runBlock(layer, {
    batch: read,
    known: new Map(
      Array.from(known, ([site, value]) => [
        site,
        rowsOf(value as FloatArray, { tokens, of: batch.tokens, allocate }),
      ]),
    ),
    past: { ...(own ?? past), firstToken: (index) => (own ?? past).firstToken(kept[index]?.row ?? 0) },
    edits: editsAt(layer, {
      branches: rows,
      batch: read,
      companions,
      only: ({ site }) => own === undefined || !KEY_SIDE.has(site),
    }),
    want: [...new Set<SiteName>(["resid_post", ...capturedSites(layer, rows, capture)])],
  });
  handOut(layer, { branches: rows, batch: read }, { capture, found });
  const residual = found.get("resid_post") as FloatArray;
  const width = architecture.dModel;
  return rows.map((row, index) => {
    const from = (read.offsets[index] ?? 0) * width;
    const state = new Map([
      ["resid_post" as const, residual.subarray(from, from + row.positions.length * width)],
    ]);
    return { ...row, edits: [], state };
  });
}

/** Each row's keys and values of the whole sequence: its companion's, overwritten where it has its own. */
function overlay(
  { model }: Layer,
  branches: readonly Branch[],
  {
    batch,
    past,
    found,
  }: { readonly batch: Batch; readonly past: Past; readonly found: ReadonlyMap<SiteName, SiteValue> },
): Past {
  const { kvHeads, dHead } = model.architecture;
  const width = kvHeads * dHead;
  const starts = new Int32Array(branches.length + 1);
  for (const [row, { length }] of branches.entries()) starts[row + 1] = (starts[row] ?? 0) + length;
  const whole = (site: "rot_k" | "v"): FloatArray => {
    const [own, inherited] = [found.get(site) as FloatArray, past.values?.[site]];
    const all = model.backend.allocate((starts.at(-1) ?? 0) * width);
    for (const [row, { positions, length }] of branches.entries()) {
      const [start, first] = [(starts[row] ?? 0) * width, past.firstToken(row)];
      if (inherited !== undefined)
        all.set(inherited.subarray(first * width, (first + length) * width), start);
      for (const [index, position] of positions.entries()) {
        const at = ((batch.offsets[row] ?? 0) + index) * width;
        all.set(own.subarray(at, at + width), start + position * width);
      }
    }
    return all;
  };
  return { values: { rot_k: whole("rot_k"), v: whole("v") }, firstToken: (row) => starts[row] ?? 0 };
}
