/**
 * @file Cuts: every question to a model is "given these sites, compute those".
 *
 * Capturing, patching, restarting in the middle of a block, severing and freezing are all cuts of the block's
 * one program, with what is not needed removed.
 */

import type { AnyNode, Input, Program, Value } from "./program.ts";
import { shapeOf, valueOfSite } from "./program.ts";
import { simplify } from "./simplify.ts";

/** What a cut takes and returns, as site names. */
export interface CutOptions {
  readonly given: readonly string[];
  readonly want: readonly string[];
}

/**
 * The program that computes the sites `want` from the sites `given` (and weights, and context), with dead code
 * removed. A wanted site that is also given is passed through.
 */
export function cut(program: Program, { given, want }: CutOptions): Program {
  const taken = new Map<Value, string>();
  for (const site of given) {
    const value = valueOfSite(program, site);
    if (!taken.has(value)) taken.set(value, site);
  }
  const maker = new Map<Value, AnyNode>(program.nodes.map((node) => [node.out, node]));
  const needed = reach(
    want.map((site) => valueOfSite(program, site)),
    (value) => (taken.has(value) ? [] : (maker.get(value)?.args ?? [])),
  );

  const rename = (value: Value): Value => taken.get(value) ?? value;
  const inputs: Input[] = [];
  for (const [value, site] of taken) {
    if (needed.has(value))
      inputs.push({ name: site, shape: shapeOf(program, value), role: { kind: "state" } });
  }
  for (const input of program.inputs) {
    if (needed.has(input.name) && !taken.has(input.name)) inputs.push(input);
  }
  const nodes = program.nodes
    .filter((node) => needed.has(node.out) && !taken.has(node.out))
    .map((node) => ({ ...node, args: node.args.map(rename) }) as AnyNode);
  const present = new Set([...inputs.map((input) => input.name), ...nodes.map((node) => node.out)]);
  const sites = new Map(
    [...program.sites]
      .map(([site, value]) => [site, rename(value)] as const)
      .filter(([, value]) => present.has(value)),
  );
  const shapes = new Map([...program.shapes].map(([value, shape]) => [rename(value), shape] as const));
  return simplify({ inputs, nodes, sites, outputs: want, shapes });
}

/** Everything that changes when one of the sites is edited, the sites' own values included. */
export function downstream(program: Program, sites: readonly string[]): ReadonlySet<Value> {
  const changed = new Set(sites.map((site) => valueOfSite(program, site)));
  for (const node of program.nodes) {
    if (node.args.some((arg) => changed.has(arg))) changed.add(node.out);
  }
  return changed;
}

/**
 * The sites to know so that `want` can be computed after `edited` was changed: the edited ones, and the nearest
 * ones upstream of `want` that the edit cannot have changed. Nothing that was known before is computed again:
 * after an edit of `mlp_post`, the attention of that layer is not part of the question any more.
 */
export function frontier(program: Program, edited: readonly string[], want: readonly string[]): string[] {
  const changed = downstream(program, edited);
  const editedValues = new Set(edited.map((site) => valueOfSite(program, site)));
  const siteOf = new Map<Value, string>();
  for (const [site, value] of program.sites) if (!siteOf.has(value)) siteOf.set(value, site);
  for (const site of edited) siteOf.set(valueOfSite(program, site), site);

  const maker = new Map<Value, AnyNode>(program.nodes.map((node) => [node.out, node]));
  const stops = (value: Value): boolean =>
    editedValues.has(value) || (!changed.has(value) && siteOf.has(value));
  const needed = reach(
    want.map((site) => valueOfSite(program, site)),
    (value) => (stops(value) ? [] : (maker.get(value)?.args ?? [])),
  );
  return [...needed].filter(stops).map((value) => siteOf.get(value) ?? value);
}

function reach(roots: readonly Value[], next: (value: Value) => readonly Value[]): Set<Value> {
  const seen = new Set<Value>();
  const open = [...roots];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    open.push(...next(value));
  }
  return seen;
}
