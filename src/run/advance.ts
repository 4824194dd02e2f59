/** @file Taking branches through one layer, in batches of like kind. */

import { groupBy } from "../core/group.ts";
import type { FloatArray, Tensor } from "../core/tensor.ts";
import { sizeOf } from "../core/tensor.ts";
import { range } from "../numeric/cells.ts";
import { applyEdit, batchEdits, sourceOf } from "./apply.ts";
import type { Batch } from "./batch.ts";
import { batchOf, groupKey, rowsOf } from "./batch.ts";
import type { BatchEdit, Layer, Past } from "./block.ts";
import { runBlock } from "./block.ts";
import type { Branch, Companions } from "./branch.ts";
import { changedBy, runValue, valueAt } from "./branch.ts";
import { capturedSites, handOut } from "./capture.ts";
import type { Edit } from "./edit.ts";
import { replacesTokens } from "./edit.ts";
import type { SiteName } from "./site.ts";
import { keptName, siteShape } from "./site.ts";
import type { SweepCapture } from "./variant.ts";
import type { ReplacedTokens, WholeRun } from "./whole.ts";
import { fitsWhole, runWhole } from "./whole.ts";

export interface BatchOptions {
  /** Tokens that go through a block together. */
  readonly batchTokens: number;
}

/**
 * Splits branches into batches that start from the same sites and are edited at the same ones, rows of one shape
 * side by side. The first batch may have a limit of its own, and is empty if nothing fits.
 */
export function batchesOf(
  layer: Layer,
  branches: readonly Branch[],
  { limit, first = limit }: { readonly limit: number; readonly first?: number },
): Branch[][] {
  const kinds = groupBy(branches, ({ state, edits }) => {
    const edited = edits.filter((edit) => edit.layer === layer.index).map((edit) => edit.site);
    return `${[...state.keys()].join()}|${[...new Set(edited)].join()}`;
  });
  const batches: Branch[][] = [];
  for (const kind of kinds.values()) {
    let open: Branch[] = [];
    let room = batches.length === 0 ? first : limit;
    for (const branch of sorted(kind)) {
      const tokens = branch.positions.length;
      // A branch that is larger than a whole batch gets one for itself.
      if (tokens > room && (open.length > 0 || room < limit)) {
        batches.push(open);
        open = [];
        room = limit;
      }
      open.push(branch);
      room -= tokens;
    }
    batches.push(open);
  }
  return batches;
}

function sorted(branches: readonly Branch[]): Branch[] {
  const keyed = branches.map((branch) => ({ branch, key: groupKey(branch) }));
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.branch.index - b.branch.index));
  return keyed.map(({ branch }) => branch);
}

/** Takes batches of branches through the layer, each from where it starts. */
export async function advanceAll(
  layer: Layer,
  batches: readonly (readonly Branch[])[],
  { companions, capture }: { readonly companions: Companions; readonly capture: SweepCapture | undefined },
): Promise<Branch[]> {
  const after: Branch[] = [];
  for (const branches of batches) {
    const batch = batchOf(branches);
    const found = await runBlock(layer, {
      batch,
      known: stack(branches, (_, size) => layer.model.backend.allocate(size)),
      past: pastOf(branches, companions),
      edits: editsAt(layer, { branches, batch, companions }),
      want: [...new Set<SiteName>(["resid_post", ...capturedSites(layer, branches, capture)])],
    });
    handOut(layer, { branches, batch }, { capture, found });
    after.push(...advanced(layer, branches, { companions, residual: found.get("resid_post") as FloatArray }));
  }
  return after;
}

/**
 * Takes batches of branches through the layer that start with it and that nobody looks into (see {@link isWhole}),
 * each in one program where that can be; those of `late` come aboard the first one behind attention.
 */
export async function advanceWhole(
  layer: Layer,
  batches: readonly (readonly Branch[])[],
  { late, companions }: { readonly late: readonly Branch[]; readonly companions: Companions },
): Promise<Branch[]> {
  const { scratch } = layer.contexts;
  const after: Branch[] = [];
  for (const [index, branches] of batches.entries()) {
    const batch = batchOf(branches);
    const joining = index === 0 ? late : [];
    if (fitsWhole(batch)) {
      const residual = await runWhole(layer, {
        batch,
        place: index + 1, // 0 is that of the companions
        residual: stack(branches, scratch).get("resid_pre") as FloatArray,
        past: pastOf(branches, companions),
        ...givenTo(layer, { branches, late: joining, batch, companions }),
      });
      after.push(...advanced(layer, [...branches, ...joining], { companions, residual }));
    } else {
      const apart = [branches, joining].filter(({ length }) => length > 0);
      after.push(...(await advanceAll(layer, apart, { companions, capture: undefined })));
    }
  }
  return after;
}

/** Whether a branch starts with the layer, and the layer's edits of it can be made within one program. */
export function isWhole(layer: Layer, { state, edits }: Branch): boolean {
  const here = edits.filter((edit) => edit.layer === layer.index);
  return state.size === 1 && state.has("resid_pre") && here.every(replacesTokens);
}

interface Given {
  /** The last rows of the batch. */
  readonly branches: readonly Branch[];
  readonly late: readonly Branch[];
  readonly batch: Batch;
  readonly companions: Companions;
}

