/** @file Writing one program into another. */

import type { Shape } from "./ops.ts";
import type { AnyNode, Builder, Input, Program, Value } from "./program.ts";
import { valueOfSite } from "./program.ts";

export interface InlineOptions {
  /** Values for inputs of the part; its other weights and tables become inputs of the whole. */
  readonly given: Readonly<Record<string, Value>>;
  /** New names of sizes that reshapes mention. */
  readonly dims?: Readonly<Record<string, string>>;
}

/** Writes the operations of `part` one by one; returns where its sites are. */
export function inline(
  b: Builder,
  part: Program,
  { given, dims = {} }: InlineOptions,
): (site: string) => Value {
  const values = new Map(part.inputs.map((input) => [input.name, given[input.name] ?? added(b, input)]));
  const resolved = (value: Value): Value => values.get(value) ?? value;
  for (const node of part.nodes) values.set(node.out, write(b, renamed(node, dims), node.args.map(resolved)));
  return (site) => resolved(valueOfSite(part, site));
}

function added(b: Builder, { name, shape, role }: Input): Value {
  switch (role.kind) {
    case "state":
      return b.state(name, shape);
    case "context":
      return b.context(name, shape, role.dtype);
    case "weight":
      return b.weight(role.tensor, role.stored, role.take);
  }
}

function renamed(node: AnyNode, dims: Readonly<Record<string, string>>): AnyNode {
  if (node.op !== "reshape") return node;
  const shape: Shape = node.attrs.shape.map((dim) => (typeof dim === "string" ? (dims[dim] ?? dim) : dim));
  return { ...node, attrs: { shape } };
}

function write(b: Builder, { op, attrs }: AnyNode, args: readonly Value[]): Value {
  return (b.op as (op: AnyNode["op"], args: readonly Value[], attrs: AnyNode["attrs"]) => Value)(
    op,
    args,
    attrs,
  );
}
