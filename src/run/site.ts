/** @file The sites of a block: their axes, and the names that TransformerLens gives them. */

import { inputError } from "../core/errors.ts";
import type { Architecture } from "../model/architecture.ts";
import type { Program } from "../program/program.ts";

/** Axes of captured values. `pos` is a query position; `dst` × `src` are the cells of attention. */
export type Axis = "pos" | "dst" | "src" | "head" | "kv_head" | "d_head" | "d_model" | "neuron";

/**
 * Where in the block a site lies. `before` and `after` attention, everything works token by token;
 * in `attention`, positions meet.
 */
export type Stage = "before" | "attention" | "after";

export interface Site {
  readonly axes: readonly Axis[];
  readonly stage: Stage;
  /**
   * Whether an edit at one position reaches other positions inside the same block: it does when keys or values
   * depend on it.
   */
  readonly spreads: boolean;
}

const site = (stage: Stage, axes: readonly Axis[], spreads = false): Site => ({ stage, axes, spreads });

export type SiteName =
  | "resid_pre"
  | "q_in"
  | "k_in"
  | "v_in"
  | "q"
  | "k"
  | "v"
  | "rot_q"
  | "rot_k"
  | "queries"
  | "keys"
  | "values"
  | "k_heads"
  | "v_heads"
  | "scores"
  | "pattern"
  | "z"
  | "result"
  | "attn_raw"
  | "attn_out"
  | "resid_mid"
  | "mlp_in"
  | "mlp_gate"
  | "mlp_pre"
  | "mlp_post"
  | "mlp_raw"
  | "mlp_out"
  | "resid_post";

/** Every site, in order of computation. Which of them a model has is told by its programs. */
export const SITES: Readonly<Record<SiteName, Site>> = {
  resid_pre: site("before", ["pos", "d_model"], true),
  q_in: site("before", ["pos", "d_model"]),
  k_in: site("before", ["pos", "d_model"], true),
  v_in: site("before", ["pos", "d_model"], true),
  q: site("before", ["pos", "head", "d_head"]),
  k: site("before", ["pos", "kv_head", "d_head"], true),
  v: site("before", ["pos", "kv_head", "d_head"], true),
  rot_q: site("before", ["pos", "head", "d_head"]),
  rot_k: site("before", ["pos", "kv_head", "d_head"], true),
  queries: site("attention", ["dst", "head", "d_head"]),
  keys: site("attention", ["src", "kv_head", "d_head"], true),
  values: site("attention", ["src", "kv_head", "d_head"], true),
  k_heads: site("attention", ["src", "head", "d_head"], true),
  v_heads: site("attention", ["src", "head", "d_head"], true),
  scores: site("attention", ["head", "dst", "src"]),
  pattern: site("attention", ["head", "dst", "src"]),
  z: site("after", ["pos", "head", "d_head"]),
  result: site("after", ["pos", "head", "d_model"]),
  attn_raw: site("after", ["pos", "d_model"]),
  attn_out: site("after", ["pos", "d_model"]),
  resid_mid: site("after", ["pos", "d_model"]),
  mlp_in: site("after", ["pos", "d_model"]),
  mlp_gate: site("after", ["pos", "neuron"]),
  mlp_pre: site("after", ["pos", "neuron"]),
  mlp_post: site("after", ["pos", "neuron"]),
  mlp_raw: site("after", ["pos", "d_model"]),
  mlp_out: site("after", ["pos", "d_model"]),
  resid_post: site("after", ["pos", "d_model"]),
};

export const SITE_NAMES: readonly SiteName[] = Object.keys(SITES) as SiteName[];

const keptNames = new WeakMap<Program, ReadonlyMap<SiteName, SiteName>>();

/** Of all names of a site's value in a block, the last in order of computation: `rot_q` for `q` without rotary embedding. */
export function keptName(block: Program, site: SiteName): SiteName {
  let names = keptNames.get(block);
  if (names === undefined) {
    const last = new Map(SITE_NAMES.map((name) => [block.sites.get(name), name] as const));
    names = new Map(SITE_NAMES.map((name) => [name, last.get(block.sites.get(name)) ?? name] as const));
    keptNames.set(block, names);
  }
  return names.get(site) ?? site;
}

