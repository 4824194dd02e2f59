/**
 * @file Branches: variants that have parted from the run they are variants of. When one parts, at which positions, and
 * what it takes along.
 */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import { frontier } from "../program/cut.ts";
import type { Program } from "../program/program.ts";
import { applyEdit, changedAt, placeOf, sourceOf } from "./apply.ts";
import type { Batch, Row } from "./batch.ts";
import type { Layer, SiteValue } from "./block.ts";
import type { Edit } from "./edit.ts";
import { changedPositions, positionAxis } from "./edit.ts";
import type { SiteName } from "./site.ts";
import { SITES, siteShape } from "./site.ts";

/** A variant under way. */
export interface Branch {
  readonly index: number;
  readonly run: number;
  /** Edits still to come, in order of computation. */
  readonly edits: readonly Edit[];
  readonly positions: Int32Array;
  readonly length: number;
  /** Values at `positions` from which the layer is computed: resid_pre, or the sites around the first edit. */
  readonly state: ReadonlyMap<SiteName, FloatArray>;
}

/** The companions at one layer. */
export interface Companions {
  readonly batch: Batch;
  /** Row of each run in the batch; runs that this wave does not need have none. */
  readonly rowOf: ReadonlyMap<number, number>;
  readonly values: ReadonlyMap<SiteName, SiteValue>;
}

/** A variant that has not parted yet. */
export type Pending = Pick<Branch, "index" | "run" | "edits">;

const startCache = new WeakMap<Program, Map<SiteName, readonly SiteName[]>>();

/** Sites of the companion from which a variant starts that is edited at `site`. */
export function startSites({ program }: Layer, site: SiteName): readonly SiteName[] {
  let known = startCache.get(program);
  if (known === undefined) {
    known = new Map();
    startCache.set(program, known);
  }
  let found = known.get(site);
  if (found === undefined) {
    found = findStart(program, site);
    known.set(site, found);
  }
  return found;
}

function findStart(program: Program, site: SiteName): SiteName[] {
  switch (SITES[site].stage) {
    case "before":
      return ["resid_pre"];
    case "attention":
      return ["rot_q", "rot_k", "v", ...around(program, "z").filter((name) => name !== "z")];
    case "after":
      return around(program, site);
  }
}

function around(program: Program, site: SiteName): SiteName[] {
  return frontier(program, [site], ["resid_post"]).filter((name): name is SiteName => name in SITES);
}

/**
 * Lets the variants branch off whose edits at this layer change something, as far as the companions' values are known.
 * An edit of a value that the branch starts from is made here and now.
 */
export function join(
  layer: Layer,
  { companions, pending }: { readonly companions: Companions; readonly pending: readonly Pending[] },
): { readonly pending: Pending[]; readonly branches: Branch[] } {
  const waiting: Pending[] = [];
  const branches: Branch[] = [];
  const known = (edit: Edit | undefined): edit is Edit =>
    edit?.layer === layer.index &&
    [edit.site, ...startSites(layer, edit.site)].every((site) => companions.values.has(site));
  for (const variant of pending) {
    const { run } = variant;
    let { edits } = variant;
    let effective: Edit | undefined;
    while (known(edits[0]) && effective === undefined) {
      const first = narrow(layer, edits[0], { companions, run });
      edits = edits.slice(1);
      if (changedBy([first], layerOf(layer, companions, run)).length > 0) effective = first;
    }
    if (effective === undefined) waiting.push({ ...variant, edits });
    else branches.push(branchOff(layer, { ...variant, edits: [effective, ...edits] }, companions));
  }
  return { pending: waiting, branches };
}

