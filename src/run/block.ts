/**
 * @file One block over a batch of rows: from any known sites to any wanted ones, stopping wherever a value is to be
 * edited. Every run, whole or patched, goes through here.
 *
 * Token-wise stretches run once over all tokens of the batch; attention runs once for each group of rows of the
 * same shape, over keys and values that are put together from the row's own positions and, for the positions it
 * does not compute, from the run that it branched from.
 */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { LayerKind } from "../model/architecture.ts";
import type { Model } from "../model/model.ts";
import type { Weights } from "../model/store.ts";
import { downstream, frontier } from "../program/cut.ts";
import type { Program } from "../program/program.ts";
import { valueOfSite } from "../program/program.ts";
import type { Batch, ContextCache, Group } from "./batch.ts";
import type { SiteName } from "./site.ts";
import { keptName, SITE_NAMES, SITES } from "./site.ts";

/** A layer ready to run. */
export interface Layer {
  readonly model: Model;
  readonly index: number;
  readonly kind: LayerKind;
  readonly program: Program;
  readonly weights: Weights;
  readonly contexts: ContextCache;
}

/** Where rows find keys and values of the positions that they do not compute. */
export interface Past {
  /** Keys, after rotation, and values [token, G, dh] of other runs; those of the batch itself if absent. */
  readonly values?: { readonly rot_k: FloatArray; readonly v: FloatArray };
  /** First token there of the run that a row branched from. */
  firstToken(row: number): number;
}

/** Values of a site: flattened over the batch's tokens, or one array for each group where positions meet. */
export type SiteValue = FloatArray | readonly FloatArray[];

/** An edit of a whole batch's value of one site, made in place. */
export interface BatchEdit {
  readonly site: SiteName;
  readonly apply: (value: SiteValue) => void;
}

export interface BlockRun {
  readonly batch: Batch;
  /** Values to start from: resid_pre, or any sites from which the wanted ones can be computed. */
  readonly known: ReadonlyMap<SiteName, SiteValue>;
  /** Needed for rows that do not compute every position. */
  readonly past?: Past;
  /** Made in order of computation. */
  readonly edits?: readonly BatchEdit[];
  readonly want: readonly SiteName[];
}

/** Evaluates a block; returns the wanted sites, after all edits. */
export async function runBlock(layer: Layer, run: BlockRun): Promise<Map<SiteName, SiteValue>> {
  const { program } = layer;
  // Two names of one value must not be known side by side: an edit under one would leave the other stale.
  const name = (site: SiteName): SiteName => keptName(program, site);
  const known = new Map([...run.known].map(([site, value]) => [name(site), value] as const));
  const want = [...new Set(run.want.map(name))];
  const edits = [...(run.edits ?? [])].sort((a, b) => order(a.site) - order(b.site));
  const fresh = new Set<FloatArray>();

  for (const { site: named, apply } of edits) {
    const edited = name(named);
    await compute(layer, run, { known, fresh, want: stopsFor(program, edited, want) });
    const value = owned(known.get(edited), fresh);
    known.set(edited, value);
    apply(value);
    // What was computed from the value before the edit is stale.
    for (const site of known.keys()) {
      if (site !== edited && dependsOn(program, site, edited)) known.delete(site);
    }
  }
  await compute(layer, run, { known, fresh, want });
  return new Map(run.want.map((site) => [site, known.get(name(site)) as SiteValue]));
}

const order = (site: SiteName): number => SITE_NAMES.indexOf(site);

/** Edits write only to arrays made here: what the caller gave may be shared with other runs. */
function owned(value: SiteValue | undefined, fresh: Set<FloatArray>): SiteValue {
  if (value === undefined) throw new Error("an edited site was not computed");
  const own = (array: FloatArray): FloatArray => {
    if (fresh.has(array)) return array;
    const copy = array.slice();
    fresh.add(copy);
    return copy;
  };
  return isFlat(value) ? own(value) : value.map(own);
}

function isFlat(value: SiteValue): value is FloatArray {
  return !Array.isArray(value);
}

const stage = (site: SiteName): string => SITES[site].stage;

const reachCache = new WeakMap<Program, Map<string, boolean>>();

/** Whether editing `edited` changes `site`. */
function dependsOn(program: Program, site: SiteName, edited: SiteName): boolean {
  let known = reachCache.get(program);
  if (known === undefined) {
    known = new Map();
    reachCache.set(program, known);
  }
  const key = `${edited}>${site}`;
  let found = known.get(key);
  if (found === undefined) {
    found = downstream(program, [edited]).has(valueOfSite(program, site));
    known.set(key, found);
  }
  return found;
}

/** What attention is computed from, token by token. */
const MIXED: readonly SiteName[] = ["rot_q", "rot_k", "v"];

