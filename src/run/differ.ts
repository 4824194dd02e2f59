/**
 * @file What the prompts alone tell: where an edit cannot change anything, before anything is run.
 *
 * In causal models two runs are equal up to their first differing token. At layer 0 whatever is computed token by
 * token differs only where tokens do. A cell of attention that the mask hides counts for nothing.
 */

import type { Model } from "../model/model.ts";
import { requireCells } from "./apply.ts";
import type { Edit } from "./edit.ts";
import { changedPositions, positionAxis } from "./edit.ts";
import type { SiteName } from "./site.ts";
import { SITES } from "./site.ts";
import type { SweepRun } from "./variant.ts";

/** Sites of attention that are not yet mixed over positions. */
const TOKEN_WISE: ReadonlySet<SiteName> = new Set(["queries", "keys", "values", "k_heads", "v_heads"]);

/** Where two runs differ. */
interface Difference {
  /** First position at which they do; the length of the edited run if at none of its own. */
  readonly first: number;
  readonly sameLength: boolean;
  readonly at: (position: number) => boolean;
}

/** Tells at which positions an edit of a run can change anything. */
export interface KnownDifferences {
  /**
   * Positions of the residual stream that can differ after the block of the edit, ascending; none if it changes
   * nothing.
   * @throws RangeError if the run, or what the edit takes its value from, lacks one of its cells.
   */
  changed(edit: Edit, run: number): readonly number[];
}

export function knownDifferences(
  { architecture }: Pick<Model, "architecture">,
  runs: readonly SweepRun[],
): KnownDifferences {
  const { causal, layers } = architecture;
  const known = new Map<number, Difference>();
  const difference = (run: number, source: number): Difference => {
    const key = run * runs.length + source;
    let found = known.get(key);
    if (found === undefined) {
      found = differenceOf(runs[run], runs[source]);
      known.set(key, found);
    }
    return found;
  };

  const sites = new Map<SiteName, { readonly axis: "pos" | "dst" | "src"; readonly local: boolean }>();
  const about = (site: SiteName) => {
    let found = sites.get(site);
    if (found === undefined) {
      found = { axis: positionAxis(site), local: SITES[site].stage === "before" || TOKEN_WISE.has(site) };
      sites.set(site, found);
    }
    return found;
  };

  return {
    changed(edit, run) {
      const { site, layer, where, action, value } = edit;
      const { axis, local } = about(site);
      const length = runs[run]?.ids.length ?? 0;
      const sourceLength = value.kind === "run" ? (runs[value.run]?.ids.length ?? 0) : undefined;
      requireCells(edit, { architecture, length, sourceLength });
      let positions: readonly number[] = where[axis] ?? Array.from({ length }, (_, position) => position);
      if (action === "replace" && value.kind === "run") {
        const { first, at, sameLength } = difference(run, value.run);
        // A longer run with the same beginning is another one to models that look ahead.
        if (first === length && (causal || sameLength)) return [];
        if (local && layer === 0) positions = positions.filter(at);
        else if (causal) positions = positions.filter((position) => position >= first);
      }
      const sources = where.src;
      if (axis === "dst" && sources !== undefined && hiddenCellsKeep(edit)) {
        const window = layers[layer]?.window ?? Number.POSITIVE_INFINITY;
        positions = positions.filter((dst) =>
          sources.some((src) => !(causal && src > dst) && Math.abs(dst - src) < window),
        );
      }
      if (positions.length === 0) return positions;
      return changedPositions({ ...edit, where: { ...where, [axis]: positions } }, { length, causal });
    },
  };
}

function differenceOf(run: SweepRun | undefined, source: SweepRun | undefined): Difference {
  const [ids, others] = [run?.ids ?? [], source?.ids ?? []];
  const moved = new Set(
    run?.offset === source?.offset
      ? []
      : [...(run?.offset?.positions ?? []), ...(source?.offset?.positions ?? [])],
  );
  const at = (position: number): boolean => ids[position] !== others[position] || moved.has(position);
  const first = ids.findIndex((_, position) => at(position));
  return { first: first === -1 ? ids.length : first, sameLength: ids.length === others.length, at };
}

/** Whether hidden cells stay without effect: scores are masked afterwards, and patterns of runs are 0 there. */
function hiddenCellsKeep({ site, action, value }: Edit): boolean {
  if (site === "scores") return true;
  return site === "pattern" && action === "replace" && value.kind === "run";
}
