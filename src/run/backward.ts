/**
 * @file One block backwards: from the gradient by what it returns to the gradients by any of its sites.
 *
 * The mirror of `block.ts`. Token-wise stretches run once over all tokens of the batch, attention once for each group
 * of rows of the same shape; where the forward pass made an edit, the gradient stops, is changed as the edit changed
 * the value, and goes on.
 */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import { downstream, frontier } from "../program/cut.ts";
import type { Program } from "../program/program.ts";
import { valueOfSite } from "../program/program.ts";
import { gradientSite, vjp } from "../program/vjp.ts";
import type { Batch, Group } from "./batch.ts";
import type { BatchEdit, Layer, SiteValue } from "./block.ts";
import type { SiteName } from "./site.ts";
import { keptName, SITE_NAMES, SITES } from "./site.ts";

/** What a backward pass through a block starts from: its attention is not computed again without these. */
export const BACKWARD_VALUES: readonly SiteName[] = ["resid_pre", "rot_q", "rot_k", "v", "z"];

export interface BlockGradients {
  /** Whole sequences: every row computes all its positions. */
  readonly batch: Batch;
  /** Values of the forward pass after its edits: {@link BACKWARD_VALUES}, every edited site, and what else is in hand. */
  readonly values: ReadonlyMap<SiteName, SiteValue>;
  /** Gradients to start from: by resid_post, or by any sites nearer to the wanted ones. */
  readonly gradients: ReadonlyMap<SiteName, SiteValue>;
  /** What the forward pass's edits do to a gradient, in any order (see {@link adjointEdits}). */
  readonly edits?: readonly BatchEdit[];
  readonly want: readonly SiteName[];
}

/** Gradients by the wanted sites; by an edited site, the gradient by its value after the edit. */
export async function blockGradients(layer: Layer, run: BlockGradients): Promise<Map<SiteName, SiteValue>> {
  const name = (site: SiteName): SiteName => keptName(layer.program, site);
  const edits = (run.edits ?? []).toSorted((a, b) => SITE_NAMES.indexOf(b.site) - SITE_NAMES.indexOf(a.site));
  const want = [...new Set(run.want.map(name))];
  const pass: Pass = {
    layer,
    batch: run.batch,
    program: gradientProgram(layer.program, [...want, ...edits.map(({ site }) => name(site))]),
    values: new Map([...run.values].map(([site, value]) => [name(site), value] as const)),
    gradients: new Map([...run.gradients].map(([site, value]) => [name(site), value] as const)),
  };
  const found = new Map<SiteName, SiteValue>();
  const collect = (sites: readonly SiteName[]): void => {
    for (const site of sites) {
      const value = pass.gradients.get(site);
      if (value !== undefined && !found.has(site)) found.set(site, value);
    }
  };

  for (const [index, { site: named, apply }] of edits.entries()) {
    const site = name(named);
    const ahead = edits.slice(index).map((edit) => name(edit.site));
    const later = want.filter((other) => SITE_NAMES.indexOf(other) >= SITE_NAMES.indexOf(site));
    await compute(pass, [...later, site]);
    collect([...later, site]);
    // Gradients beside it that read its value after the edit (`v` where the pattern was edited) have to come first.
    await compute(pass, besides(layer.program, { ahead, want }));
    const changed = copyOf(pass.gradients.get(site) as SiteValue);
    apply(changed);
    pass.gradients.set(site, changed);
    // On the way into the site its value was another; it is computed again from what it was computed from.
    if (!BACKWARD_VALUES.includes(site)) pass.values.delete(site);
  }
  await compute(pass, want);
  collect(want);
  return new Map(run.want.map((site) => [site, found.get(name(site)) as SiteValue]));
}

/** A gradient on its way through the block. */
interface Pass {
  readonly layer: Layer;
  readonly batch: Batch;
  /** Computes gradients by all sites that are stopped at. */
  readonly program: Program;
  readonly values: Map<SiteName, SiteValue>;
  readonly gradients: Map<SiteName, SiteValue>;
}

/** Where token-wise stretches and attention meet, and what other ways than attention pass through. */
const JOINTS: readonly SiteName[] = [
  "resid_pre",
  "rot_q",
  "rot_k",
  "v",
  "queries",
  "keys",
  "values",
  "z",
  "resid_mid",
  "mlp_in",
  "mlp_gate",
  "mlp_pre",
];

