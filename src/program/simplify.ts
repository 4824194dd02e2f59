/**
 * @file Simplification: the same numbers from fewer operations.
 *
 * Families write the most separable form of the architecture (every head's result, keys repeated for every query
 * head, one normalisation per reader). What a cut does not look at is folded back here.
 */

import type { AnyNode, Program, Value } from "./program.ts";

/** Folds identities, equal nodes and unread separations, and renumbers what is left, so that equal cuts print equally. */
export function simplify(program: Program): Program {
  return renumber(removeDead(fuseHeads(removeDead(mergeEqual(program)))));
}

/** Drops identities and computes equal expressions once; the values in `distinct` stay nodes of their own. */
export function mergeEqual(program: Program, distinct: ReadonlySet<Value> = new Set()): Program {
  const replaced = new Map<Value, Value>();
  const resolve = (value: Value): Value => replaced.get(value) ?? value;
  const seen = new Map<string, Value>();
  const nodes: AnyNode[] = [];
  for (const node of program.nodes) {
    const args = node.args.map(resolve);
    if (distinct.has(node.out)) {
      nodes.push({ ...node, args } as AnyNode);
      continue;
    }
    if (node.op === "identity") {
      replaced.set(node.out, args[0] ?? node.out);
      continue;
    }
    const key = `${node.op}(${args.join(",")})${JSON.stringify(node.attrs)}`;
    const known = seen.get(key);
    if (known === undefined) {
      seen.set(key, node.out);
      nodes.push({ ...node, args } as AnyNode);
    } else {
      replaced.set(node.out, known);
    }
  }
  return { ...program, nodes, sites: mapSites(program, resolve) };
}

/**
 * Σ_h z_h W_h = z W, the gradient by all z_h where their results are only summed is one product as well, and attention over repeated keys or values = grouped attention: both only when nobody
 * asked for the separated form.
 */
function fuseHeads(program: Program): Program {
  const asked = new Set(program.outputs.map((site) => program.sites.get(site)));
  const maker = new Map<Value, AnyNode>(program.nodes.map((node) => [node.out, node]));
  const shapes = new Map(program.shapes);
  const nodes: AnyNode[] = [];
  for (const node of program.nodes) {
    if (node.op === "sum_heads") {
      const inner = maker.get(node.args[0] ?? "");
      const [z = "", weight = ""] = inner?.args ?? [];
      if (inner?.op === "head_linear" && !asked.has(inner.out)) {
        const layout = inner.attrs.layout;
        const [token = "token"] = shapes.get(z) ?? [];
        const [rows = 0, columns = 0] = shapes.get(weight) ?? [];
        const flat = [token, layout === "out_in" ? columns : rows];
        const merged = `${node.out}.heads`;
        shapes.set(merged, flat);
        nodes.push({ op: "reshape", args: [z], attrs: { shape: flat }, out: merged });
        nodes.push({ op: "linear", args: [merged, weight], attrs: { layout }, out: node.out });
        continue;
      }
    }
    if (node.op === "head_linear_transposed") {
      const inner = maker.get(node.args[0] ?? "");
      const [summed = ""] = inner?.args ?? [];
      const [token = "token", copies, columns = 0] = shapes.get(summed) ?? [];
      if (inner?.op === "repeat_heads" && copies === 1) {
        const [, heads = 0, width = 0] = shapes.get(node.out) ?? [];
        const layout = node.attrs.layout === "out_in" ? "in_out" : "out_in";
        const [flat, product] = [`${node.out}.sum`, `${node.out}.heads`];
        shapes.set(flat, [token, columns]);
        shapes.set(product, [token, Number(heads) * Number(width)]);
        nodes.push({ op: "reshape", args: [summed], attrs: { shape: [token, columns] }, out: flat });
        nodes.push({ op: "linear", args: [flat, node.args[1] ?? ""], attrs: { layout }, out: product });
        nodes.push({
          op: "reshape",
          args: [product],
          attrs: { shape: [token, heads, width] },
          out: node.out,
        });
        continue;
      }
    }
    if (node.op === "query_key" || node.op === "pattern_value") {
      const inner = maker.get(node.args[1] ?? "");
      if (inner?.op === "repeat_heads" && !asked.has(inner.out)) {
        nodes.push({ ...node, args: [node.args[0] ?? "", inner.args[0] ?? ""] });
        continue;
      }
    }
    nodes.push(node);
  }
  return { ...program, nodes, shapes };
}

function removeDead(program: Program): Program {
  const live = new Set(program.outputs.map((site) => program.sites.get(site)));
  const nodes = program.nodes.toReversed().filter((node) => {
    if (!live.has(node.out)) return false;
    for (const arg of node.args) live.add(arg);
    return true;
  });
  const kept = new Set(nodes.map((node) => node.out));
  return {
    ...program,
    inputs: program.inputs.filter((input) => live.has(input.name)),
    nodes: nodes.reverse(),
    sites: new Map([...program.sites].filter(([, value]) => kept.has(value) || live.has(value))),
  };
}

/** Names the nodes' values by their place. */
export function renumber(program: Program): Program {
  const names = new Map<Value, Value>(program.nodes.map((node, index) => [node.out, `%${index}`]));
  const rename = (value: Value): Value => names.get(value) ?? value;
  const nodes = program.nodes.map(
    (node) => ({ ...node, args: node.args.map(rename), out: rename(node.out) }) as AnyNode,
  );
  const present = [...program.inputs.map((input) => input.name), ...program.nodes.map((node) => node.out)];
  const shapes = new Map(present.map((value) => [rename(value), program.shapes.get(value) ?? []]));
  return { ...program, nodes, sites: mapSites(program, rename), shapes };
}

function mapSites(program: Program, rename: (value: Value) => Value): Map<string, Value> {
  return new Map([...program.sites].map(([site, value]) => [site, rename(value)]));
}