/** What to have in hand before a site is edited, so that nothing before it must be computed again afterwards. */
function stopsFor(program: Program, site: SiteName, want: readonly SiteName[]): SiteName[] {
  if (stage(site) === "attention") return [site, ...MIXED];
  const later = stage(site) === "before" ? MIXED : want.filter((wanted) => stage(wanted) === "after");
  const stops = frontier(program, [site], later)
    .filter((stop): stop is SiteName => stop in SITES)
    .map((stop) => keptName(program, stop));
  return [...new Set([site, ...stops.filter((stop) => stage(stop) === stage(site))])];
}

interface Computation {
  /** Grows as values are computed. */
  readonly known: Map<SiteName, SiteValue>;
  readonly fresh: Set<FloatArray>;
  readonly want: readonly SiteName[];
}

/** Computes what is wanted and not known yet, stage by stage. */
async function compute(layer: Layer, run: BlockRun, { known, fresh, want }: Computation): Promise<void> {
  const missing = want.filter((site) => !known.has(site));
  if (missing.length === 0) return;
  const later = missing.filter((site) => stage(site) === "after");
  const attention = missing.filter((site) => stage(site) === "attention");
  const before = missing.filter((site) => stage(site) === "before");

  const throughAttention = later.some((site) => needsAttention(layer.program, site, known));
  if (throughAttention && !known.has("z")) attention.push("z");
  if (attention.length > 0) {
    const inputs = attentionInputs(layer.program, attention, known);
    before.push(...inputs.filter((site) => !known.has(site) && !before.includes(site)));
  }
  if (before.length > 0) await computeTokens(layer, run, { known, fresh, want: before });
  if (attention.length > 0) await computeAttention(layer, run, { known, fresh, want: attention });
  const rest = later.filter((site) => !known.has(site));
  if (rest.length > 0) await computeTokens(layer, run, { known, fresh, want: rest });
}

/** Whether the site can only be computed by way of z. */
export function needsAttention(
  program: Program,
  site: SiteName,
  known: ReadonlyMap<SiteName, unknown>,
): boolean {
  if (site === "z") return true;
  const given = [...known.keys()].filter((name) => stage(name) !== "attention");
  return reaches(program, { from: site, to: "z", given });
}

/** Which of rot_q, rot_k and v the wanted attention sites are computed from. */
function attentionInputs(
  program: Program,
  want: readonly SiteName[],
  known: ReadonlyMap<SiteName, SiteValue>,
): SiteName[] {
  const given = [...known.keys()];
  return MIXED.filter((input) => want.some((site) => reaches(program, { from: site, to: input, given })));
}

const cutCache = new WeakMap<Program, Map<string, boolean>>();

/** Whether computing `from` backwards, stopping at `given`, comes to `to`. */
function reaches(
  program: Program,
  {
    from,
    to,
    given,
  }: { readonly from: SiteName; readonly to: SiteName; readonly given: readonly SiteName[] },
): boolean {
  let cache = cutCache.get(program);
  if (cache === undefined) {
    cache = new Map();
    cutCache.set(program, cache);
  }
  const key = `${from}<${to}|${given.join()}`;
  let found = cache.get(key);
  if (found === undefined) {
    const makers = new Map(program.nodes.map((node) => [node.out, node]));
    const stop = new Set(given.map((site) => program.sites.get(site)));
    const target = program.sites.get(to);
    const open = [program.sites.get(from)];
    const seen = new Set<string | undefined>();
    found = false;
    for (let value = open.pop(); value !== undefined && !found; value = open.pop()) {
      if (seen.has(value) || stop.has(value)) continue;
      seen.add(value);
      if (value === target) found = true;
      open.push(...(makers.get(value)?.args ?? []));
    }
    cache.set(key, found);
  }
  return found;
}

/** A token-wise stretch over all tokens of the batch. */
async function computeTokens(
  layer: Layer,
  run: BlockRun,
  { known, fresh, want }: Computation,
): Promise<void> {
  const given = [...known.keys()].filter((site) => stage(site) !== "attention");
  const executable = await layer.model.compile(layer.program, { given, want });
  const { tokens } = run.batch;
  const inputs: Record<string, Tensor> = { ...layer.weights, ...rotaryInputs(layer, run.batch) };
  for (const { name, shape, role } of executable.program.inputs) {
    if (role.kind !== "state") continue;
    const data = known.get(name as SiteName) as FloatArray;
    inputs[name] = { data, shape: [tokens, ...shape.slice(1).map(Number)] };
  }
  const found = await executable.run(pick(inputs, executable.program));
  for (const site of want) remember(site, found[site] as Tensor<FloatArray>, { known, fresh });
}

/** cos and sin of the tokens' angles [token, dims/2], where the layer turns queries and keys. */
export function rotaryInputs({ contexts, kind }: Layer, batch: Batch): Record<string, Tensor> {
  const rotary = contexts.rotary(kind, batch);
  if (rotary === undefined) return {};
  const shape = [batch.tokens, rotary.cos.length / batch.tokens];
  return { cos: { data: rotary.cos, shape }, sin: { data: rotary.sin, shape } };
}