const programs = new WeakMap<Program, Map<string, Program>>();

/** The block's program with gradients by the sites and by all joints. */
function gradientProgram(block: Program, sites: readonly SiteName[]): Program {
  let known = programs.get(block);
  if (known === undefined) {
    known = new Map();
    programs.set(block, known);
  }
  const wanted = new Set([...sites, ...JOINTS].map((site) => keptName(block, site)));
  wanted.delete("resid_post");
  const wrt = SITE_NAMES.filter((site) => wanted.has(site) && block.sites.has(site));
  const key = wrt.join();
  let found = known.get(key);
  if (found === undefined) {
    found = vjp(block, { of: ["resid_post"], wrt });
    known.set(key, found);
  }
  return found;
}

const stage = (site: SiteName): string => SITES[site].stage;

function copyOf(value: SiteValue): SiteValue {
  return isFlat(value) ? value.slice() : value.map((array) => array.slice());
}

function isFlat(value: SiteValue): value is FloatArray {
  return !Array.isArray(value);
}

/** Computes the gradients that are wanted and not known yet, stage by stage, last stage first. */
async function compute(pass: Pass, want: readonly SiteName[]): Promise<void> {
  const { gradients, layer } = pass;
  const missing = [...new Set(want)].filter((site) => !gradients.has(site));
  const before = missing.filter((site) => stage(site) === "before");
  const attention = missing.filter((site) => stage(site) === "attention");
  const after = missing.filter((site) => stage(site) === "after");

  const sources = before.length === 0 ? [] : mixedFor(layer.program, before);
  const heads = sources.filter((site) => !gradients.has(keptName(layer.program, MIXED[site])));
  attention.push(...heads.filter((site) => !gradients.has(site) && !attention.includes(site)));
  if (attention.length > 0 && !gradients.has("z")) after.push("z");
  if (before.length > 0) after.push(...pastAttention(pass, before).filter((site) => !gradients.has(site)));
  if (after.length > 0) await computeTokens(pass, [...new Set(after)]);
  if (attention.length > 0) await computeAttention(pass, attention);
  for (const site of heads) gradients.set(keptName(layer.program, MIXED[site]), flattened(pass, site));
  const rest = before.filter((site) => !gradients.has(site));
  if (rest.length > 0) await computeTokens(pass, rest);
}

/** Sites, of the wanted and of those where two values meet in a product, that none of the sites `ahead` is computed from. */
function besides(
  block: Program,
  { ahead, want }: { readonly ahead: readonly SiteName[]; readonly want: readonly SiteName[] },
): SiteName[] {
  const values = ahead.map((site) => valueOfSite(block, site));
  const factors: readonly SiteName[] = ["queries", "keys", "values", "mlp_gate", "mlp_pre"];
  return [...new Set([...factors, ...want])].filter((site) => {
    if (stage(site) === "before" || !block.sites.has(site)) return false;
    const reached = downstream(block, [site]);
    return !values.some((value) => reached.has(value));
  });
}

/** What attention is computed from, as it sees it and token by token. */
const MIXED = { queries: "rot_q", keys: "rot_k", values: "v" } as const;
type Mixed = keyof typeof MIXED;

/** Which of queries, keys and values the sites act through. */
function mixedFor(block: Program, sites: readonly SiteName[]): Mixed[] {
  const reached = new Set(sites.map((site) => block.sites.get(site)));
  for (const node of block.nodes) if (node.args.some((arg) => reached.has(arg))) reached.add(node.out);
  return (Object.keys(MIXED) as Mixed[]).filter((site) => reached.has(block.sites.get(site)));
}

/** Gradients behind attention that flow to the sites by other ways than attention. */
function pastAttention({ program, layer }: Pass, sites: readonly SiteName[]): SiteName[] {
  const mixed = Object.values(MIXED)
    .filter((site) => layer.program.sites.has(site))
    .map((site) => gradientSite(keptName(layer.program, site)));
  const stops = new Set(frontier(program, mixed, sites.map(gradientSite)));
  return SITE_NAMES.filter((site) => stops.has(gradientSite(site)) && stage(site) === "after");
}