/** TransformerLens' activation names without the `blocks.N.` prefix. */
const TRANSFORMER_LENS: Readonly<Record<string, SiteName>> = {
  hook_resid_pre: "resid_pre",
  hook_resid_mid: "resid_mid",
  hook_resid_post: "resid_post",
  hook_attn_out: "attn_out",
  hook_mlp_out: "mlp_out",
  hook_mlp_in: "mlp_in",
  hook_q_input: "q_in",
  hook_k_input: "k_in",
  hook_v_input: "v_in",
  "attn.hook_q": "q",
  "attn.hook_k": "k",
  "attn.hook_v": "v",
  "attn.hook_rot_q": "rot_q",
  "attn.hook_rot_k": "rot_k",
  "attn.hook_attn_scores": "scores",
  "attn.hook_pattern": "pattern",
  "attn.hook_z": "z",
  "attn.hook_result": "result",
  "mlp.hook_pre": "mlp_pre",
  "mlp.hook_post": "mlp_post",
};

/** What TransformerLens writes in front of a name. */
const LAYER = /^blocks\.(\d{1,6})\./;

/** Sites that a block's program has; a second name of the same value (`rot_q` without rotary embedding) is left out. */
export function sitesOf(block: Program): SiteName[] {
  const values = new Set<string>();
  return SITE_NAMES.filter((name) => {
    const value = block.sites.get(name);
    if (value === undefined || values.has(value)) return false;
    values.add(value);
    return true;
  });
}

/** Whether a value is the residual stream itself: all that later layers see of its position. */
export function isState(site: SiteName): boolean {
  return site === "resid_pre" || site === "resid_mid" || site === "resid_post";
}

const GATED_PRE = "mlp.hook_pre_linear";

/** Whether some model could have the site: what can be said of a name before a model is opened. */
export function isSiteName(text: string): boolean {
  const name = text.replace(LAYER, "");
  return Object.hasOwn(SITES, name) || Object.hasOwn(TRANSFORMER_LENS, name) || name === GATED_PRE;
}

/**
 * Reads a site as users write it: `z`, `blocks.3.attn.hook_z`, `attn.hook_z`. In a gated MLP, TransformerLens calls
 * the gate's pre-activation `mlp.hook_pre` and the up-projection `mlp.hook_pre_linear`.
 * @throws InputError naming the sites that the model has.
 */
export function parseSite(
  text: string,
  block: Program,
): { readonly site: SiteName; readonly layer?: number } {
  const [prefix, layer] = LAYER.exec(text) ?? [""];
  const rest = text.slice(prefix.length);
  const gated = block.sites.has("mlp_gate");
  let name: string = TRANSFORMER_LENS[rest] ?? rest;
  if (gated && rest === "mlp.hook_pre") name = "mlp_gate";
  if (gated && rest === GATED_PRE) name = "mlp_pre";
  const sites = sitesOf(block);
  const site = sites.find((known) => known === name);
  if (site === undefined) throw inputError("site", JSON.stringify(text), `one of ${sites.join(", ")}`);
  const found = { site };
  return layer === undefined ? found : { ...found, layer: Number(layer) };
}

/** Size of an axis; `positions` is the length of the sequence. */
export function axisSize(axis: Axis, architecture: Architecture, positions: number): number {
  const sizes: Record<Axis, number> = {
    pos: positions,
    dst: positions,
    src: positions,
    head: architecture.heads,
    kv_head: architecture.kvHeads,
    d_head: architecture.dHead,
    d_model: architecture.dModel,
    neuron: architecture.dMlp,
  };
  return sizes[axis];
}

/** Shape of a site's value for one sequence. */
export function siteShape(name: SiteName, architecture: Architecture, positions: number): number[] {
  return SITES[name].axes.map((axis) => axisSize(axis, architecture, positions));
}
