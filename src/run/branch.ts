/**
 * @file Branches: variants that have parted from the run they are variants of. When one parts, at which positions, and
 * what it takes along.
 */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import { frontier } from "../program/cut.ts";
import { changesNothing, placeOf, sourceOf } from "./apply.ts";
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

/** Sites of the companion from which a variant starts that is edited at `site`. */
export function startSites({ program }: Layer, site: SiteName): SiteName[] {
  switch (SITES[site].stage) {
    case "before":
      return ["resid_pre"];
    case "attention":
      return ["rot_q", "rot_k", "v", ...around(program, "z").filter((name) => name !== "z")];
    case "after":
      return around(program, site);
  }
}

function around(program: Layer["program"], site: SiteName): SiteName[] {
  return frontier(program, [site], ["resid_post"]).filter((name): name is SiteName => name in SITES);
}

/** Lets the variants branch off whose edits at this layer change something. */
export function join(
  layer: Layer,
  { companions, pending }: { readonly companions: Companions; readonly pending: readonly Pending[] },
): { readonly pending: Pending[]; readonly branches: Branch[] } {
  const waiting: Pending[] = [];
  const branches: Branch[] = [];
  const { causal } = layer.model.architecture;
  for (const variant of pending) {
    const effective = dropIdle(layer, variant, companions);
    const here = effective.edits.filter((edit) => edit.layer === layer.index);
    const [first] = here;
    if (first === undefined) {
      waiting.push(effective);
      continue;
    }
    const { length } = rowOfRun(companions, variant.run);
    const narrowed = here.map((edit) => narrow(layer, edit, { companions, run: variant.run }));
    const positions = changedBy(narrowed, { length, causal });
    if (positions.length === 0) {
      waiting.push({ ...effective, edits: effective.edits.slice(here.length) });
      continue;
    }
    const state = new Map<SiteName, FloatArray>();
    for (const site of startSites(layer, first.site)) {
      state.set(site, valueAt(layer, { companions, run: variant.run, site, positions }));
    }
    branches.push({ ...effective, positions, length, state });
  }
  return { pending: waiting, branches };
}

/** Positions that any of the edits changes, ascending. */
export function changedBy(
  edits: readonly Edit[],
  options: Parameters<typeof changedPositions>[1],
): Int32Array {
  const changed = new Set(edits.flatMap((edit) => changedPositions(edit, options)));
  return Int32Array.from(changed).sort();
}

/** Drops the edits at this layer that leave the companion's values as they are, up to the first that does not. */
function dropIdle(layer: Layer, variant: Pending, companions: Companions): Pending {
  const edits = [...variant.edits];
  for (let [first] = edits; first !== undefined && first.layer === layer.index; [first] = edits) {
    const { where } = narrow(layer, first, { companions, run: variant.run });
    if (where[positionAxis(first.site)]?.length !== 0) break;
    edits.shift();
  }
  return { ...variant, edits };
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
  const at = (position: number): Edit => ({ ...edit, where: { ...edit.where, [axis]: [position] } });
  const changed = [...(edit.where[axis] ?? positions)].filter(
    (position) => !changesNothing(at(position), { architecture, ...place, positions, length, source }),
  );
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
