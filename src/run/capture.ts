/** @file Handing out values of branches under way, for those who ask what an edit does to later parts. */

import type { FloatArray } from "../core/tensor.ts";
import { downstream } from "../program/cut.ts";
import { valueOfSite } from "../program/program.ts";
import type { Batch } from "./batch.ts";
import type { Layer, SiteValue } from "./block.ts";
import type { Branch } from "./branch.ts";
import { SITES, type SiteName } from "./site.ts";
import type { SweepCapture } from "./variant.ts";

/** Branches of one batch, all of which start from the same sites. */
interface Captured {
  readonly branches: readonly Branch[];
  readonly batch: Batch;
}

/** Those sites asked for that can differ in such branches: the ones they start from, and later ones. */
export function capturedSites(
  { program }: Layer,
  branches: readonly Branch[],
  capture: SweepCapture | undefined,
): SiteName[] {
  if (capture === undefined || !branches.some(({ index }) => capture.wants(index))) return [];
  const start = [...(branches[0]?.state.keys() ?? [])].filter((site) => SITES[site].stage === "after");
  const later = downstream(program, start);
  return capture.sites.filter(
    (site) =>
      program.sites.has(site) &&
      (start.length === 0 || start.includes(site) || later.has(valueOfSite(program, site))),
  );
}

/** Calls back with the values found of those branches that are asked for. */
export function handOut(
  layer: Layer,
  { branches, batch }: Captured,
  {
    capture,
    found,
  }: { readonly capture: SweepCapture | undefined; readonly found: ReadonlyMap<SiteName, SiteValue> },
): void {
  if (capture === undefined) return;
  const rows = branches.flatMap(({ index, run }, row) =>
    capture.wants(index)
      ? [
          {
            index,
            run,
            positions: batch.rows[row]?.positions ?? new Int32Array(0),
            firstToken: batch.offsets[row] ?? 0,
          },
        ]
      : [],
  );
  if (rows.length === 0) return;
  const values = new Map(
    capture.sites.flatMap((site): [SiteName, FloatArray][] =>
      found.has(site) ? [[site, found.get(site) as FloatArray]] : [],
    ),
  );
  capture.onValues({ layer: layer.index, rows, values });
}
