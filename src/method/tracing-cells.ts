/** @file The cells of causal tracing: which states are restored, in which window, and what is held at its noised value. */

import { type Fault, InputError, merged, refuse } from "../core/errors.ts";
import type { Fact } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import type { Edit } from "../run/edit.ts";
import { patch } from "../run/edit.ts";
import { isState, parseSite, SITE_NAMES, SITES, type SiteName, sitesOf } from "../run/site.ts";

/** The module whose outputs are held at their noised values from the restored state on. */
export const severable = ["mlp", "attn"] as const;
export type Severed = (typeof severable)[number];

/** Layers restored together around a layer. */
export interface Window {
  readonly layers: number;
  /** How many of them lie before the layer. */
  readonly before: number;
}

export const DEFAULT_SITES: readonly SiteName[] = ["resid_post", "mlp_out", "attn_out"];
/** Meng et al. 2022, section 2.2: windows of ten layers for MLP and attention outputs. */
export const DEFAULT_WINDOW = 10;
/** Layers of a window: more than any model has. */
export const MAX_WINDOW = 10_000;

/** Reads the sites to restore. @throws InputError naming every one that cannot be. */
export function tracedSites(
  model: Model,
  { sites, sever }: { readonly sites: readonly string[] | undefined; readonly sever: Severed | undefined },
): SiteName[] {
  const block = model.definition.blocks[0];
  if (block === undefined) throw new Error("a model without layers");
  const positional = sitesOf(block).filter((site) => SITES[site].axes[0] === "pos");
  const states = positional.filter(isState);
  const asked =
    sites ?? DEFAULT_SITES.filter((site) => (sever === undefined ? block.sites.has(site) : isState(site)));
  const found = new Set<SiteName>();
  const faults: Fault[] = [];
  for (const name of asked) {
    try {
      const { site, layer } = parseSite(name, block);
      const allowed = sever === undefined ? positional : states;
      if (layer !== undefined || !allowed.includes(site)) {
        const wanted = `${sever === undefined ? "a site with a position" : `a state for --sever ${sever}`}, without a layer: ${allowed.join(", ")}`;
        faults.push({ where: "--site", found: JSON.stringify(name), wanted });
      } else found.add(site);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      faults.push(...error.faults.map((fault) => ({ ...fault, where: "--site" })));
    }
  }
  refuse(merged(faults));
  return [...found];
}

/** Layers of the window at a layer: max(0, l − before) … min(L, l − before + layers) − 1. */
export function windowLayers(layer: number, { layers, before }: Window, count: number): number[] {
  const first = layer - before;
  return Array.from({ length: layers }, (_, step) => first + step).filter((at) => at >= 0 && at < count);
}

export interface Restoration {
  readonly site: SiteName;
  readonly layer: number;
  readonly pos: number;
  readonly window: Window;
  readonly sever: Severed | undefined;
  /** Runs of the sweep: where the restored values come from, and the noised run itself. */
  readonly clean: number;
  readonly noised: number;
  /** Layers of the model. */
  readonly count: number;
}

/** The edits of one cell in one noised run. */
export function restoration({ site, layer, pos, window, sever, clean, noised, count }: Restoration): Edit[] {
  const where = { pos: [pos] };
  if (!isState(site)) {
    return windowLayers(layer, window, count).map((at) => patch(site, at, { run: clean, where }));
  }
  const edits = [patch(site, layer, { run: clean, where })];
  if (sever === undefined) return edits;
  // Modules before the state are as in the noised run anyway.
  const module = `${sever}_out` as const;
  const first = SITE_NAMES.indexOf(module) > SITE_NAMES.indexOf(site) ? layer : layer + 1;
  for (let at = first; at < count; at++) edits.push(patch(module, at, { run: noised, where }));
  return edits;
}

/** Where a position lies with respect to the subject. */
export const ROLES = [
  "first subject token",
  "middle subject tokens",
  "last subject token",
  "next token",
  "later tokens",
  "last token",
] as const;

/**
 * The positions of each role, in the order of {@link ROLES}; a prompt may lack some. A subject of one token is its last.
 * Positions before the subject hold what they held without noise, in causal models.
 */
export function rolePositions({ subject, clean }: Pick<Fact, "subject" | "clean">): number[][] {
  const [first = 0] = subject;
  const last = subject.at(-1) ?? 0;
  const end = clean.ids.length - 1;
  const later = Array.from({ length: Math.max(0, end - last) }, (_, step) => last + 1 + step);
  return [
    first === last ? [] : [first],
    subject.slice(1, -1),
    [last],
    later.slice(0, 1).filter((position) => position !== end),
    later.slice(1, -1),
    later.slice(-1),
  ];
}