/** A variant whose first edit is one that changes something, where it does. */
function branchOff(layer: Layer, variant: Pending, companions: Companions): Branch {
  const { run, edits } = variant;
  const here = edits.filter((edit) => edit.layer === layer.index);
  const [first, ...more] = here as [Edit, ...Edit[]];
  const narrowed = more.map((edit) =>
    companions.values.has(edit.site) ? narrow(layer, edit, { companions, run }) : edit,
  );
  const options = layerOf(layer, companions, run);
  const { length } = options;
  const positions = changedBy([first, ...narrowed], options);
  const state = new Map<SiteName, FloatArray>();
  for (const site of startSites(layer, first.site)) {
    state.set(site, valueAt(layer, { companions, run, site, positions }));
  }
  const target = state.get(first.site);
  if (target === undefined) return { ...variant, positions, length, state };
  const { architecture } = layer.model;
  const source = sourceOf(first, (edit, other) => runValue(layer, companions, { edit, run: other }));
  applyEdit(first, { architecture, target, offset: 0, positions, length, source });
  return { ...variant, edits: edits.slice(1), positions, length, state };
}

function layerOf(
  { model }: Layer,
  companions: Companions,
  run: number,
): { readonly length: number; readonly causal: boolean } {
  return { length: rowOfRun(companions, run).length, causal: model.architecture.causal };
}

/** Positions that any of the edits changes, ascending. */
export function changedBy(
  edits: readonly Edit[],
  options: Parameters<typeof changedPositions>[1],
): Int32Array {
  const changed = new Set(edits.flatMap((edit) => changedPositions(edit, options)));
  return Int32Array.from(changed).sort();
}

/** The edit at those positions alone where it changes the companion's value, bit for bit. */
function narrow(
  layer: Layer,
  edit: Edit,
  { companions, run }: { readonly companions: Companions; readonly run: number },
): Edit {
  if (edit.action !== "replace") return edit;
  const { architecture } = layer.model;
  const { site } = edit;
  const { batch, rowOf, values } = companions;
  const row = rowOf.get(run) ?? 0;
  const place = placeOf(values.get(site) as SiteValue, { architecture, batch, row, site });
  const source = sourceOf(edit, (from, other) => runValue(layer, companions, { edit: from, run: other }));
  const { positions, length } = rowOfRun(companions, run);
  const axis = positionAxis(site);
  const changed = changedAt(edit, { architecture, ...place, positions, length, source });
  return { ...edit, where: { ...edit.where, [axis]: changed } };
}

export function rowOfRun({ batch, rowOf }: Companions, run: number): Row {
  const row = batch.rows[rowOf.get(run) ?? -1];
  if (row === undefined) throw new RangeError(`run ${run} is not part of the sweep`);
  return row;
}

export function runValue(
  { model }: Layer,
  companions: Companions,
  { edit, run }: { readonly edit: Edit; readonly run: number },
): Tensor<FloatArray> {
  const { architecture } = model;
  const { batch, rowOf, values } = companions;
  const { length } = rowOfRun(companions, run);
  const { site } = edit;
  const { target, offset, size } = placeOf(values.get(site) as SiteValue, {
    architecture,
    batch,
    row: rowOf.get(run) ?? 0,
    site,
  });
  return { data: target.subarray(offset, offset + size), shape: siteShape(site, architecture, length) };
}

/** A companion's token-wise value at some positions; a copy. */
export function valueAt(
  { model }: Layer,
  {
    companions,
    run,
    site,
    positions,
  }: {
    readonly companions: Companions;
    readonly run: number;
    readonly site: SiteName;
    readonly positions: Int32Array;
  },
): FloatArray {
  const { architecture, backend } = model;
  const { batch, rowOf, values } = companions;
  const { length } = rowOfRun(companions, run);
  const { target, offset, size } = placeOf(values.get(site) as SiteValue, {
    architecture,
    batch,
    row: rowOf.get(run) ?? 0,
    site,
  });
  const width = size / length;
  const out = backend.allocate(positions.length * width);
  for (const [index, position] of positions.entries()) {
    const from = offset + position * width;
    out.set(target.subarray(from, from + width), index * width);
  }
  return out;
}