/** A token-wise stretch over all tokens of the batch. */
async function computeTokens(pass: Pass, want: readonly SiteName[]): Promise<void> {
  const { layer, batch, program, values, gradients } = pass;
  const { tokens } = batch;
  const states = new Map<string, FloatArray>();
  for (const [site, value] of values) if (isFlat(value)) states.set(site, value);
  for (const [site, value] of gradients) if (isFlat(value)) states.set(gradientSite(site), value);
  const given = [...states.keys()].filter((site) => program.sites.has(site));
  const executable = await layer.model.compile(program, { given, want: want.map(gradientSite) });
  const rotary = layer.contexts.rotary(layer.kind, batch);
  const tables: Record<string, Tensor> = { ...layer.weights };
  if (rotary !== undefined) {
    const shape = [tokens, rotary.cos.length / tokens];
    tables.cos = { data: rotary.cos, shape };
    tables.sin = { data: rotary.sin, shape };
  }
  const inputs = executable.program.inputs.map(({ name, shape, role }): [string, Tensor] => {
    if (role.kind !== "state") return [name, tables[name] as Tensor];
    return [name, { data: states.get(name) as FloatArray, shape: [tokens, ...shape.slice(1).map(Number)] }];
  });
  const found = await executable.run(Object.fromEntries(inputs));
  for (const site of want) gradients.set(site, (found[gradientSite(site)] as Tensor<FloatArray>).data);
}

/** Attention, group by group. */
async function computeAttention(pass: Pass, want: readonly SiteName[]): Promise<void> {
  const { layer, batch, program, values, gradients } = pass;
  const { heads, kvHeads, dHead } = layer.model.architecture;
  const outputs = new Map<SiteName, FloatArray[]>(want.map((site) => [site, []]));
  const flat = (map: ReadonlyMap<SiteName, SiteValue>, site: SiteName): FloatArray =>
    map.get(keptName(layer.program, site)) as FloatArray;

  for (const [index, group] of batch.groups.entries()) {
    const { rows, length } = group;
    const states = new Map<string, FloatArray>([
      ["queries", tokensOf(flat(values, "rot_q"), group, heads * dHead)],
      ["keys", tokensOf(flat(values, "rot_k"), group, kvHeads * dHead)],
      ["values", tokensOf(flat(values, "v"), group, kvHeads * dHead)],
    ]);
    const own = (map: ReadonlyMap<SiteName, SiteValue>, named: (site: SiteName) => string): void => {
      for (const [site, value] of map) {
        if (stage(site) === "attention" && !isFlat(value))
          states.set(named(site), value[index] as FloatArray);
      }
    };
    own(values, (site) => site);
    own(gradients, gradientSite);
    if (gradients.has("z")) states.set("d.z", tokensOf(flat(gradients, "z"), group, heads * dHead));

    const given = [...states.keys()].filter((site) => program.sites.has(site));
    const executable = await layer.model.compile(program, { given, want: want.map(gradientSite) });
    const sizes: Record<string, number> = { token: rows * length, row: rows, dst: length, src: length };
    const inputs = executable.program.inputs.map(({ name, shape, role }): [string, Tensor] => {
      const data =
        role.kind === "state" ? (states.get(name) as FloatArray) : layer.contexts.mask(layer.kind, group);
      return [name, { data, shape: shape.map((dim) => (typeof dim === "number" ? dim : (sizes[dim] ?? 0))) }];
    });
    const found = await executable.run(Object.fromEntries(inputs), { dims: sizes });
    for (const site of want) outputs.get(site)?.push((found[gradientSite(site)] as Tensor<FloatArray>).data);
  }
  for (const [site, arrays] of outputs) gradients.set(site, arrays);
}

function tokensOf(flat: FloatArray, { firstToken, rows, length }: Group, width: number): FloatArray {
  return flat.subarray(firstToken * width, (firstToken + rows * length) * width);
}

/** The groups' gradients in the order of the batch's tokens. */
function flattened({ layer, batch, gradients }: Pass, site: Mixed): FloatArray {
  const { heads, kvHeads, dHead } = layer.model.architecture;
  const width = (site === "queries" ? heads : kvHeads) * dHead;
  const flat = layer.model.backend.allocate(batch.tokens * width);
  const groups = gradients.get(site) as readonly FloatArray[];
  for (const [index, group] of batch.groups.entries())
    flat.set(groups[index] ?? [], group.firstToken * width);
  return flat;
}