/** What a batch is given on its way: rows that come aboard late, and what edits put in the place of computed values. */
export function givenTo(
  layer: Layer,
  { branches, late, batch, companions }: Given,
): Required<Pick<WholeRun, "late" | "replaced">> {
  const { contexts } = layer;
  const firstRow = batch.rows.length - branches.length;
  const found = new Map<SiteName, { readonly tokens: number[]; readonly values: FloatArray[] }>();
  for (const [row, { edits, positions, length }] of branches.entries()) {
    for (const edit of edits.filter(({ layer: index }) => index === layer.index)) {
      const site = keptName(layer.program, edit.site);
      const chosen = new Set(edit.where.pos ?? positions);
      const held = positions.filter((position) => chosen.has(position));
      const target = taken(layer, { edit, positions: held, length, companions });
      const { tokens, values } = found.get(site) ?? { tokens: [], values: [] };
      found.set(site, { tokens, values });
      const first = batch.offsets[firstRow + row] ?? 0;
      for (const [at, position] of positions.entries()) if (chosen.has(position)) tokens.push(first + at);
      values.push(target);
    }
  }
  const replaced = [...found].map(([site, { tokens, values }]): [SiteName, ReplacedTokens] => [
    site,
    { tokens, values: concat(values, (size) => contexts.scratch(`given ${site}`, size)) },
  ]);
  return {
    late: stack(late, (site, size) => contexts.scratch(`late ${site}`, size)),
    replaced: new Map(replaced),
  };
}

/** The value that an edit gives whole tokens [position, …]. */
function taken(
  layer: Layer,
  {
    edit,
    positions,
    length,
    companions,
  }: {
    readonly edit: Edit;
    readonly positions: Int32Array;
    readonly length: number;
    readonly companions: Companions;
  },
): FloatArray {
  const { architecture, backend } = layer.model;
  const ofRun = (from: Edit, run: number): Tensor<FloatArray> =>
    runValue(layer, companions, { edit: from, run });
  if (edit.value.kind === "run") {
    const { data, shape } = ofRun(edit, edit.value.run);
    return rowsOf(data, { tokens: positions, of: shape[0] ?? 0, allocate: backend.allocate });
  }
  const [, ...size] = siteShape(edit.site, architecture, length);
  const target = backend.allocate(positions.length * sizeOf(size));
  applyEdit(edit, { architecture, target, offset: 0, positions, length, source: sourceOf(edit, ofRun) });
  return target;
}

/** What the layer's edits make of each branch's row of `batch`. */
export function editsAt(
  layer: Layer,
  {
    branches,
    batch,
    companions,
    only = () => true,
  }: {
    readonly branches: readonly Branch[];
    readonly batch: Batch;
    readonly companions: Companions;
    readonly only?: (edit: Edit) => boolean;
  },
): BatchEdit[] {
  const rows = branches.map(({ edits }) => edits.filter((edit) => edit.layer === layer.index && only(edit)));
  return batchEdits(rows, {
    architecture: layer.model.architecture,
    batch,
    runValue: (edit, run) => runValue(layer, companions, { edit, run }),
  });
}

/** Branches as the next layer starts from them; `residual` is resid_post of their rows [token, d]. */
export function advanced(
  layer: Layer,
  branches: readonly Branch[],
  { companions, residual }: { readonly companions: Companions; readonly residual: FloatArray },
): Branch[] {
  const width = layer.model.architecture.dModel;
  let from = 0;
  return branches.map((branch) => {
    const to = from + branch.positions.length * width;
    const own = residual.subarray(from, to);
    from = to;
    const edits = branch.edits.filter((edit) => edit.layer > layer.index);
    return { ...branch, edits, ...spread(layer, { ...branch, edits }, { own, companions }) };
  });
}

/**
 * What the next layer starts from. Whatever attends to a changed position can differ from here on: the suffix, or
 * everything. Positions that only the next layer's edits change come from the companion.
 */
function spread(
  layer: Layer,
  branch: Branch,
  { own, companions }: { readonly own: FloatArray; readonly companions: Companions },
): Pick<Branch, "positions" | "state"> {
  const { causal, dModel } = layer.model.architecture;
  const { length, run } = branch;
  const first = causal ? (branch.positions[0] ?? length) : 0;
  const next = branch.edits.filter((edit) => edit.layer === layer.index + 1);
  const before = changedBy(next, { length, causal }).filter((position) => position < first);
  const positions = Int32Array.from([...before, ...range(length - first, first)]);
  if (branch.positions.length === positions.length) {
    return { positions, state: new Map([["resid_pre", own]]) };
  }
  const residual = valueAt(layer, { companions, run, site: "resid_post", positions });
  for (const [index, position] of branch.positions.entries()) {
    const to = positions.indexOf(position) * dModel;
    residual.set(own.subarray(index * dModel, (index + 1) * dModel), to);
  }
  return { positions, state: new Map([["resid_pre", residual]]) };
}

/** Keys and values of the companions that the rows of a batch branched from. */
export function pastOf(branches: readonly Branch[], { batch, rowOf, values }: Companions): Past {
  return {
    values: { rot_k: values.get("rot_k") as FloatArray, v: values.get("v") as FloatArray },
    firstToken: (row) => batch.offsets[rowOf.get(branches[row]?.run ?? -1) ?? -1] ?? 0,
  };
}

/** The states of all branches, one after the other, site by site. */
export function stack(
  branches: readonly Branch[],
  allocate: (site: SiteName, size: number) => FloatArray,
): Map<SiteName, FloatArray> {
  const sites = [...(branches[0]?.state.keys() ?? [])];
  return new Map(
    sites.map((site) => [
      site,
      concat(
        branches.map(({ state }) => state.get(site) as FloatArray),
        (size) => allocate(site, size),
      ),
    ]),
  );
}

/** resid_pre of the companions, followed by that of branches, in scratch space. */
export function append({ contexts }: Layer, residual: FloatArray, branches: readonly Branch[]): FloatArray {
  const parts = branches.map(({ state }) => state.get("resid_pre") as FloatArray);
  return concat([residual, ...parts], (size) => contexts.scratch("resid_pre", size));
}

function concat(parts: readonly FloatArray[], allocate: (size: number) => FloatArray): FloatArray {
  const whole = allocate(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