/** Attention, group by group. */
async function computeAttention(
  layer: Layer,
  run: BlockRun,
  { known, fresh, want }: Computation,
): Promise<void> {
  const { batch } = run;
  const { heads, kvHeads, dHead } = layer.model.architecture;
  const outputs = new Map<SiteName, FloatArray[]>(want.map((site) => [site, []]));
  const z = want.includes("z") ? layer.model.backend.allocate(batch.tokens * heads * dHead) : undefined;
  const sources: SiteName[] = ["queries", "keys", "values", "k_heads", "v_heads", "scores", "pattern"];

  for (const [index, group] of batch.groups.entries()) {
    const { rows, positions, length } = group;
    const value = (site: SiteName): FloatArray => {
      const held = known.get(site);
      if (held !== undefined && !isFlat(held)) return held[index] as FloatArray;
      if (site === "queries") return tokensOf(known.get("rot_q") as FloatArray, group, heads * dHead);
      const isReturned = want.includes(site);
      return gatherKeys(layer, run, { known, group, site: site === "keys" ? "rot_k" : "v", isReturned });
    };
    const given = sources.filter(
      (site) => known.has(site) || site === "queries" || site === "keys" || site === "values",
    );
    const executable = await layer.model.compile(layer.program, { given, want });
    const shapes: Partial<Record<SiteName, number[]>> = {
      queries: [rows, positions.length, heads, dHead],
      keys: [rows, length, kvHeads, dHead],
      values: [rows, length, kvHeads, dHead],
      k_heads: [rows, length, heads, dHead],
      v_heads: [rows, length, heads, dHead],
      scores: [rows, heads, positions.length, length],
      pattern: [rows, heads, positions.length, length],
    };
    const inputs: Record<string, Tensor> = {};
    for (const { name, role } of executable.program.inputs) {
      if (role.kind === "state") {
        inputs[name] = { data: value(name as SiteName), shape: shapes[name as SiteName] ?? [] };
      } else {
        const mask = layer.contexts.mask(layer.kind, group);
        inputs[name] = { data: mask, shape: [1, 1, positions.length, length] };
      }
    }
    const tokens = rows * positions.length;
    const into = z && { z: { data: tokensOf(z, group, heads * dHead), shape: [tokens, heads, dHead] } };
    const found = await executable.run(inputs, into === undefined ? {} : { into });
    for (const site of want)
      if (site !== "z") outputs.get(site)?.push((found[site] as Tensor<FloatArray>).data);
  }
  for (const [site, arrays] of outputs) {
    known.set(site, site === "z" && z !== undefined ? z : arrays);
    for (const array of arrays) fresh.add(array);
  }
  if (z !== undefined) fresh.add(z);
}

function tokensOf(flat: FloatArray, { firstToken, rows, positions }: Group, width: number): FloatArray {
  return flat.subarray(firstToken * width, (firstToken + rows * positions.length) * width);
}

/** Keys or values of every position of the group's rows: the past's, overwritten where the row computed its own. */
function gatherKeys(
  layer: Layer,
  { batch, past }: BlockRun,
  {
    known,
    group,
    site,
    isReturned,
  }: {
    readonly known: ReadonlyMap<SiteName, SiteValue>;
    readonly group: Group;
    readonly site: "rot_k" | "v";
    readonly isReturned: boolean;
  },
): FloatArray {
  const { kvHeads, dHead } = layer.model.architecture;
  const width = kvHeads * dHead;
  const own = known.get(site) as FloatArray;
  const { rows, positions, length, firstRow } = group;
  if (positions.length === length) return tokensOf(own, group, width);
  if (past === undefined)
    throw new Error("rows that compute some positions only need the keys and values of the others");
  // Used up by the run that they are gathered for, unless it returns them.
  const gathered = isReturned
    ? layer.model.backend.allocate(rows * length * width)
    : layer.contexts.scratch(site, rows * length * width);
  const first = positions[0] ?? 0;
  const isSuffix = first + positions.length === length;
  const table = past.values?.[site] ?? own;
  for (let row = 0; row < rows; row++) {
    const start = past.firstToken(firstRow + row) * width;
    const inherited = table.subarray(start, start + length * width);
    const token = batch.offsets[firstRow + row] ?? 0;
    const at = row * length * width;
    if (isSuffix) {
      gathered.set(inherited.subarray(0, first * width), at);
      gathered.set(own.subarray(token * width, (token + positions.length) * width), at + first * width);
      continue;
    }
    gathered.set(inherited, at);
    for (const [index, position] of positions.entries()) {
      const from = (token + index) * width;
      gathered.set(own.subarray(from, from + width), at + position * width);
    }
  }
  return gathered;
}

function pick(inputs: Readonly<Record<string, Tensor>>, program: Program): Record<string, Tensor> {
  return Object.fromEntries(program.inputs.map(({ name }) => [name, inputs[name] as Tensor]));
}

function remember(
  site: SiteName,
  value: Tensor<FloatArray>,
  { known, fresh }: { readonly known: Map<SiteName, SiteValue>; readonly fresh: Set<FloatArray> },
): void {
  known.set(site, value.data);
  fresh.add(value.data);
}
