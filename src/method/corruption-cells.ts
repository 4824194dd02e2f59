/** @file What is restored in a corrupted run: states at each kind of token, windows of outputs, heads. */

import { type Fault, InputError, merged, refuse } from "../core/errors.ts";
import type { Model } from "../model/model.ts";
import type { Pair } from "../model/pair.ts";
import type { Edit, Where } from "../run/edit.ts";
import { patch } from "../run/edit.ts";
import { isState, parseSite, SITES, type SiteName, sitesOf } from "../run/site.ts";
import { rolePositions, windowLayers } from "./tracing-cells.ts";

/** A site restored in the same way everywhere. */
export interface ComparedGrid {
  /** `mlp_out`, `mlp_out_window_5`. */
  readonly name: string;
  readonly site: SiteName;
  /** Layers restored together. */
  readonly window: number;
  /** Cells of a layer: kinds of tokens, or heads at all tokens. */
  readonly over: "role" | "head";
  /** Layers × kinds or heads. */
  readonly size: number;
}

/** Kinds of tokens, in the order of {@link rolePositions}. */
const ROLE_NAMES = [
  "first corrupted token",
  "middle corrupted tokens",
  "last corrupted token",
  "next token",
  "later tokens",
  "last token",
] as const;

export const DEFAULT_SITES: readonly string[] = ["resid_pre", "mlp_out", "attn_out"];
export const DEFAULT_WINDOWS: readonly number[] = [1, 5];

/** One restored cell of one pair: all its tokens of a kind together. */
export interface RestoredCell {
  readonly grid: number;
  /** Index into the grid: layer · places + place. */
  readonly cell: number;
  readonly edits: (clean: number) => Edit[];
}

export interface Layout {
  readonly grids: readonly ComparedGrid[];
  /** Kinds of tokens that some pair has. */
  readonly roles: readonly string[];
  /** [pair][role]: positions. */
  readonly positions: readonly (readonly (readonly number[])[])[];
  /** [pair] */
  readonly cells: readonly (readonly RestoredCell[])[];
}

/** Lays the cells of every pair out. @throws InputError naming every site that cannot be compared. */
export function layOut(
  model: Model,
  pairs: readonly Pair[],
  options: {
    readonly sites?: readonly string[] | undefined;
    readonly windows?: readonly number[] | undefined;
  },
): Layout {
  const layers = model.architecture.layers.length;
  const all = pairs.map((pair) => rolePositions({ subject: pair.differing, clean: pair.clean }));
  const kept = ROLE_NAMES.map((_, role) => role).filter((role) =>
    all.some((positions) => (positions[role]?.length ?? 0) > 0),
  );
  const positions = all.map((own) => kept.map((role) => own[role] ?? []));
  const windows = [...new Set(options.windows ?? DEFAULT_WINDOWS)].sort((a, b) => a - b);
  const grids = comparedSites(model, options.sites ?? DEFAULT_SITES).flatMap((site): ComparedGrid[] => {
    const over = SITES[site].axes.includes("head") ? "head" : "role";
    const size = layers * (over === "head" ? model.architecture.heads : kept.length);
    // A state hides all that lies before it, so that a window of states is its last one.
    return (isState(site) || over === "head" ? [1] : windows).map((window) => ({
      name: window === 1 ? site : `${site}_window_${window}`,
      site,
      window,
      over,
      size,
    }));
  });
  const cells = positions.map((own) =>
    grids.flatMap((grid, index) => cellsOf(grid, { grid: index, positions: own, model })),
  );
  return { grids, roles: kept.map((role) => ROLE_NAMES[role] ?? ""), positions, cells };
}

function cellsOf(
  { site, window, over }: ComparedGrid,
  {
    grid,
    positions,
    model,
  }: { readonly grid: number; readonly positions: readonly (readonly number[])[]; readonly model: Model },
): RestoredCell[] {
  const { layers, heads } = model.architecture;
  const around = { layers: window, before: Math.floor(window / 2) };
  const places: readonly (readonly Where[])[] =
    over === "head"
      ? Array.from({ length: heads }, (_, head) => [{ head: [head] }])
      : positions.map((list) => (list.length === 0 ? [] : [{ pos: list }]));
  return [...layers.keys()].flatMap((layer) =>
    places.flatMap((list, place) =>
      list.map(
        (where): RestoredCell => ({
          grid,
          cell: layer * places.length + place,
          edits: (clean) =>
            windowLayers(layer, around, layers.length).map((at) => patch(site, at, { run: clean, where })),
        }),
      ),
    ),
  );
}

function comparedSites(model: Model, names: readonly string[]): SiteName[] {
  const block = model.definition.blocks[0];
  if (block === undefined) throw new Error("a model without layers");
  const allowed = sitesOf(block).filter((site) => {
    const axes = SITES[site].axes.join();
    return axes === "pos,d_model" || site === "z";
  });
  const found = new Set<SiteName>();
  const faults: Fault[] = [];
  for (const name of names) {
    try {
      const { site, layer } = parseSite(name, block);
      if (layer === undefined && allowed.includes(site)) found.add(site);
      else
        faults.push({
          where: "--site",
          found: JSON.stringify(name),
          wanted: `sites without a layer: ${allowed.join(", ")}`,
        });
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      faults.push(...error.faults.map((fault) => ({ ...fault, where: "--site" })));
    }
  }
  refuse(merged(faults));
  return [...found];
}
